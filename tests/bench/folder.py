"""A folder of photos: the pipeline's stream against the engine alone.

The stream decodes, prepares and classifies; the engine alone is given what was prepared before, eight photos a batch.
How close the first comes to the second is what decoding beside the arithmetic is worth.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from mobilevit_np.engines import compile_network
from mobilevit_np.errors import InputError, MobileViTError
from mobilevit_np.pipelines import Classifier
from mobilevit_np.preprocess import decode, preprocess
from mobilevit_np.scope import Scope

from .contenders import VERSION, Runner, environment, use_threads
from .process import Process
from .race import Rules, race
from .tables import records

TOLERANCE = 1e-5
BATCH = 8
LEAST_PHOTOS = 32  # a smaller folder's photos come several times


def race_folder(
    paths: Sequence[str], weights: str | None, engine: str, threads: int, rules: Rules
) -> list[dict[str, Any]]:
    """How the engine alone and the stream did, all photos at a call. Raises ImageError for one that's unreadable."""
    many = list(paths) * -(-LEAST_PHOTOS // len(paths))
    logits = _reference(paths, weights)
    expected = np.concatenate([logits] * (len(many) // len(paths)))
    with contextlib.ExitStack() as stack:
        contenders = []
        for name in LOADERS:
            process = Process(name, partial(load, name, many, weights, engine, threads), environment(engine, threads))
            contenders.append(stack.enter_context(process))
        for contender in contenders:
            contender.ready()
        results = race(contenders, lambda draw: np.roll(expected, draw, axis=0), rules)
        return records(contenders, results, len(many))


def load(name: str, paths: list[str], weights: str | None, engine: str, threads: int) -> Runner:
    """A contender in its own process. Each call is given the photos in another order."""
    use_threads(engine, threads)
    return LOADERS[name](Classifier.from_pretrained(weights, engine=engine), paths, engine)


def _stream(classifier: Classifier, paths: list[str], _: str) -> Runner:
    def draw(number: int) -> list[str]:
        start = -number % len(paths)
        return paths[start:] + paths[:start]

    def call(order: list[str]) -> list[Any]:
        return [result for _, result in classifier.stream(order)]

    return Runner(draw, call, lambda results: np.stack([_logits(each) for each in results]), VERSION)


def _engine_alone(classifier: Classifier, paths: list[str], engine: str) -> Runner:
    checkpoint = classifier.checkpoint
    network = compile_network(engine, "classifier", Scope(checkpoint.tensors), checkpoint.config)
    prepared = [preprocess(decode(path), classifier.profile) for path in paths]
    if len({photo.shape for photo in prepared}) > 1:
        raise InputError("this checkpoint sees photos at their own sizes, which make no batches; give one that crops")
    together = np.concatenate(prepared)

    def draw(number: int) -> list[np.ndarray]:
        rolled = np.roll(together, number, axis=0)
        return [rolled[i : i + BATCH] for i in range(0, len(rolled), BATCH)]

    def call(batches: list[np.ndarray]) -> list[np.ndarray]:
        return [network(batch) for batch in batches]

    return Runner(draw, call, np.concatenate, VERSION)


LOADERS = {"engine alone": _engine_alone, "whole stream": _stream}


def _reference(paths: Sequence[str], weights: str | None) -> np.ndarray:
    stream = Classifier.from_pretrained(weights, engine="reference").stream(paths)
    return np.stack([_logits(result) for _, result in stream])


def _logits(result: Any) -> np.ndarray:
    if isinstance(result, MobileViTError):
        raise result
    logits: np.ndarray = result.logits
    return logits

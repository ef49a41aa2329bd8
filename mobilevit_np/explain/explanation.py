"""One photo's way through a network: what each stage gives, who attends to whom, how long it takes.

The photo is prepared as ``Classifier`` and ``Segmenter`` prepare it: a segmenter sees all of it, or its middle window
where it's longer than 2:1. It goes through the reference engine in float32. A second run, in which nothing is kept, is
timed.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from ..checkpoints import Checkpoint, open_checkpoint
from ..checkpoints.parameter_names import PREFIX
from ..checkpoints.shipped import DEFAULTS
from ..engines import compile_network
from ..errors import InputError
from ..pipelines.common import check_answer, check_memory, check_size, check_task, profile_of
from ..pipelines.segmenter import network_size, windows
from ..preprocess import Profile, Region, crop_region, decode, preprocess, resize_photo, run_steps, with_channels
from ..scope import Scope
from .summary import Summary, is_within, summarize

_HEAD = ""  # the path of the whole network's output
_STAGES = {  # path without "mobilevit.": title, what happens there
    "conv_stem": ("stem", "a 3 x 3 convolution that halves the photo"),
    "encoder.layer.0": ("L1", "an inverted residual"),
    "encoder.layer.1": ("L2", "three inverted residuals, the first halves the map"),
    "encoder.layer.2": ("L3", "an inverted residual, then a MobileViT block of two transformer layers"),
    "encoder.layer.3": ("L4", "an inverted residual, then a MobileViT block of four transformer layers"),
    "encoder.layer.4": ("L5", "an inverted residual, then a MobileViT block of three transformer layers"),
    "conv_1x1_exp": ("expansion", "a 1 x 1 convolution to the width that the classifier reads"),
    "segmentation_head.aspp": ("ASPP", "the map seen at five scales: dilated convolutions and the mean"),
}
_LAST = {
    "classifier": ("classifier", "the mean of each channel, and a linear layer: a score for each class"),
    "segmenter": ("scores", "a 1 x 1 convolution: a score for each class at each place"),
}
_QUERY_OR_KEY = re.compile(r"(mobilevit\.encoder\.layer\.(\d)\.transformer\.layer\.(\d+)\..*)\.(query|key)")


@dataclass(frozen=True)
class Stage:
    """A part of the network: its output for the photo (C, H, W) or (K), what it's made of, and its time."""

    title: str
    words: str
    output: np.ndarray
    parameters: int
    macs: int
    seconds: float


@dataclass(frozen=True)
class Layer:
    """What a transformer layer's attention is made from: queries and keys, (P, N, D) each.

    The N patches lie in a grid of ``patches`` = (nh, nw). ``path`` is that of the probabilities.
    """

    title: str
    path: str
    patches: tuple[int, int]
    heads: int
    queries: np.ndarray
    keys: np.ndarray


@dataclass(frozen=True)
class Explanation:
    """All that the page shows of one photo."""

    checkpoint: Checkpoint
    photo: np.ndarray  # (H, W, 3), as it was given
    region: Region  # the part of it that the network sees
    seen: np.ndarray  # (H', W', 3), that part at the size at which it's seen
    stages: tuple[Stage, ...]
    layers: tuple[Layer, ...]
    logits: np.ndarray  # (K) or (K, H', W')


def explain(
    source: Any, weights: Any = None, profile: str | Profile | None = None, *, prefix: str | None = None
) -> Explanation:
    """Run the network at ``weights`` (by default the shipped classifier) on a photo, and keep what the page shows.

    ``prefix`` chooses among several networks in the weights' file.

    Raises InputError for a backbone without a head, and for a photo too big; ImageError and CheckpointError and their
    kin as opening raises them.
    """
    checkpoint = open_checkpoint(
        DEFAULTS["classifier"] if weights is None else weights, dtype=np.float32, prefix=prefix
    )
    if checkpoint.task not in _LAST:
        raise InputError(f"{checkpoint.name} is a {checkpoint.task}; give the weights of a classifier or a segmenter")
    check_task(checkpoint, checkpoint.task)
    steps = profile_of(checkpoint, profile)
    photo = decode(source)
    cut, steps, region = _PREPARED[checkpoint.task](photo.shape[:2], steps)
    seen = _as_seen(cut(photo), steps)
    size = (seen.shape[0], seen.shape[1])
    check_size(*size)
    check_memory(*size, checkpoint)
    given = cut(with_channels(photo, checkpoint.config.num_channels))
    outputs, seconds = _runs(preprocess(given, steps, dtype=checkpoint.dtype), checkpoint)
    check_answer(outputs[_HEAD], checkpoint)
    summary = summarize(checkpoint.config, checkpoint.task, size, expand_output=checkpoint.expand_output)
    stages = tuple(_stage(path, outputs[path][0], seconds[path], summary, checkpoint) for path in seconds)
    layers = _layers(outputs, checkpoint.config.num_attention_heads)
    return Explanation(checkpoint, photo, region, seen, stages, layers, outputs[_HEAD][0])


_Prepared = tuple[Callable[[np.ndarray], np.ndarray], Profile, Region]  # what's done first, the rest, what it shows


def _cropped(photo: tuple[int, ...], profile: Profile) -> _Prepared:
    return (lambda image: image), profile, crop_region(photo[0], photo[1], profile)


def _whole(photo: tuple[int, ...], profile: Profile) -> _Prepared:
    """As ``Segmenter`` does it; of several windows the middle one."""
    size, longest = network_size(photo, profile)
    every = list(windows(size, longest))
    top, left, height, width = part = every[len(every) // 2]
    down, across = photo[0] / size[0], photo[1] / size[1]
    region = Region(top * down, left * across, (top + height) * down, (left + width) * across)
    cut = partial(resize_photo, size=size, resample=profile.resample, part=part if len(every) > 1 else None)
    return cut, replace(profile, size=None, crop=None), region


_PREPARED = {"classifier": _cropped, "segmenter": _whole}


def _as_seen(photo: np.ndarray, profile: Profile) -> np.ndarray:
    """The photo resized and cropped, and nothing else: (H, W, 3) -> (H', W', 3) uint8"""
    steps = replace(profile, rescale_factor=None, mean=None, std=None, flip_channels=False)
    return np.ascontiguousarray(run_steps(photo.transpose(2, 0, 1), steps).transpose(1, 2, 0))


def _runs(pixel_values: np.ndarray, checkpoint: Checkpoint) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """What stages and attention give, by path, and in another run the seconds of each stage."""
    outputs: dict[str, np.ndarray] = {}
    moments: dict[str, float] = {}

    def keep(path: str, output: np.ndarray) -> None:
        if _is_stage(path) or _QUERY_OR_KEY.fullmatch(path):
            outputs[path] = output.copy()

    def look_at_the_clock(path: str, _: np.ndarray) -> None:
        if _is_stage(path):
            moments[path] = time.perf_counter()

    _run(pixel_values, checkpoint, keep)
    start = time.perf_counter()
    _run(pixel_values, checkpoint, look_at_the_clock)
    before = [start, *moments.values()]
    return outputs, {path: moment - earlier for (path, moment), earlier in zip(moments.items(), before, strict=False)}


def _run(pixel_values: np.ndarray, checkpoint: Checkpoint, listener: Callable[[str, np.ndarray], None]) -> None:
    scope = Scope(checkpoint.tensors).listen(listener)
    compile_network("reference", checkpoint.task, scope, checkpoint.config)(pixel_values)


def _is_stage(path: str) -> bool:
    return path == _HEAD or path.removeprefix(PREFIX) in _STAGES


def _stage(path: str, output: np.ndarray, seconds: float, summary: Summary, checkpoint: Checkpoint) -> Stage:
    name = path.removeprefix(PREFIX)
    title, words = _STAGES.get(name) or _LAST[checkpoint.task]
    of_head = ("classifier", "segmentation_head.classifier")
    rows = [row for row in summary.rows if (row.module in of_head if path == _HEAD else is_within(row.module, name))]
    return Stage(title, words, output, sum(row.parameters for row in rows), sum(row.macs for row in rows), seconds)


def _layers(outputs: dict[str, np.ndarray], heads: int) -> tuple[Layer, ...]:
    layers = []
    for path, queries in outputs.items():
        found = _QUERY_OR_KEY.fullmatch(path)
        if found and found[4] == "query":
            H, W = outputs[f"{PREFIX}encoder.layer.{found[2]}"].shape[2:]
            side = round(len(queries) ** 0.5)  # B*P, of one photo: P = p*p
            patches = (-(-H // side), -(-W // side))
            title, keys = f"L{int(found[2]) + 1}, layer {found[3]}", outputs[f"{found[1]}.key"]
            layers.append(Layer(title, f"{found[1]}.probabilities", patches, heads, queries, keys))
    return tuple(layers)

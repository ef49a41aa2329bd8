"""A Keras port's activations, the output of every layer's ``call``, run eagerly, and its weights.

A layer's name here is the path to it, the names of the layers around it and its own joined by dots: for transformers'
TensorFlow models those are our paths. It works with Keras 2, tf_keras and Keras 3.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..file import LOGITS, PIXELS, Golden
from ..identity import parameter_name
from .collecting import METHODS, first_of, input_of, keep_call

_AGAIN = ("Dropout", "ZeroPadding2D", "InputLayer")  # repeat their input, or aren't layers of ours
_PROBABILITIES = "attention.attention"  # except the dropout in here, after the softmax


def record_keras(model: Any, source: Golden | np.ndarray, *, channels_last: bool = False) -> dict[str, np.ndarray]:
    """Run a model on a golden's input (or pixel values): every layer's output, by the path of layers' names.

    The model's own output is called ``logits``. transformers' model without a head has none: its output is that of its
    only layer, ``mobilevit``.

    transformers' models take channels first; ``channels_last`` transposes the input for others. The model is called in
    inference mode, which is Keras' default, and left as it was. Raises InputError for an input that is neither a
    network's golden nor pixel values.
    """
    pixels = input_of(source)
    seen = {PIXELS: pixels}
    given = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)) if channels_last else pixels
    paths: dict[int, str] = {}
    with _watching(model, seen, paths):
        model(given)
    seen |= _weights(model, paths)
    if [layer.name for layer in model._flatten_layers(recursive=False, include_self=False)] == ["mobilevit"]:
        del seen[LOGITS]
    return seen


def _layers(model: Any) -> list[Any]:
    """The model and every layer in it, once."""
    return list({id(layer): layer for layer in model._flatten_layers(recursive=True, include_self=True)}.values())


def _weights(model: Any, paths: Mapping[int, str]) -> dict[str, np.ndarray]:
    """Each layer's own weights, not those of the layers within it."""
    found: dict[str, np.ndarray] = {}
    for layer in _layers(model):
        parts = layer._flatten_layers(recursive=True, include_self=False)
        inner = {id(each) for part in parts for each in part.weights}
        for each in layer.weights:
            if id(each) not in inner and id(layer) in paths:
                leaf = each.name.rpartition("/")[2].partition(":")[0]
                found[parameter_name(paths[id(layer)] or LOGITS, leaf)] = _array(each)
    return found


@contextmanager
def _watching(model: Any, seen: dict[str, np.ndarray], paths: dict[int, str]) -> Iterator[None]:
    """Every layer's methods replaced for a while by ones that keep their output, without Keras tracking the attributes.

    ``paths`` gets the layers' paths, which are known when they're called.
    """
    around: list[str] = []  # the names of the layers being computed, outermost first
    changed = []
    for layer in _layers(model):
        for method in ("call", *METHODS):
            if hasattr(layer, method):
                changed.append((layer, method, vars(layer).get(method)))
                name = method if method != "call" else "" if layer is model else layer.name
                object.__setattr__(layer, method, _watched(layer, method, name, around, seen, paths))
    try:
        yield
    finally:
        for layer, method, own in changed:
            object.__delattr__(layer, method) if own is None else object.__setattr__(layer, method, own)


def _watched(
    layer: Any, method: str, name: str, around: list[str], seen: dict[str, np.ndarray], paths: dict[int, str]
) -> Callable[..., Any]:
    compute = getattr(layer, method)

    def call(*arguments: Any, **options: Any) -> Any:
        around.append(name)
        try:
            output = compute(*arguments, **options)
            path = ".".join(filter(None, around))
        finally:
            around.pop()
        paths.setdefault(id(layer), path)
        if type(layer).__name__ not in _AGAIN or ".".join(around).endswith(_PROBABILITIES):
            keep_call(seen, path or LOGITS, _array(first_of(output)))
        return output

    return call


def _array(tensor: Any) -> np.ndarray:
    """A copy of a tensor or variable as an array; Keras 3 may run on PyTorch, whose tensors carry gradients."""
    value = getattr(tensor, "value", tensor)
    return np.array(value.detach().cpu() if hasattr(value, "detach") else tensor)

"""A Keras port's activations: what every layer's ``call`` gives, run eagerly.

A layer's name here is the path to it, the names of the layers around it joined by dots: for transformers' TensorFlow
models those are our paths. It works alike for Keras 2, tf_keras and Keras 3.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ..file import LOGITS, PIXELS, Golden
from .collecting import METHODS, first_of, input_of

_AGAIN = ("Dropout", "ZeroPadding2D", "InputLayer")  # show once more what came before them, or no layer of ours
_PROBABILITIES = "attention.attention"  # but the dropout in here shows the softmax


def record_keras(model: Any, source: Golden | np.ndarray, *, channels_last: bool = False) -> dict[str, np.ndarray]:
    """Run a model on a golden's input (or pixel values); what every layer gives, by the path of layers' names.

    What the model itself gives is called ``logits``. transformers' model without a head has none: it gives what its one
    layer does, ``mobilevit``.

    transformers' models take channels first; with ``channels_last`` the input is turned for those that don't.
    The model is left as it was. It isn't told to be in inference: that's how a Keras model is called by default.
    """
    pixels = input_of(source)
    seen = {PIXELS: pixels}
    given = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)) if channels_last else pixels
    with _watching(model, seen):
        model(given)
    if [layer.name for layer in model._flatten_layers(recursive=False, include_self=False)] == ["mobilevit"]:
        del seen[LOGITS]
    return seen


@contextmanager
def _watching(model: Any, seen: dict[str, np.ndarray]) -> Iterator[None]:
    """Watched methods in place of every layer's own, for a while. Set behind Keras' back, which tracks attributes."""
    around: list[str] = []  # the names of the layers that are being computed, outermost first
    changed = []
    for layer in model._flatten_layers(recursive=True, include_self=True):
        for method in ("call", *METHODS):
            if hasattr(layer, method):
                changed.append((layer, method, vars(layer).get(method)))
                name = method if method != "call" else "" if layer is model else layer.name
                object.__setattr__(layer, method, _watched(layer, method, name, around, seen))
    try:
        yield
    finally:
        for layer, method, own in changed:
            object.__delattr__(layer, method) if own is None else object.__setattr__(layer, method, own)


def _watched(layer: Any, method: str, name: str, around: list[str], seen: dict[str, np.ndarray]) -> Callable[..., Any]:
    compute = getattr(layer, method)

    def call(*arguments: Any, **options: Any) -> Any:
        around.append(name)
        try:
            output = compute(*arguments, **options)
            path = ".".join(filter(None, around))
        finally:
            around.pop()
        if type(layer).__name__ not in _AGAIN or ".".join(around).endswith(_PROBABILITIES):
            seen[path or LOGITS] = np.array(first_of(output))
        return output

    return call

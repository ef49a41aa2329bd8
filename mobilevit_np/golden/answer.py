"""What a port hands out as its answer, if it calls nothing ``logits``.

The right logits inside a port help nobody if the network ends in a softmax. So a softmax over the classes is the
answer, wherever it stands; without one, the port's last tensor, unless that's known to be something else. But a port
may record its probabilities beside its logits: a tensor whose name says what it is (``probabilities``,
``head.softmax``) isn't compared with anything.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping

import numpy as np

_EXTRA = re.compile("prob|softmax", re.IGNORECASE)
_SUMS_TO_ONE = 0.01  # to so much, in half precision too
Tensors = Mapping[str, np.ndarray]


def extras(port: Tensors, logits: np.ndarray, mapped: Container[str]) -> tuple[str, ...]:
    """The tensors whose names say that they are probabilities, if there's another of the logits' size to be judged.

    What the user has ``mapped`` is what the map says.
    """
    same = _of_the_size(port, logits)
    found = tuple(name for name in same if _EXTRA.search(name) and name not in mapped)
    return found if len(found) < len(same) else ()


def answer(port: Tensors, logits: np.ndarray, known: Container[str]) -> str | None:
    """The port's answer: the last softmax, else its last tensor, if that's as large and isn't ``known`` as another."""
    same = _of_the_size(port, logits)
    softmaxes = [name for name, tensor in same.items() if _is_softmax(tensor, logits.shape[1])]
    last = [name for name in list(port)[-1:] if name in same and name not in known]
    return next(iter(softmaxes[-1:] or last), None)


def _of_the_size(port: Tensors, logits: np.ndarray) -> Tensors:
    classes = logits.shape[1]
    return {name: tensor for name, tensor in port.items() if tensor.size == logits.size and classes in tensor.shape}


def _is_softmax(tensor: np.ndarray, classes: int) -> bool:
    """Whether it's probabilities, or their logarithms, over an axis as long as there are classes."""
    with np.errstate(all="ignore"):
        x = tensor.astype(np.float64)
        x = x if x.min(initial=0) >= 0 else np.exp(x)
        sums = [x.sum(axis) for axis, length in enumerate(x.shape) if length == classes]
    return any(np.abs(each - 1).max(initial=0) < _SUMS_TO_ONE for each in sums)

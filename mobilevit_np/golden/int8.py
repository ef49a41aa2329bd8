"""What rounding a layer's operands to int8 does to it.

Half a step of its output is a fair floor for most layers of a quantized port, but not for one that adds up large
products which nearly cancel: its operands' rounding remains where the products don't. So the reference is run once more
with operands in int8's steps, as TFLite's dynamic range rounds them. Attention's two products have no weights, and stay
in float there.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..scope import Scope
from .measure import LARGEST, MULTIPLE, error
from .network import Network

_ROUNDINGS = 2  # times what rounding its operands does to a layer are allowed
_SMALLEST = 1024  # numbers in a weight: TFLite leaves those with fewer in float


def operand_noise(rounded: np.ndarray, exact: np.ndarray) -> float:
    """The share of the floor that a layer's operands call for: ``MULTIPLE`` of it make ``_ROUNDINGS``, at most half.

    Nothing where the port's numbers aren't finite: they mustn't excuse the layer that they are fed to.
    """
    cost = _ROUNDINGS * error(rounded, exact)
    return min(cost, LARGEST) / MULTIPLE if math.isfinite(cost) else 0.0


def round_operands(network: Network) -> Callable[[Scope], Scope]:
    """A function that wraps a scope so that every product with a large weight gets both operands in int8's steps."""

    def multiply(compute: Callable[..., np.ndarray], x: np.ndarray, here: Scope, *args: Any, **kwargs: Any) -> Any:
        weight = network.tensors.get(f"{here.path}.weight")
        if weight is None or weight.ndim < 2 or weight.size < _SMALLEST:  # a container, a normalization, or too small
            return compute(x, here, *args, **kwargs)
        steps = {"weight": _around_zero(weight)}
        return compute(_from_least_to_largest(x, linear=weight.ndim == 2), here.with_tensors(steps), *args, **kwargs)

    return lambda scope: scope.wrap("*", multiply)


def _around_zero(weight: np.ndarray) -> np.ndarray:
    """255 steps, evenly around 0, for each output.

    (O, ...) -> (O, ...)
    """
    largest = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True)
    step = np.where(largest > 0, largest, 1.0) / 127
    return np.asarray(np.rint(weight / step) * step)


def _from_least_to_largest(x: np.ndarray, *, linear: bool) -> np.ndarray:
    """256 steps from the least to the largest value, 0 among them: of each token, or of each image's map.

    (..., D), or (B, C, H, W) -> the same
    """
    axes, finite = (-1,) if linear else (1, 2, 3), np.isfinite(x)
    least = x.min(axis=axes, keepdims=True, initial=0, where=finite)
    extent = x.max(axis=axes, keepdims=True, initial=0, where=finite) - least
    step = np.where(extent > 0, extent, 1.0) / 255
    return np.asarray(np.rint(x / step) * step)

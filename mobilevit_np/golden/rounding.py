"""What rounding to a coarser precision does to each layer: the noise floors of int8, float16 and bfloat16 ports.

Half a step of its output is a fair floor for most layers of a quantized port, but not for one that sums large products
which nearly cancel: the products vanish, the rounding of their operands stays. So the reference is run once more with
operands in int8's steps, as TFLite's dynamic range rounds them. Attention's two products have no weights, and stay in
float there.

A port in half precision rounds its weights, every layer's output, and the scores between attention's two products; it
sums in float32. PyTorch's stay within 3.5 times what that does to a layer (tests/parity/test_half.py asserts 5).

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import ops
from ..scope import Scope
from .measure import MAX_ERROR, MULTIPLE, UNITS, error
from .network import Network

Plant = Callable[[Scope], Scope]
_ROUNDINGS = {"int8": 2, "float16": 6, "bfloat16": 6}  # how many times what rounding does to a layer is allowed
_COPIED = {"int8": 1.0, "float16": 1 / 8, "bfloat16": 1 / 8}  # the least floor, in units of rounding
_MIN_QUANTIZED = 1024  # numbers in a weight: TFLite leaves smaller ones in float


def rounding_noise(rounded: np.ndarray, exact: np.ndarray, precision: str) -> float:
    """The floor of which ``MULTIPLE`` times is ``_ROUNDINGS`` times what rounding does to a layer, or half if less.

    It's the least floor if the port's numbers aren't finite: they mustn't excuse the layer that they are fed to.
    """
    cost = _ROUNDINGS[precision] * error(rounded, exact)
    noise = min(cost, MAX_ERROR) / MULTIPLE if math.isfinite(cost) else 0.0
    return max(noise, _COPIED[precision] * UNITS[precision])


def roundings(network: Network) -> dict[str, Plant]:
    """For each precision coarser than float32: a function that wraps a scope so that it rounds as such a port does."""
    return {
        "int8": _round_operands(network),
        "float16": _round_values(network, _to_float16),
        "bfloat16": _round_values(network, _to_bfloat16),
    }


def _round_values(network: Network, to_half: Callable[[np.ndarray], np.ndarray]) -> Plant:
    """Weights, and every module's output, in half precision."""
    weights = {name: to_half(tensor) for name, tensor in network.tensors.items()}

    def round_output(compute: Callable[..., np.ndarray], x: np.ndarray, *arguments: Any, **options: Any) -> np.ndarray:
        return to_half(compute(x, *arguments, **options))

    def round_scores(
        compute: Callable[..., np.ndarray], query: np.ndarray, here: Scope, key: np.ndarray, heads: int, **_: Any
    ) -> np.ndarray:
        query, key = ops.split_heads(query, heads), ops.split_heads(key, heads)
        scores = to_half(query @ key.swapaxes(-1, -2))
        return to_half(ops.softmax(to_half(scores / math.sqrt(query.shape[-1]))))

    return lambda scope: scope.with_tensors(weights).wrap("*", round_output).wrap("*.probabilities", round_scores)


def _to_float16(array: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float16).astype(array.dtype)


def _to_bfloat16(array: np.ndarray) -> np.ndarray:
    """The nearest numbers that need only the upper half of float32's bits; ties to even."""
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & np.uint32(0xFFFF0000)).view(np.float32).astype(array.dtype)


TO_HALF = {"float16": _to_float16, "bfloat16": _to_bfloat16}


def is_quantized(weight: np.ndarray) -> bool:
    """Whether an int8 port rounds this parameter: a product's weight, and not too small."""
    return weight.ndim > 1 and weight.size >= _MIN_QUANTIZED


def _round_operands(network: Network) -> Plant:
    """Every product with a large weight gets both operands in int8's steps."""

    def multiply(compute: Callable[..., np.ndarray], x: np.ndarray, here: Scope, *args: Any, **kwargs: Any) -> Any:
        weight = network.tensors.get(f"{here.path}.weight")
        if weight is None or not is_quantized(weight):
            return compute(x, here, *args, **kwargs)
        steps = {"weight": _around_zero(weight)}
        return compute(_from_least_to_largest(x, linear=weight.ndim == 2), here.with_tensors(steps), *args, **kwargs)

    return lambda scope: scope.wrap("*", multiply)


def _around_zero(weight: np.ndarray) -> np.ndarray:
    """255 steps, symmetric around 0, for each output.

    (O, ...) -> (O, ...)
    """
    largest = np.abs(weight).max(axis=tuple(range(1, weight.ndim)), keepdims=True)
    step = np.where(largest > 0, largest, 1.0) / 127
    return np.asarray(np.rint(weight / step) * step)


def _from_least_to_largest(x: np.ndarray, *, linear: bool) -> np.ndarray:
    """256 steps from the least to the largest value, 0 included, for each token or each image's map.

    (..., D), or (B, C, H, W) -> the same
    """
    axes, finite = (-1,) if linear else (1, 2, 3), np.isfinite(x)
    least = x.min(axis=axes, keepdims=True, initial=0, where=finite)
    extent = x.max(axis=axes, keepdims=True, initial=0, where=finite) - least
    step = np.where(extent > 0, extent, 1.0) / 255
    return np.asarray(np.rint(x / step) * step)

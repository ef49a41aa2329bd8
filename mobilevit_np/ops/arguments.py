"""What holds for the arguments of every operation.

``@arithmetic`` marks what computes with floats, and is where float16 is dealt with. The checks turn a wrong argument
into one clear line, before NumPy broadcasts it to something that nobody meant.

Explained in tutorials/03-batch-norm-and-silu.md.
"""

from __future__ import annotations

import functools
import inspect
import numbers
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

from ..errors import InputError

P = ParamSpec("P")
R = TypeVar("R")
_ARRAYS = (np.ndarray, np.generic)  # a sum over all axes is one of NumPy's scalars


def arithmetic(function: Callable[P, R]) -> Callable[P, R]:
    """Compute float16 in float32 and round once, as PyTorch does on a CPU; leave every other dtype as it is.

    In float16 itself sums lose digits, and a square overflows from 256 on. Where float16 meets a wider dtype, the
    result has the wider. Raises InputError unless every parameter annotated ``np.ndarray`` is an array of floats.
    """
    annotations = {name: str(each.annotation) for name, each in inspect.signature(function).parameters.items()}
    optional = {name: "None" in text for name, text in annotations.items() if text.startswith("np.ndarray")}
    names = list(annotations)
    compute: Callable[..., R] = function

    @functools.wraps(function)
    def call(*arguments: P.args, **keywords: P.kwargs) -> R:
        given = {**dict(zip(names, arguments, strict=False)), **keywords}
        tensors = {name: given[name] for name in optional if name in given}
        tensors = {name: each for name, each in tensors.items() if not (each is None and optional[name])}
        for name, each in tensors.items():
            _check_floats(function.__name__, name, each)
        halves = [_is_half(each) for each in tensors.values()]
        if not any(halves):
            return compute(*arguments, **keywords)
        result = compute(*map(_widened, arguments), **{name: _widened(each) for name, each in keywords.items()})
        return _rounded(result) if all(halves) else result

    return call


def _check_floats(operation: str, name: str, value: Any) -> None:
    if not isinstance(value, _ARRAYS):
        raise InputError(f"{operation} takes {name} as a NumPy array of floats, not as {type(value).__name__}")
    if value.dtype.kind != "f":
        raise InputError(f"{operation} takes {name} in floats, not in {value.dtype}: cast it to float32 first")


def _is_half(value: Any) -> bool:
    return isinstance(value, _ARRAYS) and value.dtype.kind == "f" and value.dtype.itemsize == 2


def _widened(value: Any) -> Any:
    return value.astype(np.float32) if _is_half(value) else value


def _rounded(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(map(_rounded, result))
    return result.astype(np.float16) if result.dtype == np.float32 else result


def check_axes(operation: str, name: str, x: Any, axes: str) -> None:
    """Raise InputError unless ``x`` is an array with as many axes as are named, as in "B, C, H, W"."""
    if not isinstance(x, np.ndarray):
        raise InputError(f"{operation} takes {name} as a NumPy array ({axes}), not as {type(x).__name__}")
    if x.ndim != axes.count(",") + 1:
        raise InputError(f"{operation} takes {name} as an array ({axes}), not of shape {x.shape}")


def check_shape(taker: str, name: str, value: np.ndarray | None, shape: tuple[int, ...]) -> None:
    """Raise InputError if a parameter is there and has another shape: NumPy would broadcast a shorter one."""
    if value is not None and value.shape != shape:
        raise InputError(f"{taker} takes a {name} of shape {shape}, not {value.shape}")


def check_whole_number(name: str, value: Any, *, at_least: int | None = None) -> None:
    """Raise InputError unless ``value`` is a single whole number, and no smaller than ``at_least``."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or (at_least is not None and value < at_least):
        bound = "" if at_least is None else f" of at least {at_least}"
        raise InputError(f"{name} must be a whole number{bound}, not {value!r:.40}")


def check_number(name: str, value: Any) -> None:
    """Raise InputError unless ``value`` is a single real number."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise InputError(f"{name} must be a number, not {value!r:.40}")


def check_size(value: Any) -> None:
    """Raise InputError unless ``value`` is (H, W): two whole numbers of at least 0."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InputError(f"a size must be two whole numbers (H, W), not {value!r:.40}")
    check_whole_number("a size's height", value[0], at_least=0)
    check_whole_number("a size's width", value[1], at_least=0)

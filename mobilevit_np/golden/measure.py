"""How far a tensor is from another, and how far it may be.

The measure is ``error``: the largest difference over the expected tensor's largest magnitude. A tolerance is a
multiple of the noise floor, which is the same measure between the reference in float32 and in float64. The reason:
rounding errors are proportional to the unit of rounding, whatever the order of sums; PyTorch's float32 stays within 6
floors of ours wherever it was measured (tests/parity/test_golden.py asserts 8), and ``MULTIPLE`` leaves other machines
more than twice that. No floor is smaller than one rounding of the largest value: a tensor that's merely copied has
none, and yet a port may round it.

A tensor in another precision gets the floor scaled by the units of rounding, float16's being 8192 times float32's; in
``replay`` what rounding does to each layer is measured (``rounding``). int8 is different: the operands of a layer are
rounded and their products summed exactly. Its floor is half a step of the largest value, and in ``replay``, which is
the way to compare it, more if rounding the operands does more to a layer. TFLite's dynamic-range int8 stays within 5
half steps with random weights (tests/parity_tf asserts 8), and reaches 25 in one layer of the shipped classifier. What
changes a layer by less than the tolerance, at least 6%, can't be seen in such a port: compare the file before it was
quantized.

Numbers that aren't finite are never right: NaN and infinity on either side are infinitely far, and a floor that isn't
finite allows nothing. Nor is an error of more than half, however high the floor: a tensor of zeros has 1.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

MULTIPLE = 16.0
UNITS = {  # of rounding, over the largest magnitude; int8's is half a step of 255 from end to end
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "bfloat16": 2.0**-8,
    "float16": 2.0**-11,
    "int8": 2.0**-8,
}
MAX_ERROR = 0.5  # that is ever allowed
_MIN_VALUES = 64  # different ones, from which a tensor's precision is told
_SHARE = 0.1  # of a port's tensors that must be rounded to a precision before it counts as the port's


@dataclass(frozen=True)
class Difference:
    """How far ``found`` is from ``expected``; the worst element's index and both values."""

    max_abs: float
    error: float  # max_abs over the largest magnitude expected; infinite if either side isn't finite
    relative_l2: float
    cosine: float
    worst: tuple[int, ...]
    expected: float
    found: float


def measure(found: np.ndarray, expected: np.ndarray) -> Difference:
    """The differences between two tensors of one shape; what isn't finite, in either, is infinitely far.

    Raises ValueError if the shapes differ.
    """
    theirs, ours = _alike(found, expected)
    if ours.size == 0:
        return Difference(0.0, 0.0, 0.0, 1.0, (), 0.0, 0.0)
    off = distances(theirs, ours)
    with np.errstate(all="ignore"):
        place = np.unravel_index(int(off.argmax()), off.shape)
        worst = float(off[place])
        return Difference(
            worst,
            _ratio(worst, _largest(ours)),
            _ratio(_norm(off), _norm(ours)),
            _cosine(theirs, ours),
            tuple(int(i) for i in place),
            float(ours[place]),
            float(theirs[place]),
        )


def distances(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """How far each element is off, float64; infinitely, never NaN, if either isn't finite.

    (...), (...) -> (...)
    """
    with np.errstate(all="ignore"):
        off = np.asarray(np.abs(found - expected))
        off[np.isnan(off)] = np.inf
    return off


def error(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest magnitude expected: ``measure``'s, without the rest.

    Raises ValueError if the shapes differ.
    """
    theirs, ours = _alike(found, expected)
    return _ratio(float(distances(theirs, ours).max(initial=0.0)), _largest(ours))


def _alike(found: np.ndarray, expected: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if found.shape != expected.shape:
        raise ValueError(f"shapes differ: {found.shape} and {expected.shape}")
    return np.asarray(found, np.float64), np.asarray(expected, np.float64)


def _largest(values: np.ndarray) -> float:
    """The largest finite magnitude; 0 if there is none."""
    magnitudes = np.abs(values)
    largest = float(magnitudes.max(initial=0.0))
    return largest if math.isfinite(largest) else float(magnitudes[np.isfinite(magnitudes)].max(initial=0.0))


def allowed(noise: float, multiple: float = MULTIPLE) -> float:
    """The largest error that's right if the noise floor, in the port's precision, is ``noise``."""
    return min(multiple * noise, MAX_ERROR) if math.isfinite(noise) else 0.0


def floor(noise: float, precision: str = "float32") -> float:
    """The noise floor in ``precision``, never below one rounding of the largest value."""
    if precision == "int8":
        return max(noise, UNITS["int8"])
    return max(noise, UNITS["float32"]) * UNITS[precision] / UNITS["float32"]


def precision_of(tensors: Iterable[np.ndarray]) -> str:
    """The coarsest precision that a share of the tensors is rounded to, whatever dtype they are stored in.

    It's told by the numbers: float16's fit float16 exactly. Integers (a quantized port's) count as int8; if they're
    stored as floats, the user must say so.
    """
    names = [name for name in map(_precision, tensors) if name is not None]
    common = [name for name in UNITS if names.count(name) > _SHARE * len(names)]
    return max(common, key=UNITS.__getitem__, default="float32")


def precisions_of(tensors: Mapping[str, np.ndarray], precision: str) -> dict[str, str]:
    """Each tensor's own precision if it's coarser than ``precision``, the port's; else that."""
    own = {name: _precision(tensor) or precision for name, tensor in tensors.items()}
    return {name: max(precision, found, key=UNITS.__getitem__) for name, found in own.items()}


def _precision(tensor: np.ndarray) -> str | None:
    if tensor.dtype.kind in "iu":
        return "int8"
    values = tensor.ravel()[:4096].astype(np.float64)
    values = values[np.isfinite(values)]
    if all(np.unique(some).size < _MIN_VALUES for some in (values[:256], values)):  # the first mostly suffice
        return None
    with np.errstate(over="ignore"):
        narrow = values.astype(np.float32)
        if not np.array_equal(narrow.astype(np.float64), values):
            return "float64"
        if not np.any(narrow.view(np.uint32) & 0xFFFF):
            return "bfloat16"  # before float16, which holds most of its numbers too
        return "float16" if np.array_equal(values.astype(np.float16).astype(np.float64), values) else "float32"


def _ratio(part: float, whole: float) -> float:
    if not np.isfinite(part):
        return float("inf")
    return part / whole if whole else (float("inf") if part else 0.0)


def _norm(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).sum()))


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    lengths = _norm(a) * _norm(b)
    if lengths == 0:
        return 1.0 if _norm(a) == _norm(b) else 0.0
    return float((a * b).sum() / lengths)

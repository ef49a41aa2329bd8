"""The number formats of checkpoints as NumPy arrays.

They go by their safetensors names. NumPy has no bfloat16: its 16 bits are the upper half of a float32, so reading
shifts them into place (exact), and writing rounds to nearest, ties to even, as torch does.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from ..errors import CheckpointError, InputError

STORED = {  # NumPy's code for what is in the file, without the byte order
    "F64": "f8", "F32": "f4", "F16": "f2", "BF16": "u2",
    "I64": "i8", "I32": "i4", "I16": "i2", "I8": "i1",
    "U64": "u8", "U32": "u4", "U16": "u2", "U8": "u1", "BOOL": "u1",
}  # fmt: skip
MAX_DIMENSIONS = 8  # a convolution's weight has four
MAX_NUMBERS = 1 << 48
FLOATING = ("F64", "F32", "F16", "BF16")
_SPELLINGS = {  # what people type
    "float64": "F64", "double": "F64", "float32": "F32", "float": "F32", "float16": "F16", "half": "F16",
    "bfloat16": "BF16",
}  # fmt: skip
_OF_NUMPY = {np.dtype(stored).name: name for name, stored in STORED.items() if name not in ("BF16", "BOOL")}
_OF_NUMPY["bool"] = "BOOL"


def float_type(dtype: Any, known: Sequence[str] = ("float32", "float64", "float16")) -> np.dtype:
    """``dtype``, however it's spelled, as NumPy's. Raises InputError unless it's one of ``known``."""
    try:
        found = np.dtype(object if dtype is None else dtype)  # NumPy takes None for float64
    except (TypeError, ValueError):
        found = np.dtype(object)
    if found.name not in known:
        raise InputError(f"dtype must be {', '.join(known[:-1])} or {known[-1]}, not {dtype!s:.40}")
    return found.newbyteorder("=")


def are_counts(values: Any, limit: int) -> TypeGuard[Sequence[int]]:
    """Whether a value from a file is a list of at most ``limit`` whole numbers, from 0 to more than any file holds."""
    if not isinstance(values, (list, tuple)) or len(values) > limit:
        return False
    return all(type(value) is int and 0 <= value < MAX_NUMBERS for value in values)


def is_shape(value: Any) -> TypeGuard[Sequence[int]]:
    """Whether a value from a file is a list of sizes, 0 included, that NumPy can make an array of."""
    return are_counts(value, MAX_DIMENSIONS) and math.prod(size for size in value if size) < MAX_NUMBERS


def decode(stored: np.ndarray, name: str) -> np.ndarray:
    """Numbers as stored -> a new array in native byte order: bfloat16 as float32, BOOL as bool, the rest as is."""
    if name == "BF16":
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if name == "BOOL":
        return stored != 0
    return stored.astype(stored.dtype.newbyteorder("="))


def encode(values: np.ndarray, name: str) -> bytes:
    """The little-endian bytes of ``values`` in the format ``name``.

    Raises CheckpointError if a finite number becomes infinite (float16 ends at 65504).
    """
    if name == "BF16":
        return _narrow_bfloat16(cast(values, np.dtype(np.float32))).astype("<u2").tobytes()
    return cast(values, np.dtype(bool if name == "BOOL" else STORED[name])).astype("<" + STORED[name]).tobytes()


def name_of(array: np.ndarray) -> str:
    """The format's name for an array's dtype. Raises InputError if a checkpoint can't hold it."""
    try:
        return _OF_NUMPY[array.dtype.name]
    except KeyError:
        raise InputError(f"a checkpoint can't hold numbers of the type {array.dtype}; convert them first") from None


def parse_name(dtype: Any) -> str:
    """``float32``, ``F32``, ``bfloat16``, NumPy's types... -> the format's name. Raises InputError for others."""
    text = str(getattr(dtype, "__name__", dtype))
    name = _SPELLINGS.get(text.lower(), text.upper())
    if name not in FLOATING:
        raise InputError(f"{text!r:.40} is not a dtype for weights; choose from float64, float32, float16, bfloat16")
    return name


def cast(values: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """``values`` in another dtype. Raises CheckpointError if a finite number becomes infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        result = values.astype(dtype)
    if dtype.kind == "f" and values.dtype.kind == "f" and not np.array_equal(np.isinf(values), np.isinf(result)):
        largest = float(np.max(np.abs(values)))
        raise CheckpointError(f"a number of {largest:g} doesn't fit {dtype.name}; use a wider dtype")
    return result


def cast_floats(tensors: Mapping[str, np.ndarray], dtype: np.dtype | None = None) -> dict[str, np.ndarray]:
    """The floating tensors in one dtype: ``dtype``, else the widest among them, but at least float32; the rest as is.

    Raises CheckpointError if a finite number becomes infinite.
    """
    floating = {name: tensor for name, tensor in tensors.items() if tensor.dtype.kind == "f"}
    widest = np.result_type(np.float32, *(tensor.dtype for tensor in floating.values()))
    target = widest if dtype is None else dtype
    return {**tensors, **{name: cast(tensor, target) for name, tensor in floating.items() if tensor.dtype != target}}


def _narrow_bfloat16(values: np.ndarray) -> np.ndarray:
    bits = values.view(np.uint32)
    rounding = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    upper = (bits.astype(np.uint64) + rounding) >> np.uint64(16)
    return np.where(np.isnan(values), (bits >> np.uint32(16)) | np.uint32(0x40), upper).astype(np.uint16)

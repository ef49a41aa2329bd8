"""The safetensors format, read and written.

Eight bytes of header length, a JSON header ``{name: {dtype, shape, data_offsets}}``, then the numbers, little-endian
and without gaps. The ``safetensors`` package reads it and checks all its rules; what it returns are bytes, which become
arrays here because NumPy has no bfloat16. Writing is ours, since the package's way to write bytes has changed between
versions. The tests compare with what it writes, byte for byte.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError, deserialize

from ..errors import CheckpointError
from . import dtypes
from .contents import TensorFile
from .files import first_line

_ALIGNMENT = 8
MAX_HEADER_BYTES = 4 << 20  # some 40,000 tensors; a MobileViT has 300
_NARROWEST_FIRST = ("BOOL", "U8", "I8", "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "F64", "I64", "U64")


def parse(data: bytes) -> TensorFile:
    """The tensors in a safetensors file's bytes. Raises CheckpointError if they break the format's rules."""
    if data[8:9] != b"{":
        raise CheckpointError(
            "this is neither a safetensors file nor one that PyTorch wrote, or it's damaged; download it again"
        )
    length = int.from_bytes(data[:8], "little")
    if MAX_HEADER_BYTES < length <= len(data):
        raise CheckpointError(f"its header holds {length:,} bytes, and {MAX_HEADER_BYTES:,} is the most here")
    try:
        entries = dict(deserialize(data))  # type: ignore[no-untyped-call]
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__") or {}
    except (SafetensorError, ValueError, RecursionError) as error:
        problem = first_line(error)
        raise CheckpointError(f"it isn't a whole safetensors file, but cut off or damaged: {problem}") from None
    tensors = {name: _array(name, entry) for name, entry in entries.items()}
    return TensorFile(tensors, {name: entry["dtype"] for name, entry in entries.items()}, "safetensors", metadata)


def serialize(
    tensors: Mapping[str, np.ndarray],
    *,
    stored_as: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """A safetensors file's bytes. ``stored_as`` names the format of some tensors (``BF16``); the rest stay as they are.

    The order is the package's: widest numbers first, then by name, so that all are aligned.
    Raises CheckpointError if a number doesn't fit, InputError if NumPy's type has no counterpart.
    """
    names = {name: (stored_as or {}).get(name) or dtypes.name_of(array) for name, array in tensors.items()}
    header: dict[str, Any] = {"__metadata__": dict(sorted(metadata.items()))} if metadata else {}
    parts, end = [], 0
    for name in sorted(tensors, key=lambda name: (-_NARROWEST_FIRST.index(names[name]), name)):
        part = dtypes.encode(tensors[name], names[name])
        header[name] = {
            "dtype": names[name],
            "shape": list(tensors[name].shape),
            "data_offsets": [end, end + len(part)],
        }
        parts.append(part)
        end += len(part)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    text += b" " * (-len(text) % _ALIGNMENT)
    return b"".join([len(text).to_bytes(8, "little"), text, *parts])


def _array(name: str, entry: Mapping[str, Any]) -> np.ndarray:
    """One tensor from what the package returns: dtype, shape and bytes."""
    dtype, shape, data = entry["dtype"], entry["shape"], entry["data"]
    if dtype not in dtypes.STORED:
        known = ", ".join(dtypes.STORED)
        raise CheckpointError(f"tensor {name[:100]!r} is stored as {dtype}, which is not one of {known}")
    if not dtypes.is_shape(shape):
        raise CheckpointError(f"tensor {name[:100]!r} has a shape that NumPy can't make; the file is damaged")
    stored = np.frombuffer(data, "<" + dtypes.STORED[dtype], math.prod(shape))
    return dtypes.decode(stored.reshape(shape), dtype)

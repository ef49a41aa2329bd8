"""Floor 1. The safetensors format, read and written; imports errors and this package's files.

Eight bytes of header length, a JSON header ``{name: {dtype, shape, data_offsets}}``, then the numbers, little-endian
and without gaps. It's read here rather than through the ``safetensors`` package because that can't hand bfloat16 to
NumPy; the rules are the package's own (and the tests compare with it, byte for byte).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..errors import CheckpointError
from . import dtypes
from .files import first_line
from .tensor_file import TensorFile

MOST_HEADER_BYTES = 100_000_000  # the format's own limit
_ALIGNMENT = 8
_NARROWEST_FIRST = ("BOOL", "U8", "I8", "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "F64", "I64", "U64")


def parse(data: bytes) -> TensorFile:
    """The tensors in a safetensors file's bytes. Raises CheckpointError where they break the format's rules."""
    header, start = _header(data)
    metadata = _metadata(header.pop("__metadata__", None))
    entries = {name: _entry(name, value) for name, value in header.items()}
    _check_gapless(entries, len(data) - start)
    tensors = {
        name: dtypes.decode(
            np.frombuffer(data, "<" + dtypes.STORED[dtype], math.prod(shape), start + begin).reshape(shape), dtype
        )
        for name, (dtype, shape, begin, _) in entries.items()
    }
    return TensorFile(tensors, {name: entry[0] for name, entry in entries.items()}, "safetensors", metadata)


def serialize(
    tensors: Mapping[str, np.ndarray],
    *,
    stored_as: Mapping[str, str] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> bytes:
    """A safetensors file's bytes. ``stored_as`` names the format of some tensors (``BF16``); the rest stay as they are.

    The order is the package's: widest numbers first, then by name, so that all of them are aligned.
    Raises CheckpointError where a number doesn't fit, InputError where NumPy's type has no counterpart.
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


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 10 or data[8:9] != b"{":
        raise CheckpointError("this is neither a safetensors file nor a zip that PyTorch wrote")
    if length > min(MOST_HEADER_BYTES, len(data) - 8):
        raise CheckpointError(f"its header claims {length:,} bytes of a file of {len(data):,}; it's cut off or damaged")
    try:
        header = json.loads(data[8 : 8 + length].decode("utf-8"), object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"its header is damaged: {first_line(error)}") from None
    if not isinstance(header, dict):
        raise CheckpointError("its header is no JSON object; the file is damaged")
    return header, 8 + length


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _metadata(value: Any) -> dict[str, str]:
    value = {} if value is None else value
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise CheckpointError("its metadata are not texts under names; the file is damaged")
    return value


def _entry(name: str, value: Any) -> tuple[str, tuple[int, ...], int, int]:
    """dtype, shape, begin and end of one tensor, each checked by itself."""
    fields: dict[str, Any] = value if isinstance(value, dict) else {}
    dtype, shape, offsets = fields.get("dtype"), fields.get("shape"), fields.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in dtypes.STORED:
        known = ", ".join(dtypes.STORED)
        raise CheckpointError(f"tensor {name[:100]!r} is stored as {_short(dtype)}, which is not one of {known}")
    if not dtypes.is_shape(shape) or not dtypes.are_counts(offsets, 2) or len(offsets) != 2:
        raise CheckpointError(f"tensor {name[:100]!r} has no valid shape and place in the header; the file is damaged")
    begin, end = offsets
    if end - begin != math.prod(shape) * dtypes.item_size(dtype):
        raise CheckpointError(f"tensor {name[:100]!r} has a place that doesn't fit its shape; the file is damaged")
    return dtype, tuple(shape), begin, end


def _short(value: Any) -> str:
    return repr(value[:20]) if isinstance(value, str) else f"a {type(value).__name__}"


def _check_gapless(entries: Mapping[str, tuple[str, tuple[int, ...], int, int]], size: int) -> None:
    end = 0
    for _, _, begin, stop in sorted(entries.values(), key=lambda entry: entry[2:]):
        if begin != end:
            raise CheckpointError("its tensors overlap or leave gaps; the file is damaged")
        end = stop
    if end != size:
        what = "cut off" if end > size else "longer than its header says"
        raise CheckpointError(f"its header describes {end:,} bytes of numbers and {size:,} follow: it's {what}")

"""A checkpoint's weights on the disk: one file, or several shards and the index that says which tensor is in which.

The index (``model.safetensors.index.json``) holds ``weight_map``: {tensor: file}. Index and shards are checked against
each other.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError, NotFoundError, visible
from . import files
from .contents import Listing, TensorFile
from .tensor_file import list_tensor_file

_INDEX = re.compile(r".+\.index(\.[\w-]+)?\.json")
_SHARD = re.compile(r".+-(\d+)-of-(\d+)\.\w+")
_MAX_SHARDS = 1000


@dataclass(frozen=True)
class WeightsFile:
    """What was read: the tensors by name, and the number and sha256 of the bytes (of shards, one after the other)."""

    listing: Listing
    sha256: str
    size: int


def is_index(path: Path) -> bool:
    """Whether this is the name of an index."""
    return bool(_INDEX.fullmatch(path.name))


def is_shard(name: str) -> bool:
    """Whether this is the name of one shard of several: model-00001-of-00002.safetensors."""
    found = _SHARD.fullmatch(name)
    return found is not None and int(found[2]) > 1


def shards_of(index: Path) -> list[Path]:
    """The files beside an index that it names, in the order of their names. Raises CheckpointError."""
    return [index.parent / name for name in sorted(set(_weight_map(index).values()))]


def open_weights(path: Path) -> WeightsFile:
    """The weights in a file, or in the shards of an index.

    Raises CheckpointError if a file isn't weights or is damaged, or index and shards don't fit together;
    NotFoundError if a shard is missing.
    """
    if not is_index(path):
        data = files.read_bytes(path)
        return WeightsFile(list_tensor_file(data, str(path)), hashlib.sha256(data).hexdigest(), len(data))
    weight_map = _weight_map(path)
    parts: dict[str, Listing] = {}
    digest, size = hashlib.sha256(), 0
    for name in sorted(set(weight_map.values())):
        data = _shard(path, name)
        digest.update(data)
        size += len(data)
        if size > files.MAX_BYTES:
            raise CheckpointError(f"the shards of {path} hold more than the {files.MAX_BYTES:,} bytes allowed")
        parts[name] = list_tensor_file(data, str(path.parent / name))
    _check_claims(path, weight_map, parts)
    return WeightsFile(_joined(path, parts), digest.hexdigest(), size)


def _weight_map(index: Path) -> dict[str, str]:
    found = files.read_json(index).get("weight_map")
    if not isinstance(found, dict) or not found:
        raise CheckpointError(f"{index} has no weight_map, which says in which file a tensor is; download it again")
    names = set(map(str, found.values()))
    if any(name in ("", ".", "..") or re.search(r"[/\\:\0]", name) for name in names) or len(names) > _MAX_SHARDS:
        raise CheckpointError(f"{index} names files that can't lie beside it; it's refused")
    return {tensor: str(name) for tensor, name in found.items()}


def _shard(index: Path, name: str) -> bytes:
    if not (index.parent / name).is_file():
        raise NotFoundError(f"{index} names {visible(name)}, which isn't there; download that shard too")
    return files.read_bytes(index.parent / name)


def _check_claims(index: Path, weight_map: Mapping[str, str], parts: Mapping[str, Listing]) -> None:
    held = {name: set(part.names) for name, part in parts.items()}
    lost = [tensor for tensor, name in weight_map.items() if tensor not in held[name]]
    if lost:
        some = ", ".join(visible(tensor, 80) for tensor in lost[:4])
        raise CheckpointError(
            f"{index} says that {visible(weight_map[lost[0]])} holds {some}, which it doesn't ({len(lost)} in "
            "all): index and shards aren't of the same checkpoint; download them again"
        )


def _joined(index: Path, parts: Mapping[str, Listing]) -> Listing:
    home: dict[str, Listing] = {}
    for part in parts.values():
        for name in part.names:
            if home.setdefault(name, part) is not part:
                raise CheckpointError(f"{index}: two of its shards hold {visible(name)}; download them again")

    def load(names: Mapping[str, str]) -> TensorFile:
        loaded = [
            part.load({name: new for name, new in names.items() if home[name] is part}) for part in parts.values()
        ]
        tensors, dtypes, metadata = (
            {key: value for part in loaded for key, value in getattr(part, field).items()}
            for field in ("tensors", "dtypes", "metadata")
        )
        return TensorFile(tensors, dtypes, loaded[-1].format, metadata)

    return Listing(tuple(home), load)

"""PyTorch's format from before 1.6, in which timm published its first weights, read without torch.

Five pickles one after the other: a magic number, the protocol number, facts about the machine, the containers, and the
keys of the storages. Then the storages, in that order: how many numbers (eight bytes, little-endian), and the numbers.
"""

from __future__ import annotations

import io

import numpy as np

from ..errors import CheckpointError
from . import dtypes
from .contents import Listing
from .torch_pickle import StorageRef, read_pickle
from .torch_tensors import listing

_COUNT = 8  # bytes of a storage's length


def list_tensors(data: bytes, name: str) -> Listing:
    """The tensors in the bytes of such a file; as ``torch_zip.list_tensors``."""
    stream = io.BytesIO(data)
    _, _, machine = (read_pickle(stream) for _ in range(3))
    order = "<" if not isinstance(machine, dict) or machine.get("little_endian", True) else ">"
    known: dict[str, StorageRef] = {}
    tree = read_pickle(stream, known)
    keys = read_pickle(stream)
    storages = _storages(data, stream.tell(), order, keys, known)

    def storage_of(storage: StorageRef) -> np.ndarray:
        found = storages.get(storage.key)
        if found is None or known[storage.key] != storage:
            raise CheckpointError(f"its storage {storage.key[:50]!r} isn't there, or two tensors disagree about it")
        return found

    return listing(tree, storage_of, len(data), name)


def _storages(data: bytes, start: int, order: str, keys: object, known: dict[str, StorageRef]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for key in keys if isinstance(keys, list) else ():
        storage = known.get(key) if isinstance(key, str) else None
        count = int.from_bytes(data[start : start + _COUNT], "little")
        if storage is None or key in found or count != storage.count:
            raise CheckpointError("its list of storages contradicts its tensors; the file is damaged or cut off")
        stored, start = np.dtype(order + dtypes.STORED[storage.dtype]), start + _COUNT
        end = start + count * stored.itemsize
        if end > len(data):
            raise CheckpointError("it ends in the middle of a storage; it's cut off, download it again")
        found[key], start = np.frombuffer(data[start:end], stored), end
    return found

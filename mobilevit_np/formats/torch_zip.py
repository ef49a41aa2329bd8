"""PyTorch's zip files, read without torch.

The archive holds one folder with ``data.pkl`` (the containers, see ``torch_pickle``), ``byteorder`` and one entry of
raw numbers per storage (``data/0``, ``data/1``...). Nothing a file says about itself is believed until it's checked
against its bytes: entries against the archive (``zip_archive``), storages against entries, and views against storages
(``torch_tensors``).
"""

from __future__ import annotations

import numpy as np

from ..errors import CheckpointError, visible
from . import dtypes, foreign
from .contents import Listing
from .torch_pickle import MAX_PICKLE_BYTES, StorageRef, read_pickle
from .torch_tensors import listing
from .zip_archive import Archive

_BYTE_ORDERS = {b"little": "<", b"big": ">"}


def list_tensors(data: bytes, name: str) -> Listing:
    """The tensors in a torch zip file's bytes, by their paths; ``name`` is what ``load``'s messages call it.

    Raises CheckpointError if the archive is damaged, or asks for more than plain containers and tensors.
    """
    archive = Archive(data)
    root = _root(archive)
    tree = read_pickle(archive.read(f"{root}data.pkl", limit=MAX_PICKLE_BYTES))
    order = _byte_order(archive, root)
    storages: dict[str, np.ndarray] = {}
    return listing(tree, lambda storage: _load_storage(archive, root, order, storage, storages), len(data), name)


def _root(archive: Archive) -> str:
    """The archive's folder, with its slash."""
    names = archive.entries
    roots = [name[: -len("data.pkl")] for name in names if name.endswith("data.pkl") and name.count("/") <= 1]
    if len(roots) != 1 or not ("/" + roots[0]).endswith("/") or f"{roots[0]}constants.pkl" in names:
        foreign.refuse_zip(list(names))
    return roots[0]


def _byte_order(archive: Archive, root: str) -> str:
    text = archive.read(f"{root}byteorder", default=b"little").strip()  # files older than the entry are little-endian
    if text not in _BYTE_ORDERS:
        raise CheckpointError("its byteorder is neither little nor big; the file is damaged")
    return _BYTE_ORDERS[text]


def _load_storage(
    archive: Archive, root: str, order: str, storage: StorageRef, storages: dict[str, np.ndarray]
) -> np.ndarray:
    """The storage's numbers, as stored; ``storages`` are those already read."""
    stored = np.dtype(order + dtypes.STORED[storage.dtype])
    known = storages.get(storage.key)
    if known is None:
        data = archive.read(f"{root}data/{storage.key}")
        if len(data) % stored.itemsize:
            raise CheckpointError(
                f"its storage {storage.key[:50]!r} ends in the middle of a number; the file is damaged"
            )
        known = storages[storage.key] = np.frombuffer(data, stored)
    if known.dtype != stored or storage.count != known.size:
        raise CheckpointError(
            f"its storage {storage.key[:50]!r} holds {known.nbytes:,} bytes and not "
            f"{visible(storage.count, 20)} numbers of {storage.dtype}; the file is damaged"
        )
    return known

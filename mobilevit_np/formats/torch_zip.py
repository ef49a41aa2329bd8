"""PyTorch's zip files, read without torch.

The archive holds one folder with ``data.pkl`` (the containers, see ``torch_pickle``), ``byteorder`` and one entry of
raw numbers per storage (``data/0``, ``data/1``...). Nothing a file says about itself is believed before it's checked
against the bytes that are there: entries against the archive, storages against entries, and in ``torch_tensors`` views
against storages.

Explained in tutorials/10-checkpoints.md.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

import numpy as np

from ..errors import CheckpointError
from . import dtypes, foreign
from .contents import Listing
from .files import first_line, shown
from .torch_pickle import MOST_PICKLE_BYTES, StorageRef, read_pickle
from .torch_tensors import MOST_EXPANSION, listing

_BYTE_ORDERS = {b"little": "<", b"big": ">"}
# All that zipfile has raised for damaged archives; NotImplementedError is its word for a way of packing it lacks.
ZIP_ERRORS = (zipfile.BadZipFile, OSError, ValueError, EOFError, RuntimeError, NotImplementedError,
              struct.error, zlib.error, OverflowError, KeyError, IndexError)  # fmt: skip


def list_tensors(data: bytes, name: str) -> Listing:
    """The tensors in a torch zip file's bytes, by their paths; ``name`` is what ``load``'s messages call it.

    Raises CheckpointError where the archive is damaged, or asks for more than plain containers and tensors.
    """
    archive = _Archive(data)
    root = archive.root()
    tree = read_pickle(archive.read(f"{root}data.pkl"))
    order = _byte_order(archive, root)
    storages: dict[str, np.ndarray] = {}
    return listing(tree, lambda storage: _load_storage(archive, root, order, storage, storages), len(data), name)


class _Archive:
    """A zip in memory whose directory has been checked: no name twice, none that leads out, no bomb."""

    def __init__(self, data: bytes) -> None:
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except ZIP_ERRORS as error:
            raise CheckpointError(f"its zip directory is damaged or cut off: {first_line(error)}") from None
        entries = self._zip.infolist()
        self.entries = {entry.filename: entry for entry in entries}
        if len(self.entries) != len(entries):
            raise CheckpointError("its zip holds two entries of the same name; it's refused")
        for entry in entries:
            _check_entry(entry)
        total = sum(entry.file_size for entry in entries)
        if total > MOST_EXPANSION * len(data):
            raise CheckpointError(f"its zip would unpack {len(data):,} bytes to {total:,}; it's refused")

    def root(self) -> str:
        """The archive's folder, with its slash."""
        roots = [
            name[: -len("data.pkl")] for name in self.entries if name.endswith("data.pkl") and name.count("/") <= 1
        ]
        if len(roots) != 1 or not ("/" + roots[0]).endswith("/") or f"{roots[0]}constants.pkl" in self.entries:
            foreign.refuse_zip(list(self.entries))
        return roots[0]

    def read(self, name: str, default: bytes | None = None) -> bytes:
        """One entry's bytes, as many as the directory says. Raises CheckpointError."""
        entry = self.entries.get(name)
        if entry is None:
            if default is None:
                raise CheckpointError(f"its zip lacks the entry {name[:200]!r}; the file is damaged")
            return default
        if name.endswith("data.pkl") and entry.file_size > MOST_PICKLE_BYTES:
            raise CheckpointError(f"its pickle holds {entry.file_size:,} bytes; weights need far less")
        try:
            if entry.CRC == 0:  # torch.serialization.set_crc32_options(False) leaves the checksums out
                entry.CRC = None  # type: ignore[assignment]  # zipfile's way to say: don't compare
            with self._zip.open(entry) as file:
                data = file.read(entry.file_size + 1)
        except ZIP_ERRORS as error:
            raise CheckpointError(f"its zip entry {name[:200]!r} is damaged: {first_line(error)}") from None
        if len(data) != entry.file_size:
            raise CheckpointError(
                f"its zip entry {name[:200]!r} doesn't have the size its directory says; it's damaged"
            )
        return data


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.filename
    if name.startswith(("/", "\\")) or ".." in name.replace("\\", "/").split("/") or ":" in name.split("/")[0]:
        raise CheckpointError(f"its zip holds an entry that leads out of it, {name[:200]!r}; it's refused")
    if entry.flag_bits & 1:
        raise CheckpointError("its zip is encrypted; unpack it and pack it again without a password")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise CheckpointError("its zip is compressed in a way that PyTorch doesn't use; save it again in PyTorch")
    if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
        raise CheckpointError("its zip directory contradicts itself about sizes; the file is damaged")


def _byte_order(archive: _Archive, root: str) -> str:
    text = archive.read(f"{root}byteorder", default=b"little").strip()  # older than the entry: always little
    if text not in _BYTE_ORDERS:
        raise CheckpointError("its byteorder is neither little nor big; the file is damaged")
    return _BYTE_ORDERS[text]


def _load_storage(
    archive: _Archive, root: str, order: str, storage: StorageRef, storages: dict[str, np.ndarray]
) -> np.ndarray:
    """The storage's numbers, as stored; ``storages`` are those read before."""
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
            f"{shown(storage.count, 20)} numbers of {storage.dtype}; the file is damaged"
        )
    return known

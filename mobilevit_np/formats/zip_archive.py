"""A zip file in memory, as torch.save and numpy.savez write them; nothing it says of itself is believed."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib

from ..errors import CheckpointError
from .files import first_line

MAX_EXPANSION = 16  # torch stores its entries uncompressed; zipped again, weights shrink by a tenth, zeros by more
MAX_ENTRIES = 1 << 16
# All that zipfile has raised for damaged archives; it raises RuntimeError for a compression it lacks, too.
_ERRORS = (zipfile.BadZipFile, OSError, ValueError, EOFError, RuntimeError,
           struct.error, zlib.error, OverflowError, KeyError, IndexError)  # fmt: skip


class Archive:
    """A zip in memory whose directory has been checked: no name twice, none that leads out, no bomb.

    It may unpack to 16 times its size, or to ``least`` bytes whatever its size. Raises CheckpointError otherwise.
    """

    def __init__(self, data: bytes, least: int = 0) -> None:
        if data.count(b"PK\x01\x02") > MAX_ENTRIES:  # before zipfile makes an object of each
            raise CheckpointError(f"its zip holds over {MAX_ENTRIES:,} entries; it's refused")
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
        except _ERRORS as error:
            raise CheckpointError(f"its zip directory is damaged or cut off: {first_line(error)}") from None
        entries = self._zip.infolist()
        self.entries = {entry.filename: entry for entry in entries}
        if len(self.entries) != len(entries):
            raise CheckpointError("its zip holds two entries of the same name; it's refused")
        for entry in entries:
            _check_entry(entry)
        total = sum(entry.file_size for entry in entries)
        if total > max(MAX_EXPANSION * len(data), least):
            raise CheckpointError(f"its zip would unpack {len(data):,} bytes to {total:,}; it's refused")

    def read(self, name: str, default: bytes | None = None, *, limit: int | None = None) -> bytes:
        """One entry's bytes, as many as the directory says. Raises CheckpointError."""
        entry = self.entries.get(name)
        if entry is None:
            if default is None:
                raise CheckpointError(f"its zip lacks the entry {name[:200]!r}; the file is damaged")
            return default
        if limit is not None and entry.file_size > limit:
            raise CheckpointError(f"its zip entry {name[:200]!r} holds {entry.file_size:,} bytes, over {limit:,}")
        try:
            if entry.CRC == 0:  # torch.serialization.set_crc32_options(False) leaves the checksums out
                entry.CRC = None  # type: ignore[assignment]  # zipfile's way of saying: don't compare
            with self._zip.open(entry) as file:
                data = file.read(entry.file_size + 1)
        except _ERRORS as error:
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
        raise CheckpointError(
            "its zip is compressed in a way that neither PyTorch nor NumPy uses; save it again in PyTorch, or write "
            "it with numpy.savez"
        )
    if entry.compress_type == zipfile.ZIP_STORED and entry.file_size != entry.compress_size:
        raise CheckpointError("its zip directory contradicts itself about sizes; the file is damaged")

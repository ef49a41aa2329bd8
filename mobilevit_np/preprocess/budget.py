"""What decoding a photo may take, whatever the format: a gigabyte, and seconds.

A file of a kilobyte can describe a hundred megapixels, and decoders differ in what they hold beside the pixels: the
coefficients of a progressive JPEG, a second canvas of a WebP, trees over the blocks of a JPEG 2000. So each format has
its own largest photo, which is checked in the headers, before any pixel is decoded. tutorials/guide.md lists them.

Explained in tutorials/01-an-image-as-an-array.md.
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
import threading
from collections.abc import Iterator
from typing import Any

from PIL import Image

from ..errors import ImageError

MAX_BYTES = 2**30
_USUAL = 8  # bytes per pixel: four for Pillow, three for the result, and a little more
_BYTES_PER_PIXEL = {"WEBP": 16, "AVIF": 24, "HEIF": 24, "JPEG2000": 24}  # and their files are held in memory
_BUFFERED_JPEG = 12  # several scans: all coefficients are kept until the last
_IN_PYTHON = 2**21  # pixels, where Pillow's decoder is a loop in Python: 10 seconds
_MAX_ICON = 2**20  # pixels
_MAX_SCANS = 100  # of a JPEG, each of which goes through the whole photo: encoders make 10
_MIN_TILE = 2**12  # pixels in a JPEG 2000's tile: every tile, block and precinct costs its decoder something
_MIN_BLOCK = 8  # binary digits of a code block's area: 16x16
_MIN_PRECINCT = 5  # binary digits of a precinct's side: 32
_BITS, _TILE_WIDTH, _TILE_HEIGHT, _STRIP_ROWS = 258, 322, 323, 278  # TIFF's tags
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # the next marker after entropy-coded data


# Blocks of more than 32 MiB, glibc's largest threshold, go back to the system when a photo goes; smaller ones pile up
# in the heaps of the threads that decode.
_core: Any = vars(Image)["core"]  # not in its type hints
_core.set_block_size(max(_core.get_block_size(), 64 << 20))


def cost(image: Image.Image, file: Any) -> tuple[int, int]:
    """(how many pixels such a photo may have, the bytes that decoding this one takes) for what Pillow has opened.

    By its format and what its file says about itself. Raises ImageError if that asks for more work than photos do.
    """
    kind, taken, extra = image.format, _BYTES_PER_PIXEL.get(str(image.format), _USUAL), 0
    decoders = {str(tile[0]) for tile in getattr(image, "tile", None) or ()}  # older versions: None, once loaded
    if kind in ("JPEG", "MPO") and (_scans(whole(file)) > 1 or image.info.get("progressive")):
        taken = _BUFFERED_JPEG
    if kind == "JPEG2000":
        _check_codestream(whole(file), image.width * image.height)
    if "libtiff" in decoders:
        extra = _piece(image)
    if kind in _BYTES_PER_PIXEL or "libtiff" in decoders:
        file.seek(0, os.SEEK_END)
        extra += file.tell()
    if extra > MAX_BYTES:
        raise ImageError("its file, or a tile of it, is far too large: save it again")
    pixels = _IN_PYTHON if decoders & Image.DECODERS.keys() else (MAX_BYTES - extra) // taken
    return pixels, image.width * image.height * taken + extra


def whole(file: Any) -> bytes:
    """An open file, read from its beginning to its end."""
    file.seek(0)
    data: bytes = file.read()
    return data


class _Allowance:
    """``MAX_BYTES`` that threads share."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Nothing is taken: the threads that had taken something aren't in a forked process."""
        self._changed = threading.Condition()
        self._taken = 0

    @contextlib.contextmanager
    def reserve(self, count: int) -> Iterator[None]:
        """Photos that are decoded at the same time share: the next waits for its bytes; for more than all, for all."""
        with self._changed:
            self._changed.wait_for(lambda: not self._taken or self._taken + count <= MAX_BYTES)
            self._taken += count
        try:
            yield
        finally:
            with self._changed:
                self._taken -= count
                self._changed.notify_all()


_allowance = _Allowance()
reserve = _allowance.reserve
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_allowance.forget)


def _piece(image: Any) -> int:
    """The bytes that libtiff decodes at a time: a tile, which may be larger than the photo, or a strip."""
    tags = image.tag_v2
    width, height = tags.get(_TILE_WIDTH), tags.get(_TILE_HEIGHT)
    if not width or not height:
        width, height = image.width, min(image.height, tags.get(_STRIP_ROWS) or image.height)
    return int(width * height * sum(tags.get(_BITS) or (1,)) // 8)


def _scans(data: bytes) -> int:
    """How many scans a JPEG has before its end. Raises ImageError for far too many."""
    if data.count(b"\xff\xda") < 2:  # quick, and true of most
        return 1
    at = count = 0
    while found := _AFTER_SCAN.search(data, at):
        marker, at = found[0][1], found.end()
        if marker == 0xD9:
            break
        if marker not in (0xD8, 0x01):
            at += int.from_bytes(data[at : at + 2], "big")
        count += marker == 0xDA
        if count > _MAX_SCANS:
            raise ImageError(f"it has over {_MAX_SCANS} scans: save it again")
    return count


def _check_codestream(data: bytes, pixels: int) -> None:
    """Raise ImageError if a JPEG 2000 is larger inside than it claims, or cut into tiny pieces."""
    for marker, content in _headers(data):
        if marker == 0x51:  # SIZ
            right, bottom, left, top, width, height = struct.unpack(">6I", content[2:26])
            whole = (right - left) * (bottom - top)
            if whole > pixels or content[34:36] > b"\0\4":
                raise ImageError("it's larger inside than it claims: save it again")
            if width * height < min(whole, _MIN_TILE):
                raise ImageError("its tiles are too small: save it again")
        if marker in (0x52, 0x53):  # COD, COC
            _, across, down, _, _, *precincts = content[5:] if marker == 0x52 else content[2:]
            sizes = precincts[::-1] if content[marker == 0x53] & 1 else []  # of the whole photo first, then of its half
            tiny = any(min(size & 15, size >> 4) + halved < _MIN_PRECINCT for halved, size in enumerate(sizes))
            if across + down + 4 < _MIN_BLOCK or tiny:
                raise ImageError("its blocks are too small: save it again")


def _headers(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, content) in a JPEG 2000's main header and those of its tiles."""
    for start in re.finditer(rb"\xff\x4f(?=\xff\x51)|\xff\x90\x00\x0a.{8}", data, re.DOTALL):
        at = start.end()
        while data[at : at + 1] == b"\xff" and data[at + 1 : at + 2] not in (b"\x90", b"\x93"):  # a tile, its data
            end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
            yield data[at + 1], data[at + 4 : end]
            at = end


def check_icon(file: Any) -> None:
    """Raise ImageError for an ICO with a large picture inside, which Pillow decodes on opening, whatever it claims."""
    file.seek(0)
    if file.read(4) != b"\0\0\1\0":
        return
    data = whole(file)
    for entry in range(6, 6 + 16 * int.from_bytes(data[4:6], "little"), 16):
        at = int.from_bytes(data[entry + 12 : entry + 16], "little")
        png = data[at : at + 4] == b"\x89PNG"
        size = struct.unpack(">2i" if png else "<2i", data[at + (16 if png else 4) :][:8].ljust(8, b"\0"))
        if abs(size[0] * size[1]) > _MAX_ICON:
            raise ImageError("the picture inside is larger than icons are: save it as PNG")

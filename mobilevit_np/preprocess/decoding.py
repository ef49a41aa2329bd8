"""A photo, wherever it is, as uint8 RGB, as a viewer would show it.

Turned upright (EXIF), first frame, transparency on white, gray, palettes and CMYK as RGB, deep pixels reduced to eight
bits. Color profiles are not applied: no preprocessing of the checkpoints applies them.

Pillow reads the formats; five things about it are handled here on purpose:

- Only the formats in ``FORMATS`` are tried. The others aren't photos, and one of them (EPS) would start Ghostscript.
- Its guard against decompression bombs is process-wide, first a warning and later an error. Here the limit is
  ``MAX_PIXELS``, checked in the header before any pixel is decoded, and always an ``ImageError``.
- It refuses a PNG with a long text, which doesn't matter for the pixels: such a file is read without its texts.
- Its warnings are silenced, and whatever it raises on a broken file becomes an ``ImageError``.
- It gets neither a path nor a file descriptor: it would map the file, and if that's truncated meanwhile, the process
  would end without a word.

Memory: a gigabyte for all photos that are decoded at the same time (``budget``); conversions run in strips. JPEG's
draft mode (decoding at half size) is never used, as it changes the values.

Explained in tutorials/01-an-image-as-an-array.md.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import ImageError, InputError, MissingImageError, refusal
from ..formats.files import reason
from . import budget

PHOTO_CHANNELS = (1, 3)
MAX_PIXELS = 2**27  # 134 million: a 100-megapixel photo fits. Some formats' largest are smaller, see budget.py
FORMATS: dict[str, tuple[str, ...]] = {  # Pillow's name -> the suffixes by which a folder's photos are known
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "PNG": (".png",),
    "GIF": (".gif",),
    "WEBP": (".webp",),
    "TIFF": (".tif", ".tiff"),
    "BMP": (".bmp",),
    "AVIF": (".avif",),
    "HEIF": (".heic",),
    "JPEG2000": (".jp2",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TGA": (".tga",),
    **dict.fromkeys(("DIB", "PCX", "ICO", "SGI", "QOI"), ()),  # seldom photos: read when named, not found in folders
}
_MAX_STREAM = 2**30  # bytes read from a pipe, which can't say how long it is
_STRIP = 2**20  # pixels converted at a time
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # a PNG's text chunks, and its color profile, which isn't applied
_TEXT_LIMITS = ("MAX_TEXT_CHUNK", "MAX_TEXT_MEMORY", "Decompressed Data Too Large")  # what Pillow's refusals name
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:/|data:", re.IGNORECASE)  # one slash: pathlib makes one of two
_MAX_NAME = 1000  # longer text isn't a path, but a photo given as text
_HIGH_BYTE = (128.0, 1 / 256)  # offset and scale that, with the rounding to the nearest level, give exactly v >> 8


def decode(source: Any, *, max_pixels: int = MAX_PIXELS, until: contextlib.ExitStack | None = None) -> np.ndarray:
    """The photo as uint8 RGB, as a viewer would show it.

    ``source`` is a path, bytes, a binary file object (seekable or not; left open), a PIL image, or an array:
    (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), of uint8, bool, uint16 (the high byte), another integer in 0..255, or
    floats in 0..1 or 0..255.

    While other threads are decoding large photos, it waits until there's memory (``budget``), which it gives back when
    it's done, or when ``until`` is closed.

    Shape: anything -> (H, W, 3), uint8, contiguous. Raises ImageError, in one line; MissingImageError, which is an
    OSError too, if there is no such file.
    """
    name = _name(source)
    if until is None:
        with contextlib.ExitStack() as until:
            return decode(source, max_pixels=max_pixels, until=until)
    if isinstance(source, Image.Image):
        return _from_pil(source, name, max_pixels)
    if isinstance(source, (str, os.PathLike)):
        if not os.fspath(source):  # older versions of Pillow would open the working folder
            raise MissingImageError(f"{name}: there is no such file")
        if is_address(os.fsdecode(source)):
            raise MissingImageError(
                f"{name[:200]} is an address, and nothing is downloaded here: fetch the photo first (curl -O), or give "
                "its bytes, urllib.request.urlopen(address).read()"
            )
        _refuse_pipe(source, name)
        with _reading(name):
            source = until.enter_context(open(source, "rb"))  # noqa: SIM115  # closed with the rest
    if isinstance(source, (bytes, bytearray, memoryview)):
        source = io.BytesIO(source)
    if hasattr(source, "read"):
        return _from_file(_seekable(source, name), name, max_pixels, until)
    return _from_array(as_array(source), name, max_pixels)


def is_address(path: str) -> bool:
    """Whether a path is a URL: it reads like one, and there's no such file."""
    return bool(_ADDRESS.match(path)) and not os.path.exists(path)


def is_many(images: Any) -> bool:
    """Whether these are several images: a collection, an iterator or a data set; not a path, bytes, file or array."""
    single = isinstance(images, (str, bytes, bytearray, memoryview, Mapping, Image.Image))
    if single or hasattr(images, "read") or hasattr(images, "__array__"):
        return False
    return isinstance(images, Iterable) or (hasattr(images, "__getitem__") and hasattr(images, "__len__"))


def as_array(image: Any) -> np.ndarray:
    """``image`` as an array, values untouched: a PIL image, an ndarray, or anything with ``__array__``.

    A PIL image becomes what it stores: palette indices for a palette image, (H, W) for a gray one.
    Raises ImageError if it's something else, or its pixels can't be read.
    """
    known = isinstance(image, (np.ndarray, Image.Image)) or hasattr(image, "__array__")
    if not known:
        raise ImageError(f"{_name(image)} is not a photo: give a path, bytes, a file object, a PIL image or an array")
    with _reading(_name(image)):
        return np.asarray(image)


def as_rgb(image: Image.Image) -> np.ndarray:
    """A PIL image of any mode as (H, W, 3), transparency on white: what transformers' ``do_convert_rgb`` makes of it.

    Blended by Pillow, whose rounding may differ from ``decode``'s by one. Raises ImageError.
    """
    with _reading(_name(image)):
        if "A" in image.getbands() or image.info.get("transparency") is not None:  # not a palette's own alpha
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        return np.asarray(image.convert("RGB"))


def with_channels(photo: np.ndarray, channels: int) -> np.ndarray:
    """A decoded photo for a network with so many input channels: as it is, or gray, by ITU-R 601-2's weights.

    Shape: (H, W, 3) uint8 -> (H, W, channels). Source: Pillow's mode L, in which timm opens photos for such a network.
    Raises InputError for other numbers of channels than 1 and 3.
    """
    if channels not in PHOTO_CHANNELS:
        raise InputError(f"a photo has 3 channels, or 1 made from them, and this network takes {channels}")
    return photo if channels == photo.shape[2] else np.asarray(Image.fromarray(photo).convert("L"))[:, :, None]


def _from_file(file: Any, name: str, max_pixels: int, until: contextlib.ExitStack) -> np.ndarray:
    try:
        with _reading(name), _opened(file) as image, contextlib.ExitStack() as taken:
            limit, needed = budget.cost(image, file)
            kind = f" for {image.format}" if limit < MAX_PIXELS else ""
            _check_size(image.width, image.height, name, min(max_pixels, limit), kind)
            taken.enter_context(budget.reserve(needed))
            photo = _from_pil(image, name, max_pixels)
            until.enter_context(taken.pop_all())
            return photo
    except _LongTextError:
        return _from_file(io.BytesIO(_without_texts(budget.whole(file))), name, max_pixels, until)


def _opened(file: Any) -> Image.Image:
    """The photo, not decoded yet. Pillow's common formats are tried before its plugins for thirty more are loaded."""
    budget.check_icon(file)
    file.seek(0)
    anonymous: Any = SimpleNamespace(read=file.read, seek=file.seek, tell=file.tell)
    Image.preinit()
    try:
        return Image.open(anonymous, formats=_formats())
    except UnidentifiedImageError:
        Image.init()
        return Image.open(anonymous, formats=_formats())


def _formats() -> list[str]:
    return [name for name in FORMATS if name in Image.OPEN]


def _from_pil(image: Image.Image, name: str, max_pixels: int) -> np.ndarray:
    _check_size(image.width, image.height, name, max_pixels)
    with _reading(name):
        image.load()
        # The orientation only now: Pillow turns TIFFs upright itself while loading, and forgets theirs.
        return np.ascontiguousarray(_upright(_rgb(image), _orientation(image)))


def _check_size(width: int, height: int, name: str, max_pixels: int, kind: str = "") -> None:
    if width < 1 or height < 1:
        raise ImageError(f"{name} has no pixels ({width}x{height})")
    if width * height > max_pixels:
        raise ImageError(
            f"{name} has {width}x{height} pixels, more than the limit of {max_pixels / 1e6:.0f} million{kind}: "
            "scale it down first"
        )


def _without_texts(png: bytes) -> bytes:
    """The same PNG without its chunks of text. A chunk is length, type, data and checksum."""
    kept, start = [png[:8]], 8
    while start < len(png):
        end = start + 12 + int.from_bytes(png[start : start + 4], "big")
        if png[start + 4 : start + 8] not in _TEXTS:
            kept.append(png[start:end])
        start = end
    return b"".join(kept)


# -- colors ------------------------------------------------------------------------------------------------------------


def _rgb(image: Image.Image) -> np.ndarray:
    """A loaded PIL image of any mode as (H, W, 3), strip by strip, so that no second copy is needed."""
    out = np.empty((image.height, image.width, 3), np.uint8)
    deep = _is_deep(image.mode)
    offset, scale = _levels(image) if deep else (0.0, 1.0)
    for rows, strip in _strips(image):
        out[rows] = _gray_strip(np.asarray(strip), offset, scale) if deep else _color_strip(strip)
    return out


def _strips(image: Image.Image) -> Iterator[tuple[slice, Image.Image]]:
    count = max(1, _STRIP // image.width)
    for top in range(0, image.height, count):
        bottom = min(top + count, image.height)
        yield slice(top, bottom), image.crop((0, top, image.width, bottom))


def _color_strip(strip: Image.Image) -> np.ndarray:
    if not strip.has_transparency_data:
        return np.asarray(strip.convert("RGB"))
    rgba = np.asarray(strip.convert("RGBA")).astype(np.uint16)
    alpha = rgba[..., 3:]
    return ((rgba[..., :3] * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _is_deep(mode: str) -> bool:
    return mode in ("I", "F") or mode.startswith("I;16")


def _levels(image: Image.Image) -> tuple[float, float]:
    """(offset, scale) that bring the gray levels of a deep image to 0..255.

    16-bit files keep their high byte, as 16-bit color does in Pillow. Floats in 0..1 span the whole range; what is in
    0..255 stays; anything else is stretched from its least to its greatest value.
    """
    if image.mode.startswith("I;16") or image.format == "PNG":
        return _HIGH_BYTE
    ends = [end for _, strip in _strips(image) for end in _ends(np.asarray(strip))]
    low, high = (min(ends), max(ends)) if ends else (0.0, 0.0)
    if image.mode == "F" and low >= 0 and high <= 1:
        return 0.0, 255.0
    if low >= 0 and high <= 255:
        return 0.0, 1.0
    if image.mode == "I" and low >= 0 and high <= 65535:
        return _HIGH_BYTE
    return low, 255 / (high - low) if high > low else 0.0


def _ends(pixels: np.ndarray) -> tuple[float, ...]:
    """The least and the greatest finite value, if there are any."""
    finite = pixels[np.isfinite(pixels)]
    return (float(finite.min()), float(finite.max())) if finite.size else ()


def _gray_strip(pixels: np.ndarray, offset: float, scale: float) -> np.ndarray:
    levels = (pixels.astype(np.float64) - offset) * scale
    levels = np.nan_to_num(np.floor(levels + 0.5), nan=0.0, posinf=255.0, neginf=0.0)
    return np.clip(levels, 0, 255).astype(np.uint8)[..., None]


# -- orientation -------------------------------------------------------------------------------------------------------


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:  # damaged EXIF data: a viewer shows the pixels as stored
        return 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels as they're meant to be seen; ``orientation`` is EXIF's tag 0x0112, 1 to 8."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


# -- arrays ------------------------------------------------------------------------------------------------------------


def _from_array(array: np.ndarray, name: str, max_pixels: int) -> np.ndarray:
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        raise ImageError(f"{name} of shape {array.shape} is not a photo: give (H, W) or (H, W, 1, 3 or 4)")
    _check_size(array.shape[1], array.shape[0], name, max_pixels)
    array = _eight_bits(array, name)
    if array.shape[2] == 1:
        return np.repeat(array, 3, axis=2)
    if array.shape[2] == 4:
        return _rgb(Image.fromarray(np.ascontiguousarray(array)))
    return np.ascontiguousarray(array)


def _eight_bits(array: np.ndarray, name: str) -> np.ndarray:
    if array.dtype == np.uint8:
        return array
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype == np.uint16:
        return (array >> 8).astype(np.uint8)
    if array.dtype.kind not in "iuf":
        raise ImageError(f"{name} of {array.dtype} is not a photo: give uint8, or floats in 0..1")
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 255):  # true of NaN, too
        raise ImageError(f"{name} has values from {low} to {high}: a photo's lie in 0..255, or in 0..1 for floats")
    scale = 255.0 if array.dtype.kind == "f" and high <= 1 else 1.0
    return np.floor(array * scale + 0.5).astype(np.uint8) if array.dtype.kind == "f" else array.astype(np.uint8)


# -- sources and errors ------------------------------------------------------------------------------------------------


def _name(source: Any) -> str:
    """What to call the source in an error message, on one line."""
    name = os.fsdecode(source) if isinstance(source, (str, os.PathLike)) else getattr(source, "name", None)
    name = name or getattr(source, "filename", None)
    if isinstance(name, str) and name:
        name = name if len(name) <= _MAX_NAME else f"{name[:200]}..."
        return name if name.isprintable() else ascii(name)
    if isinstance(source, (str, os.PathLike)):
        return "the empty path ''"
    if isinstance(source, (bytes, bytearray, memoryview)):
        return "the photo given as bytes"
    if isinstance(source, np.ndarray) or hasattr(source, "__array__"):
        return "the array"
    if isinstance(source, Image.Image) or hasattr(source, "read"):
        return "the photo"
    return f"an object of type {type(source).__name__}"


def _refuse_pipe(path: Any, name: str) -> None:
    """Raise ImageError: a pipe would be waited for until somebody writes to it, a device might never end."""
    if os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path)):
        raise ImageError(f"{name} is not a regular file; copy it to one, or give it through standard input")


def _seekable(file: Any, name: str) -> Any:
    """``file`` itself if it can seek, as Pillow needs it to; otherwise its bytes, up to a limit."""
    if isinstance(file, io.TextIOBase):
        raise ImageError(f"{name} is open as text: open it with mode 'rb'")
    with _reading(name):
        if hasattr(file, "seekable") and file.seekable():
            return file
        data = file.read(_MAX_STREAM + 1)
    if not isinstance(data, bytes):
        raise ImageError(f"{name} returns {type(data).__name__} when read, not bytes: open it with mode 'rb'")
    if len(data) > _MAX_STREAM:
        raise ImageError(f"{name} holds more than {_MAX_STREAM >> 20} MB: save it as a file first")
    return io.BytesIO(data)


@contextlib.contextmanager
def _reading(name: str) -> Iterator[None]:
    """Pillow at work on a file that may be anything: no warning gets out, and every error is an ImageError."""
    try:
        with _quiet:
            yield
    except ImageError as error:
        if str(error).startswith(name):
            raise
        raise ImageError(f"{name} can't be read: {error}") from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{name} is not a photo in a format that can be read here (JPEG, PNG, WebP, GIF, TIFF, BMP and others): "
            "save it as JPEG or PNG"
        ) from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name} claims more pixels than Pillow decodes: scale it down first") from None
    except FileNotFoundError:
        raise MissingImageError(f"{name}: there is no such file") from None
    except Exception as error:  # on a damaged file Pillow raises OSError, SyntaxError, struct.error, IndexError...
        if isinstance(error, ValueError) and any(limit in str(error) for limit in _TEXT_LIMITS):
            raise _LongTextError(f"{name} has a longer text than Pillow reads: save it without one") from None
        why = refusal(error) if isinstance(error, MemoryError) else reason(error)
        raise ImageError(f"{name} can't be read: {why}") from None


class _LongTextError(ImageError):
    """Pillow stopped at a text, not at a pixel."""


class _Quiet:
    """Silences Pillow's warnings while any thread is inside.

    ``warnings.catch_warnings`` alone would restore the process's filters in the wrong order when threads overlap.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._filters = warnings.catch_warnings()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                self._filters = warnings.catch_warnings()
                self._filters.__enter__()
                warnings.filterwarnings("ignore", module=r"PIL\b")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._filters.__exit__(None, None, None)


_quiet = _Quiet()

"""Photos as a viewer would show them: made here in every mode, and damaged in every way; nothing but ImageError."""

import contextlib
import io
import struct
import threading
import time
import tracemalloc
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageOps, PngImagePlugin

from mobilevit_np.errors import ImageError, MissingImageError
from mobilevit_np.preprocess import MAX_PIXELS, budget, decode, decoding
from mobilevit_np.preprocess.decoding import FORMATS, as_array

RGB = np.random.default_rng(0).integers(0, 256, (11, 17, 3), dtype=np.uint8)


def saved(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


PNG = saved(Image.fromarray(RGB), "PNG")


# -- where from --------------------------------------------------------------------------------------------------------


def test_path_bytes_file_objects_pil_image_and_array_give_the_same(tmp_path):
    path = tmp_path / "photo.png"
    path.write_bytes(PNG)
    with path.open("rb") as file:
        sources = [path, str(path), PNG, bytearray(PNG), memoryview(PNG), io.BytesIO(PNG), file, RGB, _Tensor(RGB)]
        sources += [Image.fromarray(RGB), Image.open(io.BytesIO(PNG)), _Pipe(PNG)]
        for source in sources:
            photo = decode(source)
            np.testing.assert_array_equal(photo, RGB)
            assert photo.dtype == np.uint8
            assert photo.flags.c_contiguous
        assert not file.closed


class _Tensor:
    """What torch and jax look like from here."""

    def __init__(self, values):
        self.values = values

    def __array__(self, dtype=None, copy=None):
        return self.values if dtype is None else self.values.astype(dtype)


class _Pipe:
    """Standard input, say: it can't seek."""

    def __init__(self, data):
        self.data = data

    def seekable(self):
        return False

    def read(self, size=-1):
        return self.data


class _Endless(_Pipe):
    def read(self, size=-1):
        return bytes(size)


def test_a_pipe_without_end_is_refused(monkeypatch):
    monkeypatch.setattr("mobilevit_np.preprocess.decoding._MAX_STREAM", 1000)
    with pytest.raises(ImageError, match="holds more than"):
        decode(_Endless(b""))


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("no-such-file.png", "no-such-file.png: there is no such file"),
        (".", "can't be read: "),
        ("a\nb\0c", r"'a\\nb\\x00c'"),
        (io.StringIO("text"), "open it with mode 'rb'"),
        (_Pipe("text"), "returns str when read"),
        (b"", "is not a photo in a format"),
        (b"hello", "is not a photo in a format"),
        (None, "an object of type NoneType is not a photo"),
        (12, "type int is not a photo"),
        ([1, 2], "type list is not a photo"),
    ],
)
def test_what_is_no_photo(source, says):
    with pytest.raises(ImageError, match=says) as caught:
        decode(source)
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_opened_is_said_to_be_so_in_the_system_s_words_alone(tmp_path):
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(ImageError, match=r"loop\.png can't be read: [a-z ]+$"):
        decode(tmp_path / "loop.png")


def test_a_photo_that_memory_is_too_small_for_is_said_to_be_so(monkeypatch):
    def load(image):
        raise MemoryError

    monkeypatch.setattr(Image.Image, "load", load)
    with pytest.raises(ImageError, match=r"^the photo can't be read: there isn't enough memory for this; free some"):
        decode(Image.fromarray(RGB))


def test_formats_that_would_run_a_program_are_not_opened():
    with pytest.raises(ImageError, match="not a photo in a format"):
        decode(saved(Image.fromarray(RGB), "EPS"))


# -- modes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation(orientation, file_format):
    """Against Pillow's own transposition, in all eight."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = saved(Image.fromarray(RGB), file_format, exif=exif, **options)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode(data), np.asarray(upright.convert("RGB")))
    assert decode(data).shape[:2] == ((17, 11) if orientation > 4 else (11, 17))


def test_orientation_of_a_png_is_right_to_the_pixel():
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: a viewer turns the pixels clockwise by a quarter
    data = saved(Image.fromarray(RGB), "PNG", exif=exif)
    np.testing.assert_array_equal(decode(data), np.rot90(RGB, -1))


@pytest.mark.parametrize("exif", [b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 20, b"no TIFF header at all"])
def test_damaged_exif_is_passed_over_without_a_warning(exif):
    data = saved(Image.fromarray(RGB), "PNG", exif=b"Exif\0\0" + exif)
    np.testing.assert_array_equal(decode(data), RGB)


def test_gray_and_one_bit():
    gray = RGB[..., 0]
    np.testing.assert_array_equal(decode(saved(Image.fromarray(gray), "PNG")), np.stack([gray] * 3, axis=2))
    bits = Image.fromarray(gray).convert("1", dither=Image.Dither.NONE)
    expected = np.where(gray >= 128, 255, 0)
    for file_format in ("PNG", "TIFF", "PPM"):
        np.testing.assert_array_equal(decode(saved(bits, file_format))[..., 1], expected)


DEEP = np.linspace(0, 65535, 11 * 17).astype(np.uint16).reshape(11, 17)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_sixteen_bit_gray_keeps_its_high_byte(file_format):
    photo = decode(saved(Image.fromarray(DEEP), file_format))
    np.testing.assert_array_equal(photo, np.stack([DEEP >> 8] * 3, axis=2))
    dark = saved(Image.fromarray(DEEP // 300), file_format)  # all below 219: still 16 bits, so nearly black
    assert decode(dark).max() == 0


def test_a_sixteen_bit_png_is_one_in_every_mode():
    """Older releases of Pillow open it as 32-bit numbers, among which dark ones look like 8 bits."""
    for levels, expected in (([[100, 200]], [[0, 0]]), ([[100, 128 * 256 + 5]], [[0, 128]])):
        image = Image.fromarray(np.array(levels, np.int32))
        image.format = "PNG"
        np.testing.assert_array_equal(decode(image)[..., 0], expected)


def test_sixteen_bit_color():
    rows = b"".join(b"\0" + struct.pack(">3H", value, 65535 - value, 258) for value in (0, 255, 32768, 65535))
    header = struct.pack(">IIBBBBB", 1, 4, 16, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")
    np.testing.assert_array_equal(decode(data)[:, 0], [[0, 255, 1], [0, 255, 1], [128, 127, 1], [255, 0, 1]])


def _chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


@pytest.mark.parametrize("before", [b"IDAT", b"IEND"])
@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * (2 << 20))),
        (b"iTXt", b"Comment\0\1\0\0\0" + zlib.compress(b"a" * (2 << 20))),
        (b"iCCP", b"profile\0\0" + zlib.compress(b"a" * (2 << 20))),
    ],
    ids=["zTXt", "iTXt", "iCCP"],
)
def test_a_png_with_a_long_compressed_text(tmp_path, before, kind, content):
    """Viewers open them; Pillow refuses to, since the text might be a bomb."""
    photo = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    plain = saved(Image.fromarray(photo), "PNG")
    at = plain.index(before) - 4
    data = plain[:at] + _chunk(kind, content) + plain[at:]
    (tmp_path / "long.png").write_bytes(data)
    with open(tmp_path / "long.png", "rb") as file:
        for source in (data, file, tmp_path / "long.png"):
            np.testing.assert_array_equal(decode(source), photo)
    with pytest.raises(ImageError, match="can't be read"):
        decode(data[:-30])


def test_a_png_with_many_texts(monkeypatch):
    monkeypatch.setattr(PngImagePlugin, "MAX_TEXT_MEMORY", 10)  # of all texts together, usually 64 MB
    at = PNG.index(b"IDAT") - 4
    data = PNG[:at] + _chunk(b"tEXt", b"Comment\0more than ten letters") + PNG[at:]
    np.testing.assert_array_equal(decode(data), RGB)
    behind = PNG[:-12] + data[at : at + len(data) - len(PNG)] + PNG[-12:]
    with pytest.raises(ImageError, match="has a longer text than Pillow reads"):
        decode(Image.open(io.BytesIO(behind)))  # opened already: what comes behind the pixels is read with them


@pytest.mark.parametrize(
    "address", ["https://example.org/cat.jpg?size=*", "HTTP://example.org", "data:image/png;base64,"]
)
def test_an_address_says_how_to_fetch_it(tmp_path, address, monkeypatch):
    for source in (address, Path(address)):
        with pytest.raises(MissingImageError, match=r"is an address, .* urllib\.request\.urlopen\(address\)\.read\(\)"):
            decode(source)
    monkeypatch.chdir(tmp_path)
    Path("data:cat.png").write_bytes(b"")
    with pytest.raises(ImageError, match="is not a photo"):
        decode("data:cat.png")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 0.5, 1.0], [0, 128, 255]),
        ([0.0, 100.4, 255.0], [0, 100, 255]),
        ([-1.0, 0.0, 1.0], [0, 128, 255]),
        ([0.0, 500.0, 1000.0], [0, 128, 255]),
        ([np.nan, 0.5, 1.0], [0, 128, 255]),
        ([np.inf, 0.0, 1.0], [255, 0, 255]),
        ([np.nan, np.nan, np.nan], [0, 0, 0]),
        ([300.0, 300.0, 300.0], [0, 0, 0]),
    ],
)
def test_float_tiff(values, expected):
    data = saved(Image.fromarray(np.array([values], np.float32)), "TIFF")
    np.testing.assert_array_equal(decode(data)[0, :, 0], expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 100, 255], [0, 100, 255]),
        ([0, 256, 65535], [0, 1, 255]),
        ([-51, 0, 204], [0, 51, 255]),
        ([0, 10**6, 2 * 10**6], [0, 128, 255]),
    ],
)
def test_tiff_of_32_bit_integers(values, expected):
    data = saved(Image.fromarray(np.array([values], np.int32)), "TIFF")
    np.testing.assert_array_equal(decode(data)[0, :, 0], expected)


def test_palette_with_and_without_transparency():
    paletted = Image.fromarray(RGB).quantize(8)
    colors = np.asarray(paletted.convert("RGB"))
    np.testing.assert_array_equal(decode(saved(paletted, "PNG")), colors)
    np.testing.assert_array_equal(decode(saved(paletted, "GIF")), colors)
    clear = np.asarray(paletted) == 3
    assert clear.any()
    for file_format in ("PNG", "GIF"):
        photo = decode(saved(paletted, file_format, transparency=3))
        np.testing.assert_array_equal(photo, np.where(clear[..., None], 255, colors))


def test_cmyk_jpeg():
    cmyk = Image.new("CMYK", (16, 16), (255, 0, 0, 0))  # pure cyan
    photo = decode(saved(cmyk, "JPEG", quality=95)).astype(int)
    assert np.abs(photo - [0, 255, 255]).max() <= 3


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_shown_on_white(mode):
    channels = 4 if mode == "RGBA" else 2
    pixels = np.random.default_rng(1).integers(0, 256, (40, 50, channels), dtype=np.uint8)
    pixels[:3, :, -1], pixels[3:6, :, -1] = 0, 255
    color, alpha = pixels[..., :-1].astype(float), pixels[..., -1:] / 255
    expected = np.broadcast_to(np.floor(color * alpha + 255 * (1 - alpha) + 0.5), (40, 50, 3))
    photo = decode(saved(Image.fromarray(pixels, mode=None), "PNG"))
    np.testing.assert_array_equal(photo, expected)
    assert (photo[:3] == 255).all()


def test_one_transparent_color():
    gray = Image.fromarray(np.array([[0, 7, 200]], np.uint8))
    np.testing.assert_array_equal(decode(saved(gray, "PNG", transparency=7))[0, :, 0], [0, 255, 200])


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation(file_format):
    frames = [Image.new("RGB", (8, 6), color) for color in ("red", "lime", "blue")]
    options = {"lossless": True} if file_format == "WEBP" else {}
    data = saved(frames[0], file_format, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    np.testing.assert_array_equal(decode(data), np.full((6, 8, 3), (255, 0, 0), np.uint8))


@pytest.mark.parametrize("file_format", ["BMP", "TGA", "PPM", "PCX", "ICO", "SGI"])
def test_other_formats(file_format):
    image = Image.fromarray(np.kron(RGB[:4, :4], np.ones((8, 8, 1), np.uint8)))
    options = {"sizes": [(32, 32)]} if file_format == "ICO" else {}
    np.testing.assert_array_equal(decode(saved(image, file_format, **options)), np.asarray(image))


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_of_the_table_is_read_and_its_suffixes_are_its_own(file_format):
    """Within four levels, as some lose a little. Pillow writes HEIF by a plugin only; older ones no AVIF, no QOI."""
    Image.init()
    if file_format in Image.SAVE:
        photo = decode(saved(Image.new("RGB", (32, 32), (40, 120, 200)), file_format)).astype(int)
        assert np.abs(photo - [40, 120, 200]).max() <= 4
    else:
        assert file_format in ("HEIF", "AVIF", "QOI")
    known = {".heic": "HEIF", ".avif": "AVIF", **Image.registered_extensions()}
    assert [known.get(suffix) for suffix in FORMATS[file_format]] == [file_format] * len(FORMATS[file_format])


@pytest.mark.parametrize("mode", ["YCbCr", "HSV"])
def test_other_color_spaces_of_pil_images(mode):
    image = Image.fromarray(RGB).convert(mode)
    np.testing.assert_array_equal(decode(image), np.asarray(image.convert("RGB")))


def test_conversion_in_strips_is_the_conversion_in_one(monkeypatch):
    photos = [saved(Image.fromarray(RGB).convert(mode), "PNG") for mode in ("RGB", "L", "P", "RGBA", "1")]
    photos.append(saved(Image.fromarray(DEEP), "PNG"))
    whole = [decode(photo) for photo in photos]
    monkeypatch.setattr("mobilevit_np.preprocess.decoding._STRIP", 40)
    for photo, expected in zip(photos, whole, strict=True):
        np.testing.assert_array_equal(decode(photo), expected)


# -- arrays ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[True, False]]), [[255] * 3, [0] * 3]),
        (np.array([[0, 65535]], np.uint16), [[0] * 3, [255] * 3]),
        (np.array([[[7, 8, 9, 255], [7, 8, 9, 0]]], np.uint8), [[7, 8, 9], [255] * 3]),
        (np.array([[0.0, 0.5]]), [[0] * 3, [128] * 3]),
        (np.array([[0.0, 200.4]], np.float32), [[0] * 3, [200] * 3]),
        (np.array([[[3]], [[250]]], np.int64).transpose(1, 0, 2), [[3] * 3, [250] * 3]),
    ],
)
def test_arrays(array, expected):
    np.testing.assert_array_equal(decode(array)[0], expected)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((3, 8, 9), np.uint8), "give .H, W. or .H, W, 1, 3 or 4."),
        (np.zeros((2, 8, 9, 3), np.uint8), "of shape .2, 8, 9, 3."),
        (np.zeros((8, 9, 2), np.uint8), "of shape"),
        (np.zeros((0, 9, 3), np.uint8), "has no pixels"),
        (np.array([[256]]), "values from 256 to 256"),
        (np.array([[-0.1]]), "values from -0.1"),
        (np.array([[0.5, np.nan]]), "values from nan"),
        (np.array([["a"]]), "of <U1"),
        (np.array([[1j]]), "of complex128"),
        (np.array([[None]]), "of object"),
    ],
)
def test_arrays_that_are_no_photos(array, says):
    with pytest.raises(ImageError, match=says):
        decode(array)


def test_as_array_leaves_the_values():
    paletted = Image.fromarray(RGB).quantize(8)
    np.testing.assert_array_equal(as_array(paletted), np.asarray(paletted))

    class Stubborn:
        def __array__(self, dtype=None, copy=None):
            raise RuntimeError("call detach() first")

    with pytest.raises(ImageError, match="call detach"):
        as_array(Stubborn())


# -- size --------------------------------------------------------------------------------------------------------------


def test_one_pixel():
    assert decode(saved(Image.new("RGB", (1, 1), "red"), "PNG")).tolist() == [[[255, 0, 0]]]


def bomb(width, height):
    """A PNG that claims much and holds nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(b"")) + _chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("size", "says"),
    [
        ((12_000, 12_000), "12000x12000 pixels, more than the limit of 134 million"),  # Pillow would just warn
        ((60_000, 60_000), "claims more pixels than Pillow decodes"),
        ((2**31 - 1, 2**31 - 1), "claims more pixels"),
    ],
)
def test_decompression_bombs_are_refused_by_their_header(size, says):
    with pytest.raises(ImageError, match=says):
        decode(bomb(*size))


def test_the_limit_is_ours_and_exact():
    assert MAX_PIXELS == 2**27
    photo = saved(Image.new("1", (30, 20)), "PNG")
    assert decode(photo, max_pixels=600).shape == (20, 30, 3)
    with pytest.raises(ImageError, match="30x20 pixels, more than the limit"):
        decode(photo, max_pixels=599)
    with pytest.raises(ImageError, match="more than the limit"):
        decode(np.zeros((20, 30), np.uint8), max_pixels=599)


def test_between_pillows_warning_and_its_error_a_photo_is_decoded_in_silence(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert decode(saved(Image.new("1", (30, 20)), "PNG")).shape == (20, 30, 3)
    assert not caught


def test_warnings_are_as_before_after_many_threads_have_decoded():
    before = list(warnings.filters)
    threads = [threading.Thread(target=lambda: [decode(PNG) for _ in range(20)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert warnings.filters == before


# -- what decoding may take --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file_format", ["BMP", "PPM", "TIFF", "LZW TIFF"])
@pytest.mark.parametrize("given_as", ["path", "file"])
def test_a_file_cut_short_while_it_is_read_ends_no_process(tmp_path, monkeypatch, file_format, given_as):
    """Pillow maps such files where it gets a path, libtiff where it gets a descriptor; a map cut short is a SIGBUS."""
    options = {"compression": "tiff_lzw"} if file_format == "LZW TIFF" else {}
    path, real = tmp_path / "photo", Image.open
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)).save(
        path, file_format.split()[-1], **options
    )

    def cut(source, **options):
        assert not hasattr(source, "fileno")
        assert not isinstance(source, (str, Path))
        image = real(source, **options)
        assert not image.filename
        with open(path, "r+b") as file:
            file.truncate(20_000)
        return image

    monkeypatch.setattr(Image, "open", cut)
    with pytest.raises(ImageError, match="can't be read"), open(path, "rb") as file:
        decode(path if given_as == "path" else file)


LARGEST = {  # millions of pixels, as tutorials/guide.md says
    "PNG": 134, "JPEG": 134, "GIF": 134, "BMP": 134, "progressive JPEG": 89, "WEBP": 67, "AVIF": 45, "JPEG2000": 45,
    "QOI": 2, "run-length BMP": 2, "plain PPM": 2,
}  # fmt: skip
QOI = b"qoif" + struct.pack(">II", 17, 11) + b"\3\0" + b"\xfd" * 4 + bytes(7) + b"\1"
RUNS = struct.pack("<HIHHIIiiHHIIiiII", 19778, 1084, 0, 0, 1078, 40, 17, 11, 1, 8, 1, 6, 0, 0, 256, 0) + bytes(1024)


@pytest.mark.parametrize("name", LARGEST)
def test_the_largest_photo_of_a_format(name):
    Image.init()
    kind = name.split()[-1]
    data = {
        "QOI": QOI,
        "run-length BMP": RUNS + b"\x11\0\0\0" * 11 + b"\0\1",
        "plain PPM": b"P3 17 11 255 " + b"0 " * 17 * 11 * 3,
        "progressive JPEG": saved(Image.fromarray(RGB), "JPEG", progressive=True),
    }.get(name)
    if data is None:
        if kind not in Image.SAVE:
            assert kind == "AVIF"  # older versions have none
            return
        data = saved(Image.fromarray(RGB), kind)
    file = io.BytesIO(data)
    assert round(budget.cost(Image.open(file), file)[0] / 1e6) == LARGEST[name]
    assert decode(data).shape == (11, 17, 3)


def test_a_photo_over_its_formats_limit_is_named(monkeypatch):
    monkeypatch.setattr(budget, "MAX_BYTES", 10_000)
    assert decode(PNG).shape == RGB.shape
    with pytest.raises(ImageError, match="60x17 pixels, more than the limit of 0 million for WEBP: scale it down"):
        decode(saved(Image.new("RGB", (60, 17)), "WEBP"))


def _icon(picture):
    return b"\0\0\1\0\1\0" + struct.pack("<BBBBHHII", 16, 16, 0, 0, 1, 32, len(picture), 22) + picture


def _jpeg2000(change=lambda data, at: None, **options):
    data = bytearray(saved(Image.fromarray(RGB).resize((64, 64)), "JPEG2000", **options))
    change(data, data.index(b"\xff\x4f\xff\x51") + 2)
    return bytes(data)


def _much_larger(data, at):
    data[at + 6 : at + 14] = data[at + 22 : at + 30] = struct.pack(">II", 6000, 6000)


def _scans(data, count):
    at = data.rindex(b"\xff\xda")
    return data[:at] + data[at:-2] * count + b"\xff\xd9"


def _tiled(side):
    """A TIFF of 16x16 pixels with one tile that claims ``side`` x ``side``."""
    content = zlib.compress(bytes(16 * 16))
    tags = [(256, 16), (257, 16), (258, 8), (259, 8), (262, 1), (277, 1), (322, side), (323, side), (324, 134),
            (325, len(content))]  # fmt: skip
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + directory + bytes(4) + content


@pytest.mark.parametrize(
    ("good", "bad", "says"),
    [
        (_icon(PNG), lambda: _icon(bomb(8000, 8000)), "the picture inside is larger than icons are"),
        (_jpeg2000(), lambda: _jpeg2000(_much_larger), "larger inside than it claims"),
        (_jpeg2000(), lambda: _jpeg2000(tile_size=(8, 8)), "its tiles are too small"),
        (_jpeg2000(), lambda: _jpeg2000(codeblock_size=(4, 4)), "its blocks are too small"),
        (_jpeg2000(precinct_size=(128, 128)), lambda: _jpeg2000(precinct_size=(16, 16)), "its blocks are too small"),
        (
            saved(Image.fromarray(RGB), "JPEG", progressive=True),
            lambda: _scans(saved(Image.fromarray(RGB), "JPEG", progressive=True), 101),
            "it has over 100 scans",
        ),
        (
            saved(Image.fromarray(RGB), "JPEG"),
            lambda: _scans(saved(Image.fromarray(RGB), "JPEG"), 101),
            "it has over 100 scans",
        ),
        (_tiled(16), lambda: _tiled(40_000), "too large"),
    ],
)
def test_a_file_that_asks_for_more_than_it_claims_is_refused(good, bad, says):
    assert decode(good).ndim == 3
    with pytest.raises(ImageError, match=says):
        decode(bad())


def test_the_range_of_a_deep_photo_takes_no_copy_of_it(monkeypatch):
    monkeypatch.setattr(decoding, "_STRIP", 2**16)
    data = saved(Image.fromarray(np.random.default_rng(0).normal(0, 900, (2000, 1500)).astype(np.float32)), "TIFF")
    decode(data)
    tracemalloc.start()
    try:
        decode(data)
        assert tracemalloc.get_traced_memory()[1] < 2000 * 1500 * 3 + 5e6  # NumPy's: the result, and strips
    finally:
        tracemalloc.stop()


def test_large_photos_wait_for_each_other(monkeypatch):
    """Three threads, each of whose photos takes more than half of what there is; and what was taken is given back."""
    monkeypatch.setattr(budget, "MAX_BYTES", 2500)
    inside, most, real = [], [], decoding._from_pil

    def watched(*arguments):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        inside.pop()
        return real(*arguments)

    monkeypatch.setattr(decoding, "_from_pil", watched)
    threads = [threading.Thread(target=lambda: [decode(PNG) for _ in range(4)]) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 12
    assert max(most) == 1
    with contextlib.ExitStack() as until:
        decode(PNG, until=until)
        assert budget._allowance._taken > 1000
    assert budget._allowance._taken == 0


# -- damage ------------------------------------------------------------------------------------------------------------

WHOLE = {
    "PNG": PNG,
    "palette PNG": saved(Image.fromarray(RGB).quantize(9), "PNG", transparency=2),
    "JPEG": saved(Image.fromarray(RGB), "JPEG", exif=Image.Exif()),
    "CMYK JPEG": saved(Image.fromarray(RGB).convert("CMYK"), "JPEG"),
    "GIF": saved(Image.fromarray(RGB), "GIF"),
    "TIFF": saved(Image.fromarray(RGB), "TIFF"),
    "LZW TIFF": saved(Image.fromarray(RGB), "TIFF", compression="tiff_lzw"),
    "BMP": saved(Image.fromarray(RGB), "BMP"),
    "WEBP": saved(Image.fromarray(RGB), "WEBP"),
    "PPM": saved(Image.fromarray(RGB), "PPM"),
    "TGA": saved(Image.fromarray(RGB), "TGA"),
    "ICO": saved(Image.fromarray(RGB).resize((32, 32)), "ICO"),
}


def decodes_or_says_why(data):
    try:
        photo = decode(data, max_pixels=10**6)
    except ImageError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return False
    assert photo.dtype == np.uint8
    assert photo.ndim == 3
    return True


@pytest.mark.parametrize("name", WHOLE)
def test_truncated_at_every_fifth_byte(name):
    data = WHOLE[name]
    assert decodes_or_says_why(data)
    outcomes = [decodes_or_says_why(data[:end]) for end in range(0, len(data), 5)]
    assert not all(outcomes)
    assert not any(outcomes[: len(outcomes) // 2])  # half a photo is never passed off as one


@given(st.sampled_from(list(WHOLE)), st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6))
@example("TIFF", [(8, 0), (9, 0)])
def test_any_damage_is_an_image_error_or_a_photo(name, changes):
    data = bytearray(WHOLE[name])
    for place, value in changes:
        data[place % len(data)] = value
    decodes_or_says_why(bytes(data))

"""Photo in, a class for every pixel out. Oracles: a planted network that sees colors, and windows done by hand."""

import importlib
import math
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiny import PLACES, color_network, open_tiny, photo, plant, save_tiny

from mobilevit_np import Segmenter
from mobilevit_np.errors import CheckpointError, ImageError, InputError
from mobilevit_np.model import segmenter as reference
from mobilevit_np.ops import best_class_at_size
from mobilevit_np.pipelines.segmenter import network_size, windows
from mobilevit_np.preprocess import PROFILES, Profile, preprocess
from mobilevit_np.scope import Scope

module = importlib.import_module("mobilevit_np.ops.resize")
RED, BLUE, GRAY = (230, 20, 20), (20, 20, 230), (128, 128, 128)


@pytest.fixture
def colors(tiny_segmenter, monkeypatch):
    """A segmenter whose network sees colors, in cells of 16 pixels of its 512 (short side)."""
    plant(monkeypatch, "segmenter", color_network, "colors")
    return Segmenter.from_pretrained(tiny_segmenter, engine="colors", profile="huggingface-segmenter")


def painted(height, width):
    """A gray photo with a red and a blue rectangle, and the classes of its pixels."""
    truth = np.zeros((height, width), np.uint8)
    truth[height // 8 : height // 2, width // 10 : width // 3] = 1
    truth[height // 3 :, width * 3 // 5 :] = 2
    return np.array([GRAY, RED, BLUE], np.uint8)[truth], truth


def clear_cut(truth, radius):
    """The pixels around which, as far as ``radius`` in both directions, there's no other class."""
    padded = np.pad(truth, radius, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, (2 * radius + 1, 2 * radius + 1))
    return (around == truth[:, :, None, None]).all(axis=(2, 3))


@pytest.mark.parametrize("size", [(64, 64), (150, 201), (201, 150), (97, 190), (40, 33), (90, 260), (400, 101)])
def test_the_mask_lies_where_the_photo_shows_it(colors, size):
    pixels, truth = painted(*size)
    answer = colors(pixels)
    assert answer.mask.shape == size
    assert answer.mask.dtype == np.uint8
    clear = clear_cut(truth, math.ceil(1.5 * 16 * min(size) / 512))  # no cell that counts there saw two classes
    assert clear.mean() > 0.5
    assert all((clear & (truth == kind)).mean() > 0.02 for kind in range(3))
    np.testing.assert_array_equal(answer.mask[clear], truth[clear])
    for label, area in answer.areas.items():
        assert area == pytest.approx((answer.mask == PLACES.index(label)).mean())
    assert list(answer.areas.values()) == sorted(answer.areas.values(), reverse=True)


def test_a_photo_lying_on_its_side_is_segmented_upright(colors, tmp_path):
    pixels, _ = painted(120, 200)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(colors(tmp_path / "turned.png").mask, colors(pixels).mask)


def test_profiles_change_what_the_network_sees(colors, tiny_segmenter):
    pixels, _ = painted(120, 160)
    rgb = Segmenter.from_pretrained(tiny_segmenter, engine="colors", profile="timm")(pixels)
    swapped = np.array([0, 2, 1])[colors(pixels).mask]
    assert (rgb.mask == swapped).mean() > 0.95  # red for blue
    squashed = Segmenter.from_pretrained(tiny_segmenter, engine="colors", profile="ml-cvnets-segmenter")(pixels)
    assert squashed.logits.shape == (3, 32, 32)
    assert squashed.mask.shape == (120, 160)
    assert (squashed.mask == colors(pixels).mask).mean() > 0.95


def test_the_real_network_runs_on_the_whole_photo(tiny_segmenter):
    """One window: the reference network on the photo squashed to multiples of 32, float64, to the bit."""
    segment = Segmenter.from_pretrained(tiny_segmenter, dtype=np.float64, engine="reference")
    answer = segment(photo(50, 70))
    checkpoint = open_tiny(tiny_segmenter, np.float64)
    whole = replace(checkpoint.profile, size=(64, 96), crop=None)  # 70/50 * 64 = 89.6
    expected = reference(
        preprocess(photo(50, 70), whole, dtype=np.float64), Scope(checkpoint.tensors), checkpoint.config
    )[0]
    assert answer.logits.dtype == np.float64
    np.testing.assert_array_equal(answer.logits, expected)
    assert answer.labels == PLACES


@pytest.mark.parametrize("size", [(40, 100), (100, 40), (32, 160)])
def test_windows_are_averaged(tiny_segmenter, size):
    """Oracle: the photo resized whole, windows cut out of it, sums kept cell by cell. float64, 1e-12."""
    answer = Segmenter.from_pretrained(tiny_segmenter, dtype=np.float64)(photo(*size))
    checkpoint = open_tiny(tiny_segmenter, np.float64)
    network, longest = network_size(size, checkpoint.profile)
    places = list(windows(network, longest))
    assert len(places) > 1
    whole = preprocess(photo(*size), replace(checkpoint.profile, size=network, crop=None), dtype=np.float64)
    sums: dict = {}
    for top, left, height, width in places:
        part = whole[:, :, top : top + height, left : left + width]
        logits = reference(np.ascontiguousarray(part), Scope(checkpoint.tensors), checkpoint.config)[0]
        for y in range(logits.shape[1]):
            for x in range(logits.shape[2]):
                sums.setdefault((top // 16 + y, left // 16 + x), []).append(logits[:, y, x])
    assert sorted(sums) == [(y, x) for y in range(network[0] // 16) for x in range(network[1] // 16)]
    assert any(len(found) > 1 for found in sums.values())
    expected = np.stack([sum(sums[key]) / len(sums[key]) for key in sorted(sums)], axis=1)
    np.testing.assert_allclose(answer.logits.reshape(3, -1), expected, rtol=1e-12, atol=1e-12)


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([64, 128, 256]))
def test_windows_cover_everything_with_overlap(rows, columns, longest):
    size = (rows * 32, columns * 32)
    found = list(windows(size, longest))
    for axis in (0, 1):
        spans = sorted({(place[axis], place[axis + 2]) for place in found})
        assert all(start % 32 == 0 and length == min(longest, size[axis]) for start, length in spans)
        assert spans[0][0] == 0
        assert sum(spans[-1]) == size[axis]
        steps = np.diff([start for start, _ in spans])
        assert (steps > 0).all()
        assert (steps <= max(32, longest * 2 / 3 + 32)).all()
    across = len({place[1] for place in found})
    assert len(found) == len({place[0] for place in found}) * across


@given(st.integers(1, 9000), st.integers(1, 9000), st.sampled_from([(512, 544), (256, 288), (None, 300), (100, 110)]))
def test_the_network_sees_the_whole_photo_in_bounds(height, width, sides):
    crop, size = sides
    profile = Profile("drawn", size, "bilinear", crop and (crop, crop), True)
    try:
        network, longest = network_size((height, width), profile)
    except InputError:
        assert max(height, width) / min(height, width) > 63
        return
    short = {512: 512, 256: 256, None: 288, 100: 96}[crop]
    assert min(network) == short
    assert network[0] % 32 == network[1] % 32 == 0
    assert longest == 2 * short
    assert max(network) / short == pytest.approx(max(height, width) / min(height, width), abs=16 / short + 1e-9)
    assert (network[0] >= network[1]) == (height >= width) or network[0] == network[1]
    assert len(list(windows(network, longest))) <= 48


def test_odd_settings():
    assert network_size((50, 80), replace(PROFILES["timm"], size=None, crop=None)) == ((64, 96), 128)
    assert network_size((50, 80), replace(PROFILES["timm"], crop=(1024, 1024))) == ((1024, 1632), 1024)
    for profile in (
        replace(PROFILES["timm"], crop=(1056, 1056)),
        replace(PROFILES["timm"], crop=None, size=None),
        replace(PROFILES["timm"], size=(1000, 2000)),
    ):
        with pytest.raises(InputError, match="is the most"):
            network_size((3000, 4000), profile)


def test_a_network_whose_attention_would_take_gigabytes_is_refused(tmp_path):
    settings = {"size": {"height": 1024, "width": 1024}, "do_center_crop": False}
    folder = save_tiny(tmp_path / "w", "segmenter", preprocessing=settings, patch_size=1)
    with pytest.raises(InputError, match="GB for one layer's attention over 1024x1024 pixels"):
        Segmenter.from_pretrained(folder)(photo())


@pytest.mark.parametrize("side", [100, 33])
def test_a_squashed_size_need_not_be_a_multiple(tmp_path, side):
    settings = {"size": {"height": side, "width": side}, "do_center_crop": False}
    folder = save_tiny(tmp_path / "w", "segmenter", preprocessing=settings)
    answer = Segmenter.from_pretrained(folder)(photo(40, 60))
    assert answer.logits.shape == (3, math.ceil(side / 16), math.ceil(side / 16))
    assert answer.mask.shape == (40, 60)


def naive_mask(logits, height, width):
    """Bilinear without aligned corners, pixel by pixel, then the first of the largest."""
    h, w = logits.shape[1:]
    out = np.empty((height, width), int)
    for y in range(height):
        for x in range(width):
            v, u = max((y + 0.5) * h / height - 0.5, 0), max((x + 0.5) * w / width - 0.5, 0)
            top, left = int(v), int(u)
            bottom, right = min(top + 1, h - 1), min(left + 1, w - 1)
            dy, dx = v - top, u - left
            scores = [
                (c[top, left] * (1 - dx) + c[top, right] * dx) * (1 - dy)
                + (c[bottom, left] * (1 - dx) + c[bottom, right] * dx) * dy
                for c in logits
            ]
            out[y, x] = scores.index(max(scores))
    return out


@settings(max_examples=30)
@given(
    st.tuples(*[st.integers(1, 6)] * 3),
    st.tuples(*[st.integers(1, 20)] * 2),
    st.integers(0, 2**32),
    st.integers(1, 4000),
)
def test_masks_strip_by_strip_equal_the_naive_one(shape, size, seed, strip):
    logits = np.random.default_rng(seed).normal(size=shape)
    before, module._STRIP_BYTES = module._STRIP_BYTES, strip
    try:
        np.testing.assert_array_equal(best_class_at_size(logits[None], size)[0], naive_mask(logits, *size))
    finally:
        module._STRIP_BYTES = before


def test_memory_of_a_large_mask_is_bounded(monkeypatch):
    """The logits of 21 classes at full size would be 336 MB in float32; strips of 1 MB need no 60, mask included."""
    monkeypatch.setattr(module, "_STRIP_BYTES", 1 << 20)
    logits = np.random.default_rng(0).normal(size=(21, 32, 32)).astype(np.float32)
    tracemalloc.start()
    try:
        mask = best_class_at_size(logits[None], (2000, 2000), dtype=np.uint8)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert mask.nbytes == 4_000_000
    assert peak < 60e6


def test_memory_of_a_large_photo_is_bounded(colors, monkeypatch):
    """What NumPy holds for answer, areas, overlay and mask picture: a few bytes a pixel, whatever the classes."""
    monkeypatch.setattr(module, "_STRIP_BYTES", 1 << 20)
    monkeypatch.setattr(importlib.import_module("mobilevit_np.pipelines.overlay"), "_STRIP", 1 << 16)
    pixels = np.kron(painted(30, 50)[0], np.ones((50, 60, 1), np.uint8))  # 1500 x 3000
    tracemalloc.start()
    try:
        answer = colors(pixels)
        overlay, mask = answer.overlay(), answer.mask_image()
        assert sum(answer.areas.values()) == pytest.approx(1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert overlay.size == mask.size == (3000, 1500)
    assert peak < 10 * 1500 * 3000


def test_long_photos_work_up_to_a_limit_and_are_refused_beyond(tiny_segmenter, monkeypatch):
    plant(monkeypatch, "segmenter", color_network, "colors")
    segment = Segmenter.from_pretrained(tiny_segmenter, engine="colors")
    assert segment(photo(1, 64)).mask.shape == (1, 64)
    assert segment(photo(640, 10)).mask.shape == (640, 10)
    with pytest.raises(InputError, match="a photo of 65x1 is too long and thin to segment; cut it into pieces"):
        segment(photo(1, 65))


def test_one_pixel(tiny_segmenter):
    answer = Segmenter.from_pretrained(tiny_segmenter)(photo(1, 1))
    assert answer.mask.shape == (1, 1)
    assert list(answer.areas.values()) == [1.0]
    assert answer.overlay().size == answer.mask_image().size == (1, 1)


def test_lists_and_streams(colors):
    answers = colors(photo(40 + i, 50) for i in range(3))
    assert [answer.mask.shape for answer in answers] == [(40, 50), (41, 50), (42, 50)]
    results = [result for _, result in colors.stream([photo(), b"no photo", photo(1, 99), photo()])]
    assert [type(result).__name__ for result in results] == ["Segmentation", "ImageError", "InputError", "Segmentation"]
    with pytest.raises(ImageError):
        colors([photo(), b"no photo"])


def test_labels_that_stand_for_two_classes_share_their_area(tmp_path, monkeypatch):
    plant(monkeypatch, "segmenter", color_network, "colors")
    folder = save_tiny(tmp_path / "w", "segmenter", labels=("ground", "paint", "paint"))
    answer = Segmenter.from_pretrained(folder, engine="colors")(painted(120, 160)[0])
    assert set(answer.areas) == {"ground", "paint"}
    assert answer.areas["paint"] == pytest.approx((answer.mask > 0).mean())
    assert sum(answer.areas.values()) == pytest.approx(1)


def test_pictures_of_an_answer(colors):
    pixels, _ = painted(120, 160)
    answer = colors(pixels)
    assert answer.mask_image().mode == "P"
    np.testing.assert_array_equal(np.asarray(answer.mask_image()), answer.mask)
    overlay = np.asarray(answer.overlay())
    assert overlay.shape == pixels.shape
    np.testing.assert_array_equal(answer.photo, pixels)  # left as it was


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_one_channel_takes_gray_photos(engine, tmp_path):
    """They are made gray at their own size, by Pillow's mode L; the answer keeps the photo's colors."""
    segment = Segmenter.from_pretrained(save_tiny(tmp_path / "gray", "segmenter", num_channels=1), engine=engine)
    colored = photo(70, 64)
    found, expected = segment(colored), segment(Image.fromarray(colored).convert("L"))
    np.testing.assert_array_equal(found.logits, expected.logits)
    np.testing.assert_array_equal(found.photo, colored)


def test_checkpoints_that_cannot_segment(tiny_classifier, tmp_path):
    with pytest.raises(InputError, match="tiny-classifier is a classifier, not a segmenter"):
        Segmenter.from_pretrained(tiny_classifier)
    from safetensors.numpy import load_file, save_file

    folder = save_tiny(tmp_path / "huge", "segmenter")
    tensors = load_file(folder / "model.safetensors")
    tensors["segmentation_head.classifier.convolution.weight"][:] = 3e38
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match="huge gives an answer that isn't a number"):
        Segmenter.from_pretrained(folder)(photo())

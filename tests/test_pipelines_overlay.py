"""Pictures of masks: what is tinted and what is not, pixel by pixel."""

import importlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny import photo

from mobilevit_np.labels import VOC_LABELS
from mobilevit_np.pipelines.overlay import indexed_mask, overlay, pixel_counts
from mobilevit_np.pipelines.palettes import palette


def blob(height, width, kind=1):
    mask = np.zeros((height, width), np.uint8)
    mask[height // 4 : height * 3 // 4, width // 4 : width * 3 // 4] = kind
    return mask


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 21, 150, 256])
def test_colors_differ_and_background_is_black(count):
    colors = palette(count)
    assert colors.shape == (count, 3)
    assert colors.dtype == np.uint8
    assert len({tuple(color) for color in colors.tolist()}) == count
    assert colors[0].tolist() == [0, 0, 0]


def test_many_classes_have_the_colors_of_voc():
    """As the VOC 2012 development kit lists them."""
    colors = dict(zip(VOC_LABELS, palette(21).tolist(), strict=True))
    assert colors["aeroplane"] == [128, 0, 0]
    assert colors["cat"] == [64, 0, 0]
    assert colors["dog"] == [64, 0, 128]
    assert colors["person"] == [192, 128, 128]
    assert colors["tv/monitor"] == [0, 64, 128]
    assert palette(256)[255].tolist() == [224, 224, 192]  # VOC's "ignore"


def test_overlay_tints_what_the_mask_names_and_nothing_else():
    pixels, mask = photo(36, 60), blob(36, 60, kind=2)
    painted = np.asarray(overlay(pixels, mask, ["nothing", "a", "b"]))  # too small a photo for a legend
    np.testing.assert_array_equal(painted[mask == 0], pixels[mask == 0])
    inside = np.zeros(mask.shape, bool)
    inside[10:26, 16:44] = True
    expected = (pixels[inside].astype(int) + palette(3)[2]) / 2
    np.testing.assert_allclose(painted[inside], expected, atol=0.5)  # half and half, in whole numbers
    edge = (mask == 2) & ~inside
    assert edge.sum() == 2 * (18 + 30) - 4
    assert (painted[edge] == palette(3)[2]).all()


def test_overlay_of_background_is_the_photo():
    pixels = photo(200, 300)
    np.testing.assert_array_equal(np.asarray(overlay(pixels, np.zeros((200, 300), np.uint8), ["nothing", "a"])), pixels)


def test_strips_leave_no_seams(monkeypatch):
    pixels, mask, labels = photo(100, 40), blob(100, 40), ["nothing", "a name too long for so narrow a photo"]
    whole = np.asarray(overlay(pixels, mask, labels))
    monkeypatch.setattr(importlib.import_module("mobilevit_np.pipelines.overlay"), "_STRIP", 40 * 7)
    np.testing.assert_array_equal(np.asarray(overlay(pixels, mask, labels)), whole)
    assert pixel_counts(mask, 2).tolist() == [int((mask == 0).sum()), int((mask == 1).sum())]


def test_legend_names_the_classes_that_occur():
    """Seen through its swatches: full colors, which the half tint never shows."""
    pixels = np.full((400, 600, 3), 255, np.uint8)
    mask = blob(400, 600)
    mask[:50, 300:] = 2
    labels = ["nothing", "first", "second", "absent"]
    painted = np.asarray(overlay(pixels, mask, labels))
    corner = painted[300:, :150]
    for kind, there in ((1, True), (2, True), (3, False)):
        assert (corner == palette(4)[kind]).all(axis=2).sum() > 50 or not there
        assert (corner == palette(4)[kind]).all(axis=2).any() == there
    assert (painted[:300, :150][mask[:300, :150] == 0] == 255).all()  # the legend stays in its corner
    bare = np.asarray(overlay(pixels, np.where(mask == 2, 0, mask), labels))
    assert (bare[300:, :150] != painted[300:, :150]).any()


@pytest.mark.parametrize("label", ["two\nlines", "\x1b[31m", "\ud800", "猫", "", "x" * 100_000])
def test_legends_survive_any_label(label):
    assert overlay(photo(300, 300), blob(300, 300), ["nothing", label]).size == (300, 300)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 2**32))
def test_tiny_photos(height, width, seed):
    mask = np.random.default_rng(seed).integers(0, 3, (height, width)).astype(np.uint8)
    pixels = photo(height, width)
    painted = np.asarray(overlay(pixels, mask, ["nothing", "a", "b"]))
    assert painted.shape == pixels.shape
    np.testing.assert_array_equal(painted[mask == 0], pixels[mask == 0])


@pytest.mark.parametrize("count", [3, 21, 256])
def test_masks_as_pictures_hold_class_numbers(count, tmp_path):
    mask = np.random.default_rng(0).integers(0, count, (30, 40)).astype(np.uint8)
    image = indexed_mask(mask, count)
    image.save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as again:
        assert again.mode == "P"
        np.testing.assert_array_equal(np.asarray(again), mask)
        np.testing.assert_array_equal(np.asarray(again.convert("RGB")), palette(count)[mask])


def test_masks_of_many_classes_are_gray(tmp_path):
    mask = np.array([[0, 299], [256, 1]], np.uint16)
    indexed_mask(mask, 300).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as again:
        np.testing.assert_array_equal(np.asarray(again), mask)


def test_pixel_counts():
    mask = np.random.default_rng(0).integers(0, 5, (1000, 7)).astype(np.uint8)
    assert pixel_counts(mask, 6).tolist() == [int((mask == kind).sum()) for kind in range(6)]

"""Resizing and cropping: sizes, the part of a resize against the whole, OpenCV's rule and the crop against loops."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mobilevit_np.errors import ImageError
from mobilevit_np.preprocess.crop import CENTERS, center_crop, crop_start
from mobilevit_np.preprocess.resize import OPENCV_BILINEAR, PILLOW_FILTERS, RESAMPLES, output_size, resize_photo

sides = st.integers(1, 70)


def noise(height, width, channels=3, *, seed=0, extremes=False):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    return (pixels > 127).astype(np.uint8) * np.uint8(255) if extremes else pixels


@pytest.mark.parametrize(
    ("photo", "size", "expected"),
    [
        ((480, 640), 288, (288, 384)),
        ((640, 480), 288, (384, 288)),
        ((333, 500), 288, (288, 432)),  # 432.43: cut off
        ((500, 333), 284, (426, 284)),  # 426.43
        ((100, 199), 256, (256, 509)),  # 509.44
        ((3, 200), 7, (7, 466)),  # 466.67: cut off, not rounded
        ((1, 1), 288, (288, 288)),
        ((20, 60000), 288, (288, 864000)),
        ((97, 131), (512, 512), (512, 512)),
    ],
)
def test_output_size(photo, size, expected):
    assert output_size(*photo, size) == expected


@given(st.sampled_from(list(PILLOW_FILTERS)), sides, sides, sides, sides, st.integers(0, 99), st.booleans())
def test_resize_is_pillows_own(resample, height, width, new_height, new_width, seed, gray):
    image = noise(height, width, 1 if gray else 3, seed=seed)
    ours = resize_photo(image, (new_height, new_width), resample)
    pillow = Image.fromarray(image[..., 0] if gray else image).resize((new_width, new_height), PILLOW_FILTERS[resample])
    np.testing.assert_array_equal(ours, np.asarray(pillow).reshape(ours.shape))


@given(st.data(), st.sampled_from(RESAMPLES), sides, sides, sides, sides, st.integers(0, 99), st.booleans())
def test_a_part_equals_that_part_of_the_whole(data, resample, height, width, new_height, new_width, seed, extremes):
    image = noise(height, width, seed=seed, extremes=extremes)
    whole = resize_photo(image, (new_height, new_width), resample)
    rows, columns = data.draw(st.integers(1, new_height)), data.draw(st.integers(1, new_width))
    top, left = data.draw(st.integers(0, new_height - rows)), data.draw(st.integers(0, new_width - columns))
    part = resize_photo(image, (new_height, new_width), resample, (top, left, rows, columns))
    np.testing.assert_array_equal(part, whole[top : top + rows, left : left + columns])


@pytest.mark.parametrize(
    ("height", "width", "new_height", "new_width", "seed"), [(28, 40, 4, 34, 58), (30, 42, 39, 6, 85)]
)
def test_hammings_constants_are_in_single_precision_as_in_pillow(height, width, new_height, new_width, seed):
    """Photos on which double precision would move a pixel."""
    image = noise(height, width, seed=seed, extremes=True)
    part = resize_photo(image, (new_height, new_width), "hamming", (0, 0, new_height, new_width))
    np.testing.assert_array_equal(part, resize_photo(image, (new_height, new_width), "hamming"))


def test_opencvs_roundings():
    """Recorded from cv2 4.14 and 5.0; at the upper and lower edge it splits the weight between two copies of a row."""
    image = np.array([[7, 200, 31], [90, 13, 254]], np.uint8)[..., None]
    expected = [
        [7, 84, 200, 98, 31], [7, 84, 200, 99, 31], [25, 79, 160, 111, 79], [49, 72, 107, 128, 143],
        [72, 65, 53, 145, 206], [90, 59, 13, 157, 254], [90, 59, 13, 158, 254],
    ]  # fmt: skip
    np.testing.assert_array_equal(resize_photo(image, (7, 5), OPENCV_BILINEAR)[..., 0], expected)


few = st.integers(1, 20)


@given(few, few, few, few, st.integers(0, 99))
def test_opencv_bilinear_is_the_definition_up_to_one_level(height, width, new_height, new_width, seed):
    image = noise(height, width, 1, seed=seed)
    ours = resize_photo(image, (new_height, new_width), OPENCV_BILINEAR)
    exact = np.array(
        [[_between(image[..., 0], y, x, new_height, new_width) for x in range(new_width)] for y in range(new_height)]
    )
    assert np.abs(ours[..., 0] - exact).max() <= 1


def _between(image, y, x, new_height, new_width):
    """Bilinear without antialias, one pixel in floating point, straight from the definition."""
    total = 0.0
    for source, place in _neighbors(y, image.shape[0], new_height):
        for source_x, place_x in _neighbors(x, image.shape[1], new_width):
            total += place * place_x * image[source, source_x]
    return total


def _neighbors(index, length, new_length):
    place = min(max((index + 0.5) * length / new_length - 0.5, 0), length - 1)
    low = math.floor(place)
    return [(low, 1 - (place - low)), (min(low + 1, length - 1), place - low)]


def test_too_big_a_result_is_refused_before_it_is_made():
    with pytest.raises(ImageError, match="60000x20 resized to 864000x288 is too big"):
        resize_photo(noise(20, 60000), (288, 864000), "bilinear")
    tall = np.zeros((4_000_000, 1, 3), np.uint8)  # the result is small, but what lies between the two passes isn't
    with pytest.raises(ImageError, match="too big"):
        resize_photo(tall, (512, 512), "bilinear")
    assert resize_photo(tall, (512, 512), OPENCV_BILINEAR).shape == (512, 512, 3)


# -- crop --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("length", "crop", "transformers", "torchvision"),
    [
        (288, 256, 16, 16),
        (385, 256, 64, 64),  # 64.5: floor; half to even
        (387, 256, 65, 66),  # 65.5
        (256, 256, 0, 0),
        (253, 256, -2, -1),  # three zeros: two before the photo; one
        (252, 256, -2, -2),
    ],
)
def test_crop_start(length, crop, transformers, torchvision):
    assert crop_start(length, crop, "transformers") == transformers
    assert crop_start(length, crop, "torchvision") == torchvision


@given(sides, sides, sides, sides, st.sampled_from(CENTERS))
def test_crop_against_loops(height, width, new_height, new_width, center):
    image = noise(height, width).transpose(2, 0, 1)
    top, left = crop_start(height, new_height, center), crop_start(width, new_width, center)
    expected = np.zeros((3, new_height, new_width), np.uint8)
    for y in range(new_height):
        for x in range(new_width):
            if 0 <= top + y < height and 0 <= left + x < width:
                expected[:, y, x] = image[:, top + y, left + x]
    np.testing.assert_array_equal(center_crop(image, new_height, new_width, center), expected)

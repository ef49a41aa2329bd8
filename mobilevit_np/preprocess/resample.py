"""Pillow's resize for only a part of the result, in NumPy.

A panorama of 60,000x20 pixels resized to a short side of 288 would have 249 million, of which a center crop keeps
83 thousand. Pillow can't compute just those: its ``box`` is in single precision and moves the weights. Here the same
weights (22-bit integers) meet the same pixels in the same order, so the part equals that part of Pillow's result bit
for bit.

Explained in tutorials/01-an-image-as-an-array.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import PIL

_BITS = 22  # of precision in Pillow's weights for eight-bit pixels
_HAMMING = (float(np.float32(0.54)), float(np.float32(0.46)))  # in single precision there


def _box(x: np.ndarray) -> np.ndarray:
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def _bilinear(x: np.ndarray) -> np.ndarray:
    return np.maximum(1 - np.abs(x), 0)


def _hamming(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < 1, np.sinc(x) * (_HAMMING[0] + _HAMMING[1] * np.cos(np.pi * x)), 0)


def _bicubic(x: np.ndarray) -> np.ndarray:
    x, a = np.abs(x), -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _lanczos(x: np.ndarray) -> np.ndarray:
    return np.where((x >= -3) & (x < 3), np.sinc(x) * np.sinc(x / 3), 0)


_FILTERS: dict[str, tuple[float, Callable[[np.ndarray], np.ndarray]]] = {  # half width, weight at a distance
    "box": (0.5, _box),
    "bilinear": (1.0, _bilinear),
    "hamming": (1.0, _hamming),
    "bicubic": (2.0, _bicubic),
    "lanczos": (3.0, _lanczos),
}


def resample_part(
    image: np.ndarray, size: tuple[int, int], resample: str, part: tuple[int, int, int, int]
) -> np.ndarray:
    """What ``part`` = (top, left, height, width) of the photo resized to ``size`` would hold.

    Shape: (H, W, C) -> (height, width, C), uint8 both. ``resample`` is one of Pillow's six filters.
    """
    top, left, height, width = part
    if resample == "nearest":
        rows = _nearest(image.shape[0], size[0], top, height)
        columns = _nearest(image.shape[1], size[1], left, width)
        return image[rows][:, columns]
    image_size = (image.shape[0], image.shape[1])
    row_first, row_weights = _weights(image.shape[0], size[0], resample, top, height)
    column_first, column_weights = _weights(image.shape[1], size[1], resample, left, width)
    # only the pixels that are needed; eight bits in between, like Pillow
    above, below = row_first[0], row_first[-1] + row_weights.shape[1]
    before, after = column_first[0], column_first[-1] + column_weights.shape[1]
    image = image[above:below, before:after]
    across_first = not _goes_down_first(image_size, size)
    for across in (across_first, not across_first):
        if across:
            image = _weigh(image.swapaxes(0, 1), column_first - before, column_weights).swapaxes(0, 1)
        else:
            image = _weigh(image, row_first - above, row_weights)
    return image


def _goes_down_first(size: tuple[int, int], new_size: tuple[int, int]) -> bool:
    """Whether Pillow makes its vertical pass first: from version 13 on, if that removes many more rows than columns.

    The order changes some pixels by one level.
    """
    rows, columns = size[0] - new_size[0], size[1] - new_size[1]
    return int(PIL.__version__.split(".")[0]) >= 13 and rows > max(0, 2 * columns)


def _nearest(length: int, new_length: int, start: int, count: int) -> np.ndarray:
    step = length / new_length
    places = np.full(start + count, step)
    places[0] = step * 0.5
    return np.minimum(np.add.accumulate(places)[start:].astype(np.int64), length - 1)  # Pillow sums up, too


def _weights(length: int, new_length: int, resample: str, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """First source pixel (count,) and integer weights (count, taps) of the new pixels from ``start`` on."""
    if length == new_length:  # Pillow leaves such a side alone
        return np.arange(start, start + count), np.full((count, 1), 1 << _BITS, np.int32)
    half_width, weigh = _FILTERS[resample]
    step = length / new_length
    stretch = max(step, 1.0)  # shrinking widens the filter: that is the antialias
    center = (np.arange(start, start + count) + 0.5) * step
    first = np.maximum((center - half_width * stretch + 0.5).astype(np.int64), 0)
    last = np.minimum((center + half_width * stretch + 0.5).astype(np.int64), length)
    taps = first[:, None] + np.arange(math.ceil(half_width * stretch) * 2 + 1)
    weights = np.where(taps < last[:, None], weigh((taps - center[:, None] + 0.5) * (1.0 / stretch)), 0.0)
    weights = weights / np.add.accumulate(weights, axis=1)[:, -1:]
    return first, np.trunc(weights * (1 << _BITS) + np.copysign(0.5, weights)).astype(np.int32)


def _weigh(image: np.ndarray, first: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sums along the first axis: (L, ...) -> (count, ...), uint8 both."""
    total = np.full((len(first), *image.shape[1:]), 1 << (_BITS - 1), np.int32)
    for tap in range(weights.shape[1]):
        pixels = image[np.minimum(first + tap, len(image) - 1)]
        total += pixels * weights[:, tap].reshape(-1, *(1,) * (image.ndim - 1))
    return np.clip(total >> _BITS, 0, 255).astype(np.uint8)

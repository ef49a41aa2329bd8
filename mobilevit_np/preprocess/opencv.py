"""OpenCV's bilinear resize of eight-bit photos, which ml-cvnets used.

It takes two pixels along each side however much it shrinks (no antialiasing), so it clearly differs from Pillow's. The
weights are 11-bit integers, rounded as OpenCV rounds them: the result equals ``cv2.resize(..., INTER_LINEAR)``.

Explained in tutorials/01-an-image-as-an-array.md.
"""

from __future__ import annotations

import numpy as np

_ONE = 2048  # a weight of 1


def resize_opencv(
    image: np.ndarray, size: tuple[int, int], part: tuple[int, int, int, int] | None = None
) -> np.ndarray:
    """``image`` resized to ``size`` = (height, width), or ``part`` = (top, left, height, width) of that.

    Shape: (H, W, C) -> (height, width, C), uint8 both.
    """
    top, left, height, width = part or (0, 0, *size)
    above, below, weight_above, weight_below = _pairs(image.shape[0], size[0], top, height)
    before, after, weight_before, weight_after = _pairs(image.shape[1], size[1], left, width, stop_at_edges=True)

    def across(rows: np.ndarray) -> np.ndarray:
        rows = rows[:, None]
        return (image[rows, before] * weight_before[:, None] + image[rows, after] * weight_after[:, None]) >> 4

    upper = (across(above) * weight_above[:, None, None]) >> 16
    lower = (across(below) * weight_below[:, None, None]) >> 16
    return ((upper + lower + 2) >> 2).astype(np.uint8)


def _pairs(
    length: int, new_length: int, start: int, count: int, *, stop_at_edges: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The two source pixels of each new pixel from ``start`` on, and their weights: four arrays (count,)."""
    places = ((np.arange(start, start + count) + 0.5) * (1.0 / (new_length / length)) - 0.5).astype(np.float32)
    first = np.floor(places).astype(np.int64)
    share = places - first.astype(np.float32)
    if stop_at_edges:  # sideways only: up and down OpenCV splits the weight between two copies of the edge row
        share[(first < 0) | (first >= length - 1)] = 0
    second_weight = np.rint(share * np.float32(_ONE)).astype(np.int32)
    first_weight = np.rint((np.float32(1) - share) * np.float32(_ONE)).astype(np.int32)
    last = length - 1
    return np.clip(first, 0, last), np.clip(first + 1, 0, last), first_weight, second_weight

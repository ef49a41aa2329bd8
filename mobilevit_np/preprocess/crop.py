"""The center crop, in the two ways that implementations round it.

``transformers`` (and ml-cvnets) round half of an odd surplus down; if the photo is too small, the larger half of an odd
padding goes to the top and left. ``torchvision`` (and so timm) rounds the half to even, and puts the smaller half of an
odd padding at the top and left.

Explained in tutorials/01-an-image-as-an-array.md.
"""

from __future__ import annotations

import numpy as np

CENTERS = ("transformers", "torchvision")


def crop_start(length: int, crop: int, center: str = "transformers") -> int:
    """Where a center crop of ``crop`` pixels begins on a side of ``length``; if negative, so many zeros come first."""
    if center == "transformers":
        return (length - crop) // 2
    return round((length - crop) / 2) if length >= crop else -((crop - length) // 2)


def center_crop(image: np.ndarray, height: int, width: int, center: str = "transformers") -> np.ndarray:
    """The middle of ``image``, with zeros around it if it's too small, otherwise as a view.

    Shape: (C, H, W) -> (C, height, width); the dtype stays.
    """
    top = crop_start(image.shape[-2], height, center)
    left = crop_start(image.shape[-1], width, center)
    inside = image[..., max(top, 0) : max(top + height, 0), max(left, 0) : max(left + width, 0)]
    if inside.shape[-2:] == (height, width):
        return inside
    out = np.zeros((*image.shape[:-2], height, width), image.dtype)
    top, left = max(-top, 0), max(-left, 0)
    out[..., top : top + inside.shape[-2], left : left + inside.shape[-1]] = inside
    return out

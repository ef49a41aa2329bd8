"""Resizing eight-bit photos by one of Pillow's filters, or OpenCV's bilinear.

Pillow itself computes its six filters, so the values are those of the installed version. Version 13 changed the order
of the two passes if a resize removes many more rows than columns (photos over twice as high as wide): some pixels then
differ by one level from version 12's, here as in transformers.

Explained in tutorials/01-an-image-as-an-array.md.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..errors import ImageError
from .opencv import resize_opencv
from .resample import resample_part

PILLOW_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
OPENCV_BILINEAR = "opencv-bilinear"
RESAMPLES = (*PILLOW_FILTERS, OPENCV_BILINEAR)

MAX_RESIZED = 2**25  # pixels of a resized photo: 33 million, 0.4 GB as float32
WHOLE = 2**22  # pixels: a larger photo isn't resized whole, but only the part that a crop will keep
_MAX_BETWEEN = 2**26  # pixels between the two passes

Size = int | tuple[int, int]  # the short side, or (height, width)


def output_size(height: int, width: int, size: Size) -> tuple[int, int]:
    """(height, width) of a photo of ``height`` x ``width`` after resizing.

    An int is the new short side, the long side cut off to a whole number; a pair is taken as it is.
    Source: transformers' ``get_resize_output_image_size``, the same as torchvision's and ml-cvnets'.
    """
    if not isinstance(size, int):
        return size
    short, long = sorted((height, width))
    new_long = int(size * long / short)
    return (new_long, size) if width <= height else (size, new_long)


def resize_photo(
    image: np.ndarray, size: tuple[int, int], resample: str, part: tuple[int, int, int, int] | None = None
) -> np.ndarray:
    """``image`` resized to ``size`` = (height, width), or just ``part`` = (top, left, height, width) of that.

    ``resample`` is one of ``RESAMPLES``. A part equals that part of the whole, bit for bit.
    Shape: (H, W, C) -> (height, width, C), uint8 both. Raises ImageError if that would be too big.
    """
    height, width = part[2:] if part else size
    between = image.shape[0] * height / size[0] * width  # rows needed x new columns
    if height * width > MAX_RESIZED or (between > _MAX_BETWEEN and resample != OPENCV_BILINEAR):
        raise ImageError(
            f"a photo of {image.shape[1]}x{image.shape[0]} resized to {size[1]}x{size[0]} is too big "
            f"(limit: {MAX_RESIZED / 1e6:.0f} million pixels): crop it first, or ask for a smaller size"
        )
    if resample == OPENCV_BILINEAR:
        return resize_opencv(image, size, part)
    if part:
        return resample_part(image, size, resample, part)
    return _resize_pillow(image, size, PILLOW_FILTERS[resample])


def _resize_pillow(image: np.ndarray, size: tuple[int, int], method: Image.Resampling) -> np.ndarray:
    pixels = np.ascontiguousarray(image[..., 0] if image.shape[2] == 1 else image)
    resized = np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), method))
    return resized.reshape(*size, image.shape[2])

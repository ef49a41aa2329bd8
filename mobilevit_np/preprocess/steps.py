"""Carrying out a profile, step by step.

Every step is a module under ``preprocessing`` (``preprocessing.resize`` and so on) that can be wrapped, which is how a
known preprocessing mistake is switched on; so can all of them together be, at ``preprocessing``, where the profile is
known. The steps work on one photo, channels first, and come in transformers' order: resize (on uint8), rescale (in
float64, then to float32), center crop, [normalize], flip_channel_order. The Hugging Face image processor goes through
the very same functions.

Explained in tutorials/01-an-image-as-an-array.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from ..scope import Scope, module
from . import crop as cropping
from .crop import crop_start
from .profiles import Profile
from .resize import WHOLE, Size, output_size, resize_photo

_NO_SCOPE = Scope({})


def preprocess(image: np.ndarray, profile: Profile, scope: Scope = _NO_SCOPE, dtype: Any = np.float32) -> np.ndarray:
    """One decoded photo as the network's input.

    Shape: (H, W, C) uint8 RGB -> (1, C, H', W') of ``dtype``, float32 or float64.
    Raises InputError for another shape, ImageError for a photo that gets too big by resizing.
    """
    if image.ndim != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise InputError(
            f"preprocess needs a photo as (H, W, C) of uint8, not {image.shape} of {image.dtype}: decode() makes one"
        )
    output = run_steps(image.transpose(2, 0, 1), profile, scope, dtype)
    return np.ascontiguousarray(output[None], dtype=dtype)


def run_steps(image: np.ndarray, profile: Profile, scope: Scope = _NO_SCOPE, dtype: Any = np.float32) -> np.ndarray:
    """The steps that ``profile`` asks for, on one photo of any dtype, channels first.

    Shape: (C, H, W) -> (C, H', W'); ``dtype`` from rescaling on, before it what came in (after a resize uint8, or
    float32 for floats in 0..1).
    """
    return _steps(image, scope / "preprocessing", profile, dtype)


@module
def _steps(image: np.ndarray, scope: Scope, profile: Profile, dtype: Any) -> np.ndarray:
    if profile.size is not None:
        keep = _part_to_keep(image.shape, profile.size, profile)
        image = resize(image, scope / "resize", profile.size, profile.resample, keep)
    if profile.rescale_factor is not None:
        image = rescale(image, scope / "rescale", profile.rescale_factor, dtype)
    if profile.crop is not None:
        image = center_crop(image, scope / "center_crop", profile.crop, profile.center)
    if profile.mean is not None and profile.std is not None:
        image = normalize(image, scope / "normalize", profile.mean, profile.std)
    if profile.flip_channels:
        image = flip_channel_order(image, scope / "flip_channel_order")
    return image


@module
def resize(
    image: np.ndarray, scope: Scope, size: Size, resample: str, keep: tuple[int, int, int, int] | None = None
) -> np.ndarray:
    """The photo resized: the short side to an int, both to a pair.

    Shape: (C, H, W) -> (C, H', W'). Whole numbers in 0..255 of any dtype are taken as uint8 and stay uint8. Floats in
    0..1 go through uint8 as well, which costs them all but eight bits, and come back as float32 in 0..1. Raises
    InputError for other values. All that as in transformers.
    ``keep`` = (top, left, height, width): make only that part, of a photo too big to be made whole.
    """
    pixels, was_fraction = _as_uint8(image)
    new_size = output_size(image.shape[1], image.shape[2], size)
    resized = resize_photo(pixels.transpose(1, 2, 0), new_size, resample, keep).transpose(2, 0, 1)
    return _scaled(resized, 1 / 255, np.float32) if was_fraction else resized


@module
def rescale(image: np.ndarray, scope: Scope, factor: float, dtype: Any = np.float32) -> np.ndarray:
    """``image`` times ``factor``, computed in float64. Shape: (C, H, W) -> (C, H, W), ``dtype``."""
    return _scaled(image, factor, dtype)


@module
def center_crop(image: np.ndarray, scope: Scope, size: tuple[int, int], center: str = "transformers") -> np.ndarray:
    """The middle of the photo, with zeros around it if it's too small. Shape: (C, H, W) -> (C, *size)."""
    return cropping.center_crop(image, *size, center)


@module
def normalize(image: np.ndarray, scope: Scope, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    """(image - mean) / std by channel, in the image's dtype. Shape: (C, H, W) -> (C, H, W).

    No published MobileViT does it; a timm checkpoint's settings may still ask for it.
    """
    if not len(mean) == len(std) == image.shape[0]:
        raise InputError(f"mean and std have {len(mean)} and {len(std)} numbers for {image.shape[0]} channels")
    dtype = image.dtype if image.dtype.kind == "f" else np.dtype(np.float32)
    return (image - np.array(mean, dtype)[:, None, None]) / np.array(std, dtype)[:, None, None]


@module
def flip_channel_order(image: np.ndarray, scope: Scope) -> np.ndarray:
    """RGB to BGR or back: the channels reversed, not the rows. Shape: (C, H, W) -> (C, H, W), a view."""
    return image[::-1]


def _scaled(image: np.ndarray, factor: float, dtype: Any) -> np.ndarray:
    if image.dtype == np.uint8:  # only 256 values: look them up
        return (np.arange(256, dtype=np.float64) * factor).astype(dtype)[image]
    return (image.astype(np.float64) * factor).astype(dtype)


def _as_uint8(image: np.ndarray) -> tuple[np.ndarray, bool]:
    """The eight-bit photo that Pillow can resize, and whether it was in 0..1 before."""
    if image.dtype == np.uint8:
        return image, False
    if image.dtype.kind not in "biuf" or image.size == 0:
        raise InputError(f"can't resize an image of {image.dtype} and shape {image.shape}: give uint8")
    low, high = image.min(), image.max()
    whole = np.isfinite(low) and np.isfinite(high) and np.allclose(image, np.trunc(image))
    if low >= 0 and high <= 255 and whole:
        return image.astype(np.uint8), False
    if low >= 0 and high <= 1:
        return _scaled(image, 255, np.float32).astype(np.uint8), True
    raise InputError(
        f"can't resize an image with values from {low} to {high}: "
        "give whole numbers in 0..255 or floats in 0..1, or set do_resize=False"
    )


def _part_to_keep(photo: tuple[int, ...], size: Size, profile: Profile) -> tuple[int, int, int, int] | None:
    """What the crop keeps of a resized photo, if that would be too big to be made whole."""
    if profile.crop is None or photo[0] not in (1, 3):  # with alpha Pillow must see it whole
        return None
    height, width = output_size(photo[1], photo[2], size)
    if height * width <= WHOLE:
        return None
    rows, columns = min(height, profile.crop[0]), min(width, profile.crop[1])
    top = max(crop_start(height, profile.crop[0], profile.center), 0)
    left = max(crop_start(width, profile.crop[1], profile.center), 0)
    return top, left, rows, columns


@dataclass(frozen=True)
class Region:
    """A rectangle of a photo, in the photo's pixels and fractions of them.

    It may reach beyond the photo (negative ``top``, ``bottom`` over the height), where the crop is padded.
    """

    top: float
    left: float
    bottom: float
    right: float


def crop_region(height: int, width: int, profile: Profile) -> Region:
    """The rectangle of a ``height`` x ``width`` photo that the network sees, onto which its mask must be mapped."""
    resized = (height, width) if profile.size is None else output_size(height, width, profile.size)
    if profile.crop is None:
        return Region(0.0, 0.0, float(height), float(width))
    down, across = height / resized[0], width / resized[1]  # photo pixels per resized pixel
    top = crop_start(resized[0], profile.crop[0], profile.center)
    left = crop_start(resized[1], profile.crop[1], profile.center)
    return Region(top * down, left * across, (top + profile.crop[0]) * down, (left + profile.crop[1]) * across)

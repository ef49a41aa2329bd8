"""Preprocessing as data: how a photo becomes the network's input, and the five published ways.

A ``Profile`` says everything; ``steps.py`` carries it out. The five named ones are those that the published checkpoints
were evaluated with. They make different pixels of the same photo, and weights expect their own: none is a silent
default.

Explained in tutorials/01-an-image-as-an-array.md.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from ..errors import ConfigError
from .crop import CENTERS
from .resize import MAX_RESIZED, RESAMPLES, Size

MAX_SIDE = 2**14  # of a network's input: no real one comes near


@dataclass(frozen=True)
class Profile:
    """How a photo becomes the network's input: resize, rescale, crop the center, normalize, flip the channels.

    A step whose field is None (or False) is left out. Raises ConfigError, naming the field, for impossible values.
    """

    name: str
    size: Size | None  # the short side, keeping the aspect; or (height, width), squashing the photo
    resample: str  # one of Pillow's six filters, or OpenCV's bilinear, which doesn't antialias
    crop: tuple[int, int] | None  # (height, width)
    flip_channels: bool  # True: BGR, what Hugging Face's and ml-cvnets' weights expect. timm's expect RGB
    center: str = "transformers"  # how the crop's place is rounded, see crop.py
    rescale_factor: float | None = 1 / 255
    mean: tuple[float, ...] | None = None  # subtracted, in RGB order, after rescaling: no published checkpoint does it
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.size, int):
            check_side("size", self.size)
        elif self.size is not None:
            _check_sides("size", self.size)
        if self.crop is not None:
            _check_sides("crop_size", self.crop)
        if self.resample not in RESAMPLES:
            raise ConfigError(f"resample must be one of {', '.join(RESAMPLES)}, not {self.resample!r}")
        if self.center not in CENTERS:
            raise ConfigError(f"center must be one of {', '.join(CENTERS)}, not {self.center!r}")
        if self.rescale_factor is not None:
            check_numbers("rescale_factor", (self.rescale_factor,))
        if (self.mean is None) != (self.std is None):
            raise ConfigError("mean and std must be given together")
        if self.mean is not None and self.std is not None:
            check_numbers("mean", self.mean)
            check_numbers("std", self.std)
            if 0 in self.std:
                raise ConfigError(f"std must not contain 0: {list(self.std)}")


def _check_sides(name: str, sides: tuple[int, int]) -> None:
    if not isinstance(sides, (list, tuple)) or len(sides) != 2:
        raise ConfigError(f"{name} must be (height, width), not {sides!r:.80}")
    for side in sides:
        check_side(name, side)
    if sides[0] * sides[1] > MAX_RESIZED:
        raise ConfigError(f"{name} {sides[1]}x{sides[0]} is more than {MAX_RESIZED} pixels: make it smaller")


def check_side(name: str, side: int) -> None:
    """Raise ConfigError unless it's a whole number that a photo's side can have."""
    if isinstance(side, bool) or not isinstance(side, int) or not 1 <= side <= MAX_SIDE:
        raise ConfigError(f"{name} takes whole numbers from 1 to {MAX_SIDE}, not {side!r:.80}")


def check_numbers(name: str, values: tuple[float, ...]) -> None:
    """Raise ConfigError unless all are numbers that fit a float: JSON's whole numbers have no limit."""
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
            raise ConfigError(f"{name} takes finite numbers, not {value!r:.80}")


PROFILES: dict[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile("huggingface-classifier", 288, "bilinear", (256, 256), flip_channels=True),
        Profile("huggingface-segmenter", 544, "bilinear", (512, 512), flip_channels=True),
        Profile("timm", 284, "bicubic", (256, 256), flip_channels=False, center="torchvision"),  # 284 = floor(256/0.9)
        Profile("ml-cvnets-classifier", 288, "opencv-bilinear", (256, 256), flip_channels=True),
        Profile("ml-cvnets-segmenter", (512, 512), "opencv-bilinear", None, flip_channels=True),
    )
}


def named_profile(name: str) -> Profile:
    """One of the five. Raises ConfigError, listing them, for any other name."""
    if not isinstance(name, str) or name not in PROFILES:
        raise ConfigError(f"there is no preprocessing profile {name!r:.80}; there are {', '.join(PROFILES)}")
    return PROFILES[name]

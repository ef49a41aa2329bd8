"""Profiles from and to the files that checkpoints come with.

Two forms: Hugging Face's preprocessor_config.json, in its old spelling (``size`` an int, ``do_flip_channels``) and its
new one (``size`` a dict, ``do_flip_channel_order``), and timm's config.json with its ``pretrained_cfg``. What a file
leaves out has the defaults of transformers' page, or timm's. Which form a file has is decided here and nowhere else
(``is_timm_config``), and so is what it says about the channel order (``flip_said``).

Explained in tutorials/01-an-image-as-an-array.md.
"""

from __future__ import annotations

import dataclasses
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..formats.hub import PREPROCESSOR_FILE
from .profiles import Profile, check_numbers, check_side
from .resize import PILLOW_FILTERS, Size

DEFAULTS: dict[str, Any] = {  # of MobileViTImageProcessor on transformers' page; resample 2 is bilinear
    "do_resize": True,
    "size": {"shortest_edge": 224},
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_center_crop": True,
    "crop_size": {"height": 256, "width": 256},
    "do_flip_channel_order": True,
    "do_reduce_labels": False,
}
FLIP_FIELDS = ("do_flip_channel_order", "do_flip_channels")  # the second is the first's old name
TYPE_FIELDS = ("image_processor_type", "feature_extractor_type")
CONVERT = "do_convert_rgb"  # no default: a file without it is saved without it
PROCESSOR_TYPES = (
    "MobileViTImageProcessor", "MobileViTImageProcessorFast", "MobileViTImageProcessorPil", "MobileViTFeatureExtractor",
)  # fmt: skip

_TIMM_KEYS = ("architecture", "pretrained_cfg", "num_classes", "label_names", "input_size", "interpolation")
_HUGGING_FACE_KEYS = ("model_type", "architectures", *TYPE_FIELDS)
_MIN_CROP_PCT = 0.01  # timm's are 0.8 to 1; far below, the short side would be infinite
_FILTER_NUMBERS = {name: int(number) for name, number in PILLOW_FILTERS.items()}
_FILTER_NAMES = {number: name for name, number in _FILTER_NUMBERS.items()}
_INPUT_SIZE, _IMAGENET_MEAN, _IMAGENET_STD = (3, 224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def profile_from_settings(settings: Mapping[str, Any]) -> Profile:
    """The profile that a preprocessor_config.json or a timm config.json describes, whichever it is."""
    return from_timm_config(settings) if is_timm_config(settings) else from_preprocessor_config(settings)


# -- Hugging Face ------------------------------------------------------------------------------------------------------


def modernized(settings: Mapping[str, Any]) -> dict[str, Any]:
    """``settings`` in the new spelling, with the defaults filled in; unknown fields stay as they are.

    Raises ConfigError if a size, a filter or a switch makes no sense.
    """
    new = {**DEFAULTS, **{key: value for key, value in settings.items() if value is not None}}
    new.pop(FLIP_FIELDS[1], None)
    if (flip := flip_said(settings)) is not None:
        new[FLIP_FIELDS[0]] = flip
    for key in (*DEFAULTS, CONVERT):
        if key.startswith("do_") and key in new:
            new[key] = _switch(key, new[key])
    new["size"] = _size_dict("size", new["size"], lambda side: {"shortest_edge": side})
    new["crop_size"] = _size_dict("crop_size", new["crop_size"], lambda side: {"height": side, "width": side})
    new["resample"] = _FILTER_NUMBERS[filter_name(new["resample"])]
    return new


def flip_said(settings: Mapping[str, Any]) -> bool | None:
    """Whether ``settings`` say that the network takes BGR, by the new name or the old one; None if neither is there.

    Raises ConfigError unless it's true or false.
    """
    return next((_switch(name, settings[name]) for name in FLIP_FIELDS if settings.get(name) is not None), None)


def from_preprocessor_config(settings: Mapping[str, Any]) -> Profile:
    """The profile that a preprocessor_config.json describes, in either spelling.

    Raises ConfigError for impossible values, and for another model's file.
    """
    check_processor_type(settings)
    new = modernized(settings)
    crop = new["crop_size"]
    if new["do_center_crop"] and set(crop) != {"height", "width"}:
        raise ConfigError(f"crop_size must have height and width, not {crop}")
    return Profile(
        PREPROCESSOR_FILE,
        size=_size(new["size"]) if new["do_resize"] else None,
        resample=filter_name(new["resample"]),
        crop=(crop["height"], crop["width"]) if new["do_center_crop"] else None,
        flip_channels=new["do_flip_channel_order"],
        rescale_factor=new["rescale_factor"] if new["do_rescale"] else None,
    )


def to_preprocessor_config(profile: Profile) -> dict[str, Any]:
    """``profile`` as the new form of preprocessor_config.json.

    The form has Pillow's filters only, and no mean: other profiles raise ConfigError. It can't say that a crop is
    rounded torchvision's way, which may then be one pixel off.
    """
    if profile.resample not in PILLOW_FILTERS:
        raise ConfigError(
            f"{PREPROCESSOR_FILE} can only name Pillow's filters, not {profile.resample!r}: choose another profile"
        )
    if profile.mean is not None:
        raise ConfigError(f"{PREPROCESSOR_FILE} of a MobileViT has no mean and std: choose another profile")
    size: dict[str, int] = DEFAULTS["size"]
    if isinstance(profile.size, int):
        size = {"shortest_edge": profile.size}
    elif profile.size is not None:
        size = {"height": profile.size[0], "width": profile.size[1]}
    height, width = profile.crop or DEFAULTS["crop_size"].values()
    return {
        TYPE_FIELDS[0]: PROCESSOR_TYPES[0],
        "do_resize": profile.size is not None,
        "size": dict(size),
        "resample": _FILTER_NUMBERS[profile.resample],
        "do_rescale": profile.rescale_factor is not None,
        "rescale_factor": DEFAULTS["rescale_factor"] if profile.rescale_factor is None else profile.rescale_factor,
        "do_center_crop": profile.crop is not None,
        "crop_size": {"height": height, "width": width},
        "do_flip_channel_order": profile.flip_channels,
    }


def check_processor_type(settings: Mapping[str, Any]) -> None:
    """Raise ConfigError if ``settings`` say that they are another model's."""
    for key in TYPE_FIELDS:
        kind = settings.get(key)
        if kind is not None and kind not in PROCESSOR_TYPES:
            raise ConfigError(f"these are settings for {kind!r}, not for {PROCESSOR_TYPES[0]}")


def filter_name(resample: Any) -> str:
    """Pillow's filter by its number (PIL's enumeration included) or its name. Raises ConfigError for others."""
    if isinstance(resample, str) and resample in PILLOW_FILTERS:
        return resample
    if isinstance(resample, int) and not isinstance(resample, bool) and int(resample) in _FILTER_NAMES:
        return _FILTER_NAMES[int(resample)]
    known = ", ".join(f"{number} ({name})" for number, name in sorted(_FILTER_NAMES.items()))
    raise ConfigError(f"resample must be one of {known}, not {resample!r}")


def _size_dict(name: str, size: Any, from_int: Callable[[int], dict[str, int]]) -> dict[str, int]:
    if isinstance(size, (list, tuple)) and len(size) == 2:
        size = {"height": size[0], "width": size[1]}
    elif dataclasses.is_dataclass(size) and not isinstance(size, type):  # as in transformers 5
        size = {key: side for key, side in dataclasses.asdict(size).items() if side is not None}
    elif not isinstance(size, Mapping):
        size = from_int(size)
    if set(size) not in ({"shortest_edge"}, {"height", "width"}):
        raise ConfigError(f"{name} must have shortest_edge, or height and width, not {dict(size)!r}")
    try:
        sides = {key: operator.index(side) for key, side in size.items() if not isinstance(side, bool)}
    except TypeError:
        sides = {}
    if sides.keys() != size.keys():
        raise ConfigError(f"{name} takes whole numbers, not {size!r:.80}")
    return sides


def _size(size: Mapping[str, int]) -> Size:
    return size["shortest_edge"] if "shortest_edge" in size else (size["height"], size["width"])


def _switch(name: str, value: Any) -> bool:
    if isinstance(value, (bool, int, np.bool_)) and value in (0, 1):
        return bool(value)
    raise ConfigError(f"{name} must be true or false, not {value!r}")


# -- timm --------------------------------------------------------------------------------------------------------------


def is_timm_config(settings: Mapping[str, Any]) -> bool:
    """Whether this is a config.json in timm's form, or a part of one, such as its ``pretrained_cfg``.

    transformers keeps that form for timm's models, under a ``model_type`` of its own.
    """
    if settings.get("model_type") == "timm_wrapper":
        return True
    return any(key in settings for key in _TIMM_KEYS) and not any(key in settings for key in _HUGGING_FACE_KEYS)


def timm_settings(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """timm's ``pretrained_cfg``, which older files hold at their top level. Raises ConfigError."""
    settings = config.get("pretrained_cfg", config)
    if not isinstance(settings, Mapping):
        raise ConfigError(f"pretrained_cfg must be an object of settings, not {settings!r:.80}")
    return settings


def from_timm_config(config: Mapping[str, Any]) -> Profile:
    """The profile that a timm config.json, or its ``pretrained_cfg``, describes: short side floor(side / crop_pct).

    What it leaves out is as in timm's PretrainedCfg: 224 pixels, bicubic, ImageNet's mean.

    Raises ConfigError for what none of timm's MobileViTs uses: sides that differ, other crop modes than center and
    squash.
    """
    settings = timm_settings(config)
    side = _timm_side(settings.get("input_size") or _INPUT_SIZE)
    crop_pct = settings.get("crop_pct") or 0.875
    if isinstance(crop_pct, bool) or not isinstance(crop_pct, (int, float)) or not _MIN_CROP_PCT <= crop_pct <= 1:
        raise ConfigError(f"crop_pct must be from {_MIN_CROP_PCT} to 1, not {crop_pct!r:.80}")
    mode = settings.get("crop_mode") or "center"
    if mode not in ("center", "squash"):
        raise ConfigError(f"crop_mode {mode!r} is not supported: only center and squash are")
    scaled = math.floor(side / crop_pct)
    mean = _numbers("mean", settings.get("mean") or _IMAGENET_MEAN)
    std = _numbers("std", settings.get("std") or _IMAGENET_STD)
    plain = set(mean) == {0} and set(std) == {1}
    return Profile(
        "timm config.json",
        size=scaled if mode == "center" else (scaled, scaled),
        resample=_pillow_name(settings.get("interpolation") or "bicubic"),
        crop=(side, side),
        flip_channels=False,
        center="torchvision",
        mean=None if plain else mean,
        std=None if plain else std,
    )


def _timm_side(input_size: Any) -> int:
    if not isinstance(input_size, (list, tuple)) or len(input_size) != 3 or input_size[1] != input_size[2]:
        raise ConfigError(f"input_size must be [channels, side, side], not {input_size!r}")
    check_side("input_size", input_size[1])
    side: int = input_size[1]
    return side


def _pillow_name(name: Any) -> str:
    if isinstance(name, str) and name in PILLOW_FILTERS:
        return name
    raise ConfigError(f"interpolation must be one of {', '.join(PILLOW_FILTERS)}, not {name!r}")


def _numbers(name: str, values: Any) -> tuple[float, ...]:
    if not isinstance(values, (list, tuple)) or not values:
        raise ConfigError(f"{name} must be a list of numbers, not {values!r}")
    check_numbers(name, tuple(values))
    return tuple(values)

"""``MobileViTImageProcessor``, as transformers users know it.

Arguments and defaults are those of transformers' documentation for 4.34, even where version 5 changed them
(``resample`` became bicubic) or dropped them (``data_format``). For the same settings the pixels equal, bit for bit,
those of transformers' own Pillow-based processor. Like that, it takes images as they are: a palette image gives its
indices, EXIF orientation is ignored. Paths and bytes go through ``preprocess.decode``, which gives what a viewer would
show.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from ..checkpoints import processor_settings
from ..errors import ConfigError, ImageError, InputError, MobileViTWarning
from ..formats.files import json_text, read_json, write_file, write_files
from ..formats.hub import PREPROCESSOR_FILE
from ..ops.resize import best_class_at_size, resize_bilinear
from ..preprocess.decoding import MAX_PIXELS, as_array, as_rgb, decode
from ..preprocess.profiles import Profile
from ..preprocess.settings import (
    CONVERT,
    DEFAULTS,
    FLIP_FIELDS,
    PROCESSOR_TYPES,
    TYPE_FIELDS,
    check_processor_type,
    from_preprocessor_config,
    is_timm_config,
    modernized,
)
from ..preprocess.steps import run_steps
from .batch_feature import BatchFeature
from .keywords import check_saving, sorted_out
from .tensors import as_numbers, kind_of

_CHANNELS = (1, 3)  # an axis of such a length is taken for the channels,
_MORE_CHANNELS = 4  # and only if there is none, one of 4, so that a photo 4 pixels high isn't mistaken
_IGNORED = 255  # the label that the loss ignores
_IDLE = ("do_normalize", "image_mean", "image_std", "do_pad", "pad_size")  # settings of other models' processors
_IDLE_IN_A_CALL = ("device", "disable_grouping", "use_fast")  # transformers takes them; here they make no difference


class MobileViTImageProcessor:
    """Prepares photos for the network: resize, rescale, center crop, flip the channels.

    - ``do_resize``, ``size``: to the short side, an int or ``{"shortest_edge": int}`` (224), or to
      ``{"height": int, "width": int}``, or a pair of these
    - ``resample``: one of Pillow's six filters, by PIL's number or enumeration (bilinear)
    - ``do_rescale``, ``rescale_factor``: times 1/255
    - ``do_center_crop``, ``crop_size``: to an int (a square) or ``{"height": int, "width": int}`` (256), padded with
      zeros where the photo is smaller
    - ``do_flip_channel_order``: RGB to BGR, which the published weights expect (True)
    - ``do_reduce_labels``: for segmentation maps: labels minus one, and 0 becomes 255, which the loss ignores (False)
    - ``do_convert_rgb``: gray, palettes and transparency (on white) to RGB first (None: no)
    - ``do_normalize``, ``image_mean``, ``image_std``, ``do_pad``: kept, but obeyed neither here nor in transformers

    Unknown arguments are kept and saved again. Raises ConfigError for impossible values.
    Source: transformers' class of the same name.
    """

    model_input_names: ClassVar[list[str]] = ["pixel_values"]

    do_resize: bool
    size: dict[str, int]
    resample: int
    do_rescale: bool
    rescale_factor: float
    do_center_crop: bool
    crop_size: dict[str, int]
    do_flip_channel_order: bool
    do_reduce_labels: bool

    def __init__(
        self,
        do_resize: bool = True,
        size: int | Sequence[int] | Mapping[str, int] | None = None,
        resample: int = 2,
        do_rescale: bool = True,
        rescale_factor: float = 1 / 255,
        do_center_crop: bool = True,
        crop_size: int | Sequence[int] | Mapping[str, int] | None = None,
        do_flip_channel_order: bool = True,
        do_reduce_labels: bool = False,
        do_convert_rgb: bool | None = None,
        **others: Any,
    ) -> None:
        given = {
            "do_resize": do_resize,
            "size": size,
            "resample": resample,
            "do_rescale": do_rescale,
            "rescale_factor": rescale_factor,
            "do_center_crop": do_center_crop,
            "crop_size": crop_size,
            "do_flip_channel_order": do_flip_channel_order,
            "do_reduce_labels": do_reduce_labels,
            CONVERT: do_convert_rgb,
            **others,
        }
        settings = modernized(given)
        from_preprocessor_config(settings)  # raises for impossible values
        self.do_convert_rgb: bool | None = settings.pop(CONVERT, None)
        _warn_of_idle(settings)
        self._others = {key: value for key, value in settings.items() if key not in DEFAULTS and key not in TYPE_FIELDS}
        for key in DEFAULTS:
            setattr(self, key, settings[key])

    def __call__(self, images: Any, segmentation_maps: Any = None, **options: Any) -> BatchFeature:
        """The same as ``preprocess``."""
        return self.preprocess(images, segmentation_maps, **options)

    def preprocess(
        self,
        images: Any,
        segmentation_maps: Any = None,
        do_resize: bool | None = None,
        size: int | Sequence[int] | Mapping[str, int] | None = None,
        resample: int | None = None,
        do_rescale: bool | None = None,
        rescale_factor: float | None = None,
        do_center_crop: bool | None = None,
        crop_size: int | Sequence[int] | Mapping[str, int] | None = None,
        do_flip_channel_order: bool | None = None,
        do_reduce_labels: bool | None = None,
        return_tensors: str | None = None,
        data_format: str | None = "channels_first",
        input_data_format: str | None = None,
        do_convert_rgb: bool | None = None,
        **others: Any,
    ) -> BatchFeature:
        """Photos, and their segmentation maps if given, ready for the network: ``pixel_values`` and ``labels``.

        ``images``: one or a list, of PIL images, arrays or anything with ``__array__`` (tensors), or paths or bytes;
        or one array of a batch. ``input_data_format``: "channels_first", "channels_last" or "none" for arrays
        (H, W); by default it's told by the shape, channels first if either end could be them. Arguments that aren't
        None replace the processor's own settings for this call. ``others`` are settings that it keeps and doesn't use.

        Shape: ``pixel_values``: a list of (C, H, W), or (H, W, C) with ``data_format="channels_last"``; one array
        (B, C, H, W) with ``return_tensors="np"``, a tensor with "pt" (PyTorch), "tf" or "jax". ``labels``: the same of
        (H, W), int64.
        The dtype is float32 if rescaled; else, if resized, uint8, or float32 for floats in 0..1 (of which the resize
        keeps only eight bits); else the images' own. Values in 0..1 that are rescaled get a MobileViTWarning.
        Raises InputError, ConfigError, ImageError, or MissingExtraError if the tensors' framework isn't installed.
        """
        _check_call(others)
        settings = self._with(
            do_resize=do_resize,
            size=size,
            resample=resample,
            do_rescale=do_rescale,
            rescale_factor=rescale_factor,
            do_center_crop=do_center_crop,
            crop_size=crop_size,
            do_flip_channel_order=do_flip_channel_order,
            do_reduce_labels=do_reduce_labels,
            do_convert_rgb=do_convert_rgb,
        )
        kind = kind_of(return_tensors)
        last = _format("data_format", data_format, ("channels_first", "channels_last")) == "channels_last"
        layout = _format("input_data_format", input_data_format, ("channels_first", "channels_last", "none"))
        profile = from_preprocessor_config(settings)

        photos = [
            _channels_first(image, layout, rgb=settings.get(CONVERT, False))
            for image in _listed(images, ndim=2 if layout == "none" else 3)
        ]
        if profile.rescale_factor is not None and any(map(_is_scaled, photos)):
            warnings.warn(_SCALED_TWICE, MobileViTWarning, stacklevel=2)
        pixel_values = [run_steps(photo, profile) for photo in photos]
        features = BatchFeature(
            {"pixel_values": [image.transpose(1, 2, 0) for image in pixel_values] if last else pixel_values}
        )
        if segmentation_maps is not None:
            maps, reduced = _listed(segmentation_maps, ndim=2), settings["do_reduce_labels"]
            features["labels"] = [_label_map(each, profile, reduced) for each in maps]
        return features.convert_to_tensors(kind)

    def resize(self, image: Any, size: Any, resample: int | None = None, **layout: Any) -> np.ndarray:
        """One photo resized and nothing else, in its own layout. Raises as ``preprocess``, which does all the steps."""
        return self._step(image, layout, do_resize=True, size=size, resample=resample)

    def rescale(self, image: Any, scale: float, **layout: Any) -> np.ndarray:
        """One photo times ``scale``; see ``resize``."""
        return self._step(image, layout, do_rescale=True, rescale_factor=scale)

    def center_crop(self, image: Any, size: Any, **layout: Any) -> np.ndarray:
        """The center of one photo; see ``resize``."""
        return self._step(image, layout, do_center_crop=True, crop_size=size)

    def flip_channel_order(self, image: Any, **layout: Any) -> np.ndarray:
        """One photo, RGB to BGR or back; see ``resize``."""
        return self._step(image, layout, do_flip_channel_order=True)

    def _step(self, image: Any, layout: dict[str, Any], **step: Any) -> np.ndarray:
        array = as_array(image)
        said = layout.get("input_data_format") or (_seen_layout(array.shape) if array.ndim == 3 else "none")
        wanted = layout.get("data_format") or ("channels_first" if array.ndim == 2 else said)
        others = {name: False for name in DEFAULTS if name.startswith("do_") and name not in step}
        found = self.preprocess(array, input_data_format=said, data_format=wanted, **{**others, **step})
        return np.asarray(found["pixel_values"][0])

    def post_process_semantic_segmentation(
        self,
        outputs: Any,
        target_sizes: Iterable[Sequence[int]] | None = None,
        return_segmentation_scores: bool = False,
    ) -> list[Any]:
        """The class of every pixel, from a segmenter's logits, resized first (bilinear) to ``target_sizes`` if given.

        If the photo was cropped, the map shows the crop: stretching it over the whole photo is wrong.

        Shape: ``outputs.logits`` (B, C, H, W) -> a list of B maps (H', W'), int64; ``target_sizes`` holds B pairs.
        With ``return_segmentation_scores`` each is a BatchFeature: that map as ``segmentation``, its logits as
        ``segmentation_scores``, (C, H', W'). Integer logits (a quantized network's) are interpolated in float64. Raises
        InputError (a ValueError, as in transformers) if there are more or fewer sizes than images, or no such logits.
        """
        logits = _segmenter_logits(outputs)
        if target_sizes is None:
            return [_segmented(each) for each in logits] if return_segmentation_scores else list(logits.argmax(axis=1))
        if not isinstance(target_sizes, Iterable):
            raise InputError(f"target_sizes must be one (height, width) for each image, not {target_sizes!r:.40}")
        sizes = [_pair(size) for size in target_sizes]
        if len(sizes) != len(logits):
            raise InputError(f"there are {len(sizes)} target sizes for {len(logits)} images: give one for each")
        pairs = zip(logits, sizes, strict=True)
        if return_segmentation_scores:
            return [_segmented(resize_bilinear(one[None], size)[0]) for one, size in pairs]
        return [best_class_at_size(one[None], size)[0] for one, size in pairs]

    # -- files ---------------------------------------------------------------------------------------------------------

    @classmethod
    def get_image_processor_dict(
        cls, pretrained_model_name_or_path: str | os.PathLike[str], **keywords: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """(a preprocessor_config.json's settings, the keywords that don't say where it is).

        Raises as ``from_pretrained``.
        """
        place, rest = sorted_out(keywords)
        return processor_settings(pretrained_model_name_or_path, **place), rest

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike[str], **keywords: Any) -> Any:
        """The processor that a preprocessor_config.json describes: that file, or the one in a folder or of a hub id.

        Old and new spellings are read. If the file doesn't tell the channels' order, it's that of the weights beside
        it: timm's take RGB. ``keywords`` are settings to replace, and transformers' own: ``subfolder``, ``revision``,
        ``cache_dir``, ``token``, ``local_files_only`` and ``force_download`` say where the file is; with
        ``return_unused_kwargs`` the result is a pair, the processor and the keywords that are none of these. Raises
        CheckpointError if it can't be read, ConfigError if it's another model's, MissingExtraError if it must be
        downloaded and can't, InputError for what isn't done here.
        """
        settings, rest = cls.get_image_processor_dict(pretrained_model_name_or_path, **keywords)
        return cls.from_dict(settings, **rest)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any], *, return_unused_kwargs: bool = False, **changes: Any) -> Any:
        """The processor that ``settings`` describe, in either spelling, with ``changes``; other names are ignored.

        With ``return_unused_kwargs`` the result is a pair, with those others. Raises ConfigError for another model's
        settings.
        """
        if is_timm_config(settings):
            raise ConfigError("these are timm's settings: Classifier.from_pretrained() reads them, this class does not")
        check_processor_type(settings)
        known = {*DEFAULTS, *FLIP_FIELDS, CONVERT, *_IDLE, *settings}
        unused = {name: value for name, value in changes.items() if name not in known}
        kept = {name: value for name, value in changes.items() if name in known}
        processor = cls(**modernized({**settings, **kept}))
        return (processor, unused) if return_unused_kwargs else processor

    @classmethod
    def from_json_file(cls, json_file: str | os.PathLike[str]) -> Any:
        """The processor that a file of any name describes. Raises as ``from_pretrained``."""
        return cls.from_dict(read_json(Path(json_file)))

    def to_dict(self) -> dict[str, Any]:
        """The settings in the new spelling, as they are saved."""
        settings = {key: getattr(self, key) for key in DEFAULTS}
        if self.do_convert_rgb is not None:
            settings[CONVERT] = self.do_convert_rgb
        return {**self._others, **settings, TYPE_FIELDS[0]: PROCESSOR_TYPES[0]}

    def to_json_string(self) -> str:
        """``to_dict`` as the text of a preprocessor_config.json. Raises ConfigError for what JSON can't hold."""
        return json_text(self.to_dict(), sort_keys=True)

    def to_json_file(self, json_file_path: str | os.PathLike[str]) -> None:
        """Write ``to_json_string`` to a file of any name. Raises ConfigError, OutputError."""
        write_file(Path(json_file_path), self.to_json_string().encode())

    def save_pretrained(self, save_directory: str | os.PathLike[str], **keywords: Any) -> list[str]:
        """Write preprocessor_config.json to a folder, which is made if it's missing; the list of files written.

        Raises ConfigError, OutputError, and InputError for a keyword that isn't obeyed here (``push_to_hub``).
        """
        check_saving(save_directory, keywords)
        contents = {Path(save_directory, PREPROCESSOR_FILE): self.to_json_string().encode()}
        return [str(path) for path in write_files(contents, folders=[save_directory])]

    def __getattr__(self, name: str) -> Any:
        """A setting that is kept and not used."""
        others = vars(self).get("_others", {})
        if name in others or name in _IDLE:
            return others.get(name)
        raise AttributeError(f"a {type(self).__name__} has no {name!r}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({json.dumps(self.to_dict(), indent=2, sort_keys=True, default=repr)})"

    def _with(self, **changes: Any) -> dict[str, Any]:
        """This processor's settings, with those of ``changes`` that aren't None."""
        settings = {key: getattr(self, key) for key in (*DEFAULTS, CONVERT)}
        return modernized({**settings, **{key: value for key, value in changes.items() if value is not None}})


MobileViTFeatureExtractor = MobileViTImageProcessor  # its name before 2023, in many scripts and old files


def _warn_of_idle(settings: Mapping[str, Any]) -> None:
    for name in ("do_normalize", "do_pad"):
        if settings.get(name):
            message = f"{name} is kept but not done: a MobileViT's processor never does it, nor does transformers'"
            warnings.warn(message, MobileViTWarning, stacklevel=4)


def _check_call(others: Mapping[str, Any]) -> None:
    """Raise InputError for a keyword that ``preprocess`` doesn't take."""
    if unknown := sorted(others.keys() - {*_IDLE, *_IDLE_IN_A_CALL}):
        raise InputError(f"preprocess takes no {', '.join(unknown)}; its help says what it takes")
    _warn_of_idle(others)


# -- what comes in -----------------------------------------------------------------------------------------------------


def _format(name: str, value: Any, known: tuple[str, ...]) -> str | None:
    value = getattr(value, "value", value)  # transformers' enumerations
    if value is not None and value not in known:
        raise InputError(f"{name} must be one of {', '.join(known)}, not {value!r}")
    return value


def _listed(images: Any, ndim: int) -> list[Any]:
    """The single images in ``images``: one, a batch array, or a list, also of lists or batches."""
    if isinstance(images, (list, tuple)):
        if not images:
            raise InputError("there is no image in the list: give at least one")
        return [single for each in images for single in _listed(each, ndim)]
    if _is_file(images) or isinstance(images, Image.Image):
        return [images]
    array = as_array(images)
    return list(array) if array.ndim == ndim + 1 else [array]


def _is_file(image: Any) -> bool:
    return isinstance(image, (str, os.PathLike, bytes)) or hasattr(image, "read")


def _channels_first(image: Any, layout: str | None, *, rgb: bool) -> np.ndarray:
    """One image as (C, H, W), its values untouched, or with ``rgb`` as (3, H, W)."""
    if _is_file(image):
        return decode(image).transpose(2, 0, 1)
    array = as_rgb(image) if rgb and isinstance(image, Image.Image) else as_array(image)
    if array.dtype.kind not in "biuf" or array.size == 0:
        raise ImageError(f"an array of {array.dtype} and shape {array.shape} is not a photo: give uint8 pixels")
    if array.ndim == 2:
        return np.repeat(array[None], 3 if rgb else 1, axis=0)
    if array.ndim != 3 or layout == "none":
        raise ImageError(f"an array of shape {array.shape} is not a photo: give (H, W, C), (C, H, W) or (H, W)")
    first = not isinstance(image, Image.Image) and (layout or _seen_layout(array.shape)) == "channels_first"
    array = array if first else array.transpose(2, 0, 1)
    if not 1 <= array.shape[0] <= _MORE_CHANNELS:
        raise ImageError(f"an array of shape {array.shape} has {array.shape[0]} channels; a photo has 1, 3 or 4")
    return _three_channels(array) if rgb else array


def _three_channels(photo: np.ndarray) -> np.ndarray:
    """Gray three times, and alpha blended onto white: (C, H, W) -> (3, H, W). Source: transformers' convert_to_rgb."""
    if photo.shape[0] == 1:
        return np.repeat(photo, 3, axis=0)
    if photo.shape[0] != _MORE_CHANNELS:
        return photo
    whole = photo.dtype.kind in "iu"
    if not whole and not (photo.min() >= 0 and photo.max() <= 1):
        raise ImageError("floats with an alpha channel must lie in 0..1 to be made RGB; give these, or uint8")
    white = 255 if whole else 1.0
    alpha = photo[3:] / white
    blended = alpha * photo[:3] + (1 - alpha) * white
    return (np.round(blended) if whole else blended).astype(photo.dtype)


def _is_scaled(photo: np.ndarray) -> bool:
    """Whether a photo has floats in 0..1, so that it's rescaled already."""
    return photo.dtype.kind == "f" and bool(photo.min() >= 0 and photo.max() <= 1)


_SCALED_TWICE = (
    "the pixel values lie in 0..1 already, and rescaling divides them again; give do_rescale=False, or pixels in 0..255"
)


def _seen_layout(shape: tuple[int, ...]) -> str:
    for counts in (_CHANNELS, (_MORE_CHANNELS,)):
        for axis, layout in ((0, "channels_first"), (2, "channels_last")):
            if shape[axis] in counts:
                return layout
    raise ImageError(f"can't tell where an array of shape {shape} has its channels: set input_data_format")


# -- what goes out -----------------------------------------------------------------------------------------------------


def _label_map(source: Any, profile: Profile, reduce_labels: bool) -> np.ndarray:
    """A segmentation map, resized by nearest neighbor and cropped like its photo. Shape: (H, W) -> (H', W'), int64."""
    labels = as_array(source)
    if labels.ndim != 2 or labels.dtype.kind not in "biuf" or labels.size == 0:
        raise ImageError(f"an array of {labels.dtype} and shape {labels.shape} is not a segmentation map: give (H, W)")
    if reduce_labels:
        labels = np.where((labels == 0) | (labels == _IGNORED), _IGNORED, labels.astype(np.int64) - 1)
    plain = Profile("labels", profile.size, "nearest", profile.crop, flip_channels=False, rescale_factor=None)
    return run_steps(labels[None], plain)[0].astype(np.int64)


def _segmenter_logits(outputs: Any) -> np.ndarray:
    if not hasattr(outputs, "logits"):
        raise InputError(f"give a segmenter's outputs; a {type(outputs).__name__} has no logits")
    logits = as_numbers(outputs.logits, "logits")
    if logits.ndim != 4 or logits.size == 0 or logits.dtype.kind not in "fiu":
        raise InputError(f"a segmenter's logits are numbers (B, K, H, W), not {logits.dtype} of shape {logits.shape}")
    return logits if logits.dtype.kind == "f" else logits.astype(np.float64)


def _segmented(logits: np.ndarray) -> BatchFeature:
    return BatchFeature({"segmentation": logits.argmax(axis=0), "segmentation_scores": logits})


def _pair(size: Any) -> tuple[int, int]:
    pair = np.asarray(size)
    if pair.shape != (2,) or pair.dtype.kind not in "iu" or pair.min() < 1 or int(pair[0]) * int(pair[1]) > MAX_PIXELS:
        raise InputError(
            f"a target size must be (height, width) in whole pixels, {MAX_PIXELS:,} at most, not {size!r:.80}"
        )
    return int(pair[0]), int(pair[1])

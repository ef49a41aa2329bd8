"""Floor 4. What both pipelines share. Imports checkpoints, preprocess, the engines, and what they stand on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from .. import reference
from ..checkpoints import Checkpoint, open_checkpoint
from ..checkpoints.shipped import DEFAULTS
from ..errors import CheckpointError, InputError
from ..labels import VOC_LABELS, imagenet_labels
from ..preprocess import Profile, named_profile
from ..scope import Scope

MOST_PIXELS = 1 << 20  # of one network input; attention's memory grows with the square, and here it's 3 GB

ENGINES: dict[str, dict[str, Callable[..., Any]]] = {
    "reference": {"classifier": reference.classifier, "segmenter": reference.segmenter}
}


def engine_function(engine: str, task: str) -> Callable[..., Any]:
    """The network function of an engine. Raises InputError for an unknown one."""
    if engine not in ENGINES:
        raise InputError(f"there is no engine {engine!r}; known are {', '.join(ENGINES)}")
    return ENGINES[engine][task]


def open_for(task: str, where: Any, dtype: Any) -> Checkpoint:
    """The checkpoint at ``where``, by default the shipped one for ``task``. Raises InputError for an odd dtype."""
    try:
        wanted = np.dtype(dtype)
    except TypeError:
        wanted = np.dtype(object)
    if wanted not in (np.float32, np.float64):
        raise InputError(f"dtype must be float32 or float64, not {dtype!s:.40}")
    return open_checkpoint(DEFAULTS[task] if where is None else where, dtype=wanted)


def check_task(checkpoint: Checkpoint, task: str) -> None:
    """Raise InputError unless the checkpoint is for ``task``, and for photos."""
    if checkpoint.task != task:
        raise InputError(f"{checkpoint.name} is a {checkpoint.task}, not a {task}; give the weights of one")
    if not checkpoint.labels:
        raise InputError(f"{checkpoint.name} has no classes to choose from; give a {task} with some")
    if checkpoint.config.num_channels != 3:
        raise InputError(f"{checkpoint.name} takes {checkpoint.config.num_channels} channels, and photos have 3")


def check_size(height: int, width: int) -> None:
    """Raise InputError where the network's input would be so big that it takes gigabytes."""
    if height * width > MOST_PIXELS:
        raise InputError(
            f"these settings would show the network a photo of {width}x{height} pixels, and {MOST_PIXELS:,} is the "
            "most here; choose a profile that makes it smaller, or scale it down"
        )


def run_network(network: Callable[..., Any], pixel_values: np.ndarray, checkpoint: Checkpoint) -> np.ndarray:
    """The logits: (B, K) or (B, K, H', W'). Numbers that overflow on the way show in what comes out: ``check_answer``.

    (B, C, H, W) -> (B, K, ...)
    """
    with np.errstate(all="ignore"):
        logits: np.ndarray = network(pixel_values, Scope(checkpoint.tensors), checkpoint.config)[0]
    return logits


def check_answer(logits: np.ndarray, checkpoint: Checkpoint) -> None:
    """Raise CheckpointError where the logits are no numbers: weights may be finite one by one, and yet make such."""
    if not np.isfinite(logits).all():
        raise CheckpointError(
            f"{checkpoint.name} gives an answer that is no number: its weights are damaged, or too large for "
            f"{checkpoint.dtype}"
        )


def profile_of(checkpoint: Checkpoint, profile: str | Profile | None) -> Profile:
    """The named profile, or the one the checkpoint came with. Raises ConfigError for an unknown name."""
    if profile is None:
        return checkpoint.profile
    return named_profile(profile) if isinstance(profile, str) else profile


def what_it_knows(checkpoint: Checkpoint) -> str:
    """What the answers can be, in a few words: as the checkpoint's config.json says ("knows"), else from its labels."""
    said = checkpoint.config_fields.get("knows")
    if isinstance(said, str) and said:
        return f"knows {said}"
    labels = checkpoint.labels
    for known, name in ((VOC_LABELS, "Pascal VOC"), (imagenet_labels(), "ImageNet")):
        if labels == known:
            return f"knows the {len(labels)} classes of {name}"
    return f"knows {len(labels)} classes: {', '.join(labels[:3])}{' ...' if len(labels) > 3 else ''}"


def is_many(images: Any) -> bool:
    """Whether the caller gave several images: any collection or iterator, but no path, bytes, file or array."""
    if isinstance(images, (str, bytes, bytearray, memoryview)) or hasattr(images, "read"):
        return False
    return isinstance(images, Iterable) and not hasattr(images, "__array__")

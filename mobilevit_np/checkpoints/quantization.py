"""Weights as int8 with one scale per output channel: made, read back, and what it costs.

Nearly all bytes of a checkpoint are the larger weights of convolutions and linear layers, and these bear being rounded
to 255 steps. The file is ordinary safetensors. A weight of shape (O, ...), O the output channels, is in it as

    X.weight          int8, (1, O, ...)
    X.weight_scale    float32, (O): finite and above 0    weight[o] = int8[0, o] * scale[o]

The axis of 1 is there so that nobody takes the steps for the weights: a reader that knows nothing of scales finds
tensors that don't fit (transformers 5 would otherwise load them, with a warning about names). The rest is float16, or
float32 if a number is too large for that: biases, normalization, and weights of fewer than 4,096 numbers, among them
those of the stem and the depthwise convolutions. BatchNorm's counters, which no network here reads, are left out. The
file's metadata say ``"quantization": "int8-per-output-channel"``.

It's the plainest scheme there is: symmetric (0 stays 0, no offsets), scale = max|w| / 127, round half to even. So every
weight is within half a step of what it was. What was tried, on an earlier classifier of ours and 749 photos (the error
is the root mean square of the logits' change, relative to theirs; the sizes are the same for a thousand classes):

    every weight int8                          2.3%    first answer the same for 97.2%
    scales with the smallest squared error     2.4%    96.5%: only the weights' own error fell, by 1%
    offsets, 255 steps from least to largest   2.0%    98.3%: a zero that moves, and another tensor for every weight
    weights under 512 numbers as float16       1.2%    97.9%, 0.5 kB more
    under 2,048                                0.9%    98.7%, 7 kB more
    under 4,096: kept                          0.7%    98.9%, 14 kB more
    under 8,192                                0.6%    99.1%, 172 kB more

The 432 numbers of the stem alone made 1.8% of the first line's 2.3%: its rounding is in everything that follows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..errors import CheckpointError, visible
from ..formats import dtypes
from ..formats.contents import TensorFile
from .parameters import COUNTER

KEY, SCHEME = "quantization", "int8-per-output-channel"
METADATA = {KEY: SCHEME}
_SCALE = "_scale"  # X.weight -> X.weight_scale
MIN_SIZE = 4096  # a weight of fewer numbers isn't worth it
_STEPS = 127  # -128 has no counterpart, and isn't used
_REMEDY = "write it again with `weights quantize`"
GROUPS = (  # a part of a tensor's name, and the group it belongs to: the first that fits
    ("conv_stem.", "stem"),
    (".conv_3x3.", "depthwise convolutions"),
    (".conv_kxk.", "3x3 convolutions"),
    (".fusion.", "3x3 convolutions"),
    (".attention.", "attention"),
    (".intermediate.", "feed-forward"),
    (".output.dense.", "feed-forward"),
    ("segmentation_head.", "segmentation head"),
    ("convolution.", "1x1 convolutions"),
    ("classifier.", "classifier"),
)


@dataclass(frozen=True)
class GroupError:
    """How far the weights of one group moved: relative to the largest of their tensor, and on average."""

    group: str
    tensors: int
    largest: float  # the largest |difference| over its tensor's largest magnitude
    mean: float  # the mean |difference| over the mean magnitude


def quantize(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The steps (int8, -127..127) and the scales (float32) of a weight; no number moves by over half its scale.

    Shape: (O, ...) -> (O, ...), (O). Any float dtype. Raises CheckpointError if a number doesn't fit float32.
    """
    rows = dtypes.cast(weight, np.dtype(np.float32)).reshape(len(weight), -1)
    largest = np.abs(rows).max(axis=1, initial=0)
    scale = np.maximum(largest / np.float32(_STEPS), np.finfo(np.float32).tiny)  # never 0, even if all weights are
    steps = np.rint(rows.astype(np.float64) / scale[:, None])
    return steps.astype(np.int8).reshape(weight.shape), scale


def dequantize(steps: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """The weight that steps and scales stand for, in float32.

    Shape: (O, ...), (O) -> (O, ...)
    """
    with np.errstate(over="ignore"):  # infinities are found when the tensors are checked
        weight: np.ndarray = steps.astype(np.float32) * scale.astype(np.float32).reshape(-1, *[1] * (steps.ndim - 1))
    return weight


def quantize_tensors(tensors: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What the file holds in place of ``tensors``, and the format of each.

    Raises CheckpointError if a weight doesn't fit float32.
    """
    found: dict[str, np.ndarray] = {}
    formats: dict[str, str] = {}
    for name, tensor in tensors.items():
        if name.endswith(COUNTER):
            continue
        if tensor.ndim > 1 and tensor.size >= MIN_SIZE:
            steps, found[name + _SCALE] = quantize(tensor)
            found[name] = steps[None]  # (O, ...) -> (1, O, ...)
            formats[name], formats[name + _SCALE] = "I8", "F32"
        else:
            found[name] = tensor
            formats[name] = "F16" if np.abs(tensor).max(initial=0) <= np.finfo(np.float16).max else "F32"
    return found, formats


def dequantize_file(file: TensorFile) -> TensorFile:
    """The file with weights in place of steps and scales; a file without int8 is returned as it is.

    Raises CheckpointError if int8 tensors and scales don't belong together, or a scale isn't a positive number.
    """
    scheme = file.metadata.get(KEY)
    whole = [name for name, dtype in file.dtypes.items() if dtype == "I8"]
    if scheme is None and not whole:
        return file
    _check_scheme(scheme, whole)
    scales = {name: _scale_of(file, name) for name in whole}
    used = {name + _SCALE for name in whole}
    if idle := [name for name in file.tensors if name.endswith(_SCALE) and name not in used]:
        raise CheckpointError(f"its scale {visible(idle[0])!r} has no int8 tensor to go with; {_REMEDY}")
    tensors = {name: tensor for name, tensor in file.tensors.items() if name not in used}
    tensors.update({name: dequantize(tensors[name][0], scale) for name, scale in scales.items()})
    formats = {name: "F32" if name in scales else file.dtypes[name] for name in tensors}
    return replace(file, tensors=tensors, dtypes=formats)


def _check_scheme(scheme: str | None, whole: list[str]) -> None:
    if scheme is None:
        raise CheckpointError(
            f"its tensor {visible(whole[0])!r} is int8, and its metadata don't say what for; use the float weights, or "
            f"{_REMEDY}"
        )
    if scheme != SCHEME:
        raise CheckpointError(f"it's quantized as {visible(scheme, 60)!r}, and only {SCHEME!r} is known; {_REMEDY}")


def _scale_of(file: TensorFile, name: str) -> np.ndarray:
    steps, scale = file.tensors[name], file.tensors.get(name + _SCALE)
    if scale is None:
        raise CheckpointError(f"its int8 tensor {visible(name)!r} lacks its scales; {_REMEDY}")
    if steps.ndim < 3 or steps.shape[:2] != (1, *scale.shape):
        raise CheckpointError(
            f"its int8 tensor {visible(name)!r} {steps.shape} and the scales {scale.shape} beside it don't fit; they "
            f"should be (1, O, ...) and (O); {_REMEDY}"
        )
    if scale.dtype.kind != "f" or not np.isfinite(scale).all() or not (scale > 0).all():
        raise CheckpointError(f"its scales {visible(name + _SCALE)!r} aren't all numbers above 0; {_REMEDY}")
    return scale


def errors_by_group(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> list[GroupError]:
    """How far the weights moved, group by group, in the order of ``GROUPS``; empty groups are left out."""
    groups: dict[str, list[str]] = {group: [] for _, group in GROUPS}
    for name, tensor in before.items():
        if tensor.ndim > 1:
            groups[next(group for part, group in GROUPS if part in name)].append(name)
    return [_group_error(group, names, before, after) for group, names in groups.items() if names]


def _group_error(
    group: str, names: list[str], before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]
) -> GroupError:
    largest = moved = magnitude = 0.0
    for name in names:
        wanted = before[name].astype(np.float64)
        difference = np.abs(wanted - after[name])
        largest = max(largest, float(difference.max() / (np.abs(wanted).max() or 1)))
        moved += float(difference.sum())
        magnitude += float(np.abs(wanted).sum())
    return GroupError(group, len(names), largest, moved / (magnitude or 1))

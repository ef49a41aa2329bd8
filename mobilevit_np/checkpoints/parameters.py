"""The tensors a network is made of: their names and shapes, initializing fresh ones, checking a file's.

``parameter_shapes`` walks the network in the order of its layers, one small function per layer. Everything is under
Hugging Face's names: a backbone with a head has the prefix ``mobilevit.``, a bare one none.

BatchNorm's ``num_batches_tracked`` counts training steps. No network here reads it; files keep it, so that they come
out as they went in.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from ..config import STAGE_2_DEPTH, TRANSFORMER_DEPTHS, NetworkConfig, check_task
from ..errors import CheckpointError, ConfigError, MobileViTWarning, visible
from ..ops import ACTIVATIONS
from .parameter_names import PREFIX

COUNTER = "num_batches_tracked"
STATISTICS = ("running_mean", "running_var", COUNTER)  # what no gradient changes
HEADS = ("classifier.", "segmentation_head.", f"{PREFIX}conv_1x1_exp.", "conv_1x1_exp.")  # parts a network may lack
MAX_PARAMETERS = 1 << 26  # ten times the largest MobileViT: 0.5 GB in float64
_MAX_NAMED = 4
_LEARNED: dict[str, tuple[tuple[int, ...], float]] = {  # an activation's parameter: its shape, its value at the start
    "weight": ((1,), 0.25),
    "alpha_p": ((1,), math.log(math.expm1(0.8))),
    "alpha_n": ((1,), math.log(math.expm1(0.3))),
    "beta": ((), 0.5),
    "eps": ((), -1e-6),
}
_Shapes = Iterator[tuple[str, tuple[int, ...]]]


def parameter_shapes(
    config: NetworkConfig, task: str, *, expand_output: bool = True, counters: bool = False
) -> dict[str, tuple[int, ...]]:
    """``{name: shape}`` of every tensor the network needs, in the order of its layers.

    ``task`` is ``classifier``, ``segmenter`` or ``backbone``; ``expand_output=False`` leaves out a bare model's last
    1x1 (a segmenter never has it). ``counters`` adds ``num_batches_tracked``, which PyTorch's files have. Raises
    ConfigError if the network would hold over ``MAX_PARAMETERS``, or for an unknown ``hidden_act``; InputError for an
    unknown task.
    """
    check_task(task)
    prefix = "" if task == "backbone" else PREFIX
    expand = expand_output and task != "segmenter"
    shapes = {f"{prefix}{name}": shape for name, shape in _backbone(config, expand)}
    if task == "classifier" and config.num_labels > 0:
        shapes.update(_affine("classifier", config.num_labels, config.neck_hidden_sizes[6]))
    if task == "segmenter":
        shapes.update(_segmentation_head(config))
    if (total := sum(math.prod(shape) for shape in shapes.values())) > MAX_PARAMETERS:
        raise ConfigError(f"this configuration describes a network of {total:,} parameters; no MobileViT is that large")
    return {name: shape for name, shape in shapes.items() if counters or not name.endswith(COUNTER)}


def count_parameters(tensors: Mapping[str, np.ndarray]) -> int:
    """How many numbers training would change: without BatchNorm's statistics and counters, as everybody counts."""
    return sum(int(tensor.size) for name, tensor in tensors.items() if not name.endswith(STATISTICS))


def _affine(name: str, *shape: int) -> _Shapes:
    yield f"{name}.weight", shape
    yield f"{name}.bias", shape[:1]


def _conv(
    name: str, shape: tuple[int, int, int], act: Any = None, *, normalize: bool = True, bias: bool = False
) -> _Shapes:
    """A convolution layer of ``shape`` (out, in, kernel size), with its normalization and activation."""
    out_channels, in_channels, kernel = shape
    yield f"{name}.convolution.weight", (out_channels, in_channels, kernel, kernel)
    if bias:
        yield f"{name}.convolution.bias", (out_channels,)
    if normalize:
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            yield f"{name}.normalization.{leaf}", (out_channels,)
        yield f"{name}.normalization.{COUNTER}", ()
    if act is not None:
        yield from _activation(f"{name}.activation", act)


def _activation(name: str, act: Any) -> _Shapes:
    for leaf in ACTIVATIONS[act][1]:
        yield f"{name}.{leaf}", _LEARNED[leaf][0]


def _inverted_residual(name: str, config: NetworkConfig, in_channels: int, out_channels: int) -> _Shapes:
    width, act = config.expanded_channels(in_channels), config.hidden_act
    yield from _conv(f"{name}.expand_1x1", (width, in_channels, 1), act)
    yield from _conv(f"{name}.conv_3x3", (width, 1, 3), act)
    yield from _conv(f"{name}.reduce_1x1", (out_channels, width, 1))


def _transformer_layer(name: str, config: NetworkConfig, width: int) -> _Shapes:
    middle = config.feed_forward_size(width)
    for part in ("query", "key", "value"):
        leaves = _affine(f"{name}.attention.attention.{part}", width, width)
        yield from leaves if config.qkv_bias else [next(leaves)]
    yield from _affine(f"{name}.attention.output.dense", width, width)
    yield from _affine(f"{name}.intermediate.dense", middle, width)
    yield from _activation(f"{name}.intermediate.intermediate_act_fn", config.hidden_act)
    yield from _affine(f"{name}.output.dense", width, middle)
    yield from _affine(f"{name}.layernorm_before", width)
    yield from _affine(f"{name}.layernorm_after", width)


def _mobilevit_block(name: str, config: NetworkConfig, channels: int, width: int, depth: int) -> _Shapes:
    kernel, act = config.conv_kernel_size, config.hidden_act
    yield from _conv(f"{name}.conv_kxk", (channels, channels, kernel), act)
    yield from _conv(f"{name}.conv_1x1", (width, channels, 1), normalize=False)
    for i in range(depth):
        yield from _transformer_layer(f"{name}.transformer.layer.{i}", config, width)
    yield from _affine(f"{name}.layernorm", width)
    yield from _conv(f"{name}.conv_projection", (channels, width, 1), act)
    yield from _conv(f"{name}.fusion", (channels, 2 * channels, kernel), act)


def _backbone(config: NetworkConfig, expand_output: bool) -> _Shapes:
    necks, act = config.neck_hidden_sizes, config.hidden_act
    yield from _conv("conv_stem", (necks[0], config.num_channels, 3), act)
    yield from _inverted_residual("encoder.layer.0.layer.0", config, necks[0], necks[1])
    for i in range(STAGE_2_DEPTH):
        yield from _inverted_residual(f"encoder.layer.1.layer.{i}", config, necks[2 if i else 1], necks[2])
    for i, (depth, width) in enumerate(zip(TRANSFORMER_DEPTHS, config.hidden_sizes, strict=True)):
        name = f"encoder.layer.{2 + i}"
        yield from _inverted_residual(f"{name}.downsampling_layer", config, necks[2 + i], necks[3 + i])
        yield from _mobilevit_block(name, config, necks[3 + i], width, depth)
    if expand_output:
        yield from _conv("conv_1x1_exp", (necks[6], necks[5], 1), act)


def _segmentation_head(config: NetworkConfig) -> _Shapes:
    in_channels, width, aspp = config.neck_hidden_sizes[5], config.aspp_out_channels, "segmentation_head.aspp"
    for i, kernel in enumerate((1, 3, 3, 3)):
        yield from _conv(f"{aspp}.convs.{i}", (width, in_channels, kernel))
    yield from _conv(f"{aspp}.convs.4.conv_1x1", (width, in_channels, 1))
    yield from _conv(f"{aspp}.project", (width, 5 * width, 1))
    yield from _conv("segmentation_head.classifier", (config.num_labels, width, 1), normalize=False, bias=True)


def init_parameters(
    config: NetworkConfig, task: str, seed: int = 0, dtype: np.dtype | type = np.float32, *, expand_output: bool = True
) -> dict[str, np.ndarray]:
    """Fresh parameters with which every layer's output is of order 1 for photos in 0..1; always the same for a seed.

    Each tensor's random numbers depend only on its name and the seed, so that two networks share what they have in
    common (a bare model's tensors are those of the classifier's backbone). No bias, mean or scale is left at 0 or 1, so
    that a port which forgets one gets other numbers.
    """
    shapes = parameter_shapes(config, task, expand_output=expand_output, counters=True)
    return {name: _draw(name, shape, seed, np.dtype(dtype)) for name, shape in shapes.items()}


def _draw(name: str, shape: tuple[int, ...], seed: int, dtype: np.dtype) -> np.ndarray:
    module, leaf = name.removeprefix(PREFIX).rsplit(".", 1)
    if leaf == COUNTER:
        return np.zeros(shape, np.int64)
    if module.endswith(("activation", "intermediate_act_fn")):
        return np.full(shape, _LEARNED[leaf][1], dtype)
    digest = hashlib.sha256(f"{seed}:{module}.{leaf}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(digest[:16], "little"))
    if leaf == "running_var" or (leaf == "weight" and len(shape) == 1):
        return random.uniform(0.8, 1.2, shape).astype(dtype)
    if leaf in ("bias", "running_mean"):
        return random.normal(0, 0.1, shape).astype(dtype)
    return random.normal(0, _gain(module) / math.sqrt(math.prod(shape[1:])), shape).astype(dtype)


def _gain(module: str) -> float:
    """What makes up for the layer's input: an activation has shrunk numbers of order 1, and a photo's are smaller."""
    return next((gain for endings, gain in _GAINS if module.endswith(endings)), 1.5)


_GAINS = (
    (("query", "key", "value", "dense", "conv_projection.convolution"), 1.0),
    (("expand_1x1.convolution", "conv_kxk.convolution"), 1.0),
    (("conv_stem.convolution",), 3.0),
)


def check_tensors(
    tensors: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]], *, where: str = "the checkpoint"
) -> dict[str, np.ndarray]:
    """The tensors that belong to the network of ``shapes``, checked; ``num_batches_tracked`` of its layers stay.

    Tensors of another head of this network are left out with a warning (MobileViTWarning). Raises CheckpointError
    that lists all that are missing, misshapen, not finite floats, or not part of the network.
    """
    missing = [name for name in shapes if name not in tensors]
    surplus = [name for name in tensors if name not in shapes and not _is_counter_of(name, tensors[name], shapes)]
    others = [name for name in surplus if name.startswith(HEADS)]
    shared = [name for name in shapes if name in tensors]
    problems = {
        "missing": missing,
        "of another shape": [
            f"{name} {tensors[name].shape} instead of {shapes[name]}"
            for name in shared
            if tensors[name].shape != shapes[name]
        ],
        "not part of the network": [name for name in surplus if name not in others],
        "with NaN or infinity": [name for name in shared if not np.isfinite(tensors[name]).all()],
        "of whole numbers": [name for name in shared if tensors[name].dtype.kind != "f"],
    }
    if any(problems.values()):
        raise CheckpointError(f"{where} doesn't fit the network: " + "; ".join(_lines(problems)))
    if others:
        heads = ", ".join(sorted({name.removeprefix(PREFIX).split(".")[0] for name in others}))
        message = f"{where}: {len(others)} tensors belong to another head ({heads}) and are left out"
        warnings.warn(message, MobileViTWarning, stacklevel=2)
    left_out = frozenset(others)
    return {name: tensor for name, tensor in tensors.items() if name not in left_out}


def _is_counter_of(name: str, tensor: np.ndarray, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    mean = name.removesuffix(COUNTER) + "running_mean"
    return name.endswith(f".{COUNTER}") and mean in shapes and tensor.size == 1


def _lines(problems: Mapping[str, list[str]]) -> Iterable[str]:
    for what, names in problems.items():
        if names:
            more = f" and {len(names) - _MAX_NAMED} more" if len(names) > _MAX_NAMED else ""
            plural = "tensor" if len(names) == 1 else "tensors"
            yield f"{len(names)} {plural} {what}: {', '.join(visible(name) for name in names[:_MAX_NAMED])}{more}"

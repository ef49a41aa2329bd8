"""What a model takes from a checkpoint that isn't quite its own: one with another head, none, or other classes.

What a file lacks is initialized at random, from a seed, and named in one warning, as in transformers.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..checkpoints import Checkpoint, check_tensors, config_fields, init_parameters, open_checkpoint, parameter_shapes
from ..checkpoints.parameter_names import PREFIX
from ..checkpoints.parameters import COUNTER, HEADS
from ..errors import CheckpointError, InputError, MobileViTWarning
from ..formats.dtypes import cast_floats
from .configuration import MobileViTConfig
from .keywords import sorted_out
from .tensors import as_tensors

_HEADS_OF: dict[str, tuple[str, ...]] = {  # a segmenter's file lacks the expansion that a classifier needs
    "classifier": ("classifier.", f"{PREFIX}conv_1x1_exp."),
    "segmenter": ("segmentation_head.",),
    "backbone": (),
}
_MAX_NAMED = 4


@dataclass
class LoadingInfo:
    """How a checkpoint differs from the model: names, and (name, shape in the file, shape in the model)."""

    missing_keys: list[str] = field(default_factory=list)
    unexpected_keys: list[str] = field(default_factory=list)
    mismatched_keys: list[tuple[str, tuple[int, ...], tuple[int, ...]]] = field(default_factory=list)
    error_msgs: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Request:
    """What ``from_pretrained`` was asked for."""

    where: str | os.PathLike[str] | None
    task: str
    config: Any
    state_dict: Mapping[str, Any] | None
    prefix: str | None
    seed: int
    keywords: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """What a model is made of, and how the checkpoint differed."""

    config: MobileViTConfig
    tensors: dict[str, np.ndarray]
    expand_output: bool
    checkpoint: Checkpoint | None
    info: LoadingInfo


def load(
    request: Request, dtype: np.dtype | None, ignore_mismatched_sizes: bool, expand_output: bool | None = None
) -> Found:
    """The configuration and the tensors of a model, fitted to each other. Raises as ``from_pretrained``."""
    place, overrides = sorted_out(request.keywords)
    checkpoint = None
    if request.state_dict is None:
        checkpoint = _open(request, dtype, place)
        tensors, name = checkpoint.tensors, str(checkpoint.provenance.path)
    else:
        tensors, name = cast_floats(as_tensors(request.state_dict), dtype), "the state_dict"
    config = _configuration(request, checkpoint, place, overrides)
    tensors = _renamed(tensors, request.task)
    if expand_output is None:
        expand_output = request.task == "classifier" or any(each.startswith("conv_1x1_exp.") for each in tensors)
    shapes = parameter_shapes(config, request.task, expand_output=expand_output)
    draw = functools.partial(init_parameters, config, request.task, request.seed, expand_output=expand_output)
    tensors, info = _fit(tensors, shapes, _HEADS_OF[request.task], draw, name, ignore_mismatched_sizes)
    return Found(config, tensors, expand_output, checkpoint, info)


def _open(request: Request, dtype: np.dtype | None, place: dict[str, Any]) -> Checkpoint:
    """The checkpoint with whatever head it has; for a bare model without one, if the head isn't ours."""
    where: Any = request.where
    try:
        return open_checkpoint(where, dtype=dtype, prefix=request.prefix, **place)
    except CheckpointError:
        if request.task != "backbone":
            raise
    return open_checkpoint(where, task="backbone", dtype=dtype, prefix=request.prefix, **place)


def _configuration(
    request: Request, checkpoint: Checkpoint | None, place: dict[str, Any], overrides: dict[str, Any]
) -> MobileViTConfig:
    """The configuration given, or that of another place, or of the checkpoint, with ``overrides``."""
    if isinstance(request.config, MobileViTConfig):
        if overrides:
            raise InputError(f"{', '.join(overrides)}: give a whole config or fields of it, not both")
        return request.config
    if hasattr(request.config, "to_dict"):
        values = request.config.to_dict()  # transformers' own class
    elif request.config is not None:
        values = config_fields(request.config, **place)
    elif checkpoint is not None:
        values = checkpoint.config_fields
    elif request.where is not None:
        values = config_fields(request.where, **place)
    else:
        raise InputError("a state_dict doesn't say which network it belongs to; give its config, too")
    found, unused = MobileViTConfig.from_dict(values, return_unused_kwargs=True, **overrides)
    if unused:
        raise InputError(
            f"from_pretrained takes no {', '.join(sorted(unused))}; it takes config, dtype (or torch_dtype), "
            "transformers' other keywords, and fields of the configuration"
        )
    return found


def _renamed(tensors: Mapping[str, np.ndarray], task: str) -> dict[str, np.ndarray]:
    """Names without the prefix for a bare model, with it for the others."""
    if task == "backbone":
        return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}
    bare = not any(name.startswith(PREFIX) for name in tensors)
    return {f"{PREFIX}{name}" if bare else name: tensor for name, tensor in tensors.items()}


def _fit(
    tensors: dict[str, np.ndarray],
    shapes: Mapping[str, tuple[int, ...]],
    head: tuple[str, ...],
    draw: Callable[[np.dtype], dict[str, np.ndarray]],
    where: str,
    ignore_mismatched_sizes: bool,
) -> tuple[dict[str, np.ndarray], LoadingInfo]:
    """The network's tensors, checked; what may be missing or have another shape is drawn at random, with a warning.

    ``head``: how the names of the network's head begin.
    """
    info = LoadingInfo(
        missing_keys=[name for name in shapes if name not in tensors],
        unexpected_keys=[name for name in tensors if name not in shapes and not name.endswith(COUNTER)],
        mismatched_keys=[
            (name, tensors[name].shape, shape)
            for name, shape in shapes.items()
            if name in tensors and tensors[name].shape != shape
        ],
    )
    may_lack = HEADS if ignore_mismatched_sizes else head
    if any(name.startswith(head[:1]) for name in tensors):
        may_lack = ()  # the head is there, so what's missing of it is damage
    drawn = [name for name in info.missing_keys if name.startswith(may_lack)]
    if ignore_mismatched_sizes:
        drawn += [name for name, _, _ in info.mismatched_keys]
    if drawn:
        dtype = next(tensor.dtype for tensor in tensors.values() if tensor.dtype.kind == "f")
        fresh = draw(dtype)
        tensors = {**tensors, **{name: fresh[name] for name in drawn}}
    try:
        tensors = check_tensors(tensors, shapes, where=where)
    except CheckpointError as error:
        hint = "; ignore_mismatched_sizes=True draws those of another shape anew" if info.mismatched_keys else ""
        raise CheckpointError(f"{error}{hint}") from None
    if drawn:
        warnings.warn(_newly_drawn(drawn, info, where), MobileViTWarning, stacklevel=4)
    return tensors, info


def _newly_drawn(drawn: list[str], info: LoadingInfo, where: str) -> str:
    shapes = {name: f" ({theirs} there, {ours} here)" for name, theirs, ours in info.mismatched_keys}
    why = "the shapes did not match" if shapes.keys() & set(drawn) else "they aren't there"
    names = ", ".join(f"{name}{shapes.get(name, '')}" for name in drawn[:_MAX_NAMED])
    more = f" and {len(drawn) - _MAX_NAMED} more" if len(drawn) > _MAX_NAMED else ""
    return (
        f"some weights were not initialized from {where} and are newly initialized, because {why}: {names}{more}; they "
        "are random numbers: train them elsewhere before you believe the answers"
    )

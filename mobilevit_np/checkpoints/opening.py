"""``open_checkpoint``: from wherever it is to tensors a network can use.

The steps: find the files (``sources``), read the tensors (``formats``; int8 ones become floats, ``quantization``),
recognize whose names they have and translate them (``parameter_names``), take the configuration from config.json or
from the shapes, and check every tensor against what the network needs (``parameters``). Weights stay as they are in the
file: timm's expect RGB, and ``channel_order`` says so. The profile takes its order from there.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..config import NetworkConfig, check_task
from ..errors import CheckpointError, ConfigError, MobileViTError, MobileViTWarning, NotFoundError
from ..formats import dtypes, files
from ..formats.contents import TensorFile
from ..formats.files import naming
from ..formats.hub import PREPROCESSOR_FILE
from ..formats.weights_file import WeightsFile, open_weights
from ..preprocess import Profile, named_profile, profile_from_settings
from ..preprocess.settings import FLIP_FIELDS, flip_said, is_timm_config
from . import configurations, inference, quantization
from . import parameter_names as names
from .parameters import COUNTER, check_tensors, count_parameters, parameter_shapes
from .sources import Source, locate, weights_in
from .wrappers import Found, find_network


@dataclass(frozen=True)
class Provenance:
    """Where a checkpoint's numbers came from, and what its file is."""

    source: Source
    format: str  # "safetensors" or "torch"
    scheme: str  # "huggingface", "timm" or "ml-cvnets"
    sha256: str  # of the weights file; of shards, one after the other
    dtype: str  # what most numbers are stored as: "F32"...
    keys: int  # how many of its tensors are the network's
    size: int  # of the file, in bytes
    chosen: str = ""  # the network's place in a file that holds more: "model_ema"...
    quantization: str = ""  # the scheme of its int8 tensors, if it has any

    @property
    def path(self) -> Path:
        """The weights file."""
        assert self.source.weights is not None
        return self.source.weights


@dataclass(frozen=True)
class Checkpoint:
    """A network's configuration and its tensors, under Hugging Face's names, with what is needed to use them.

    ``tensors`` share one dtype, except BatchNorm's counters. ``config_fields`` are ``config`` and the rest of a
    config.json, in transformers' form. ``notes`` say what was taken by convention.
    """

    name: str
    task: str  # "classifier", "segmenter" or "backbone"
    config: NetworkConfig
    tensors: dict[str, np.ndarray]
    labels: tuple[str, ...]  # empty for a backbone
    channel_order: str  # "BGR" or "RGB": what the weights expect
    preprocessing: dict[str, Any] | None  # as found: Hugging Face's preprocessor_config.json or timm's settings
    config_fields: dict[str, Any]
    provenance: Provenance
    expand_output: bool = True
    notes: tuple[str, ...] = ()
    stored_as: dict[str, str] = field(default_factory=dict)  # {name: "F32"}: the tensors' formats in the file

    @property
    def dtype(self) -> np.dtype:
        """The dtype of the numbers a network computes with."""
        return next(tensor.dtype for tensor in self.tensors.values() if tensor.dtype.kind == "f")

    @property
    def variant(self) -> str | None:
        """``xx_small``, ``x_small`` or ``small`` if the widths are that variant's, else None."""
        return inference.infer_variant(self.config_fields)

    @property
    def problem_type(self) -> str:
        """What a classifier's logits stand for, see ``problem_type_of``; a segmenter's choose one class of several."""
        if self.task != "classifier":
            return configurations.SINGLE_LABEL
        return configurations.problem_type_of(self.config_fields, self.config.num_labels)

    @property
    def profile(self) -> Profile:
        """How photos are prepared for it: as its own settings say, else as for its naming scheme's weights.

        The channels come in the order that the weights take, whatever the settings say.
        """
        source = self.provenance.source
        with naming(source.preprocessor or source.config or source.weights, ConfigError):
            found = (
                named_profile(default_profile(self.provenance.scheme, self.task))
                if self.preprocessing is None
                else profile_from_settings(self.preprocessing)
            )
        return replace(found, flip_channels=self.channel_order == "BGR")


def default_profile(scheme: str, task: str) -> str:
    """The name of the preprocessing that a scheme's published weights expect."""
    return names.TIMM if scheme == names.TIMM else f"{scheme}-{'segmenter' if task == 'segmenter' else 'classifier'}"


def open_checkpoint(
    where: str | os.PathLike[str],
    *,
    task: str | None = None,
    dtype: Any = None,
    use_ema: bool = True,
    prefix: str | None = None,
    **place: Any,
) -> Checkpoint:
    """The checkpoint at ``where``: a file, a folder in the hub's layout, a shipped model's name, or a hub id.

    ``task``: what to take from it, if not what it holds: ``backbone`` leaves a head out (with a warning).
    ``dtype``: float32 or float64...; by default as in the file, with float16 and bfloat16 widened to float32 (exact).
    ``use_ema``: take the averaged weights of a training checkpoint, if it has any.
    ``prefix``: which network to take from a file that holds several: how the names of its tensors begin (``student.``).
    ``place``: ``subfolder``, ``variant``, ``revision``, ``cache``, ``token``, ``local_files_only``, ``force_download``,
    as ``sources.locate`` takes them. Raises CheckpointError, ConfigError, MissingExtraError, InputError.
    """
    target = None if dtype is None else dtypes.float_type(dtype)
    checkpoint = open_as_stored(where, task=task, use_ema=use_ema, prefix=prefix, **place)
    return replace(checkpoint, tensors=dtypes.cast_floats(checkpoint.tensors, target))


def config_fields(where: str | os.PathLike[str], *, prefix: str | None = None, **place: Any) -> dict[str, Any]:
    """The configuration at ``where``, in the form of transformers' config.json; a config.json without weights will do.

    A config.json that is in that form is returned as it is. Raises as ``open_checkpoint``.
    """
    source = locate(where, needs="config", **place)
    if source.config is not None:
        with source.being_read():
            config = files.read_json(source.config)
        with naming(source.config), naming(source.config, ConfigError):
            configurations.network_fields(config)  # refuses another network's
            if not is_timm_config(config):
                return config
            if source.weights is None:
                return configurations.timm_alone(config)
    return open_as_stored(where, prefix=prefix, **place).config_fields


def processor_settings(where: str | os.PathLike[str], **place: Any) -> dict[str, Any]:
    """The preprocessor_config.json at ``where``: that file by any name, beside weights, in a folder, or of a name.

    If it leaves the channel order open, it gets that of the weights beside it; without weights it stays as it is.
    Raises CheckpointError, ConfigError, MissingExtraError, InputError.
    """
    source = locate(where, needs="preprocessor", **place)
    path = source.preprocessor
    if path is None:
        raise NotFoundError(
            f"{where} has no {PREPROCESSOR_FILE}; make a MobileViTImageProcessor from its arguments, or open a "
            "Classifier or Segmenter, which can do without"
        )
    with source.being_read():
        settings = files.read_json(path)
    if source.kind == "hub" and _leaves_order_open(settings):
        with contextlib.suppress(MobileViTError):  # as long as it has no weights, no network sees the wrong order
            locate(where, **place)
    if path.name != PREPROCESSOR_FILE or not _leaves_order_open(settings):
        return settings
    scheme = _scheme_in(path)
    if scheme is None:
        return settings
    return {**settings, FLIP_FIELDS[0]: configurations.channel_order_of(settings, scheme) == "BGR"}


def _leaves_order_open(settings: Mapping[str, Any]) -> bool:
    return not is_timm_config(settings) and flip_said(settings) is None


def _scheme_in(path: Path) -> str | None:
    """Whose names the weights beside a preprocessor_config.json have; None without weights."""
    try:
        weights = weights_in(path.parent)
        return None if weights is None else find_network(open_weights(weights).listing.names, task="backbone").scheme
    except CheckpointError as error:
        raise CheckpointError(
            f"{path} doesn't say {FLIP_FIELDS[0]} (true: BGR), and the weights beside it can't be asked: {error}"
        ) from None


def info(where: str | os.PathLike[str], **options: Any) -> dict[str, Any]:
    """What the checkpoint at ``where`` is, as plain values; ``options`` and errors as ``open_checkpoint``'s."""
    checkpoint = open_as_stored(where, **options)
    provenance = checkpoint.provenance
    return {
        "name": checkpoint.name,
        "path": str(provenance.path),
        "format": provenance.format,
        "names": provenance.scheme,
        "task": checkpoint.task,
        "variant": checkpoint.variant,
        "classes": len(checkpoint.labels) or None,
        "labels": list(checkpoint.labels),
        "parameters": count_parameters(checkpoint.tensors),
        "tensors": provenance.keys,
        "dtype": provenance.dtype,
        "quantization": provenance.quantization or None,
        "channel_order": checkpoint.channel_order,
        "output_stride": checkpoint.config.output_stride,
        "chosen": provenance.chosen or None,
        "bytes": provenance.size,
        "sha256": provenance.sha256,
        "notes": list(checkpoint.notes),
    }


def open_as_stored(
    where: str | os.PathLike[str],
    *,
    task: str | None = None,
    use_ema: bool = True,
    prefix: str | None = None,
    **place: Any,
) -> Checkpoint:
    """The checkpoint with every tensor in the dtype of its file (bfloat16 and int8 weights as float32)."""
    source = locate(where, **place)
    if source.weights is None:
        raise NotFoundError(f"{where} holds a configuration but no weights")
    with source.being_read():
        weights = open_weights(source.weights)
        config = files.read_json(source.config) if source.config else None
        preprocessing = files.read_json(source.preprocessor) if source.preprocessor else None
    return build_checkpoint(source, weights, config, preprocessing, task=task, use_ema=use_ema, prefix=prefix)


def build_checkpoint(
    source: Source,
    weights: WeightsFile,
    config: Mapping[str, Any] | None,
    preprocessing: dict[str, Any] | None,
    *,
    task: str | None = None,
    use_ema: bool = True,
    prefix: str | None = None,
) -> Checkpoint:
    """A checkpoint from what was read: the weights' listing, and the two JSON files, if any."""
    with naming(source.weights):
        found = find_network(weights.listing.names, prefix=prefix, use_ema=use_ema, task=task)
    if found.remarks:  # before any error, which they may explain
        warnings.warn(f"{source.weights}: {'; '.join(found.remarks)}", MobileViTWarning, stacklevel=4)
    file = weights.listing.load(found.names)
    if config is None and found.scheme == names.TIMM:
        config = configurations.timm_training(weights.listing.saved)
    with naming(source.weights), naming(source.config or source.weights, ConfigError):
        floats = quantization.dequantize_file(file)
        tensors, held, network, notes = _recognize(floats, found.scheme, config)
        task = check_task(task or held)
        expand = task != "segmenter" and (
            held == "classifier" or any(name.startswith(f"{names.PREFIX}conv_1x1_exp.") for name in tensors)
        )
        shapes = parameter_shapes(network, task, expand_output=expand)
    if task == "backbone":
        tensors = {name.removeprefix(names.PREFIX): tensor for name, tensor in tensors.items()}
    tensors = check_tensors(tensors, shapes, where=str(source.weights))
    with naming(source.config or source.weights, ConfigError):  # now that the number of classes is known to be right
        labels, preprocessing, fields = _settings(config or {}, preprocessing, network, task)
    with naming(source.preprocessor or source.weights, ConfigError):
        channel_order = configurations.channel_order_of(preprocessing, found.scheme)
    return Checkpoint(
        name=source.name,
        task=task,
        config=network,
        tensors=tensors,
        labels=labels,
        channel_order=channel_order,
        preprocessing=preprocessing,
        config_fields=fields,
        provenance=_provenance(source, weights, file, found),
        expand_output=expand,
        notes=tuple(notes),
        stored_as=_stored_as(floats, found.scheme, tensors),
    )


def _recognize(
    file: TensorFile, scheme: str, config: Mapping[str, Any] | None
) -> tuple[dict[str, np.ndarray], str, NetworkConfig, list[str]]:
    """(the tensors under Hugging Face's names, what they are, the network, notes)."""
    tensors = names.to_hugging_face(file.tensors, scheme)
    held, network, notes = _network(tensors, config)
    if scheme == names.ML_CVNETS and config is None and held == "segmenter" and network.aspp_out_channels == 512:
        raise CheckpointError(f"these are the weights of {names.SECOND_FAMILY}, which is not this network")
    return tensors, held, network, notes


def _settings(
    config: Mapping[str, Any], preprocessing: dict[str, Any] | None, network: NetworkConfig, task: str
) -> tuple[tuple[str, ...], dict[str, Any] | None, dict[str, Any]]:
    """(labels, preprocessing, config.json in transformers' form): what the JSON files say, completed."""
    labels = configurations.choose_labels(config, network.num_labels, task)
    configurations.problem_type_of(config, network.num_labels)  # raises if it makes no sense
    if is_timm_config(config):
        if preprocessing is None:
            preprocessing = configurations.timm_preprocessing(config)
        config = configurations.timm_extra(config)
    return labels, preprocessing, configurations.full_config(network, task, labels, config)


def _provenance(source: Source, weights: WeightsFile, file: TensorFile, found: Found) -> Provenance:
    return Provenance(
        source,
        file.format,
        found.scheme,
        weights.sha256,
        _main_dtype(file),
        keys=len(file.tensors),
        size=weights.size,
        chosen=found.prefix.rstrip("."),
        quantization=file.metadata.get(quantization.KEY, ""),
    )


def _network(
    tensors: Mapping[str, np.ndarray], config: Mapping[str, Any] | None
) -> tuple[str, NetworkConfig, list[str]]:
    """(what the file holds, the network, notes) from config.json if there is one, else from the shapes."""
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    task = inference.infer_task(tensors)
    named = configurations.task_of(config or {})
    if config is None or is_timm_config(config):
        fields, notes = inference.infer_config(shapes, task)
        fields.update(configurations.network_fields(config) if config else {})
        return task, configurations.build_network(fields, task), notes
    fields = configurations.network_fields(config)
    if task == "backbone" and named == "classifier" and fields.get("num_labels") == 0:
        task = named  # a classifier whose head is the identity
    elif "num_labels" not in fields and (classes := inference.infer_classes(shapes, task)) is not None:
        fields["num_labels"] = classes
    return task, NetworkConfig(**fields), []


def _stored_as(file: TensorFile, scheme: str, tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
    found = {target: dtype for name, dtype in file.dtypes.items() for target in names.hugging_face_names(name, scheme)}
    return {
        name: found.get(name) or found.get(names.PREFIX + name) or dtypes.name_of(tensor)
        for name, tensor in tensors.items()
    }


def _main_dtype(file: TensorFile) -> str:
    """The format of most of the numbers, counters aside."""
    sizes: dict[str, int] = {}
    for name, dtype in file.dtypes.items():
        sizes[dtype] = sizes.get(dtype, 0) + (0 if name.endswith(COUNTER) else file.tensors[name].size)
    return max(sizes, key=lambda dtype: sizes[dtype])

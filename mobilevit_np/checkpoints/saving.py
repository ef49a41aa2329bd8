"""Writing checkpoints: a folder in the hub's layout, other naming schemes, int8.

All files of a folder are on the disk before the first takes its place, the weights last (see ``formats.files``).
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..config import GLOBAL_POOLS, NetworkConfig
from ..errors import CheckpointError, ConfigError, InputError, OutputError
from ..formats import dtypes, files
from ..formats.hub import CONFIG_FILE, PREPROCESSOR_FILE, WEIGHTS_FILE, weights_files
from ..formats.safetensors_file import serialize
from ..labels import labels_for
from ..preprocess import Profile, to_preprocessor_config
from ..preprocess.settings import FLIP_FIELDS, PROCESSOR_TYPES, TYPE_FIELDS, is_timm_config
from . import configurations, quantization
from . import parameter_names as names
from .inference import infer_variant
from .opening import Checkpoint, open_as_stored, open_checkpoint
from .parameters import COUNTER

METADATA = {"format": "pt"}  # older releases of transformers refuse a file that names no framework
_SAFETENSORS = ".safetensors"
_NEVER_WRITTEN = (".bin", ".pt", ".pth", ".npz", ".onnx", ".tflite")  # such a name isn't meant to be a folder's


@dataclass(frozen=True)
class Conversion:
    """What ``convert`` or ``quantize`` wrote, and in a line each what it did besides renaming."""

    paths: tuple[Path, ...]
    notes: tuple[str, ...]


def save_checkpoint(
    folder: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    config: Mapping[str, Any],
    preprocessing: Mapping[str, Any] | None = None,
    *,
    dtype: str | None = None,
    metadata: Mapping[str, str] | None = None,
    variant: str | None = None,
) -> list[Path]:
    """Write a folder in the hub's layout: model.safetensors, config.json and, if given, preprocessor_config.json.

    ``tensors`` are under Hugging Face's names, ``config`` and ``preprocessing`` in its form; missing BatchNorm counters
    are added, since transformers expects them. ``dtype`` (``float32``, ``bfloat16``...) is that of the file, by default
    each tensor's own, and ``variant`` a part of the file's name. If no ``preprocessing`` is given, an existing
    preprocessor_config.json stays. Raises OutputError, and leaves no half-written folder.
    """
    tensors = _with_counters(tensors)
    data = serialize(tensors, stored_as=_formats(tensors, dtype, {}), metadata={**METADATA, **(metadata or {})})
    return _write_folder(Path(folder), data, config, preprocessing, weights_file=weights_files(variant)[0])


def save_untrained(
    out: str | os.PathLike[str],
    tensors: Mapping[str, np.ndarray],
    config: NetworkConfig,
    task: str,
    *,
    scheme: str = names.HUGGING_FACE,
    also: Mapping[Path, bytes] | None = None,
) -> list[Path]:
    """Write untrained weights under a scheme's names, as float32, without changing a number.

    ``tensors`` are under Hugging Face's names with prefix, ``out`` is as ``convert``'s. Trained weights belong to RGB
    or BGR and go through ``convert``, which reverses the stem if the names ask for it; these take a tensor as input,
    whatever they are called. ``also`` are other files, written together with them or not at all.
    Raises CheckpointError if the scheme has no such network, OutputError.
    """
    check_form(out := Path(out))
    tensors = _with_counters(tensors)
    formats = _formats(tensors, "float32", {})
    renamed, formats = _renamed(tensors, formats, scheme, bare=task == "backbone")
    data = serialize(renamed, stored_as=formats, metadata=METADATA)
    if out.suffix == _SAFETENSORS:
        return files.write_files({out: data, **(also or {})})
    labels = labels_for(config.num_labels, segmenter=task == "segmenter")
    fields = configurations.full_config(config, task, labels)
    if scheme == names.TIMM:
        fields = configurations.timm_config(config, infer_variant(fields), labels)
    return _write_folder(out, data, fields, None, remove=_outdated(out), also=also)


def convert(
    where: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    scheme: str = names.HUGGING_FACE,
    dtype: str | None = None,
    **options: Any,
) -> Conversion:
    """Write the checkpoint at ``where`` under another scheme's names, as safetensors, in ``dtype`` or as it was.

    ``scheme`` is ``huggingface``, ``timm`` or ``ml-cvnets``. ``out`` ending in .safetensors is a single file, anything
    else a folder that gets config.json and preprocessor_config.json too; if the latter can't be written, an older one
    in the folder goes. Numbers stay the same to the bit. Between timm's names and the others' the stem's input axis is
    reversed (RGB, BGR), and so it is if the weights' order isn't their scheme's usual one and no file that's written
    can say so. Notes report each of these. ``options`` are ``open_checkpoint``'s others. Raises CheckpointError if the
    scheme has no such network or a number doesn't fit ``dtype``; OutputError, also if ``out`` would replace the
    checkpoint at ``where``.
    """
    if scheme not in names.SCHEMES:
        raise InputError(f"scheme must be one of {', '.join(names.SCHEMES)}, not {scheme!r}")
    check_form(out := Path(out))
    checkpoint = open_as_stored(where, **options)
    _check_place(checkpoint, out, "converted")
    tensors, order, notes = _for_scheme(checkpoint, scheme, out)
    formats = _formats(tensors, dtype, _prefixed(checkpoint.stored_as))
    renamed, formats = _renamed(tensors, formats, scheme, bare=checkpoint.task == "backbone")
    data = serialize(renamed, stored_as=formats, metadata=METADATA)
    return _write_conversion(checkpoint, out, data, scheme, order, notes)


def quantize(where: str | os.PathLike[str], out: str | os.PathLike[str], **options: Any) -> Conversion:
    """Write the checkpoint at ``where`` with int8 weights (see ``quantization``), under Hugging Face's names.

    ``out``, ``options`` and the notes are as ``convert``'s. Raises CheckpointError if a weight doesn't fit float32,
    OutputError (also if ``out`` would replace the weights at ``where``, which int8 couldn't restore), and InputError if
    the weights are int8 already: they'd be rounded a second time.
    """
    check_form(out := Path(out))
    return write_quantized(open_as_stored(where, **options), out)


def write_quantized(checkpoint: Checkpoint, out: Path) -> Conversion:
    """``quantize`` for a checkpoint that is open already, and an ``out`` that ``check_form`` let through."""
    if checkpoint.provenance.quantization:
        raise InputError(f"{checkpoint.provenance.path} is quantized already; give the weights it was made from")
    _check_place(checkpoint, out, "quantized")
    tensors, order, notes = _for_scheme(checkpoint, names.HUGGING_FACE, out)
    renamed, _ = _renamed(tensors, {}, names.HUGGING_FACE, bare=checkpoint.task == "backbone")
    steps, formats = quantization.quantize_tensors(renamed)
    data = serialize(steps, stored_as=formats, metadata=quantization.METADATA)
    return _write_conversion(checkpoint, out, data, names.HUGGING_FACE, order, notes)


def pooling_note(global_pool: str) -> str:
    """What to know about a config.json in transformers' form with a pooling of timm's."""
    return (
        f"global_pool {global_pool!r} is kept in config.json for this library; transformers ignores it and always "
        "averages, so its answers will differ"
    )


def settings_beside(checkpoint: Checkpoint) -> dict[str, Any] | None:
    """The preprocessor_config.json that its weights, unchanged, need beside them under Hugging Face's names.

    None if they take BGR, as weights under these names do unless a file says otherwise. If the form can't say how
    photos are prepared, it only says the channel order.
    """
    if checkpoint.channel_order == names.CHANNEL_ORDER[names.HUGGING_FACE]:
        return None
    try:
        return to_preprocessor_config(checkpoint.profile)
    except ConfigError:
        return {TYPE_FIELDS[0]: PROCESSOR_TYPES[0], FLIP_FIELDS[0]: False}


def reopen(path: Path, original: Checkpoint) -> Checkpoint:
    """``original`` with the weights of its conversion at ``path``: only their numbers can differ.

    The settings are the original's, and so is the channel order. Raises CheckpointError.
    """
    found = open_checkpoint(path)
    tensors = _prefixed(found.tensors)
    if found.channel_order != original.channel_order:
        tensors = names.flip_stem(tensors)
    tensors, _ = _renamed(tensors, {}, names.HUGGING_FACE, bare=original.task == "backbone")
    return dataclasses.replace(original, tensors=tensors)


def check_form(out: Path) -> None:
    """Raise OutputError if ``out`` has another format's name, or is a folder that belongs to another model."""
    if out.suffix in _NEVER_WRITTEN and not os.path.isdir(out):
        raise OutputError(f"weights are written as .safetensors, or into a folder, not as {out.suffix}: {out}")
    if out.suffix == _SAFETENSORS:
        return
    for name in (CONFIG_FILE, PREPROCESSOR_FILE, WEIGHTS_FILE):
        if os.path.lexists(out / name) and not _is_ours(out / name):
            raise OutputError(f"{out / name} would be replaced, and isn't a MobileViT's; write into another folder")


def _is_ours(path: Path) -> bool:
    """Whether a file in a folder is a MobileViT's; weights are if they have a config.json, which is checked itself."""
    if path.name == WEIGHTS_FILE:
        return os.path.lexists(path.parent / CONFIG_FILE)
    try:
        fields = files.read_json(path)
    except CheckpointError:
        return False
    if path.name == PREPROCESSOR_FILE:
        return all(fields.get(name) in (None, *PROCESSOR_TYPES) for name in TYPE_FIELDS)
    return fields.get("model_type") == "mobilevit" or fields.get("architecture") in (*configurations.TIMM_VARIANTS,)


def _check_place(checkpoint: Checkpoint, out: Path, what: str) -> None:
    """Raise OutputError if what's written to ``out`` would replace the original."""
    source = checkpoint.provenance.source
    needed = source.files
    if source.kind != "file":  # in a folder with pytorch_model.bin a new model.safetensors would be opened instead
        needed.append(checkpoint.provenance.path.parent)
    written = [out]
    if out.suffix != _SAFETENSORS:
        written += [out / name for name in (CONFIG_FILE, PREPROCESSOR_FILE, WEIGHTS_FILE)]
    if any(_is_same(one, other) for one in written for other in needed):
        raise OutputError(f"{out} holds the weights that are to be {what}; write the result elsewhere")


def _is_same(one: Path, other: Path) -> bool:
    return os.path.exists(one) and os.path.exists(other) and os.path.samefile(one, other)


def _for_scheme(checkpoint: Checkpoint, scheme: str, out: Path) -> tuple[dict[str, np.ndarray], str, list[str]]:
    """(the tensors with the stem as ``scheme`` has it, the channel order they then take, notes)."""
    tensors, notes = _prefixed(checkpoint.tensors), list(checkpoint.notes)
    if checkpoint.config.global_pool != GLOBAL_POOLS[0] and checkpoint.task != "segmenter":
        if out.suffix == _SAFETENSORS:
            raise InputError(
                f"one file can't say that this network pools by {checkpoint.config.global_pool!r}; write a folder, "
                "which gets a config.json"
            )
        if scheme != names.TIMM:
            notes.append(pooling_note(checkpoint.config.global_pool))
    told = out.suffix != _SAFETENSORS and scheme != names.TIMM  # by the preprocessor_config.json
    kept = told and scheme == checkpoint.provenance.scheme
    order = checkpoint.channel_order if kept else names.CHANNEL_ORDER[scheme]
    if order != checkpoint.channel_order and checkpoint.config.num_channels > 1:
        tensors = names.flip_stem(tensors)
        notes.append(f"the stem's input axis was reversed: the weights took {checkpoint.channel_order}, now {order}")
    if not told and checkpoint.problem_type != configurations.problem_type_of({}, checkpoint.config.num_labels):
        notes.append(f"no file that's written says that the problem_type is {checkpoint.problem_type}")
    return tensors, order, notes


def _write_conversion(
    checkpoint: Checkpoint, out: Path, data: bytes, scheme: str, order: str, notes: list[str]
) -> Conversion:
    """A single file if ``out`` is a file's name, else a folder with the JSON files too."""
    if out.suffix == _SAFETENSORS:
        return Conversion((files.write_file(out, data),), tuple(notes))
    config, preprocessing = _settings(checkpoint, scheme, order, notes)
    outdated = _outdated(out) if preprocessing is None else []
    notes += [f"{path} was removed: it was made for the weights that these replace" for path in outdated]
    return Conversion(tuple(_write_folder(out, data, config, preprocessing, remove=outdated)), tuple(notes))


def _outdated(folder: Path) -> list[Path]:
    """The preprocessor_config.json in it, which would be read with weights that it wasn't made for."""
    path = folder / PREPROCESSOR_FILE
    return [path] if os.path.isfile(path) else []


def _write_folder(
    folder: Path,
    data: bytes,
    config: Mapping[str, Any],
    preprocessing: Mapping[str, Any] | None,
    remove: Sequence[Path] = (),
    weights_file: str = WEIGHTS_FILE,
    also: Mapping[Path, bytes] | None = None,
) -> list[Path]:
    contents = {folder / CONFIG_FILE: files.json_text(config).encode()}
    if preprocessing is not None:
        contents[folder / PREPROCESSOR_FILE] = files.json_text(preprocessing).encode()
    contents[folder / weights_file] = data
    return files.write_files({**contents, **(also or {})}, folders=[folder], remove=remove)


def _with_counters(tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        found[name] = tensor
        counter = name.removesuffix("running_var") + COUNTER
        if name.endswith(".running_var") and counter not in tensors:
            found[counter] = np.zeros((), np.int64)
    return found


def _formats(tensors: Mapping[str, np.ndarray], dtype: str | None, stored_as: Mapping[str, str]) -> dict[str, str]:
    """{name: "F32"}: what each tensor is written as; counters and the like keep theirs."""
    target = None if dtype is None else dtypes.parse_name(dtype)
    return {
        name: (target if target and tensor.dtype.kind == "f" else stored_as.get(name)) or dtypes.name_of(tensor)
        for name, tensor in tensors.items()
    }


def _prefixed(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """A bare model's names with the prefix ``mobilevit.``, as the tables have them."""
    return {names.hugging_face_names(name, names.HUGGING_FACE)[0]: tensor for name, tensor in tensors.items()}


def _renamed(
    tensors: dict[str, np.ndarray], formats: Mapping[str, str], scheme: str, *, bare: bool
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    if scheme == names.HUGGING_FACE:
        prefix = names.PREFIX if bare else ""
        return (
            {name.removeprefix(prefix): tensor for name, tensor in tensors.items()},
            {name.removeprefix(prefix): stored for name, stored in formats.items()},
        )
    segmenter = any(name.startswith(names.SEGMENTATION) for name in tensors)
    stored_as = {names.scheme_name(name, scheme, segmenter=segmenter): stored for name, stored in formats.items()}
    return names.from_hugging_face(tensors, scheme), stored_as


def _settings(
    checkpoint: Checkpoint, scheme: str, order: str, notes: list[str]
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """config.json and preprocessor_config.json of a converted checkpoint."""
    profile = dataclasses.replace(checkpoint.profile, flip_channels=order == "BGR")
    if scheme == names.TIMM:
        config = configurations.timm_config(checkpoint.config, checkpoint.variant, checkpoint.labels)
        config["pretrained_cfg"].update(_timm_preprocessing(profile, notes))
        return config, None
    if checkpoint.preprocessing is not None and not is_timm_config(checkpoint.preprocessing):
        return checkpoint.config_fields, _in_order(checkpoint, order)
    try:
        return checkpoint.config_fields, to_preprocessor_config(profile)
    except ConfigError as error:
        notes.append(f"preprocessor_config.json is left out: {error}")
        return checkpoint.config_fields, None


def _in_order(checkpoint: Checkpoint, order: str) -> dict[str, Any] | None:
    """The preprocessor_config.json as it was found, but for the channel order if that has changed."""
    found = checkpoint.preprocessing
    if found is None or order == checkpoint.channel_order:
        return found
    kept = {name: value for name, value in found.items() if name not in FLIP_FIELDS}
    return {**kept, FLIP_FIELDS[0]: order == "BGR"}


def _timm_preprocessing(profile: Profile, notes: list[str]) -> dict[str, Any]:
    """timm's settings that resize and crop as ``profile`` does, as far as timm's form can say it."""
    crop, size = profile.crop or profile.size, profile.size
    if not isinstance(crop, tuple) or crop[0] != crop[1] or not isinstance(size, int) or "opencv" in profile.resample:
        notes.append(f"timm's config.json can't say how {profile.name} prepares photos; it gets timm's own settings")
        return {}
    return {"input_size": [3, *crop], "interpolation": profile.resample, "crop_pct": _crop_pct(crop[0], size)}


def _crop_pct(crop: int, size: int) -> float:
    """The shortest number for which timm's floor(crop / crop_pct) is ``size``."""
    shortened = (math.floor(crop / size * 10**digits) / 10**digits for digits in range(1, 15))
    return next((pct for pct in shortened if pct and math.floor(crop / pct) == size), crop / size)

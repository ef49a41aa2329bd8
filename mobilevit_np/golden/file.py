"""The golden file: one network or operator, its input, and everything it computed.

A file is safetensors or .npz, by its suffix. It holds, by name: ``image`` (uint8, (H, W, C), RGB) if there was a
photo; ``pixel_values``; every activation under its path; ``logits``. An operator's holds its operands and ``output``
instead. The layout is NCHW throughout. The metadata (``mobilevit_np.golden``, one JSON text) has the rest:

- ``version``, ``task``, ``config``, ``dtype``, ``layout``, ``profile`` (how the photo was prepared, or null);
- ``weights`` and ``input``: their names, and the sha256 of their numbers;
- ``order``: the tensors' names in order of execution (safetensors itself orders by dtype and name);
- ``noise``: for each activation how far float32 is from float64 there, over the largest magnitude.

The same golden gives the same bytes: nothing in it tells when or where it was made.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import io
import json
import math
import os
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from ..checkpoints import parameter_shapes
from ..config import NetworkConfig, check_pixel_values
from ..errors import CheckpointError, InputError, OutputError
from ..formats import files
from ..formats.contents import Listing
from ..formats.safetensors_file import serialize
from ..formats.tensor_file import list_tensor_file
from ..formats.zip_archive import Archive
from ..preprocess import Profile

VERSION = 1
METADATA = "mobilevit_np.golden"
LAYOUT = "NCHW"
IMAGE, PIXELS, LOGITS, OUTPUT = "image", "pixel_values", "logits", "output"
OPERATOR = "operator"  # the task of an operator's golden
MIN_UNPACKED = 256 << 20  # bytes that an .npz may always unpack to, however small it is
_NPZ_METADATA = "__metadata__"
_FORMER = {"centre": "center"}  # a profile's fields under the names that golden files of 0.1 have


@dataclass(frozen=True)
class Golden:
    """What a network (or an operator) computed, with what is needed to compute it again.

    ``tensors`` are in order of execution, inputs first. ``noise`` has an entry for each that was computed, none for
    inputs. ``config`` holds NetworkConfig's fields; for an operator its name, arguments and network.
    """

    task: str  # "classifier", "segmenter", "backbone" or "operator"
    config: dict[str, Any]
    tensors: dict[str, np.ndarray]
    noise: dict[str, float]
    dtype: str = "float64"
    profile: dict[str, Any] | None = None
    weights: dict[str, Any] = field(default_factory=dict)
    input: dict[str, Any] = field(default_factory=dict)
    name: str = "golden"

    def __str__(self) -> str:
        return self.name

    @property
    def activations(self) -> dict[str, np.ndarray]:
        """What was computed, in order of execution."""
        return {name: tensor for name, tensor in self.tensors.items() if name in self.noise}

    @property
    def inputs(self) -> dict[str, np.ndarray]:
        """What was given: an operator's operands, a network's ``pixel_values`` (and ``image``)."""
        return {name: tensor for name, tensor in self.tensors.items() if name not in self.noise}


def write_golden(path: str | Path, golden: Golden) -> Path:
    """Write the file, whole or not at all. Raises as ``golden_bytes``, and OutputError if it can't be written."""
    return files.write_file(path, golden_bytes(path, golden))


def golden_bytes(path: str | Path, golden: Golden) -> bytes:
    """The contents of the file that ``write_golden`` writes.

    Raises OutputError for a suffix that's neither .safetensors nor .npz, InputError if a tensor or its noise floor
    isn't finite: no port could be compared with it.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _SERIALIZE:
        raise OutputError(
            f"can't write {path}: a golden file ends in {' or '.join(_SERIALIZE)}, not {suffix or 'nothing'}"
        )
    if flaw := _flaw(golden):
        raise InputError(
            f"{flaw}, and no port can be compared with that: look at the weights and the input, or leave it out by "
            f"--only or --depth; {path} isn't written"
        )
    return _SERIALIZE[suffix](golden)


def read_golden(path: str | Path) -> Golden:
    """The golden in a file.

    Raises CheckpointError if it isn't one, is damaged, has another version, or holds numbers that aren't finite.
    """
    tensors, metadata = read_tensors(path)
    if METADATA not in metadata:
        raise CheckpointError(f"{path} isn't a golden file; make one with `mobilevit-np trace`")
    about = files.parse_json(metadata[METADATA], f"the metadata of {path}")
    if about.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has version {about.get('version')!r} of the format, and {VERSION} is known here; make it again"
        )
    try:
        golden = Golden(
            task=_typed(about, "task", str),
            config=_typed(about, "config", dict),
            tensors={name: tensors[name] for name in _typed(about, "order", list)},
            noise={str(name): float(noise) for name, noise in _typed(about, "noise", dict).items()},
            dtype=_typed(about, "dtype", str),
            profile=None if about.get("profile") is None else _typed(about, "profile", dict),
            weights=_typed(about, "weights", dict),
            input=_typed(about, "input", dict),
            name=Path(path).stem,
        )
        _check(golden)
    except (KeyError, TypeError, ValueError, OverflowError) as error:  # ours are ValueErrors too
        raise CheckpointError(f"{path} is a damaged golden file: {files.first_line(error)}; make it again") from None
    if flaw := _flaw(golden):
        raise CheckpointError(f"{path}: {flaw}, and no port can be compared with that; make it again")
    return golden


def _check(golden: Golden) -> None:
    """Raise ValueError, KeyError or TypeError unless everything that's needed is there, and of the right kind."""
    for name, tensor in golden.tensors.items():
        kinds = "f" if name in golden.noise or name == PIXELS else "biuf"
        if tensor.dtype.kind not in kinds or tensor.dtype.itemsize > 8:
            raise TypeError(f"{name[:200]} holds {tensor.dtype}")
    if golden.dtype not in ("float64", "float32") or not golden.noise.keys() < golden.tensors.keys():
        raise ValueError("its dtype or its noise floors aren't those of its tensors")
    for value in (*golden.weights.values(), *golden.input.values()):
        if not isinstance(value, (str, int, float, NoneType)):
            raise TypeError("what it says of its weights or its input isn't a plain value")
    if golden.task == OPERATOR:
        for field_, kind in {"operator": str, "arguments": dict, "network": dict}.items():
            _typed(golden.config, field_, kind)
        NetworkConfig(**golden.config["network"])
        return
    config = NetworkConfig(**golden.config)
    parameter_shapes(config, golden.task)  # raises if there's no such task, or the network is enormous
    check_pixel_values(golden.inputs[PIXELS], config)
    image = golden.tensors.get(IMAGE)
    if image is not None and (image.ndim != 3 or image.dtype != np.uint8):
        raise ValueError("its image isn't a photo")
    profile_of(golden)


def profile_of(golden: Golden) -> Profile | None:
    """How the golden's photo was prepared, or None. Raises CheckpointError if the file's profile isn't one."""
    if golden.profile is None:
        return None
    try:
        return Profile(**{_FORMER.get(name, name): _hashable(value) for name, value in golden.profile.items()})
    except TypeError:
        raise CheckpointError("the golden file's profile has fields that no profile has; make it again") from None


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _flaw(golden: Golden) -> str | None:
    """The first tensor, in order of execution, that no port can be compared with, and why; None if there is none."""
    for name, tensor in golden.tensors.items():
        if not np.isfinite(tensor).all():
            return f"{name[:200]} holds NaN or infinity"
        if not 0 <= golden.noise.get(name, 0.0) < math.inf:
            return f"the noise floor of {name[:200]} is {golden.noise[name]}"
    return None


def read_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors in a .safetensors, .npz or .npy file or one of PyTorch's, in the file's order, and its metadata.

    A .npy's one tensor has the file's name, without its suffix. Raises CheckpointError if the file can't be read or is
    none of these.
    """
    data = files.read_bytes(path)
    if data.startswith(b"\x93NUMPY"):
        return {Path(path).stem: _read_array(data, str(path))}, {}
    if data.startswith(b"PK"):
        with files.naming(path):
            archive = Archive(data, least=MIN_UNPACKED)
        if all(entry.endswith(".npy") for entry in archive.entries):
            return _read_npz(archive, str(path))
    listing = list_tensor_file(data, str(path))
    file = listing.load(_short_names(listing))
    return file.tensors, file.metadata


def _short_names(listing: Listing) -> dict[str, str]:
    """{name in the file: name}, without the container that holds them all, and the wrappers of a whole network."""
    names = {name: name.removeprefix(listing.container) for name in listing.names}
    shared = os.path.commonprefix(list(names.values()))  # noqa: RUF071  # of names, not paths
    wrappers = _WRAPPED.match(shared)
    return {name: short[wrappers.end() if wrappers else 0 :] or short for name, short in names.items()}


def _about(golden: Golden) -> str:
    return json.dumps(
        {
            "version": VERSION,
            "task": golden.task,
            "dtype": golden.dtype,
            "layout": LAYOUT,
            "config": golden.config,
            "profile": golden.profile,
            "weights": golden.weights,
            "input": golden.input,
            "order": list(golden.tensors),
            "noise": golden.noise,
        },
        separators=(",", ":"),
    )


def _to_safetensors(golden: Golden) -> bytes:
    return serialize(golden.tensors, metadata={METADATA: _about(golden)})


def _to_npz(golden: Golden) -> bytes:
    about = np.frombuffer(json.dumps({METADATA: _about(golden)}).encode("utf-8"), np.uint8)
    out = io.BytesIO()
    archive = zipfile.ZipFile(out, "w")  # np.savez would take a name like "file" for an argument of its own
    for name, tensor in {_NPZ_METADATA: about, **golden.tensors}.items():
        entry = io.BytesIO()
        np.save(entry, tensor, allow_pickle=False)
        archive.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue())  # ZipInfo's date is always 1980
    archive.close()  # not by `with`, which turns a MemoryError into a ValueError
    return out.getvalue()


_WRAPPED = re.compile(r"(?:(?:module|_orig_mod)\.)*")  # DataParallel, torch.compile
_SERIALIZE = {".safetensors": _to_safetensors, ".npz": _to_npz}


def _read_npz(archive: Archive, name: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    tensors = {entry.removesuffix(".npy"): _read_array(archive.read(entry), name) for entry in archive.entries}
    about = tensors.pop(_NPZ_METADATA, None)
    return tensors, {} if about is None else _texts(files.parse_json(about.tobytes(), f"the metadata of {name}"))


def _read_array(data: bytes, name: str) -> np.ndarray:
    """The array in a .npy's bytes. NumPy's own reader allocates whatever memory the header claims."""
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}[version[0]]
        shape, reverse, dtype = read_header(stream)
        if dtype.kind not in "biufc":
            raise TypeError(f"it holds {dtype}")
        array = np.frombuffer(data, dtype, math.prod(shape), stream.tell()) if 0 not in shape else np.empty(0, dtype)
        return array.reshape(shape, order="F" if reverse else "C").copy(order="K")
    except Exception as error:  # NumPy gives the header to Python's parser, which may raise anything
        raise CheckpointError(f"{name} holds a damaged array, or one of objects: {files.first_line(error)}") from None


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in values.items() if isinstance(value, str)}


def _typed(about: Mapping[str, Any], name: str, kind: type) -> Any:
    value = about[name]
    if not isinstance(value, kind):
        raise TypeError(f"its {name} is a {type(value).__name__}")
    return value

"""The golden file: one network or operator, its input, and everything it computed.

A file is safetensors or .npz, by its suffix. It holds, under their names: ``image`` (uint8, (H, W, C), RGB) where
there was a photo; ``pixel_values``; every activation under its path; ``logits``. An operator's holds its operands and
``output`` instead. Layout is NCHW throughout. The metadata (``mobilevit_np.golden``, one JSON text) say the rest:

- ``version``, ``task``, ``config``, ``dtype``, ``layout``, ``profile`` (how the photo was prepared, or null);
- ``weights`` and ``input``: what they are called, and the sha256 of their numbers;
- ``order``: the tensors' names in order of execution (safetensors itself orders by dtype and name);
- ``noise``: for each activation how far float32 is from float64 there, over the largest magnitude.

The same golden gives the same bytes: nothing in it tells when or where it was made.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError, InputError, OutputError
from ..formats import files
from ..formats.safetensors_file import serialize
from ..formats.tensor_file import Listing, list_tensor_file
from ..formats.torch_zip import ZIP_ERRORS

VERSION = 1
METADATA = "mobilevit_np.golden"
LAYOUT = "NCHW"
IMAGE, PIXELS, LOGITS, OUTPUT = "image", "pixel_values", "logits", "output"
OPERATOR = "operator"  # the task of a golden that is no network's
_NPZ_METADATA = "__metadata__"


@dataclass(frozen=True)
class Golden:
    """What a network (or an operator) computed, with what is needed to compute it again.

    ``tensors`` are in order of execution, inputs first. ``noise`` has an entry for what was computed, none for what
    was given. ``config`` are NetworkConfig's fields, an operator's arguments respectively.
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
    """Write the file, whole or not at all. Raises as ``golden_bytes``, and OutputError where it can't be written."""
    return files.write_file(path, golden_bytes(path, golden))


def golden_bytes(path: str | Path, golden: Golden) -> bytes:
    """What ``write_golden`` writes.

    Raises OutputError for a suffix that's neither .safetensors nor .npz, InputError where a tensor or its noise floor
    isn't finite: nothing could be held against it.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in _SERIALIZE:
        raise OutputError(f"a golden file ends in {' or '.join(_SERIALIZE)}, not {suffix or 'nothing'}: {path}")
    if flaw := _flaw(golden):
        raise InputError(
            f"{flaw}, and no port can be held against that: look at the weights and the input, or leave it out by "
            f"--only or --depth; {path} isn't written"
        )
    return _SERIALIZE[suffix](golden)


def read_golden(path: str | Path) -> Golden:
    """The golden in a file.

    Raises CheckpointError where it's none, is damaged, is of a newer version, or holds what isn't finite.
    """
    tensors, metadata = read_tensors(path)
    if METADATA not in metadata:
        raise CheckpointError(f"{path} is no golden file; make one with `mobilevit-np trace`")
    about = files.parse_json(metadata[METADATA].encode("utf-8"), f"the metadata of {path}")
    if about.get("version") != VERSION:
        raise CheckpointError(
            f"{path} has version {about.get('version')!r} of the format, and {VERSION} is known here; make it anew"
        )
    try:
        golden = Golden(
            task=_typed(about, "task", str),
            config=_typed(about, "config", dict),
            tensors={name: tensors[name] for name in _typed(about, "order", list)},
            noise={str(name): float(noise) for name, noise in _typed(about, "noise", dict).items()},
            dtype=_typed(about, "dtype", str),
            profile=about.get("profile"),
            weights=_typed(about, "weights", dict),
            input=_typed(about, "input", dict),
            name=Path(path).stem,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{path} is a damaged golden file: {files.first_line(error)}; make it anew") from None
    if flaw := _flaw(golden):
        raise CheckpointError(f"{path}: {flaw}, and no port can be held against that; make it anew")
    return golden


def _flaw(golden: Golden) -> str | None:
    """The first tensor, in order of execution, that no verdict can rest on, and why."""
    for name, tensor in golden.tensors.items():
        if not np.isfinite(tensor).all():
            return f"{name[:200]} holds NaN or infinity"
        if not 0 <= golden.noise.get(name, 0.0) < math.inf:
            return f"the noise floor of {name[:200]} is {golden.noise[name]}"
    return None


def read_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors in a .safetensors, .npz or .npy file or one of PyTorch's, in the file's order, and its metadata.

    Raises CheckpointError where it can't be read or is none of these. A .npy's one tensor is called by the file's name.
    """
    data = files.read_bytes(path)
    if data.startswith(b"\x93NUMPY"):
        return {Path(path).stem: _read_array(io.BytesIO(data), str(path))}, {}
    if data.startswith(b"PK") and _is_npz(data):
        return _read_npz(data, str(path))
    listing = list_tensor_file(data, str(path))
    file = listing.load(_short_names(listing))
    return file.tensors, file.metadata


def _short_names(listing: Listing) -> dict[str, str]:
    """{name in the file: name} without the container that holds all of them, and without what wraps a whole network."""
    names = {name: name.removeprefix(listing.container) for name in listing.names}
    while wrapper := next((each for each in _WRAPPERS if all(name.startswith(each) for name in names.values())), ""):
        names = {name: short.removeprefix(wrapper) for name, short in names.items()}
    return names


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
    with zipfile.ZipFile(out, "w") as archive:  # np.savez would take names like "file" for its own arguments
        for name, tensor in {_NPZ_METADATA: about, **golden.tensors}.items():
            entry = io.BytesIO()
            np.save(entry, tensor, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue())  # ZipInfo's date is always 1980
    return out.getvalue()


_WRAPPERS = ("module.", "_orig_mod.")  # DataParallel, torch.compile
_SERIALIZE = {".safetensors": _to_safetensors, ".npz": _to_npz}


def _is_npz(data: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return all(name.endswith(".npy") for name in archive.namelist())
    except ZIP_ERRORS:
        return False


def _read_npz(data: bytes, name: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    tensors: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > files.MOST_BYTES:
                raise CheckpointError(f"{name} unpacks to more than {files.MOST_BYTES:,} bytes; store fewer tensors")
            for entry in archive.infolist():
                if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise CheckpointError(f"{name} is packed in a way that NumPy doesn't; write it with numpy.savez")
                tensors[entry.filename.removesuffix(".npy")] = _read_array(io.BytesIO(archive.read(entry)), name)
    except CheckpointError:  # which is a ValueError
        raise
    except ZIP_ERRORS as error:
        raise CheckpointError(f"{name} is a damaged .npz: {files.first_line(error)}; make it anew") from None
    about = tensors.pop(_NPZ_METADATA, None)
    return tensors, {} if about is None else _texts(files.parse_json(about.tobytes(), f"the metadata of {name}"))


def _read_array(file: io.BytesIO, name: str) -> np.ndarray:
    try:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False)
    except Exception as error:  # a damaged header goes to Python's own parser, which may raise anything
        raise CheckpointError(f"{name} holds a damaged array, or one of objects: {files.first_line(error)}") from None
    return array


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {name: value for name, value in values.items() if isinstance(value, str)}


def _typed(about: Mapping[str, Any], name: str, kind: type) -> Any:
    value = about[name]
    if not isinstance(value, kind):
        raise TypeError(f"its {name} is a {type(value).__name__}")
    return value

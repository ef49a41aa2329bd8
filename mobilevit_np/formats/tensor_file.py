"""A weights file read, whatever its format.

The format is told by the first bytes, never by the file's name. What looks like a weights file and isn't one that can
be read (TensorFlow's, a Git LFS pointer, a web page saved under the name) is named for what it is.

Explained in tutorials/10-checkpoints.md.
"""

from __future__ import annotations

from pathlib import Path

from ..errors import CheckpointError
from . import files, safetensors_file
from .contents import TensorFile as TensorFile

_NOT_WEIGHTS = (  # first bytes, what it is, what to do
    (b"\x89HDF", "a TensorFlow (HDF5) file", "use model.safetensors or pytorch_model.bin"),
    (b"version https://git-lfs", "a Git LFS pointer, not the weights themselves", "fetch them with `git lfs pull`"),
    (b"<", "a web page, not weights", "download the file itself"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it first"),
    (b"\x93NUMPY", "a single NumPy array", "use model.safetensors or pytorch_model.bin"),
)
_OLD_TORCH = (
    "in PyTorch's format from before 1.6, which can't be read safely; convert it once, in PyTorch: "
    'torch.save(torch.load("old.pt", weights_only=True), "new.pt")'
)


def read_tensor_file(path: str | Path, *, use_ema: bool = True) -> TensorFile:
    """The tensors of a safetensors or torch zip file; see ``parse_tensor_file``."""
    return parse_tensor_file(files.read_bytes(path), str(path), use_ema=use_ema)


def parse_tensor_file(data: bytes, name: str = "the file", *, use_ema: bool = True) -> TensorFile:
    """The tensors in a weights file's bytes; ``name`` is what messages call it.

    Of a training checkpoint the averaged (EMA) weights are taken where there are some, unless ``use_ema`` is False.
    Raises CheckpointError where the bytes are no such file, are damaged, or ask for more than tensors.
    """
    try:
        if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            from . import torch_zip  # with its pickle machine: only where there's a pickle

            return torch_zip.parse(data, use_ema=use_ema)
        if data[8:9] != b"{":  # safetensors begin with a length, whose bytes could be any of the others' marks
            _refuse_others(data)
        return safetensors_file.parse(data)
    except CheckpointError as error:
        raise CheckpointError(f"{name}: {error}") from None


def _refuse_others(data: bytes) -> None:
    if not data:
        raise CheckpointError("the file is empty; download it again")
    for magic, what, remedy in _NOT_WEIGHTS:
        if data.startswith(magic):
            raise CheckpointError(f"this is {what}; {remedy}")
    if data[:2] in (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05") or data[257:262] == b"ustar":
        raise CheckpointError(f"this file is {_OLD_TORCH}")

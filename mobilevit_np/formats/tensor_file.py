"""Reading a weights file, whatever its format.

The format is told by the first bytes, never by the file's name. A file that can't be read (TensorFlow's, a Git LFS
pointer, a web page saved under the name) is called what it is.
"""

from __future__ import annotations

from pathlib import Path

from . import files, foreign, safetensors_file
from .contents import Listing, TensorFile


def read_tensor_file(path: str | Path) -> TensorFile:
    """All tensors of a weights file; see ``list_tensor_file``."""
    return parse_tensor_file(files.read_bytes(path), str(path))


def parse_tensor_file(data: bytes, name: str = "the file") -> TensorFile:
    """All tensors in a weights file's bytes; see ``list_tensor_file``."""
    listing = list_tensor_file(data, name)
    return listing.load({each: each for each in listing.names})


def list_tensor_file(data: bytes, name: str = "the file") -> Listing:
    """The names of the tensors in a weights file's bytes, to be loaded; ``name`` is what messages call it.

    Raises CheckpointError, and so does ``load``, if the bytes are no such file, are damaged, or ask for more than
    tensors.
    """
    with files.naming(name):
        if data[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
            from . import torch_zip  # imported late, with its pickle machine: most files hold no pickle

            return torch_zip.list_tensors(data, name)
        if data[:1] == b"\x80" and _LEGACY in data[:32]:
            from . import torch_legacy

            return torch_legacy.list_tensors(data, name)
        if data[8:9] != b"{":  # a safetensors file begins with a length, which could look like another format's mark
            foreign.refuse(data)
        file = safetensors_file.parse(data)
        return Listing(tuple(file.tensors), file.renamed)


_LEGACY = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # the magic number that torch.save pickled first, before 1.6

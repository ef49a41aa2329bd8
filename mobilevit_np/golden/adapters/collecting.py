"""What the adapters share: the input, importing frameworks on demand, the file.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, MissingExtraError, OutputError
from ...formats import files
from ...formats.safetensors_file import serialize
from ..file import PIXELS, Golden

METHODS = ("unfolding", "folding")  # of transformers' blocks, which no hook on a module sees


def input_of(source: Golden | np.ndarray, dtype: Any = np.float32) -> np.ndarray:
    """The pixel values of a golden, or those given, in ``dtype``.

    (B, C, H, W) -> (B, C, H, W)

    Raises InputError for an operator's golden, or anything else.
    """
    if isinstance(source, Golden):
        if PIXELS not in source.tensors:
            raise InputError(f"{source} is an operator's golden file: it has no {PIXELS}; give a network's")
        source = source.tensors[PIXELS]
    if not isinstance(source, np.ndarray) or source.ndim != 4 or source.dtype.kind != "f":
        raise InputError("give a golden (from read_golden), or pixel values as a float array (B, C, H, W)")
    return np.ascontiguousarray(source, dtype)


def framework(name: str, install: str) -> Any:
    """A framework's module. Raises MissingExtraError if it isn't installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        raise MissingExtraError(f"{package} isn't here; to record this port, type: pip install {install}") from None


def write_port(path: str | Path, tensors: Mapping[str, np.ndarray]) -> Path:
    """Write recorded tensors for ``compare``, as safetensors whose metadata keeps the order of execution.

    Raises OutputError for another suffix, or if the file can't be written.
    """
    if Path(path).suffix.lower() != ".safetensors":
        raise OutputError(f"a port's tensors are written as .safetensors, not {Path(path).suffix or 'nothing'}: {path}")
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    return files.write_file(path, serialize(arrays, metadata={"order": json.dumps(list(arrays))}))


def first_of(output: Any) -> Any:
    """The tensor in a module's output: itself, the first of several, or the first in a dictionary."""
    while isinstance(output, (Mapping, tuple, list)) and output:
        output = next(iter(output.values() if isinstance(output, Mapping) else output))
    return output


def keep_call(seen: dict[str, np.ndarray], name: str, tensor: np.ndarray) -> None:
    """Keep a module's output; of a module that is called again, under its name with a number (``#2``)."""
    number = 1
    while (key := name if number == 1 else f"{name}#{number}") in seen:
        number += 1
    seen[key] = tensor


def fed(pixels: np.ndarray, shape: Sequence[Any]) -> np.ndarray:
    """Pixel values in the layout of a graph's input, told by its shape: channels first unless only last fits.

    (B, C, H, W) -> (B, C, H, W) or (B, H, W, C)

    Lengths that aren't fixed are names, None or -1 in ``shape``. Raises InputError if a fixed one is another.
    """
    channels = pixels.shape[1]
    last = len(shape) == 4 and shape[1] != channels and shape[3] == channels
    given = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)) if last else pixels
    fixed = [int(n) if isinstance(n, (int, np.integer)) and n > 0 else None for n in shape]
    if fixed and (len(fixed) != 4 or any(n not in (None, m) for n, m in zip(fixed, given.shape, strict=True))):
        raise InputError(
            f"the graph takes {fixed} (None: any length), and the input is {list(pixels.shape)}: "
            "make the golden file for its size, or export it for the golden file's"
        )
    return given

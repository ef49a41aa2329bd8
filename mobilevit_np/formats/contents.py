"""What a weights file holds, whatever its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np


@dataclass(frozen=True)
class TensorFile:
    """The tensors of a weights file.

    ``tensors`` are new arrays in native byte order; bfloat16 is widened to float32 (exact), and ``dtypes`` says what
    each was stored as (``F32``, ``BF16``...).
    """

    tensors: dict[str, np.ndarray]
    dtypes: dict[str, str]
    format: str  # "safetensors" or "torch"
    metadata: dict[str, str] = field(default_factory=dict)

    def renamed(self, names: Mapping[str, str]) -> TensorFile:
        """The tensors in ``names`` ({name here: new name}), without the others."""
        tensors = {new: self.tensors[name] for name, new in names.items()}
        return TensorFile(tensors, {new: self.dtypes[name] for name, new in names.items()}, self.format, self.metadata)


@dataclass(frozen=True)
class Listing:
    """A weights file whose tensors are known by name but not read yet.

    A training checkpoint holds several times the network's numbers: ``load`` reads those in {name: what to call it}.
    A tensor inside containers goes by its path: ``optimizer.state.0.exp_avg``. ``container`` is what all paths begin
    with, up to a dot. ``saved`` is the outermost dictionary of a pickle, which holds more than tensors, such as the
    arguments of the training.
    """

    names: tuple[str, ...]
    load: Callable[[Mapping[str, str]], TensorFile]
    container: str = ""
    saved: Mapping[str, Any] = field(default_factory=dict)

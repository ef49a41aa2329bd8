"""What a weights file holds, as both formats hand it over.

Explained in tutorials/10-checkpoints.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class TensorFile:
    """The tensors of a weights file as they stand in it.

    ``tensors`` are new arrays in native byte order; bfloat16 is widened to float32 (exact), and ``dtypes`` says what
    each was stored as (``F32``, ``BF16``...). ``chosen`` is where in a training checkpoint they were found.
    """

    tensors: dict[str, np.ndarray]
    dtypes: dict[str, str]
    format: str  # "safetensors" or "torch"
    metadata: dict[str, str] = field(default_factory=dict)
    chosen: str = ""

"""The linear layer.

Explained in tutorials/05-attention.md.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .arguments import arithmetic, check_shape


@arithmetic
def linear(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None = None) -> np.ndarray:
    """Multiply the last axis by ``weight``, transposed as PyTorch stores it, and add ``bias``.

    (..., D), (O, D), (O) -> (..., O)

    dtype: that of ``x``. Raises InputError if the shapes don't fit. Source: ``torch.nn.functional.linear``.
    """
    if weight.ndim != 2 or x.shape[-1:] != weight.shape[1:]:
        raise InputError(f"a linear layer of weight {weight.shape} takes a last axis of that width; x is {x.shape}")
    check_shape(f"a weight of shape {weight.shape}", "bias", bias, weight.shape[:1])
    out = x @ weight.T
    if bias is not None:
        out += bias
    return out

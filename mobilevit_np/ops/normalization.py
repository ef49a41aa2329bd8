"""Batch and layer normalization.

Both subtract a mean, divide by a deviation and apply a learned scale and shift. They differ in whose mean: batch norm
(inference) uses one mean per channel, learned in training and frozen; layer norm measures each token afresh.

Explained in tutorials/03-batch-norm-and-silu.md and tutorials/05-attention.md.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .arguments import arithmetic, check_axes, check_number, check_shape


@arithmetic
def batch_norm(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    running_mean: np.ndarray,
    running_var: np.ndarray,
    *,
    eps: float = 1e-5,
) -> np.ndarray:
    """Normalize each channel by its running statistics.

    (B, C, H, W), (C), (C), (C), (C) -> (B, C, H, W)

    Since nothing is measured, it's one multiplication and one addition per channel, which is why it folds into the
    convolution before it. ``eps`` is 1e-5 in PyTorch and 1e-3 by default in TensorFlow: a common port mistake.

    dtype: that of ``x``. Raises InputError if the shapes don't fit. Source: ``torch.nn.BatchNorm2d`` in evaluation
    mode.
    """
    check_axes("batch_norm", "x", x, "B, C, H, W")
    _check_parameters(x.shape[1], eps, weight=weight, bias=bias, running_mean=running_mean, running_var=running_var)
    scale = weight / np.sqrt(running_var + float(eps))
    shift = bias - running_mean * scale
    out = x * scale[:, None, None]
    out += shift[:, None, None]
    return out


@arithmetic
def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray, *, eps: float = 1e-5) -> np.ndarray:
    """Normalize every token over its own features, the last axis.

    (..., D), (D), (D) -> (..., D)

    The variance is biased (divided by D), and ``eps`` is inside the root.

    dtype: that of ``x``. Raises InputError if the shapes don't fit. Source: ``torch.nn.LayerNorm``.
    """
    if x.ndim == 0 or x.shape[-1] == 0:
        raise InputError(f"layer_norm takes tokens of at least one feature; x is of shape {x.shape}")
    _check_parameters(x.shape[-1], eps, weight=weight, bias=bias)
    centered = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centered).mean(axis=-1, keepdims=True)
    centered /= np.sqrt(variance + eps)
    centered *= weight
    centered += bias
    return centered


def _check_parameters(count: int, eps: float, **parameters: np.ndarray) -> None:
    check_number("eps", eps)
    for name, values in parameters.items():
        check_shape(f"a normalization of {count} channels or features", name, values, (count,))

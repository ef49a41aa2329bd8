"""What can be computed once, when weights are loaded.

Four things fold into a layer's weights: the batch norm after a convolution, the scale and shift of the layer norm
before a linear layer, the mean that a layer norm after it subtracts, and the factors that maps hold for the
activations' sake. All is done in float64 and rounded once, to the checkpoint's dtype, but at least float32.

Explained in tutorials/12-making-numpy-fast.md.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ..config import BATCH_NORM_EPS
from ..scope import Scope
from . import winograd


class Affine(NamedTuple):
    """``x @ weight + bias`` on rows of channels: what a 1x1 convolution, or one laid out by taps, has become.

    weight: (taps*C, O), bias: (O)
    """

    weight: np.ndarray
    bias: np.ndarray


def fold_convolution(
    scope: Scope, *, factors: np.ndarray | float = 1.0, scale: float = 1.0, normalize: bool = True, bias: bool = False,
    centered: bool = False,
) -> Affine:  # fmt: skip
    """A conv_layer's convolution and batch norm as one matrix, its rows ordered by row, column and channel of the taps.

    ``factors`` are those that the input's channels hold (minus their values, for one), ``scale`` that of the output.
    Each pixel's outputs have a mean of 0 if they're ``centered``.

    (O, C, k, k) -> (k*k*C, O), (O)
    """
    taps, shift = _taps(scope, factors, normalize=normalize, bias=bias)
    matrix = taps.reshape(-1, taps.shape[-1])
    if centered:
        matrix, shift = _centered(matrix), _centered(shift)
    return _rounded(matrix * scale, shift * scale, scope / "convolution")


def fold_tiles(scope: Scope, *, factors: np.ndarray | float = 1.0, scale: float = 1.0) -> Affine:
    """A 3x3 conv_layer, its taps as ``winograd`` multiplies them.

    (O, C, 3, 3) -> (16, C, O), (O)
    """
    taps, shift = _taps(scope, factors)
    return _rounded(winograd.transformed(taps) * scale, shift * scale, scope / "convolution")


def fold_depthwise(scope: Scope, *, factor: float, scale: float) -> Affine:
    """A depthwise conv_layer: one weight per tap and channel.

    (C, 1, 3, 3) -> (3, 3, C), (C)
    """
    weight, shift = _convolution(scope)
    taps = weight[:, 0].transpose(1, 2, 0)  # (C, 1, 3, 3) -> (3, 3, C)
    return _rounded(taps * (scale / factor), shift * scale, scope / "convolution")


def fold_linear(
    scope: Scope, norm: Scope | None = None, *, factor: float = 1.0, scale: float = 1.0, bias: bool = True,
    centered: bool = False,
) -> Affine:  # fmt: skip
    """A linear layer, together with the scale and shift of the layer norm before it, if any.

    Each row's outputs have a mean of 0 if they're ``centered``.

    (O, D) -> (D, O), (O)
    """
    weight = scope["weight"].astype(np.float64) / factor
    shift = scope["bias"].astype(np.float64) if bias else np.zeros(len(weight))
    if centered:
        weight, shift = _centered(weight.T).T, _centered(shift)
    return _after_norm(weight * scale, shift * scale, norm, scope)


def fold_projection(scope: Scope, norm: Scope, *, scale: float) -> Affine:
    """``conv_projection``, a 1x1 convolution, together with the block's last layer norm: on tokens it's a linear layer.

    (C, D, 1, 1) -> (D, C), (C)
    """
    weight, shift = _convolution(scope)
    return _after_norm(weight[:, :, 0, 0] * scale, shift * scale, norm, scope / "convolution")


def _after_norm(weight: np.ndarray, shift: np.ndarray, norm: Scope | None, layer: Scope) -> Affine:
    """W(g*x + b) + s = (W*g)x + (Wb + s), and sqrt(D), by which ``attention.normalization`` divides too much."""
    if norm is not None:
        shift = shift + weight @ norm["bias"].astype(np.float64)
        weight = weight * norm["weight"].astype(np.float64) * math.sqrt(weight.shape[1])
    return _rounded(weight.T, shift, layer)


def _centered(outputs: np.ndarray) -> np.ndarray:
    """Less their mean: (..., O)"""
    return outputs - outputs.mean(axis=-1, keepdims=True)


def _taps(
    scope: Scope, factors: np.ndarray | float, *, normalize: bool = True, bias: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """A convolution's weights tap by tap, without the factors that the input's channels hold, and the shift after it.

    (O, C, k, k) -> (k, k, C, O), (O)
    """
    weight, shift = _convolution(scope, normalize=normalize, bias=bias)
    weight = weight / np.broadcast_to(factors, weight.shape[1:2])[:, None, None]
    return weight.transpose(2, 3, 1, 0), shift


def _convolution(scope: Scope, *, normalize: bool = True, bias: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The convolution's weight, scaled, and the shift after it: at inference that's all of batch norm."""
    convolution, norm = scope / "convolution", scope / "normalization"
    weight = convolution["weight"].astype(np.float64)
    shift = convolution["bias"].astype(np.float64) if bias else np.zeros(len(weight))
    if normalize:
        scale = norm["weight"] / np.sqrt(norm["running_var"].astype(np.float64) + BATCH_NORM_EPS)
        weight = weight * scale[:, None, None, None]
        shift = (shift - norm["running_mean"]) * scale + norm["bias"]
    return weight, shift


def _rounded(weight: np.ndarray, bias: np.ndarray, layer: Scope) -> Affine:
    """In the dtype of the layer's own weight, but at least float32, in this machine's byte order."""
    dtype = np.result_type(layer["weight"].dtype, np.float32)
    return Affine(np.ascontiguousarray(weight, dtype=dtype), np.ascontiguousarray(bias, dtype=dtype))

"""Convolution in two dimensions.

What every framework calls convolution is cross-correlation: the kernel isn't mirrored. ``conv2d`` takes one of three
ways to the same sum, because NumPy's speed differs so much between them:

- 1x1: no neighbors, so a matrix product over channels at every pixel;
- depthwise (one input channel per group): k*k multiply-adds of the whole shifted map, no channel is ever summed;
- everything else: "im2col", the k*k neighbors of every pixel laid out as a column, then a matrix product.

The only Python loop is over the k*k taps of a depthwise kernel.

Explained in tutorials/02-convolution.md.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..errors import InputError
from .arguments import arithmetic, check_axes, check_shape, check_whole_number


@arithmetic
def conv2d(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray | None = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
    groups: int = 1,
) -> np.ndarray:
    """Cross-correlate ``x`` with ``weight``, zeros around it.

    (B, C, H, W), (O, C/groups, kh, kw), (O) -> (B, O, H', W')

    H' = (H + 2*padding - dilation*(kh-1) - 1) // stride + 1, W' likewise. Padding is symmetric: TensorFlow's ``SAME``
    at stride 2 pads one row less at the top, and shifts the whole map by a pixel.

    ``stride``, ``padding`` and ``dilation`` are single whole numbers, for both axes: no pairs, and no "same".

    dtype: that of ``x``, which ``weight`` and ``bias`` should share. Raises InputError if the shapes don't fit.
    Source: ``torch.nn.functional.conv2d``.
    """
    _check(x, weight, bias, stride, padding, dilation, groups)
    out_channels, group_channels, kernel_height, kernel_width = weight.shape
    if padding:
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = _windows(x, kernel_height, kernel_width, stride, dilation)
    if group_channels == 1 and out_channels == groups:
        out = _depthwise(windows, weight)
    elif groups == 1 and kernel_height == kernel_width == 1:
        out = _pointwise(windows[..., 0, 0], weight[:, :, 0, 0])
    else:
        out = _im2col(windows, weight, groups)
    if bias is not None:
        out += bias[:, None, None]
    return out


def _windows(x: np.ndarray, kernel_height: int, kernel_width: int, stride: int, dilation: int) -> np.ndarray:
    """Every output pixel's window, as a view that copies nothing: (B, C, H, W) -> (B, C, H', W', kh, kw)"""
    extent = (dilation * (kernel_height - 1) + 1, dilation * (kernel_width - 1) + 1)
    if x.shape[2] < extent[0] or x.shape[3] < extent[1]:
        raise InputError(f"a map of {x.shape[2]}x{x.shape[3]} (padding included) is smaller than the kernel's {extent}")
    every = sliding_window_view(x, extent, axis=(2, 3))
    return every[:, :, ::stride, ::stride, ::dilation, ::dilation]


def _pointwise(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(B, C, H, W), (O, C) -> (B, O, H, W)"""
    B, C, H, W = x.shape
    out = weight @ x.reshape(B, C, H * W)  # (O, C) @ (B, C, H*W) -> (B, O, H*W)
    return out.reshape(B, out.shape[1], H, W)


def _depthwise(windows: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(B, C, H', W', kh, kw), (C, 1, kh, kw) -> (B, C, H', W')"""
    kernel_height, kernel_width = weight.shape[2:]
    out = np.zeros(windows.shape[:4], windows.dtype)
    product = np.empty_like(out)
    for i in range(kernel_height):
        for j in range(kernel_width):
            out += np.multiply(windows[..., i, j], weight[:, 0, i, j, None, None], out=product)
    return out


def _im2col(windows: np.ndarray, weight: np.ndarray, groups: int) -> np.ndarray:
    """(B, C, H', W', kh, kw), (O, C/G, kh, kw) -> (B, O, H', W')"""
    B, C, H, W, kernel_height, kernel_width = windows.shape
    taps = C // groups * kernel_height * kernel_width
    # (B, C, H', W', kh, kw) -> (B, C, kh, kw, H', W') -> (B, G, C/G*kh*kw, H'*W'), the one copy
    columns = windows.transpose(0, 1, 4, 5, 2, 3).reshape(B, groups, taps, H * W)
    # (G, O/G, C/G*kh*kw) @ (B, G, C/G*kh*kw, H'*W') -> (B, G, O/G, H'*W')
    out = weight.reshape(groups, -1, taps) @ columns
    return out.reshape(B, len(weight), H, W)


def _check(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None, stride: int, padding: int, dilation: int, groups: int
) -> None:
    for name, value in {"stride": stride, "dilation": dilation, "groups": groups}.items():
        check_whole_number(name, value, at_least=1)
    check_whole_number("padding", padding, at_least=0)
    check_axes("conv2d", "x", x, "B, C, H, W")
    check_axes("conv2d", "weight", weight, "O, C/groups, kh, kw")
    if 0 in weight.shape[1:]:
        raise InputError(f"a weight of shape {weight.shape} leaves nothing to sum")
    if x.shape[1] != weight.shape[1] * groups or weight.shape[0] % groups:
        raise InputError(
            f"a weight of shape {weight.shape} in {groups} groups takes {weight.shape[1] * groups} channels "
            f"(and its {weight.shape[0]} outputs must divide by the groups); x has {x.shape[1]}"
        )
    check_shape(f"a weight of shape {weight.shape}", "bias", bias, weight.shape[:1])

"""Bilinear resize of feature maps.

The network itself resizes in three places: maps whose sides aren't multiples of the patch, the pooled branch of ASPP,
and logits enlarged to a photo's size. (Photos are resized in ``preprocess/``, by other rules.)

Explained in tutorials/01-an-image-as-an-array.md and tutorials/09-atrous-convolution-and-deeplabv3.md.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .arguments import arithmetic, check_axes, check_size

_STRIP_BYTES = 32 << 20  # of resized logits held at a time


@arithmetic
def resize_bilinear(
    x: np.ndarray, size: tuple[int, int], *, align_corners: bool = False, rows: slice = slice(None)
) -> np.ndarray:
    """Resize maps to ``size`` = (H', W') by linear interpolation along each axis.

    (B, C, H, W), (H', W') -> (B, C, H', W')

    With ``align_corners=False`` pixels are areas: output pixel i looks at source (i + 0.5) * in/out - 0.5, held inside
    the map. With True they're points, and the corners coincide: i * (in-1)/(out-1); nothing in MobileViT uses that.
    Neither antialiases. ``rows`` asks for some of the H' rows only, so that a mask of 100 megapixels can be made from
    logits in bounded memory.

    dtype: that of ``x``. Raises InputError for an empty size, and for whole numbers, which would lose the fractions.
    Source: ``torch.nn.functional.interpolate``.
    """
    _check(x, size)
    if tuple(size) == x.shape[2:]:
        return x[:, :, rows].copy()
    top, bottom, down = (each[rows] for each in _neighbors(x.shape[2], size[0], align_corners, x.dtype))
    left, right, across = _neighbors(x.shape[3], size[1], align_corners, x.dtype)
    tall = _between(x[:, :, top], x[:, :, bottom], down[:, None])  # (B, C, H, W) -> (B, C, H', W)
    return _between(tall[..., left], tall[..., right], across)  # (B, C, H', W) -> (B, C, H', W')


@arithmetic
def best_class_at_size(logits: np.ndarray, size: tuple[int, int], *, dtype: type = np.int64) -> np.ndarray:
    """The class with the greatest logit at each pixel, the logits resized to ``size`` = (H', W') first.

    (B, K, H, W), (H', W') -> (B, H', W')

    Goes strip by strip, since the logits of a 100-megapixel photo would be gigabytes at full size; a smaller ``dtype``
    keeps the classes small. Raises InputError as ``resize_bilinear``, and if there are no classes or more than
    ``dtype`` can count. Source: ``post_process_semantic_segmentation`` of transformers' MobileViTImageProcessor.
    """
    _check(logits, size)
    if not 1 <= logits.shape[1] <= np.iinfo(dtype).max + 1:
        raise InputError(f"logits of {logits.shape[1]} classes have no best one that {np.dtype(dtype)} holds")
    classes: np.ndarray = np.empty((len(logits), *size), dtype)
    strip = max(1, _STRIP_BYTES // max(1, logits[:, :, 0, 0].nbytes * size[1]))
    for top in range(0, size[0], strip):
        rows = slice(top, top + strip)
        classes[:, rows] = resize_bilinear(logits, size, rows=rows).argmax(axis=1)
    return classes


def _check(x: np.ndarray, size: tuple[int, int]) -> None:
    check_axes("a resize", "x", x, "B, C, H, W")
    check_size(size)
    if min(*size, *x.shape[2:]) < 1:
        raise InputError(f"can't resize a map of {x.shape[2]}x{x.shape[3]} to {size[0]}x{size[1]}")


def _neighbors(
    size_in: int, size_out: int, align_corners: bool, dtype: np.dtype
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each output position: the source index before it, the one after it, and how far between them it lies."""
    position = np.arange(size_out, dtype=np.float64)
    if align_corners:
        source = position * ((size_in - 1) / (size_out - 1) if size_out > 1 else 0.0)
    else:
        source = np.maximum((position + 0.5) * (size_in / size_out) - 0.5, 0.0)
    low = np.minimum(source.astype(np.intp), size_in - 1)
    high = np.minimum(low + 1, size_in - 1)
    return low, high, (source - low).astype(dtype)


def _between(before: np.ndarray, after: np.ndarray, fraction: np.ndarray) -> np.ndarray:
    return before * (1 - fraction) + after * fraction

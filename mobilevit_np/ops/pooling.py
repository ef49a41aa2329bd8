"""Global pooling: one number for each channel's map.

Explained in tutorials/08-the-whole-classifier.md.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .arguments import arithmetic, check_axes


@arithmetic
def global_pool(x: np.ndarray, kind: str = "avg") -> np.ndarray:
    """One number for each channel: the mean of its map, the largest value ("max"), or halfway between ("avgmax").

    (B, C, H, W) -> (B, C)

    dtype: that of ``x``. Raises InputError for another kind, and for maps without pixels. Source: timm's
    SelectAdaptivePool2d.
    """
    _check(x)
    if kind == "avg":
        return global_average_pool(x)
    if kind == "max":
        return x.max(axis=(2, 3))
    if kind == "avgmax":
        return 0.5 * (global_average_pool(x) + x.max(axis=(2, 3)))
    raise InputError(f"maps are pooled by avg, max or avgmax, not by {kind!r:.40}")


@arithmetic
def global_average_pool(x: np.ndarray) -> np.ndarray:
    """The mean of each channel over the whole map.

    (B, C, H, W) -> (B, C)

    dtype: that of ``x``. Raises InputError for maps without pixels. Source: ``torch.mean(x, dim=[-2, -1])``.
    """
    _check(x)
    return x.mean(axis=(2, 3))


def _check(x: np.ndarray) -> None:
    check_axes("global pooling", "x", x, "B, C, H, W")
    if 0 in x.shape[2:]:
        raise InputError(f"maps of shape {x.shape} have no pixels to pool")

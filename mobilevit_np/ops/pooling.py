"""Floor 1. Global pooling: one number for each channel's map; imports NumPy and errors.

Explained in tutorials/08-the-whole-classifier.md.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError


def global_pool(x: np.ndarray, kind: str = "avg") -> np.ndarray:
    """One number for each channel: the mean of its map, the largest value ("max"), or halfway between ("avgmax").

    (B, C, H, W) -> (B, C)

    dtype: that of ``x``. Raises InputError for another kind. Source: timm's SelectAdaptivePool2d.
    """
    if kind == "avg":
        return global_average_pool(x)
    if kind == "max":
        return x.max(axis=(2, 3))
    if kind == "avgmax":
        return 0.5 * (global_average_pool(x) + x.max(axis=(2, 3)))
    raise InputError(f"maps are pooled by avg, max or avgmax, not by {kind!r:.40}")


def global_average_pool(x: np.ndarray) -> np.ndarray:
    """The mean of each channel over the whole map.

    (B, C, H, W) -> (B, C)

    dtype: that of ``x``. Source: ``torch.mean(x, dim=[-2, -1])``.
    """
    return x.mean(axis=(2, 3))

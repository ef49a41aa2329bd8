"""Floor 1. Global average pooling; imports NumPy only.

Explained in tutorials/08-the-whole-classifier.md.
"""

from __future__ import annotations

import numpy as np


def global_average_pool(x: np.ndarray) -> np.ndarray:
    """The mean of each channel over the whole map.

    (B, C, H, W) -> (B, C)

    dtype: that of ``x``. Source: ``torch.mean(x, dim=[-2, -1])``.
    """
    return x.mean(axis=(2, 3))

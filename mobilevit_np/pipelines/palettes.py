"""Colors for classes.

Explained in tutorials/09-atrous-convolution-and-deeplabv3.md.
"""

from __future__ import annotations

import numpy as np

# Distinct for most color-blind eyes, and on light and dark photos alike (after Okabe and Ito).
_FEW = ("#000000", "#e69f00", "#0072b2", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#f0e442")


def palette(num_classes: int) -> np.ndarray:
    """A color per class, the first (background) black: uint8.

    num_classes -> (num_classes, 3)

    Up to eight classes get colors picked by hand; more get Pascal VOC's own (the bits of the class number, dealt to
    red, green and blue from the highest down), which readers of its masks know.
    """
    if num_classes <= len(_FEW):
        return np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in _FEW[:num_classes]], np.uint8)
    index = np.arange(num_classes)
    colors = np.zeros((num_classes, 3), np.uint8)
    for place in range(8):
        for channel in range(3):
            bit = (index >> (3 * place + channel)) & 1
            colors[:, channel] |= (bit << (7 - place)).astype(np.uint8)
    return colors

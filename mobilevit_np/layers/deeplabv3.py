"""Floor 2. The DeepLabV3 head: from the last feature map to a score per class and pixel. Imports floor 0.

Explained in tutorials/09-atrous-convolution-and-deeplabv3.md.
"""

from __future__ import annotations

import numpy as np

from ..config import NetworkConfig
from ..scope import Scope, module
from .aspp import aspp
from .conv_layer import conv_layer


@module
def deeplabv3(x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    """ASPP, then a 1x1 convolution with bias, the only one in the network, to ``num_labels`` scores.

    (B, C, H, W) -> (B, K, H, W)

    Source: transformers' MobileViTDeepLabV3.
    """
    return conv_layer(aspp(x, scope / "aspp", config), scope / "classifier", act=None, normalize=False, bias=True)

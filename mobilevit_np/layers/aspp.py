"""Floor 2. Atrous spatial pyramid pooling (DeepLabV3, arXiv 1706.05587, section 3.3). Imports ops, floor 0.

Five views of the same map, from one pixel to the whole: a 1x1 convolution, three 3x3 convolutions whose taps stand 6,
12 and 18 pixels apart, and the global mean. The head uses ReLU whatever the backbone's activation is.

Explained in tutorials/09-atrous-convolution-and-deeplabv3.md.
"""

from __future__ import annotations

import numpy as np

from .. import ops
from ..config import NetworkConfig
from ..scope import Scope, module
from .conv_layer import conv_layer


@module
def aspp(x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    """Look at the map at five scales, and project the five answers together.

    (B, C, H, W) -> (B, A, H, W)

    Source: transformers' MobileViTASPP.
    """
    convs = scope / "convs"
    pyramid = [conv_layer(x, convs / 0, act="relu")]
    pyramid += [conv_layer(x, convs / (1 + i), act="relu", dilation=rate) for i, rate in enumerate(config.atrous_rates)]
    pyramid += [aspp_pooling(x, convs / (1 + len(config.atrous_rates)))]
    return conv_layer(np.concatenate(pyramid, axis=1), scope / "project", act="relu")  # (B, 5A, H, W) -> (B, A, H, W)


@module
def aspp_pooling(x: np.ndarray, scope: Scope) -> np.ndarray:
    """The whole map's mean, given to every pixel.

    (B, C, H, W) -> (B, A, H, W)
    """
    size = (x.shape[2], x.shape[3])
    pooled = global_pool(x, scope / "global_pool")
    return ops.resize_bilinear(conv_layer(pooled, scope / "conv_1x1", act="relu"), size)


@module
def global_pool(x: np.ndarray, scope: Scope) -> np.ndarray:
    """The mean over the map, kept as a map of one pixel.

    (B, C, H, W) -> (B, C, 1, 1)
    """
    return ops.global_average_pool(x)[:, :, None, None]

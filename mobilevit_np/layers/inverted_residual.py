"""Floor 2. MobileNetV2's inverted residual (arXiv 1801.04381): wide in the middle, narrow at both ends.

Imports its own package and floor 0.

Explained in tutorials/04-the-inverted-residual.md.
"""

from __future__ import annotations

import numpy as np

from ..config import NetworkConfig
from ..scope import Scope, module
from .conv_layer import conv_layer


@module
def inverted_residual(
    x: np.ndarray, scope: Scope, config: NetworkConfig, out_channels: int, *, stride: int = 1, dilation: int = 1
) -> np.ndarray:
    """Expand the channels, filter each one on its own, reduce them again.

    (B, C, H, W) -> (B, out_channels, ceil(H/stride), ceil(W/stride))

    Source: transformers' MobileViTInvertedResidual.
    """
    residual, act = x, config.hidden_act
    width = config.expanded_channels(x.shape[1])
    x = conv_layer(x, scope / "expand_1x1", act=act)  # (B, C, H, W) -> (B, E, H, W)
    x = conv_layer(x, scope / "conv_3x3", act=act, stride=stride, dilation=dilation, groups=width)  # -> (B, E, H', W')
    x = conv_layer(
        x, scope / "reduce_1x1", act=None
    )  # a "linear bottleneck": an activation here would lose information
    return residual + x if stride == 1 and residual.shape[1] == out_channels else x

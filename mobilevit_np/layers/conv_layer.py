"""Floor 2. Convolution, batch norm, activation: the brick of all that convolves. Imports its own package, floor 0.

Explained in tutorials/03-batch-norm-and-silu.md.
"""

from __future__ import annotations

import numpy as np

from ..scope import Scope, module
from .primitives import activation, batch_norm, convolution


@module
def conv_layer(
    x: np.ndarray,
    scope: Scope,
    *,
    act: str | None,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    normalize: bool = True,
    bias: bool = False,
) -> np.ndarray:
    """Convolution, then batch norm unless ``normalize`` is off, then the activation named by ``act`` unless None.

    (B, C, H, W) -> (B, O, H', W')

    Source: transformers' MobileViTConvLayer.
    """
    x = convolution(x, scope / "convolution", stride=stride, dilation=dilation, groups=groups, bias=bias)
    if normalize:
        x = batch_norm(x, scope / "normalization")
    if act is not None:
        x = activation(x, scope / "activation", act)
    return x

"""Floor 2. The modules that hold parameters themselves: each looks its own up and calls one operation.

Imports ops and floor 0. Everything above is made of these five.

Explained in tutorials/03-batch-norm-and-silu.md.
"""

from __future__ import annotations

import numpy as np

from .. import ops
from ..config import BATCH_NORM_EPS
from ..scope import Scope, module


@module
def convolution(
    x: np.ndarray, scope: Scope, *, stride: int = 1, dilation: int = 1, groups: int = 1, bias: bool = False
) -> np.ndarray:
    """A convolution padded so that stride 1 keeps the size, and stride 2 gives ceil(H/2).

    (B, C, H, W) -> (B, O, H', W')
    """
    weight = scope["weight"]
    return ops.conv2d(
        x,
        weight,
        scope["bias"] if bias else None,
        stride=stride,
        padding=(weight.shape[-1] - 1) // 2 * dilation,
        dilation=dilation,
        groups=groups,
    )


@module
def batch_norm(x: np.ndarray, scope: Scope, *, eps: float = BATCH_NORM_EPS) -> np.ndarray:
    """Normalise each channel by its running statistics.

    (B, C, H, W) -> (B, C, H, W)
    """
    return ops.batch_norm(x, scope["weight"], scope["bias"], scope["running_mean"], scope["running_var"], eps=eps)


@module
def layer_norm(x: np.ndarray, scope: Scope, *, eps: float) -> np.ndarray:
    """Normalise each token over its features.

    (B*P, N, D) -> (B*P, N, D)
    """
    return ops.layer_norm(x, scope["weight"], scope["bias"], eps=eps)


@module
def linear(x: np.ndarray, scope: Scope, *, bias: bool = True) -> np.ndarray:
    """A linear layer on the last axis.

    (..., D) -> (..., O)
    """
    return ops.linear(x, scope["weight"], scope["bias"] if bias else None)


@module
def activation(x: np.ndarray, scope: Scope, name: str) -> np.ndarray:
    """The activation called ``name`` (a few have learned parameters). Raises ConfigError for an unknown one.

    (...) -> (...)
    """
    function, parameters = ops.ACTIVATIONS[name]
    return function(x, *(scope[parameter] for parameter in parameters))

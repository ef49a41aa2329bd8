"""Floor 2. The layers: functions ``layer(x, scope, ...)`` that mirror the paper's figure. Imports ops and floor 0."""

from .aspp import aspp
from .conv_layer import conv_layer
from .deeplabv3 import deeplabv3
from .inverted_residual import inverted_residual
from .mobilevit_block import mobilevit_block
from .primitives import activation, batch_norm, convolution, layer_norm, linear
from .transformer_layer import transformer_layer

__all__ = [
    "activation",
    "aspp",
    "batch_norm",
    "conv_layer",
    "convolution",
    "deeplabv3",
    "inverted_residual",
    "layer_norm",
    "linear",
    "mobilevit_block",
    "transformer_layer",
]

"""Floor 3. The backbone (arXiv 2110.02178, table 4): a stem and five stages, each half the map of the one before.

Imports layers and floor 0. Golden files are made with this engine: clarity before speed.

Explained in tutorials/08-the-whole-classifier.md.
"""

from __future__ import annotations

import numpy as np

from ..config import STAGE_2_DEPTH, TRANSFORMER_DEPTHS, NetworkConfig, check_pixel_values
from ..layers import conv_layer, inverted_residual, mobilevit_block
from ..scope import Scope, module


def backbone(
    pixel_values: np.ndarray, scope: Scope, config: NetworkConfig, *, expand_output: bool = True
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The last feature map, and the five maps after L1 to L5.

    (B, C, H, W) -> (B, E, H', W'), five of (B, Ci, Hi, Wi)

    With ``expand_output`` the last map has gone through the 1x1 expansion that the classifier reads; without, it's
    L5's own, which the segmenter reads. dtype: that of ``pixel_values``, which the checkpoint should share. Raises
    InputError unless ``pixel_values`` fit the network. Source: transformers' MobileViTModel.
    """
    check_pixel_values(pixel_values, config)
    hidden_states: list[np.ndarray] = []
    return stem_to_last(pixel_values, scope, config, hidden_states, expand_output=expand_output), hidden_states


@module
def stem_to_last(
    pixel_values: np.ndarray,
    scope: Scope,
    config: NetworkConfig,
    hidden_states: list[np.ndarray],
    *,
    expand_output: bool = True,
) -> np.ndarray:
    """All that ``backbone`` computes; the five maps are appended to ``hidden_states``.

    (B, C, H, W) -> (B, E, H', W')
    """
    x = conv_layer(
        pixel_values, scope / "conv_stem", act=config.hidden_act, stride=2
    )  # -> (B, C0, ceil(H/2), ceil(W/2))
    x = encoder(x, scope / "encoder", config, hidden_states)
    if expand_output:
        x = conv_layer(x, scope / "conv_1x1_exp", act=config.hidden_act)
    return x


@module
def encoder(x: np.ndarray, scope: Scope, config: NetworkConfig, hidden_states: list[np.ndarray]) -> np.ndarray:
    """L1 to L5; each one's output is appended to ``hidden_states``.

    (B, C0, H, W) -> (B, C5, H', W')
    """
    stages = scope / "layer"
    widths = config.neck_hidden_sizes
    hidden_states.append(mobilenet_stage(x, stages / 0, config, widths[1], stride=1, depth=1))
    hidden_states.append(
        mobilenet_stage(hidden_states[-1], stages / 1, config, widths[2], stride=2, depth=STAGE_2_DEPTH)
    )
    for i, (depth, (stride, dilation)) in enumerate(zip(TRANSFORMER_DEPTHS, config.downsampling, strict=True)):
        hidden_states.append(
            mobilevit_stage(
                hidden_states[-1],
                stages / (2 + i),
                config,
                widths[3 + i],
                stride=stride,
                dilation=dilation,
                depth=depth,
            )
        )
    return hidden_states[-1]


@module
def mobilenet_stage(
    x: np.ndarray, scope: Scope, config: NetworkConfig, out_channels: int, *, stride: int, depth: int
) -> np.ndarray:
    """``depth`` inverted residuals, the first with the stride.

    (B, C, H, W) -> (B, C', H', W')
    """
    for i in range(depth):
        x = inverted_residual(x, scope / "layer" / i, config, out_channels, stride=stride if i == 0 else 1)
    return x


@module
def mobilevit_stage(
    x: np.ndarray, scope: Scope, config: NetworkConfig, out_channels: int, *, stride: int, dilation: int, depth: int
) -> np.ndarray:
    """An inverted residual that halves the map (or is dilated instead), then a MobileViT block.

    (B, C, H, W) -> (B, C', H', W')
    """
    down = scope / "downsampling_layer"
    x = inverted_residual(x, down, config, out_channels, stride=stride, dilation=dilation)
    return mobilevit_block(x, scope, config, depth)

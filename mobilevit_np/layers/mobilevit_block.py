"""Floor 2. The MobileViT block: transformers as convolutions (arXiv 2110.02178, figure 1b). Imports ops, floor 0.

A convolution looks at its neighbours, a transformer at everything. The block does one, then the other, and then the
first again: every pixel hears from its neighbourhood, then (through its place in the patches) from the whole map.

Explained in tutorials/07-the-mobilevit-block.md and tutorials/06-unfold-and-fold.md.
"""

from __future__ import annotations

import numpy as np

from .. import ops
from ..config import NetworkConfig
from ..scope import Scope, module
from .conv_layer import conv_layer
from .primitives import layer_norm
from .transformer_layer import transformer_layer


def mobilevit_block(x: np.ndarray, scope: Scope, config: NetworkConfig, depth: int) -> np.ndarray:
    """Local features, global features by ``depth`` transformer layers, and the fusion of both with the input.

    (B, C, H, W) -> (B, C, H, W)

    No module of its own: in the checkpoint its parts stand beside the stage's ``downsampling_layer``, so ``scope`` is
    the whole stage's, and it's the stage that is emitted.
    Source: transformers' MobileViTLayer, from ``conv_kxk`` on.
    """
    residual, act = x, config.hidden_act
    x = conv_layer(x, scope / "conv_kxk", act=act)  # never dilated, whatever the output stride
    x = conv_layer(x, scope / "conv_1x1", act=None, normalize=False)  # (B, C, H, W) -> (B, D, H, W)
    size = (x.shape[2], x.shape[3])

    patches = unfolding(x, scope / "unfolding", config.patch_size)  # (B, D, H, W) -> (B*P, N, D)
    patches = transformer(patches, scope / "transformer", config, depth)
    patches = layer_norm(patches, scope / "layernorm", eps=config.layer_norm_eps)
    x = folding(patches, scope / "folding", config.patch_size, size)  # (B*P, N, D) -> (B, D, H, W)

    x = conv_layer(x, scope / "conv_projection", act=act)  # (B, D, H, W) -> (B, C, H, W)
    x = np.concatenate([residual, x], axis=1)  # the residual first: several ports have it the other way round
    return conv_layer(x, scope / "fusion", act=act)  # (B, 2C, H, W) -> (B, C, H, W)


@module
def transformer(patches: np.ndarray, scope: Scope, config: NetworkConfig, depth: int) -> np.ndarray:
    """``depth`` transformer layers, one after the other.

    (B*P, N, D) -> (B*P, N, D)
    """
    for index in range(depth):
        patches = transformer_layer(patches, scope / "layer" / index, config)
    return patches


@module
def unfolding(x: np.ndarray, scope: Scope, patch_size: int) -> np.ndarray:
    """Stretch the map to whole patches where it must be (resized, not padded), and unfold it.

    (B, D, H, W), p -> (B*P, N, D)
    """
    return ops.unfold_to_patches(
        ops.resize_bilinear(x, whole_patches((x.shape[2], x.shape[3]), patch_size)), patch_size
    )


@module
def folding(patches: np.ndarray, scope: Scope, patch_size: int, size: tuple[int, int]) -> np.ndarray:
    """Fold the patches to a map, and shrink it to the ``size`` it had before ``unfolding`` stretched it.

    (B*P, N, D), p, (H, W) -> (B, D, H, W)
    """
    return ops.resize_bilinear(ops.fold_from_patches(patches, patch_size, whole_patches(size, patch_size)), size)


def whole_patches(size: tuple[int, int], patch_size: int) -> tuple[int, int]:
    """The smallest map of whole patches that is no smaller than ``size``.

    (H, W), p -> (H', W')
    """
    H, W = size
    return -(-H // patch_size) * patch_size, -(-W // patch_size) * patch_size  # the double minus rounds up

"""The operations: pure functions of arrays, nothing but NumPy; every layer is made of these.

NCHW throughout. The dtype that comes in goes out; float16 is computed in float32 and rounded once (``arguments.py``).
Axes: B batch, C and O channels, H W height and width, P positions in a patch, N patches (tokens), D transformer width,
h heads, d head width.
"""

from .activation import ACTIVATIONS, gelu, relu, sigmoid, silu, softmax
from .attention import attend, attention_probabilities, merge_heads, multi_head_attention, split_heads
from .convolution import conv2d
from .linear import linear
from .losses import binary_cross_entropy_with_logits, cross_entropy, mean_squared_error, semantic_segmentation_loss
from .normalization import batch_norm, layer_norm
from .patches import fold_from_patches, unfold_to_patches
from .pooling import global_average_pool, global_pool
from .resize import best_class_at_size, resize_bilinear

__all__ = [
    "ACTIVATIONS",
    "attend",
    "attention_probabilities",
    "batch_norm",
    "best_class_at_size",
    "binary_cross_entropy_with_logits",
    "conv2d",
    "cross_entropy",
    "fold_from_patches",
    "gelu",
    "global_average_pool",
    "global_pool",
    "layer_norm",
    "linear",
    "mean_squared_error",
    "merge_heads",
    "multi_head_attention",
    "relu",
    "resize_bilinear",
    "semantic_segmentation_loss",
    "sigmoid",
    "silu",
    "softmax",
    "split_heads",
    "unfold_to_patches",
]

"""MobileViT (arXiv 2110.02178), all of it, from one convolution to the classifier and the segmenter.

It reads from top to bottom. Every function takes an array and the ``Scope`` that holds its parameters, and returns an
array; those marked ``@module`` have the names that PyTorch's forward hooks see. The arithmetic itself is in ``ops/``.
Golden files are made with this: clarity before speed.

Axes: B batch, C channels, H W height and width, P positions in a patch, N patches (tokens), D transformer width,
h heads, E expanded channels, F the feed-forward's width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from . import ops
from .config import BATCH_NORM_EPS, STAGE_2_DEPTH, TRANSFORMER_DEPTHS, NetworkConfig, check_pixel_values
from .scope import Scope, module

Act = str | Callable[[np.ndarray], np.ndarray]  # hidden_act: an activation's name, or a function

# -- what holds parameters: each looks its own up and calls one operation (tutorials/03-batch-norm-and-silu.md) --------


@module
def convolution(
    x: np.ndarray, scope: Scope, *, stride: int = 1, dilation: int = 1, groups: int = 1, bias: bool = False
) -> np.ndarray:
    """A convolution padded so that stride 1 keeps the size, and stride 2 gives ceil(H/2).

    (B, C, H, W) -> (B, O, H', W')
    """
    weight = scope["weight"]
    padding = (weight.shape[-1] - 1) // 2 * dilation
    bias_vector = scope["bias"] if bias else None
    return ops.conv2d(x, weight, bias_vector, stride=stride, padding=padding, dilation=dilation, groups=groups)


@module
def batch_norm(x: np.ndarray, scope: Scope, *, eps: float = BATCH_NORM_EPS) -> np.ndarray:
    """Normalize each channel by its running statistics.

    (B, C, H, W) -> (B, C, H, W)
    """
    return ops.batch_norm(x, scope["weight"], scope["bias"], scope["running_mean"], scope["running_var"], eps=eps)


@module
def layer_norm(x: np.ndarray, scope: Scope, *, eps: float) -> np.ndarray:
    """Normalize each token over its features.

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
def activation(x: np.ndarray, scope: Scope, name: Act) -> np.ndarray:
    """The activation called ``name`` (a few have learned parameters), or a function. Raises ConfigError if unknown.

    (...) -> (...)
    """
    function, parameters = ops.ACTIVATIONS[name]
    return function(x, *(scope[parameter] for parameter in parameters))


# -- the convolutional half (tutorials/04-the-inverted-residual.md) ----------------------------------------------------


@module
def conv_layer(
    x: np.ndarray,
    scope: Scope,
    *,
    act: Act | None,
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


@module
def inverted_residual(
    x: np.ndarray, scope: Scope, config: NetworkConfig, out_channels: int, *, stride: int = 1, dilation: int = 1
) -> np.ndarray:
    """Expand the channels, filter each one on its own, reduce them again (MobileNetV2, arXiv 1801.04381).

    (B, C, H, W) -> (B, out_channels, ceil(H/stride), ceil(W/stride))

    Source: transformers' MobileViTInvertedResidual.
    """
    residual, act = x, config.hidden_act
    width = config.expanded_channels(x.shape[1])
    x = conv_layer(x, scope / "expand_1x1", act=act)  # (B, C, H, W) -> (B, E, H, W)
    x = conv_layer(x, scope / "conv_3x3", act=act, stride=stride, dilation=dilation, groups=width)  # -> (B, E, H', W')
    x = conv_layer(x, scope / "reduce_1x1", act=None)  # linear: an activation on so few channels loses information
    return residual + x if stride == 1 and residual.shape[1] == out_channels else x


# -- the transformer (tutorials/05-attention.md) -----------------------------------------------------------------------


@module
def attention_probabilities(
    query: np.ndarray, scope: Scope, key: np.ndarray, num_heads: int, *, scale: float | None = None
) -> np.ndarray:
    """How much each token attends to every other, head by head.

    (B*P, N, D), (B*P, N, D) -> (B*P, h, N, N)
    """
    return ops.attention_probabilities(query, key, num_heads, scale=scale)


@module
def self_attention(x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    """Queries, keys and values of every token, and what the tokens gather from each other.

    (B*P, N, D) -> (B*P, N, D)

    Source: transformers' MobileViTSelfAttention.
    """
    query = linear(x, scope / "query", bias=config.qkv_bias)
    key = linear(x, scope / "key", bias=config.qkv_bias)
    value = linear(x, scope / "value", bias=config.qkv_bias)
    heads = config.num_attention_heads
    probabilities = attention_probabilities(query, scope / "probabilities", key, heads)
    return ops.attend(probabilities, value)  # (B*P, h, N, N), (B*P, N, D) -> (B*P, N, D)


@module
def attention_out(x: np.ndarray, scope: Scope) -> np.ndarray:
    """The projection that mixes the heads.

    (B*P, N, D) -> (B*P, N, D)
    """
    return linear(x, scope / "dense")


@module
def attention(x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    """Attention and its output projection.

    (B*P, N, D) -> (B*P, N, D)
    """
    x = self_attention(x, scope / "attention", config)
    return attention_out(x, scope / "output")


@module
def feed_forward_in(x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    """The feed-forward's first half: widen, activate.

    (B*P, N, D) -> (B*P, N, F)
    """
    return activation(linear(x, scope / "dense"), scope / "intermediate_act_fn", config.hidden_act)


@module
def feed_forward_out(x: np.ndarray, scope: Scope, residual: np.ndarray) -> np.ndarray:
    """The feed-forward's second half: narrow, and add what came into the layer's second half.

    (B*P, N, F), (B*P, N, D) -> (B*P, N, D)
    """
    return linear(x, scope / "dense") + residual


@module
def transformer_layer(x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    """``x += attention(norm(x))``, then ``x += feed_forward(norm(x))``: pre-norm, so the sum itself isn't normalized.

    (B*P, N, D) -> (B*P, N, D)

    Source: transformers' MobileViTTransformerLayer.
    """
    eps = config.layer_norm_eps
    x = x + attention(layer_norm(x, scope / "layernorm_before", eps=eps), scope / "attention", config)
    y = feed_forward_in(layer_norm(x, scope / "layernorm_after", eps=eps), scope / "intermediate", config)
    return feed_forward_out(y, scope / "output", x)


@module
def transformer(patches: np.ndarray, scope: Scope, config: NetworkConfig, depth: int) -> np.ndarray:
    """``depth`` transformer layers, one after the other.

    (B*P, N, D) -> (B*P, N, D)
    """
    for index in range(depth):
        patches = transformer_layer(patches, scope / "layer" / index, config)
    return patches


# -- the MobileViT block (figure 1b; tutorials/06-unfold-and-fold.md, tutorials/07-the-mobilevit-block.md) -------------


def whole_patches(size: tuple[int, int], patch_size: int) -> tuple[int, int]:
    """The smallest map of whole patches that is no smaller than ``size``.

    (H, W), p -> (H', W')
    """
    H, W = size
    return -(-H // patch_size) * patch_size, -(-W // patch_size) * patch_size  # the double minus rounds up


@module
def unfolding(x: np.ndarray, scope: Scope, patch_size: int) -> np.ndarray:
    """Stretch the map to whole patches if need be (resized, not padded), and unfold it.

    (B, D, H, W), p -> (B*P, N, D)
    """
    size = whole_patches((x.shape[2], x.shape[3]), patch_size)
    return ops.unfold_to_patches(ops.resize_bilinear(x, size), patch_size)


@module
def folding(patches: np.ndarray, scope: Scope, patch_size: int, size: tuple[int, int]) -> np.ndarray:
    """Fold the patches to a map, and shrink it to the ``size`` it had before ``unfolding`` stretched it.

    (B*P, N, D), p, (H, W) -> (B, D, H, W)
    """
    return ops.resize_bilinear(ops.fold_from_patches(patches, patch_size, whole_patches(size, patch_size)), size)


def mobilevit_block(x: np.ndarray, scope: Scope, config: NetworkConfig, depth: int) -> np.ndarray:
    """Local features by convolution, global ones by ``depth`` transformer layers, fused with the input.

    (B, C, H, W) -> (B, C, H, W)

    No module of its own: in the checkpoint its parts lie beside the stage's ``downsampling_layer``, so ``scope`` is the
    whole stage's. Source: transformers' MobileViTLayer, from ``conv_kxk`` on.
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


# -- the backbone (table 4; tutorials/08-the-whole-classifier.md) ------------------------------------------------------


@module
def mobilenet_stage(
    x: np.ndarray, scope: Scope, config: NetworkConfig, out_channels: int, *, stride: int, depth: int
) -> np.ndarray:
    """``depth`` inverted residuals, the first with the stride: L1 and L2.

    (B, C, H, W) -> (B, out_channels, ceil(H/stride), ceil(W/stride))
    """
    for i in range(depth):
        x = inverted_residual(x, scope / "layer" / i, config, out_channels, stride=stride if i == 0 else 1)
    return x


@module
def mobilevit_stage(
    x: np.ndarray, scope: Scope, config: NetworkConfig, out_channels: int, *, stride: int, dilation: int, depth: int
) -> np.ndarray:
    """An inverted residual, which halves the map unless the output stride keeps it, then a MobileViT block: L3 to L5.

    (B, C, H, W) -> (B, out_channels, ceil(H/stride), ceil(W/stride))
    """
    down = scope / "downsampling_layer"
    x = inverted_residual(x, down, config, out_channels, stride=stride, dilation=dilation)
    return mobilevit_block(x, scope, config, depth)


@module
def encoder(x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    """The five stages L1 to L5.

    (B, C0, H, W) -> (B, C5, H', W')
    """
    stages, widths = scope / "layer", config.neck_hidden_sizes
    x = mobilenet_stage(x, stages / 0, config, widths[1], stride=1, depth=1)
    x = mobilenet_stage(x, stages / 1, config, widths[2], stride=2, depth=STAGE_2_DEPTH)
    for i, (depth, (stride, dilation)) in enumerate(zip(TRANSFORMER_DEPTHS, config.downsampling, strict=True)):
        x = mobilevit_stage(x, stages / (2 + i), config, widths[3 + i], stride=stride, dilation=dilation, depth=depth)
    return x


@module
def backbone(
    pixel_values: np.ndarray, scope: Scope, config: NetworkConfig, *, expand_output: bool = True
) -> np.ndarray:
    """The last feature map: a stem that halves the photo, five stages, a 1x1 expansion.

    (B, C, H, W) -> (B, E, H', W')

    With ``expand_output`` the last map has gone through the 1x1 expansion that the classifier reads; without, it's
    L5's own, which the segmenter reads. dtype: that of ``pixel_values``, which the checkpoint should share. Raises
    InputError unless ``pixel_values`` fit the network. Source: transformers' MobileViTModel.
    """
    check_pixel_values(pixel_values, config)
    act = config.hidden_act
    x = conv_layer(pixel_values, scope / "conv_stem", act=act, stride=2)  # -> (B, C0, ceil(H/2), ceil(W/2))
    x = encoder(x, scope / "encoder", config)
    return conv_layer(x, scope / "conv_1x1_exp", act=act) if expand_output else x


# -- the DeepLabV3 head (arXiv 1706.05587; tutorials/09-atrous-convolution-and-deeplabv3.md) ---------------------------


@module
def global_pool(x: np.ndarray, scope: Scope) -> np.ndarray:
    """The mean over the map, kept as a map of a single pixel.

    (B, C, H, W) -> (B, C, 1, 1)
    """
    return ops.global_average_pool(x)[:, :, None, None]


@module
def aspp_pooling(x: np.ndarray, scope: Scope) -> np.ndarray:
    """The whole map's mean, given to every pixel.

    (B, C, H, W) -> (B, A, H, W)
    """
    size = (x.shape[2], x.shape[3])
    pooled = global_pool(x, scope / "global_pool")
    return ops.resize_bilinear(conv_layer(pooled, scope / "conv_1x1", act="relu"), size)


@module
def aspp(x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    """Atrous spatial pyramid pooling: five views of the map, from one pixel to the whole, projected together.

    (B, C, H, W) -> (B, A, H, W)

    A 1x1 convolution, three 3x3 ones whose taps are 6, 12 and 18 pixels apart, and the global mean. The head uses ReLU
    whatever the backbone's activation is. Source: transformers' MobileViTASPP.
    """
    convs = scope / "convs"
    pyramid = [conv_layer(x, convs / 0, act="relu")]
    pyramid += [conv_layer(x, convs / (1 + i), act="relu", dilation=rate) for i, rate in enumerate(config.atrous_rates)]
    pyramid += [aspp_pooling(x, convs / (1 + len(config.atrous_rates)))]
    return conv_layer(np.concatenate(pyramid, axis=1), scope / "project", act="relu")  # (B, 5A, H, W) -> (B, A, H, W)


@module
def deeplabv3(x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    """ASPP, then a 1x1 convolution to ``num_labels`` scores, the network's only one with a bias.

    (B, C, H, W) -> (B, K, H, W)

    Source: transformers' MobileViTDeepLabV3.
    """
    return conv_layer(aspp(x, scope / "aspp", config), scope / "classifier", act=None, normalize=False, bias=True)


# -- the networks ------------------------------------------------------------------------------------------------------


@module
def classifier(pixel_values: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    """A raw score per class (logits, no softmax).

    (B, C, H, W) -> (B, K)

    ``scope`` is the whole checkpoint. With no labels (``num_labels`` 0) the pooled features are the answer. dtype and
    errors: as ``backbone``. Source: transformers' MobileViTForImageClassification.
    """
    features = backbone(pixel_values, scope / "mobilevit", config)
    pooled = ops.global_pool(features, config.global_pool)  # (B, E, H', W') -> (B, E)
    return linear(pooled, scope / "classifier") if config.num_labels > 0 else pooled


@module
def segmenter(pixel_values: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    """A raw score per class and place, at 1/output_stride of the photo's size.

    (B, C, H, W) -> (B, K, H', W')

    ``scope`` is the whole checkpoint. dtype and errors: as ``backbone``. Source: transformers'
    MobileViTForSemanticSegmentation.
    """
    features = backbone(pixel_values, scope / "mobilevit", config, expand_output=False)
    return deeplabv3(features, scope / "segmentation_head", config)


NETWORKS: dict[str, Callable[..., np.ndarray]] = {
    "backbone": backbone,
    "classifier": classifier,
    "segmenter": segmenter,
}

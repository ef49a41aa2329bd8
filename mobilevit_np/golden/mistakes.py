"""The known mistakes of MobileViT ports, as data.

A mistake is what ``scope.wrap`` plants: patterns on paths, and what is computed there instead (see ``planting``). Each
also says where it shows, because some can't be seen with every input or configuration: a clean comparison there proves
nothing. And it says what to do: ``diagnose`` plants them one by one and prints the remedy of the one that reproduces a
port's numbers; tests/mutants plants them to see whether our own tests would notice.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..scope import Scope
from . import planting

Replacements = tuple[tuple[str, planting.Compute], ...]  # (pattern on paths, what is computed there instead)


@dataclass(frozen=True)
class Mistake:
    """One mistake: how to make it (``plant``), what it is, and where it shows."""

    name: str
    sentence: str  # what the port does
    shows: str  # with which configuration and input it can be seen
    replacements: Replacements
    phrase: str  # the mistake as evidence: "with <phrase> the reference gives your tensor"
    remedy: str  # what to do
    golden: str = "--formula xx_small"  # arguments of ``trace`` for a golden file on which it shows
    source: str = "imagined"  # or the public port or report with the mistake
    slack: float = 0.0  # how far apart pixel values are in different implementations of the mistake

    def plant(self, scope: Scope) -> Scope:
        """``scope`` with the mistake in it."""
        for pattern, replacement in self.replacements:
            scope = scope.wrap(pattern, replacement)
        return scope


_STAGE = "mobilevit.encoder.layer.?"
_NETWORK = "any network and photo"
_PHOTO = "any photo that isn't gray"
_RESIZED = "any photo that the resize changes"
_SEGMENTER = "--formula xx_small --task segmenter"
_PORT = "a public port whose name isn't on record"
_WU = "chinhsuanwu/mobilevit-pytorch; vit-pytorch 1.26.14, which follows it"
_KERAS = "keras.io's example"
_ODD_MAP = "a map before an unfold with a side that is no multiple of the patch (a photo of 97x131)"
_SILU = "use SiLU (swish), x * sigmoid(x), wherever the config's hidden_act says silu"


def _for_silu(wrong: str, *patterns: str) -> Replacements:
    """The activation ``wrong`` in place of SiLU, everywhere or at ``patterns``."""
    activate = planting.activate_by("silu", wrong)
    return tuple((pattern, activate) for pattern in patterns or ("*.activation", "*.intermediate_act_fn"))


MISTAKES: tuple[Mistake, ...] = (
    Mistake(
        "rgb_for_bgr",
        "feeds RGB to weights trained on BGR",
        _PHOTO,
        (("preprocessing.flip_channel_order", planting.skip),),
        "RGB pixel values",
        "reverse the channels after rescaling (RGB to BGR), or reverse the input axis of the stem's weight once",
        golden="PHOTO",
        source=_PORT,
    ),
    Mistake(
        "rows_flipped",
        "flips the rows instead of the channels",
        "any photo that isn't its own mirror image",
        (("preprocessing.flip_channel_order", planting.flip_rows),),
        "the rows flipped instead of the channels",
        "flip the channel axis, not the rows: x[::-1] on (C, H, W), x[..., ::-1] on (H, W, C)",
        golden="PHOTO",
        source="transformers, mended in pull request 23701",
    ),
    Mistake(
        "nearest_resize",
        "resizes the photo by nearest neighbor instead of bilinear",
        _RESIZED,
        (("preprocessing.resize", planting.resize_by("nearest")),),
        "a nearest-neighbor resize",
        "resize with Pillow's BILINEAR (resample=2), which antialiases",
        golden="PHOTO",
        source=_PORT,
    ),
    Mistake(
        "bicubic_resize",
        "resizes the photo bicubically instead of bilinearly",
        _RESIZED,
        (("preprocessing.resize", planting.resize_by("bicubic")),),
        "a bicubic resize",
        "resize with Pillow's BILINEAR (resample=2); bicubic belongs to timm's weights",
        golden="PHOTO",
        source=_PORT,
    ),
    Mistake(
        "no_288_step",
        "resizes the short side straight to the crop's size, where a larger one comes first (288 before 256)",
        "any photo",
        (("preprocessing", planting.resize_to_the_crop),),
        "a resize straight to the crop's size",
        "resize the short side to the profile's size first (288 for a crop of 256, 544 for 512), then crop the center",
        golden="PHOTO",
        source=_PORT,
    ),
    Mistake(
        "mean_and_std",
        "normalizes by ImageNet's mean and deviation, which no MobileViT was trained with",
        "any photo",
        (("preprocessing.center_crop", planting.normalize_by_imagenet),),
        "ImageNet's mean and deviation",
        "leave the normalization out: divide by 255 and do nothing else to the values",
        golden="PHOTO",
        source=_PORT,
    ),
    Mistake(
        "stem_channels_reversed",
        "reverses the channels once too often or too seldom (weights converted without the stem's input axis)",
        _PHOTO,
        (("mobilevit.conv_stem", planting.reverse_channels),),
        "the channels reversed before the stem",
        "give the stem the order its weights expect: BGR for Hugging Face's and ml-cvnets', RGB for "
        "timm's; reverse either the photo's channels or the stem's input axis, not both",
        source=_PORT,
    ),
    Mistake(
        "tensorflow_same_padding",
        "pads stride-2 convolutions as TensorFlow's SAME does: no row at the top, no column at the left",
        "a map with an even side before a stride of 2; on odd sides both paddings are equal",
        (("*.convolution", planting.pad_like_tensorflow),),
        "TensorFlow's SAME padding at stride 2",
        'pad (k-1)//2 on all four sides by hand (ZeroPadding2D), then convolve with padding="valid"',
        golden="--formula xx_small --size 64",
        source=_KERAS,
    ),
    Mistake(
        "batch_norm_eps",
        "keeps TensorFlow's batch norm eps of 1e-3",
        _NETWORK,
        (("*.normalization", planting.with_eps(1e-3)),),
        "a batch norm eps of 1e-3",
        "set the batch norms' epsilon to 1e-5",
        source=_KERAS,
    ),
    Mistake(
        "silu_after_reduce",
        "activates after the inverted residual's last 1x1 convolution",
        _NETWORK,
        (("*.reduce_1x1", planting.silu_after),),
        "silu(reduce_1x1)",
        "leave the activation after reduce_1x1 out: the inverted residual's last convolution is linear",
        source=_PORT,
    ),
    Mistake(
        "dilated_conv_kxk",
        "dilates the block's 3x3 convolution along with the downsampling",
        "output stride 16 or 8",
        (("mobilevit.encoder.layer.4.conv_kxk.convolution", planting.dilate),),
        "a dilated conv_kxk",
        "keep conv_kxk's dilation at 1; only the depthwise 3x3 of the downsampling is dilated",
        golden=_SEGMENTER,
        source=_PORT,
    ),
    Mistake(
        "silu_before_unfold",
        "activates after the 1x1 convolution before the unfold",
        _NETWORK,
        ((f"{_STAGE}.conv_1x1", planting.silu_after),),
        "silu(conv_1x1)",
        "leave the activation after conv_1x1 out: the 1x1 before the unfold is a bare convolution",
        source=_WU,
    ),
    Mistake(
        "batch_norm_before_unfold",
        "normalizes after the 1x1 convolution before the unfold, with a batch norm as it's built",
        "float64: it scales by 0.999995, and the layer norm that follows takes most of that back",
        ((f"{_STAGE}.conv_1x1", planting.fresh_batch_norm_after),),
        "a fresh batch norm after conv_1x1",
        "leave the batch norm after conv_1x1 out: the checkpoint has no statistics for it",
        source=_WU,
    ),
    Mistake(
        "plain_reshape",
        "reshapes the map to patches and back without moving an axis",
        _NETWORK,
        (("*.unfolding", planting.unfold_by_reshape), ("*.folding", planting.fold_by_reshape)),
        "a plain reshape for the unfold",
        "unfold as (B,D,H/p,p,W/p,p) -> transpose(0,3,5,2,4,1) -> (B*p*p, N, D), and fold by the inverse",
        source=_KERAS,
    ),
    Mistake(
        "padded_odd_maps",
        "pads maps to whole patches with zeros and crops them after, instead of resizing",
        _ODD_MAP,
        (("*.unfolding", planting.unfold_padded), ("*.folding", planting.fold_cropped)),
        "zero padding to whole patches",
        "resize the map bilinearly to the next multiple of the patch before the unfold, and back after the fold",
        golden="--formula xx_small --size 112",
        source=_PORT,
    ),
    Mistake(
        "align_corners",
        "resizes maps with align_corners=True",
        f"{_ODD_MAP}; or a segmenter's logits, resized",
        (("*.unfolding", planting.unfold_with_corners), ("*.folding", planting.fold_with_corners)),
        "align_corners=True",
        "resize with align_corners=False (half-pixel centers)",
        golden="--formula xx_small --size 112",
        source=_PORT,
    ),
    Mistake(
        "concat_order",
        "concatenates [projection, residual] before the fusion, instead of [residual, projection]",
        _NETWORK,
        ((f"{_STAGE}.fusion", planting.swap_halves),),
        "concat([x, r])",
        "swap the concatenation before the fusion: concat([residual, x]), the residual first",
        source=_WU,
    ),
    Mistake(
        "no_final_layer_norm",
        "leaves out the layer norm after the transformer",
        _NETWORK,
        ((f"{_STAGE}.layernorm", planting.skip),),
        "no layer norm after the transformer",
        "apply the block's own `layernorm` to the tokens after the last transformer layer, before the fold",
        source=_WU,
    ),
    Mistake(
        "layer_norm_over_tokens",
        "normalizes over the tokens where there are as many tokens as features",
        "as many tokens as features: xx_small at 128x128 (L3), small at 192x192, x_small at 128x192",
        (("*.layernorm*", planting.normalize_the_matching_axis),),
        "the layer norm over the tokens' axis",
        "normalize the last axis, the features, whatever its length",
        golden="--formula xx_small --size 128",
        source=_PORT,
    ),
    Mistake(
        "layer_norm_eps",
        "takes 1e-6 for the layer norms' eps, as most vision transformers do",
        "any network; in float32 it may hide: it moves activations by 2e-5 at most",
        (("*.layernorm*", planting.with_eps(1e-6)),),
        "a layer norm eps of 1e-6",
        "set the layer norms' epsilon to the config's layer_norm_eps, 1e-5",
        source="kimm 0.2.5",
    ),
    Mistake(
        "scale_by_width",
        "divides the attention scores by the root of the model's width, not the head's",
        "more than one head, and more than one token",
        (("*.probabilities", planting.scale_by_width),),
        "scores / sqrt(width)",
        "divide the attention scores by sqrt(width / heads), the width of one head",
        source=_PORT,
    ),
    Mistake(
        "interleaved_qkv",
        "reads the rows of a fused QKV weight as q, k, v, q, k, v instead of all Q, all K, all V",
        _NETWORK,
        (("*.attention.attention", planting.interleave_rows),),
        "interleaved rows of Q, K and V",
        "split the fused weight in three blocks of rows: all of Q, then all of K, then all of V",
        source=_PORT,
    ),
    Mistake(
        "gelu_for_silu",
        "activates with GELU where it should be SiLU",
        "any network whose hidden_act is silu",
        _for_silu("gelu"),
        "GELU for SiLU",
        _SILU,
        source=_PORT,
    ),
    Mistake(
        "silu_for_relu",
        "activates with SiLU in the segmentation head, which has ReLU",
        "a segmenter",
        (("segmentation_head.*.activation", planting.activate_by("relu", "silu")),),
        "SiLU for ReLU in the head",
        "use ReLU in the segmentation head, whatever hidden_act says",
        golden=_SEGMENTER,
        source=_PORT,
    ),
    Mistake(
        "lanczos_resize",
        "resizes the photo by Lanczos' filter instead of bilinearly",
        _RESIZED,
        (("preprocessing.resize", planting.resize_by("lanczos")),),
        "a Lanczos resize",
        "resize with Pillow's BILINEAR (resample=2)",
        golden="PHOTO",
    ),
    Mistake(
        "no_antialias",
        "resizes the photo without an antialiasing filter",
        "any photo that the resize makes smaller",
        (("preprocessing.resize", planting.resize_without_antialias),),
        "a bilinear resize of the nearest four pixels",
        "resize with Pillow's BILINEAR, or with antialias=True: what is made smaller must be averaged",
        golden="PHOTO",
        slack=2 / 255,  # some round to whole levels, halves up or down; some don't
    ),
    Mistake(
        "squashed",
        "resizes both sides to the crop's, whatever the photo's shape",
        "any photo that isn't square",
        (("preprocessing", planting.squash),),
        "a resize that squashes the photo",
        "resize the short side, keep the aspect, and crop the center",
        golden="PHOTO",
    ),
    Mistake(
        "corner_crop",
        "crops the top left corner instead of the center",
        "any photo that is larger than the crop after the resize",
        (("preprocessing.center_crop", planting.crop_corner),),
        "a crop of the top left corner",
        "crop the center: start at (side - crop) // 2 on both axes",
        golden="PHOTO",
    ),
    Mistake(
        "crop_off_by_one",
        "crops one pixel below and right of the center",
        "any photo",
        (("preprocessing.center_crop", planting.crop_beside),),
        "a crop that starts one pixel late",
        "start the crop at (side - crop) // 2, rounded down",
        golden="PHOTO",
    ),
    Mistake(
        "sides_exchanged",
        "exchanges the photo's height and width",
        "any photo that isn't its own transpose",
        (("preprocessing", planting.exchange_sides),),
        "height and width exchanged",
        "keep rows as rows: (H, W, C) -> (C, H, W) is transpose(2, 0, 1)",
        golden="PHOTO",
    ),
    Mistake(
        "not_rescaled",
        "feeds values from 0 to 255",
        "any photo",
        (("preprocessing.rescale", planting.rescale_by(255)),),
        "pixel values that aren't divided",
        "divide the pixel values by 255",
        golden="PHOTO",
    ),
    Mistake(
        "rescaled_twice",
        "divides the pixel values by 255 twice",
        "any photo",
        (("preprocessing.rescale", planting.rescale_by(1 / 255)),),
        "pixel values divided twice",
        "divide by 255 once: the decoder or the resize has done it already",
        golden="PHOTO",
    ),
    Mistake(
        "minus_one_to_one",
        "brings the pixel values to -1..1",
        "any photo",
        (("preprocessing.rescale", planting.rescale_by(2, -1)),),
        "pixel values in -1..1",
        "divide by 255 and do nothing else to the values",
        golden="PHOTO",
    ),
    Mistake(
        "kernels_flipped",
        "flips the kernels, as a convolution in the mathematical sense does",
        _NETWORK,
        (("*.convolution", planting.flip_kernels),),
        "flipped kernels",
        "use cross-correlation, as every framework's convolution layer is, or flip the kernels back",
    ),
    Mistake(
        "stride_in_expand",
        "gives the stride to the inverted residual's first convolution",
        _NETWORK,
        (
            ("mobilevit.encoder.layer.1.layer.0", planting.stride_in_expand),
            ("*.downsampling_layer", planting.stride_in_expand),
        ),
        "the stride in expand_1x1",
        "give the stride to the depthwise 3x3 in the middle",
    ),
    Mistake(
        "batch_statistics",
        "normalizes by the batch's own mean and variance, as in training",
        _NETWORK,
        (("*.normalization", planting.batch_statistics),),
        "the batch's own statistics",
        "put the network in inference mode (eval(), training=False): batch norm uses its running statistics",
    ),
    Mistake(
        "variance_for_deviation",
        "divides by the variance in batch norms, instead of by its root",
        _NETWORK,
        (("*.normalization", planting.variance_for_deviation),),
        "batch norms divided by the variance",
        "divide by sqrt(running_var + eps)",
    ),
    Mistake(
        "eps_outside_the_root",
        "adds the batch norms' eps to the deviation, not to the variance",
        _NETWORK,
        (("*.normalization", planting.eps_outside_the_root),),
        "batch norms divided by sqrt(running_var) + eps",
        "divide by sqrt(running_var + eps)",
    ),
    Mistake(
        "no_residual",
        "leaves out the inverted residual's residual connection",
        _NETWORK,
        (("mobilevit.encoder.layer.?.layer.?", planting.without_residual),),
        "no residual around the inverted residual",
        "add the input where the stride is 1 and input and output have as many channels",
    ),
    Mistake(
        "relu_for_silu",
        "activates with ReLU where it should be SiLU",
        "any network whose hidden_act is silu",
        _for_silu("relu"),
        "ReLU for SiLU",
        _SILU,
    ),
    Mistake(
        "relu6_for_silu",
        "activates with ReLU6, MobileNetV2's, where it should be SiLU",
        "any network whose hidden_act is silu",
        _for_silu("relu6"),
        "ReLU6 for SiLU",
        _SILU,
    ),
    Mistake(
        "hardswish_for_silu",
        "activates with hard-swish where it should be SiLU",
        "any network whose hidden_act is silu",
        _for_silu("hardswish"),
        "hard-swish for SiLU",
        _SILU,
    ),
    Mistake(
        "gelu_in_feed_forward",
        "activates with GELU in the transformers, as ViT does, and with SiLU elsewhere",
        "any network whose hidden_act is silu",
        _for_silu("gelu", "*.intermediate_act_fn"),
        "GELU in the feed-forwards",
        _SILU,
    ),
    Mistake(
        "gelu_tanh_in_feed_forward",
        "activates with GELU's tanh form in the transformers",
        "any network whose hidden_act is silu",
        _for_silu("gelu_new", "*.intermediate_act_fn"),
        "GELU's tanh form in the feed-forwards",
        _SILU,
    ),
    Mistake(
        "unfold_as_channels_last",
        "unfolds a map that is NCHW in memory as if it were NHWC",
        _NETWORK,
        (("*.unfolding", planting.unfold_as_channels_last), ("*.folding", planting.fold_as_channels_last)),
        "an unfold for NHWC",
        "unfold as (B,D,H/p,p,W/p,p) -> transpose(0,3,5,2,4,1) -> (B*p*p, N, D), and fold by the inverse",
    ),
    Mistake(
        "no_scale",
        "doesn't scale the attention scores",
        "more than one token",
        (("*.probabilities", planting.without_scale),),
        "unscaled scores",
        "divide the attention scores by sqrt(width / heads), the width of one head",
    ),
    Mistake(
        "softmax_over_queries",
        "takes the softmax over the queries' axis",
        "more than one token",
        (("*.probabilities", planting.softmax_over_queries),),
        "a softmax over the queries",
        "take the softmax over the last axis of (B*p*p, heads, queries, keys): each query's weights sum to 1",
    ),
    Mistake(
        "queries_for_keys",
        "exchanges queries and keys",
        "more than one token",
        (("*.probabilities", planting.exchange_query_and_key),),
        "queries and keys exchanged",
        "queries on the left, keys transposed on the right: q @ k^T",
    ),
    Mistake(
        "heads_by_reshape",
        "splits and merges the heads by a reshape alone",
        "more than one head, and more than one token",
        (
            ("*.probabilities", planting.weigh_reshaped_heads),
            ("*.attention.attention", planting.gather_reshaped_heads),
        ),
        "heads split and merged without the transpose",
        "split as (B,N,D) -> (B,N,heads,d) -> transpose(0,2,1,3), and merge by the inverse",
    ),
    Mistake(
        "heads_merged_by_reshape",
        "merges the heads by a reshape alone",
        "more than one head, and more than one token",
        (("*.attention.attention", planting.merge_by_reshape),),
        "heads merged without the transpose",
        "merge as (B,heads,N,d) -> transpose(0,2,1,3) -> reshape (B,N,D)",
    ),
    Mistake(
        "one_head",
        "attends with one head",
        "more than one token",
        (("*.attention.attention", planting.attend_with_heads(1)),),
        "one head",
        "attend with the config's num_attention_heads, 4",
    ),
    Mistake(
        "eight_heads",
        "attends with eight heads",
        "more than one token",
        (("*.attention.attention", planting.attend_with_heads(8)),),
        "eight heads",
        "attend with the config's num_attention_heads, 4",
    ),
    Mistake(
        "attention_within_patches",
        "attends to the pixels of one patch, not to the same pixel of all patches",
        "more than one token",
        (("*.attention.attention", planting.attend_within_patches),),
        "attention within patches",
        "attend over N, the patches: the tokens are (B*p*p, N, D)",
    ),
    Mistake(
        "square_weights_transposed",
        "takes the attention's weights transposed, which fits, since they're square",
        _NETWORK,
        tuple((f"*.{name}", planting.transpose_weight) for name in ("query", "key", "value", "attention.output.dense")),
        "query, key, value and output weights transposed",
        "transpose each linear weight once: PyTorch's are (out, in), Keras' and JAX's (in, out)",
    ),
    Mistake(
        "no_norm_before_attention",
        "leaves out the layer norm before the attention",
        _NETWORK,
        (("*.layernorm_before", planting.skip),),
        "no layer norm before the attention",
        "normalize the attention's input by `layernorm_before`, not the sum",
    ),
    Mistake(
        "no_norm_before_feed_forward",
        "leaves out the layer norm before the feed-forward",
        _NETWORK,
        (("*.layernorm_after", planting.skip),),
        "no layer norm before the feed-forward",
        "normalize the feed-forward's input by `layernorm_after`, not the sum",
    ),
    Mistake(
        "post_norm",
        "normalizes after the residual connections (post-norm), as the first transformers did",
        _NETWORK,
        (("*.transformer.layer.?", planting.post_norm),),
        "layer norms after the residual connections",
        "normalize before attention and feed-forward: x + attention(norm(x)), then x + feed_forward(norm(x))",
    ),
    Mistake(
        "no_attention_residual",
        "leaves out the residual connection around the attention",
        _NETWORK,
        (("*.transformer.layer.?", planting.without_attention_residual),),
        "no residual around the attention",
        "add the layer's input to what the attention gives",
    ),
    Mistake(
        "no_feed_forward_residual",
        "leaves out the residual connection around the feed-forward",
        _NETWORK,
        (("*.transformer.layer.?.output", planting.without_feed_forward_residual),),
        "no residual around the feed-forward",
        "add what went into the second layer norm to what the feed-forward gives",
    ),
    Mistake(
        "max_pooling",
        "pools the last map by its maximum",
        "a classifier",
        (("", planting.pool_by_maximum),),
        "pooling by maximum",
        "take the mean of the last map over height and width",
    ),
    Mistake(
        "softmaxed_logits",
        "gives probabilities where logits are asked for",
        "any network with a head",
        (("", planting.softmax_logits),),
        "a softmax over the logits",
        "compare before the softmax, or leave it out",
    ),
    Mistake(
        "atrous_rates_doubled",
        "dilates ASPP's convolutions twice as far",
        "a segmenter whose last map is larger than the first rate",
        (("segmentation_head.aspp", planting.dilate_by(2)),),
        "atrous rates of 12, 24 and 36",
        "take the config's atrous_rates, 6, 12 and 18, whatever the output stride",
        golden=_SEGMENTER,
    ),
    Mistake(
        "aspp_order",
        "concatenates ASPP's dilated branches in the reverse order",
        "a segmenter",
        (("segmentation_head.aspp.project", planting.reverse_branches),),
        "ASPP's branches reversed",
        "concatenate the 1x1, the dilated ones by growing rate, and the pooled branch last",
        golden=_SEGMENTER,
    ),
    Mistake(
        "unbiased_variance",
        "divides the layer norms' variance by D - 1, as torch.var does unless it's told otherwise",
        _NETWORK,
        (("*.layernorm*", planting.unbiased_variance),),
        "a variance over D - 1",
        "divide by D, the number of features: var(-1, unbiased=False) in PyTorch, ddof=0 in NumPy",
    ),
)

"""The known mistakes of MobileViT ports, as data.

Each was made in public. A mistake is what ``scope.wrap`` plants: patterns on paths, and what is computed there
instead. Each also says where it shows, because several can't be seen on every input or configuration: a clean
comparison there proves nothing. And it says what to do about it: ``diagnose`` plants them one by one and prints the
remedy of the one that reproduces a port's numbers; tests/mutants plants them to see whether our own tests would notice.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import ops
from ..config import NetworkConfig
from ..model import whole_patches
from ..preprocess import Profile
from ..scope import Scope

Compute = Callable[..., np.ndarray]


@dataclass(frozen=True)
class Mistake:
    """One mistake: how to make it (``plant``), what it is, and where it shows."""

    name: str
    sentence: str  # what the port does
    shows: str  # the configuration and input that it takes to see it
    replacements: tuple[tuple[str, Compute], ...]  # (pattern on paths, what is computed there instead)
    phrase: str  # the mistake as evidence: "with <phrase> the reference gives your tensor"
    remedy: str  # what to do

    def plant(self, scope: Scope) -> Scope:
        """``scope`` with the mistake in it."""
        for pattern, replacement in self.replacements:
            scope = scope.wrap(pattern, replacement)
        return scope


# -- preprocessing -----------------------------------------------------------------------------------------------------


def _leave(compute: Compute, x: np.ndarray, scope: Scope, *args: Any, **kwargs: Any) -> np.ndarray:
    return x.copy()


def _flip_rows(compute: Compute, image: np.ndarray, scope: Scope) -> np.ndarray:
    return image[:, ::-1]


def _resize_by(resample: str) -> Compute:
    def resize(compute: Compute, image: np.ndarray, scope: Scope, size: Any, _: str, *keep: Any) -> np.ndarray:
        return compute(image, scope, size, resample, *keep)

    return resize


def _resize_to_the_crop(compute: Compute, image: np.ndarray, scope: Scope, profile: Profile, dtype: Any) -> np.ndarray:
    if profile.crop is not None and isinstance(profile.size, int):
        profile = replace(profile, size=min(profile.crop))
    return compute(image, scope, profile, dtype)


def _normalize(compute: Compute, image: np.ndarray, scope: Scope, *args: Any) -> np.ndarray:
    mean, std = (np.array(v, image.dtype)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (compute(image, scope, *args) - mean) / std


# -- convolutions and normalizations -----------------------------------------------------------------------------------


def _reverse_channels(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    return compute(x[:, ::-1], scope, **kwargs)


def _pad_like_tensorflow(
    compute: Compute, x: np.ndarray, scope: Scope, *, stride: int = 1, groups: int = 1, **kwargs: Any
) -> np.ndarray:
    weight = scope["weight"]
    if stride == 1:
        return compute(x, scope, groups=groups, **kwargs)
    kernel = weight.shape[-1]
    surplus = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:]]
    padded = np.pad(x, ((0, 0), (0, 0), *((n // 2, n - n // 2) for n in surplus)))  # the larger half comes last
    return ops.conv2d(padded, weight, stride=stride, groups=groups)


def _dilate(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    return compute(x, scope, **{**kwargs, "dilation": 2})


def _with_eps(eps: float) -> Compute:
    def normalize(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
        return compute(x, scope, **{**kwargs, "eps": eps})

    return normalize


def _normalize_the_matching_axis(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    if x.shape[1] != x.shape[2]:
        return compute(x, scope, **kwargs)
    return compute(x.swapaxes(1, 2), scope, **kwargs).swapaxes(1, 2)  # (B*P, N, D) taken for (B*P, D, N)


def _silu_after(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    return ops.silu(compute(x, scope, **kwargs))


def _fresh_batch_norm_after(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    out = compute(x, scope, **kwargs)
    ones, zeros = np.ones(out.shape[1], out.dtype), np.zeros(out.shape[1], out.dtype)
    return ops.batch_norm(out, ones, zeros, zeros, ones)  # as it's built: no checkpoint has values for it


def _activate_by(right: str, wrong: str) -> Compute:
    def activate(compute: Compute, x: np.ndarray, scope: Scope, name: str) -> np.ndarray:
        return compute(x, scope, wrong if name == right else name)

    return activate


# -- the MobileViT block -----------------------------------------------------------------------------------------------


def _swap_halves(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    residual, projected = np.split(x, 2, axis=1)
    return compute(np.concatenate([projected, residual], axis=1), scope, **kwargs)


def _unfold_by_reshape(compute: Compute, x: np.ndarray, scope: Scope, patch_size: int) -> np.ndarray:
    B, D, H, W = x.shape
    H, W = whole_patches((H, W), patch_size)
    return ops.resize_bilinear(x, (H, W)).reshape(B * patch_size**2, H * W // patch_size**2, D)


def _fold_by_reshape(
    compute: Compute, patches: np.ndarray, scope: Scope, patch_size: int, size: tuple[int, int]
) -> np.ndarray:
    H, W = whole_patches(size, patch_size)
    return ops.resize_bilinear(patches.reshape(-1, patches.shape[2], H, W), size)


def _unfold_padded(compute: Compute, x: np.ndarray, scope: Scope, patch_size: int) -> np.ndarray:
    H, W = whole_patches((x.shape[2], x.shape[3]), patch_size)
    return compute(np.pad(x, ((0, 0), (0, 0), (0, H - x.shape[2]), (0, W - x.shape[3]))), scope, patch_size)


def _fold_cropped(
    compute: Compute, patches: np.ndarray, scope: Scope, patch_size: int, size: tuple[int, int]
) -> np.ndarray:
    return compute(patches, scope, patch_size, whole_patches(size, patch_size))[:, :, : size[0], : size[1]]


def _unfold_with_corners(compute: Compute, x: np.ndarray, scope: Scope, patch_size: int) -> np.ndarray:
    whole = whole_patches((x.shape[2], x.shape[3]), patch_size)
    return compute(ops.resize_bilinear(x, whole, align_corners=True), scope, patch_size)


def _fold_with_corners(
    compute: Compute, patches: np.ndarray, scope: Scope, patch_size: int, size: tuple[int, int]
) -> np.ndarray:
    whole = compute(patches, scope, patch_size, whole_patches(size, patch_size))
    return ops.resize_bilinear(whole, size, align_corners=True)


# -- attention ---------------------------------------------------------------------------------------------------------


def _scale_by_width(compute: Compute, x: np.ndarray, scope: Scope, *args: Any, **kwargs: Any) -> np.ndarray:
    return compute(x, scope, *args, **{**kwargs, "scale": 1 / math.sqrt(x.shape[-1])})


def _interleave_rows(compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig, **kwargs: Any) -> np.ndarray:
    names = ("query", "key", "value")
    changed: dict[str, np.ndarray] = {}
    for leaf in ("weight", "bias") if config.qkv_bias else ("weight",):
        fused = np.concatenate([scope[f"{name}.{leaf}"] for name in names])  # Q's rows, then K's, then V's
        changed |= {f"{name}.{leaf}": fused[i::3] for i, name in enumerate(names)}
    return compute(x, scope.with_tensors(changed), config, **kwargs)


_STAGE = "mobilevit.encoder.layer.?"
_NETWORK = "any network and photo"
_PHOTO = "any photo that isn't gray"
_RESIZED = "any photo that the resize changes"
_ODD_MAP = "a map before an unfold with a side that is no multiple of the patch (a photo of 97x131)"

MISTAKES: tuple[Mistake, ...] = (
    Mistake(
        "rgb_for_bgr",
        "feeds RGB to weights trained on BGR",
        _PHOTO,
        (("preprocessing.flip_channel_order", _leave),),
        "RGB pixel values",
        "reverse the channels after rescaling (RGB to BGR), or reverse the input axis of the stem's weight once",
    ),
    Mistake(
        "rows_flipped",
        "flips the rows instead of the channels",
        "any photo that isn't its own mirror image",
        (("preprocessing.flip_channel_order", _flip_rows),),
        "the rows flipped instead of the channels",
        "flip the channel axis, not the rows: x[::-1] on (C, H, W), x[..., ::-1] on (H, W, C)",
    ),
    Mistake(
        "nearest_resize",
        "resizes the photo by nearest neighbor instead of bilinear",
        _RESIZED,
        (("preprocessing.resize", _resize_by("nearest")),),
        "a nearest-neighbor resize",
        "resize with Pillow's BILINEAR (resample=2), which antialiases",
    ),
    Mistake(
        "bicubic_resize",
        "resizes the photo bicubically instead of bilinearly",
        _RESIZED,
        (("preprocessing.resize", _resize_by("bicubic")),),
        "a bicubic resize",
        "resize with Pillow's BILINEAR (resample=2); bicubic belongs to timm's weights",
    ),
    Mistake(
        "no_288_step",
        "resizes the short side straight to the crop's size, where a larger one comes first (288 before 256)",
        "any photo",
        (("preprocessing", _resize_to_the_crop),),
        "a resize straight to the crop's size",
        "resize the short side to the profile's size first (288 for a crop of 256, 544 for 512), then crop the center",
    ),
    Mistake(
        "mean_and_std",
        "normalizes by ImageNet's mean and deviation, which no MobileViT was trained with",
        "any photo",
        (("preprocessing.center_crop", _normalize),),
        "ImageNet's mean and deviation",
        "leave the normalization out: divide by 255 and do nothing else to the values",
    ),
    Mistake(
        "stem_channels_reversed",
        "reverses the channels once too often or too seldom (weights converted without the stem's input axis)",
        _PHOTO,
        (("mobilevit.conv_stem", _reverse_channels),),
        "the channels reversed before the stem",
        "give the stem the order its weights expect: BGR for Hugging Face's and ml-cvnets', RGB for "
        "timm's; reverse either the photo's channels or the stem's input axis, not both",
    ),
    Mistake(
        "tensorflow_same_padding",
        "pads stride-2 convolutions as TensorFlow's SAME does: no row at the top, no column at the left",
        "a map with an even side before a stride of 2; on odd sides both paddings are equal",
        (("*.convolution", _pad_like_tensorflow),),
        "TensorFlow's SAME padding at stride 2",
        'pad (k-1)//2 on all four sides by hand (ZeroPadding2D), then convolve with padding="valid"',
    ),
    Mistake(
        "batch_norm_eps",
        "keeps TensorFlow's batch norm eps of 1e-3",
        _NETWORK,
        (("*.normalization", _with_eps(1e-3)),),
        "a batch norm eps of 1e-3",
        "set the batch norms' epsilon to 1e-5",
    ),
    Mistake(
        "silu_after_reduce",
        "activates after the inverted residual's last 1x1 convolution",
        _NETWORK,
        (("*.reduce_1x1", _silu_after),),
        "silu(reduce_1x1)",
        "leave the activation after reduce_1x1 out: the inverted residual's last convolution is linear",
    ),
    Mistake(
        "dilated_conv_kxk",
        "dilates the block's 3x3 convolution along with the downsampling",
        "output stride 16 or 8",
        (("mobilevit.encoder.layer.4.conv_kxk.convolution", _dilate),),
        "a dilated conv_kxk",
        "keep conv_kxk's dilation at 1; only the depthwise 3x3 of the downsampling is dilated",
    ),
    Mistake(
        "silu_before_unfold",
        "activates after the 1x1 convolution before the unfold",
        _NETWORK,
        ((f"{_STAGE}.conv_1x1", _silu_after),),
        "silu(conv_1x1)",
        "leave the activation after conv_1x1 out: the 1x1 before the unfold is a bare convolution",
    ),
    Mistake(
        "batch_norm_before_unfold",
        "normalizes after the 1x1 convolution before the unfold, with a batch norm as it's built",
        "float64: it scales by 0.999995, and the layer norm that follows takes most of that back",
        ((f"{_STAGE}.conv_1x1", _fresh_batch_norm_after),),
        "a fresh batch norm after conv_1x1",
        "leave the batch norm after conv_1x1 out: the checkpoint has no statistics for it",
    ),
    Mistake(
        "plain_reshape",
        "reshapes the map to patches and back without moving an axis",
        _NETWORK,
        (("*.unfolding", _unfold_by_reshape), ("*.folding", _fold_by_reshape)),
        "a plain reshape for the unfold",
        "unfold as (B,D,H/p,p,W/p,p) -> transpose(0,3,5,2,4,1) -> (B*p*p, N, D), and fold by the inverse",
    ),
    Mistake(
        "padded_odd_maps",
        "pads maps to whole patches with zeros and crops them after, instead of resizing",
        _ODD_MAP,
        (("*.unfolding", _unfold_padded), ("*.folding", _fold_cropped)),
        "zero padding to whole patches",
        "resize the map bilinearly to the next multiple of the patch before the unfold, and back after the fold",
    ),
    Mistake(
        "align_corners",
        "resizes maps with align_corners=True",
        f"{_ODD_MAP}; or a segmenter's logits, resized",
        (("*.unfolding", _unfold_with_corners), ("*.folding", _fold_with_corners)),
        "align_corners=True",
        "resize with align_corners=False (half-pixel centers)",
    ),
    Mistake(
        "concat_order",
        "concatenates [projection, residual] before the fusion, instead of [residual, projection]",
        _NETWORK,
        ((f"{_STAGE}.fusion", _swap_halves),),
        "concat([x, r])",
        "swap the concatenation before the fusion: concat([residual, x]), the residual first",
    ),
    Mistake(
        "no_final_layer_norm",
        "leaves out the layer norm after the transformer",
        _NETWORK,
        ((f"{_STAGE}.layernorm", _leave),),
        "no layer norm after the transformer",
        "apply the block's own `layernorm` to the tokens after the last transformer layer, before the fold",
    ),
    Mistake(
        "layer_norm_over_tokens",
        "normalizes whichever axis has the width's length, the tokens' first",
        "as many tokens as features: xx_small at 128x128 (L3), small at 192x192, x_small at 128x192",
        (("*.layernorm*", _normalize_the_matching_axis),),
        "the layer norm over the tokens' axis",
        "normalize the last axis, the features, whatever its length",
    ),
    Mistake(
        "layer_norm_eps",
        "takes 1e-6 for the layer norms' eps, as most vision transformers do",
        "any network; in float32 it may hide: it moves activations by 2e-5 at most",
        (("*.layernorm*", _with_eps(1e-6)),),
        "a layer norm eps of 1e-6",
        "set the layer norms' epsilon to the config's layer_norm_eps, 1e-5",
    ),
    Mistake(
        "scale_by_width",
        "divides the attention scores by the root of the model's width, not the head's",
        "more than one head, and more than one token",
        (("*.attention.attention", _scale_by_width),),
        "scores / sqrt(width)",
        "divide the attention scores by sqrt(width / heads), the width of one head",
    ),
    Mistake(
        "interleaved_qkv",
        "reads the rows of a fused QKV weight as q, k, v, q, k, v instead of all Q, all K, all V",
        _NETWORK,
        (("*.attention.attention", _interleave_rows),),
        "interleaved rows of Q, K and V",
        "split the fused weight in three blocks of rows: all of Q, then all of K, then all of V",
    ),
    Mistake(
        "gelu_for_silu",
        "activates with GELU where it should be SiLU",
        "any network whose hidden_act is silu",
        (("*.activation", _activate_by("silu", "gelu")), ("*.intermediate_act_fn", _activate_by("silu", "gelu"))),
        "GELU for SiLU",
        "use SiLU (swish), x * sigmoid(x), wherever the config's hidden_act says silu",
    ),
    Mistake(
        "silu_for_relu",
        "activates with SiLU in the segmentation head, which has ReLU",
        "a segmenter",
        (("segmentation_head.*.activation", _activate_by("relu", "silu")),),
        "SiLU for ReLU in the head",
        "use ReLU in the segmentation head, whatever hidden_act says",
    ),
)

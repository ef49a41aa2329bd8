"""What ports compute in place of what they should: the functions that ``mistakes`` plants, by ``scope.wrap``.

Each gets the function it replaces and that function's arguments, and returns what a port with the mistake would: arrays
as in ``model`` and ``preprocess.steps``. They're written as a port would be, in plain NumPy.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from .. import model, ops
from ..config import BATCH_NORM_EPS, NetworkConfig
from ..preprocess import Profile
from ..preprocess.resize import output_size
from ..scope import Scope

Compute = Callable[..., np.ndarray]


# -- preprocessing -----------------------------------------------------------------------------------------------------


def skip(compute: Compute, x: np.ndarray, scope: Scope, *args: Any, **kwargs: Any) -> np.ndarray:
    return x.copy()


def flip_rows(compute: Compute, image: np.ndarray, scope: Scope) -> np.ndarray:
    return image[:, ::-1]


def resize_by(resample: str) -> Compute:
    def resize(compute: Compute, image: np.ndarray, scope: Scope, size: Any, _: str, *keep: Any) -> np.ndarray:
        return compute(image, scope, size, resample, *keep)

    return resize


def resize_to_the_crop(compute: Compute, image: np.ndarray, scope: Scope, profile: Profile, dtype: Any) -> np.ndarray:
    if profile.crop is not None and isinstance(profile.size, int):
        profile = replace(profile, size=min(profile.crop))
    return compute(image, scope, profile, dtype)


def normalize_by_imagenet(compute: Compute, image: np.ndarray, scope: Scope, *args: Any) -> np.ndarray:
    mean, std = (np.array(v, image.dtype)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    return (compute(image, scope, *args) - mean) / std


def resize_without_antialias(
    compute: Compute, image: np.ndarray, scope: Scope, size: Any, resample: str, *keep: Any
) -> np.ndarray:
    whole = output_size(image.shape[1], image.shape[2], size)
    resized = ops.resize_bilinear(image[None].astype(np.float64), whole)[0]
    return np.round(resized).astype(image.dtype)


def squash(compute: Compute, image: np.ndarray, scope: Scope, profile: Profile, dtype: Any) -> np.ndarray:
    return compute(image, scope, replace(profile, size=profile.crop or profile.size), dtype)


def exchange_sides(compute: Compute, image: np.ndarray, scope: Scope, profile: Profile, dtype: Any) -> np.ndarray:
    return compute(image, scope, profile, dtype).swapaxes(1, 2)


def crop_corner(compute: Compute, image: np.ndarray, scope: Scope, size: tuple[int, int], *center: Any) -> np.ndarray:
    return compute(image[:, : size[0], : size[1]], scope, size, *center)


def crop_beside(compute: Compute, image: np.ndarray, scope: Scope, *size: Any) -> np.ndarray:
    return compute(np.roll(image, (-1, -1), axis=(1, 2)), scope, *size)


def rescale_by(factor: float, offset: float = 0.0) -> Compute:
    def rescale(compute: Compute, image: np.ndarray, scope: Scope, *args: Any) -> np.ndarray:
        rescaled = compute(image, scope, *args)
        return rescaled * rescaled.dtype.type(factor) + rescaled.dtype.type(offset)

    return rescale


# -- convolutions and normalizations -----------------------------------------------------------------------------------


def reverse_channels(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    return compute(x[:, ::-1], scope, **kwargs)


def pad_like_tensorflow(
    compute: Compute, x: np.ndarray, scope: Scope, *, stride: int = 1, groups: int = 1, **kwargs: Any
) -> np.ndarray:
    weight = scope["weight"]
    if stride == 1:
        return compute(x, scope, groups=groups, **kwargs)
    kernel = weight.shape[-1]
    surplus = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in x.shape[2:]]
    padded = np.pad(x, ((0, 0), (0, 0), *((n // 2, n - n // 2) for n in surplus)))  # the larger half comes last
    return ops.conv2d(padded, weight, stride=stride, groups=groups)


def dilate(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    return compute(x, scope, **{**kwargs, "dilation": 2})


def with_eps(eps: float) -> Compute:
    def normalize(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
        return compute(x, scope, **{**kwargs, "eps": eps})

    return normalize


def unbiased_variance(compute: Compute, x: np.ndarray, scope: Scope, *, eps: float) -> np.ndarray:
    share = 1 - 1 / x.shape[-1]  # variance = sum / (D - 1): what's normalized is smaller by the root of this
    weight = scope["weight"] * math.sqrt(share)
    return compute(x, scope.with_tensors({"weight": weight}), eps=eps * share)


def normalize_the_matching_axis(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    if x.shape[1] != x.shape[2]:
        return compute(x, scope, **kwargs)
    return compute(x.swapaxes(1, 2), scope, **kwargs).swapaxes(1, 2)  # (B*P, N, D) taken for (B*P, D, N)


def silu_after(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    return ops.silu(compute(x, scope, **kwargs))


def fresh_batch_norm_after(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    out = compute(x, scope, **kwargs)
    ones, zeros = np.ones(out.shape[1], out.dtype), np.zeros(out.shape[1], out.dtype)
    return ops.batch_norm(out, ones, zeros, zeros, ones)  # as initialized: no checkpoint has values for it


def flip_kernels(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    return compute(x, scope.with_tensors({"weight": scope["weight"][:, :, ::-1, ::-1]}), **kwargs)


def stride_in_expand(
    compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig, out_channels: int, **kwargs: Any
) -> np.ndarray:
    if kwargs.get("stride", 1) == 1:
        return compute(x, scope, config, out_channels, **kwargs)
    width, act = config.expanded_channels(x.shape[1]), config.hidden_act
    x = model.conv_layer(x, scope / "expand_1x1", act=act, stride=kwargs["stride"])
    x = model.conv_layer(x, scope / "conv_3x3", act=act, groups=width)
    return model.conv_layer(x, scope / "reduce_1x1", act=None)


def batch_statistics(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    own = {"running_mean": x.mean(axis=(0, 2, 3)), "running_var": x.var(axis=(0, 2, 3))}
    return compute(x, scope.with_tensors(own), **kwargs)


def variance_for_deviation(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    variance = (scope["running_var"] + BATCH_NORM_EPS) ** 2 - BATCH_NORM_EPS  # the root of it will be taken
    return compute(x, scope.with_tensors({"running_var": variance}), **kwargs)


def eps_outside_the_root(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    variance = (np.sqrt(scope["running_var"]) + BATCH_NORM_EPS) ** 2 - BATCH_NORM_EPS
    return compute(x, scope.with_tensors({"running_var": variance}), **kwargs)


def activate_by(right: str, wrong: str) -> Compute:
    def activate(compute: Compute, x: np.ndarray, scope: Scope, name: str) -> np.ndarray:
        return compute(x, scope, wrong if name == right else name)

    return activate


# -- the MobileViT block -----------------------------------------------------------------------------------------------


def swap_halves(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    residual, projected = np.split(x, 2, axis=1)
    return compute(np.concatenate([projected, residual], axis=1), scope, **kwargs)


def unfold_by_reshape(compute: Compute, x: np.ndarray, scope: Scope, patch_size: int) -> np.ndarray:
    B, D, H, W = x.shape
    H, W = model.whole_patches((H, W), patch_size)
    return ops.resize_bilinear(x, (H, W)).reshape(B * patch_size**2, H * W // patch_size**2, D)


def fold_by_reshape(
    compute: Compute, patches: np.ndarray, scope: Scope, patch_size: int, size: tuple[int, int]
) -> np.ndarray:
    H, W = model.whole_patches(size, patch_size)
    return ops.resize_bilinear(patches.reshape(-1, patches.shape[2], H, W), size)


def unfold_as_channels_last(compute: Compute, x: np.ndarray, scope: Scope, patch_size: int) -> np.ndarray:
    p, (B, D, H, W) = patch_size, x.shape
    H, W = model.whole_patches((H, W), p)
    x = ops.resize_bilinear(x, (H, W)).reshape(B, H // p, p, W // p, p, D)  # the axes as they'd be in NHWC
    return x.transpose(0, 2, 4, 1, 3, 5).reshape(B * p * p, H * W // p**2, D)


def fold_as_channels_last(
    compute: Compute, patches: np.ndarray, scope: Scope, patch_size: int, size: tuple[int, int]
) -> np.ndarray:
    p, D, (H, W) = patch_size, patches.shape[2], model.whole_patches(size, patch_size)
    x = patches.reshape(-1, p, p, H // p, W // p, D).transpose(0, 3, 1, 4, 2, 5)
    return ops.resize_bilinear(x.reshape(-1, D, H, W), size)


def unfold_padded(compute: Compute, x: np.ndarray, scope: Scope, patch_size: int) -> np.ndarray:
    H, W = model.whole_patches((x.shape[2], x.shape[3]), patch_size)
    return compute(np.pad(x, ((0, 0), (0, 0), (0, H - x.shape[2]), (0, W - x.shape[3]))), scope, patch_size)


def fold_cropped(
    compute: Compute, patches: np.ndarray, scope: Scope, patch_size: int, size: tuple[int, int]
) -> np.ndarray:
    return compute(patches, scope, patch_size, model.whole_patches(size, patch_size))[:, :, : size[0], : size[1]]


def unfold_with_corners(compute: Compute, x: np.ndarray, scope: Scope, patch_size: int) -> np.ndarray:
    whole = model.whole_patches((x.shape[2], x.shape[3]), patch_size)
    return compute(ops.resize_bilinear(x, whole, align_corners=True), scope, patch_size)


def fold_with_corners(
    compute: Compute, patches: np.ndarray, scope: Scope, patch_size: int, size: tuple[int, int]
) -> np.ndarray:
    whole = compute(patches, scope, patch_size, model.whole_patches(size, patch_size))
    return ops.resize_bilinear(whole, size, align_corners=True)


# -- attention ---------------------------------------------------------------------------------------------------------


def scale_by_width(
    compute: Compute, query: np.ndarray, scope: Scope, key: np.ndarray, heads: int, **_: Any
) -> np.ndarray:
    return compute(query, scope, key, heads, scale=1 / math.sqrt(query.shape[-1]))


def interleave_rows(compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    names = ("query", "key", "value")
    changed: dict[str, np.ndarray] = {}
    for leaf in ("weight", "bias") if config.qkv_bias else ("weight",):
        fused = np.concatenate([scope[f"{name}.{leaf}"] for name in names])  # Q's rows, then K's, then V's
        changed |= {f"{name}.{leaf}": fused[i::3] for i, name in enumerate(names)}
    return compute(x, scope.with_tensors(changed), config)


def without_scale(
    compute: Compute, query: np.ndarray, scope: Scope, key: np.ndarray, heads: int, **_: Any
) -> np.ndarray:
    return compute(query, scope, key, heads, scale=1.0)


def exchange_query_and_key(
    compute: Compute, query: np.ndarray, scope: Scope, key: np.ndarray, heads: int, **kwargs: Any
) -> np.ndarray:
    return compute(key, scope, query, heads, **kwargs)


def softmax_over_queries(
    compute: Compute, query: np.ndarray, scope: Scope, key: np.ndarray, heads: int, *, scale: float | None = None
) -> np.ndarray:
    query, key = ops.split_heads(query, heads), ops.split_heads(key, heads)
    scores = query @ key.swapaxes(-1, -2) * (scale or 1 / math.sqrt(query.shape[-1]))
    return ops.softmax(scores.swapaxes(-1, -2)).swapaxes(-1, -2)


def weigh_reshaped_heads(
    compute: Compute, query: np.ndarray, scope: Scope, key: np.ndarray, heads: int, **kwargs: Any
) -> np.ndarray:
    query, key = (ops.merge_heads(x.reshape(x.shape[0], heads, x.shape[1], -1)) for x in (query, key))
    return compute(query, scope, key, heads, **kwargs)


def gather_reshaped_heads(compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    query, key, value = projections(x, scope, config)
    weights = model.attention_probabilities(query, scope / "probabilities", key, config.num_attention_heads)
    return (weights @ value.reshape(*weights.shape[:3], -1)).reshape(value.shape)


def merge_by_reshape(compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    gathered = compute(x, scope, config)
    return ops.split_heads(gathered, config.num_attention_heads).reshape(gathered.shape)


def attend_with_heads(heads: int) -> Compute:
    def attend(compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
        return compute(x, scope, replace(config, num_attention_heads=heads))

    return attend


def attend_within_patches(compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    rows, N, D = x.shape
    pixels = config.patch_size**2
    query, key, value = (
        each.reshape(rows // pixels, pixels, N, D).swapaxes(1, 2).reshape(-1, pixels, D)
        for each in projections(x, scope, config)
    )
    weights = model.attention_probabilities(query, scope / "probabilities", key, config.num_attention_heads)
    gathered = ops.attend(weights, value)
    return gathered.reshape(rows // pixels, N, pixels, D).swapaxes(1, 2).reshape(rows, N, D)


def transpose_weight(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    return compute(x, scope.with_tensors({"weight": scope["weight"].T}), **kwargs)


def projections(x: np.ndarray, scope: Scope, config: NetworkConfig) -> list[np.ndarray]:
    return [model.linear(x, scope / name, bias=config.qkv_bias) for name in ("query", "key", "value")]


# -- residuals and norms -----------------------------------------------------------------------------------------------


def without_residual(
    compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig, out_channels: int, **kwargs: Any
) -> np.ndarray:
    out = compute(x, scope, config, out_channels, **kwargs)
    return out - x if kwargs.get("stride", 1) == 1 and x.shape[1] == out_channels else out


def without_attention_residual(compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    normed = model.layer_norm(x, scope / "layernorm_before", eps=config.layer_norm_eps)
    x = model.attention(normed, scope / "attention", config)
    normed = model.layer_norm(x, scope / "layernorm_after", eps=config.layer_norm_eps)
    return model.feed_forward_out(model.feed_forward_in(normed, scope / "intermediate", config), scope / "output", x)


def without_feed_forward_residual(compute: Compute, x: np.ndarray, scope: Scope, residual: np.ndarray) -> np.ndarray:
    return compute(x, scope, np.zeros_like(residual))


def post_norm(compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    eps = config.layer_norm_eps
    x = model.layer_norm(x + model.attention(x, scope / "attention", config), scope / "layernorm_before", eps=eps)
    y = model.feed_forward_in(x, scope / "intermediate", config)
    return model.layer_norm(model.feed_forward_out(y, scope / "output", x), scope / "layernorm_after", eps=eps)


# -- heads -------------------------------------------------------------------------------------------------------------


def pool_by_maximum(compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    return compute(x, scope, replace(config, global_pool="max"))


def softmax_logits(compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    return np.moveaxis(ops.softmax(np.moveaxis(compute(x, scope, config), 1, -1)), -1, 1)


def dilate_by(factor: int) -> Compute:
    def pyramid(compute: Compute, x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
        return compute(x, scope, replace(config, atrous_rates=[factor * rate for rate in config.atrous_rates]))

    return pyramid


def reverse_branches(compute: Compute, x: np.ndarray, scope: Scope, **kwargs: Any) -> np.ndarray:
    first, *dilated, pooled = np.split(x, 5, axis=1)
    return compute(np.concatenate([first, *reversed(dilated), pooled], axis=1), scope, **kwargs)

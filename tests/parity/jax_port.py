"""A port to JAX, as its author might write one from the tutorials: channels last, names of its own.

Nothing is imported from the package. ``run`` gives, as ``compare`` reads them, the logits, every tensor on the way
there and every parameter, under the port's names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

DEPTHS = (2, 4, 3)
RATES = (6, 12, 18)
STRIDES = {32: ((2, 1), (2, 1), (2, 1)), 16: ((2, 1), (2, 1), (1, 1)), 8: ((2, 1), (1, 1), (1, 2))}


class Port:
    """One network: its weights in JAX's layouts, and a notebook of what was computed."""

    def __init__(self, tensors: Mapping[str, np.ndarray], config: Mapping[str, Any]) -> None:
        self.source, self.config = tensors, config
        self.weights: dict[str, jax.Array] = {}
        self.notes: dict[str, jax.Array] = {}

    def note(self, name: str, x: jax.Array) -> jax.Array:
        """Write it down, pass it on."""
        self.notes[name] = x
        return x

    def take(self, name: str, leaf: str, theirs: str) -> jax.Array:
        """One of the checkpoint's tensors in our layout: kernels (h, w, in, out), matrices (in, out)."""
        tensor = self.source[theirs].astype(np.float32)
        turned = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[tensor.ndim]
        self.weights[f"{name}/{leaf}"] = jnp.asarray(tensor.transpose(turned))
        return self.weights[f"{name}/{leaf}"]

    def conv(self, x, name, theirs, *, act=None, stride=1, dilation=1, depthwise=False, norm=True, bias=False):
        """(B, H, W, C) -> (B, H', W', O)"""
        kernel = self.take(f"{name}_conv", "kernel", f"{theirs}.convolution.weight")
        pad = (kernel.shape[0] - 1) // 2 * dilation
        x = jax.lax.conv_general_dilated(
            x,
            kernel,
            (stride, stride),
            [(pad, pad)] * 2,
            rhs_dilation=(dilation, dilation),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            feature_group_count=x.shape[3] if depthwise else 1,
            precision=jax.lax.Precision.HIGHEST,
        )
        if bias:
            x = x + self.take(f"{name}_conv", "bias", f"{theirs}.convolution.bias")
        x = self.note(f"{name}_conv", x)
        if norm:
            names = {"scale": "weight", "offset": "bias", "mean": "running_mean", "variance": "running_var"}
            p = {ours: self.take(f"{name}_bn", ours, f"{theirs}.normalization.{leaf}") for ours, leaf in names.items()}
            x = (x - p["mean"]) * jax.lax.rsqrt(p["variance"] + 1e-5) * p["scale"] + p["offset"]
            x = self.note(f"{name}_bn", x)
        return x if act is None else self.note(f"{name}_{act.__name__}", act(x))

    def dense(self, x, name, theirs):
        """(..., D) -> (..., O)"""
        product = jnp.matmul(x, self.take(name, "w", f"{theirs}.weight"), precision=jax.lax.Precision.HIGHEST)
        return self.note(name, product + self.take(name, "b", f"{theirs}.bias"))

    def layer_norm(self, x, name, theirs):
        """(..., D) -> (..., D)"""
        centered = x - x.mean(-1, keepdims=True)
        x = centered * jax.lax.rsqrt(jnp.square(centered).mean(-1, keepdims=True) + self.config["layer_norm_eps"])
        scale, offset = (self.take(name, ours, f"{theirs}.{leaf}") for ours, leaf in (("g", "weight"), ("b", "bias")))
        return self.note(name, x * scale + offset)

    def bottleneck(self, x, name, theirs, stride=1, dilation=1):
        """An inverted residual. (B, H, W, C) -> (B, H', W', O)"""
        y = self.conv(x, f"{name}_widen", f"{theirs}.expand_1x1", act=jax.nn.silu)
        options = {"stride": stride, "dilation": dilation, "depthwise": True}
        y = self.conv(y, f"{name}_filter", f"{theirs}.conv_3x3", act=jax.nn.silu, **options)
        y = self.conv(y, f"{name}_narrow", f"{theirs}.reduce_1x1")
        return self.note(f"{name}_sum", x + y) if stride == 1 and x.shape == y.shape else y

    def encoder_layer(self, x, name, theirs):
        """(B, P, N, D) -> (B, P, N, D)"""
        B, P, N, D = x.shape
        heads = self.config["num_attention_heads"]
        y = self.layer_norm(x, f"{name}_ln1", f"{theirs}.layernorm_before")
        q, k, v = (
            self.dense(y, f"{name}_{part[0]}", f"{theirs}.attention.attention.{part}").reshape(B, P, N, heads, -1)
            for part in ("query", "key", "value")
        )
        scores = jnp.einsum("bpnhd,bpmhd->bphnm", q, k, precision="highest") / np.float32(np.sqrt(D // heads))
        weights = self.note(f"{name}_softmax", jax.nn.softmax(scores, axis=-1))
        y = jnp.einsum("bphnm,bpmhd->bpnhd", weights, v, precision="highest").reshape(x.shape)
        x = x + self.dense(self.note(f"{name}_heads", y), f"{name}_proj", f"{theirs}.attention.output.dense")
        y = self.layer_norm(self.note(f"{name}_mid", x), f"{name}_ln2", f"{theirs}.layernorm_after")
        y = self.dense(y, f"{name}_fc1", f"{theirs}.intermediate.dense")
        y = self.dense(self.note(f"{name}_silu", jax.nn.silu(y)), f"{name}_fc2", f"{theirs}.output.dense")
        return self.note(f"{name}_out", x + y)

    def block(self, x, name, theirs, depth):
        """(B, H, W, C) -> (B, H, W, C)"""
        p, before = self.config["patch_size"], x
        x = self.conv(x, f"{name}_local", f"{theirs}.conv_kxk", act=jax.nn.silu)
        x = self.conv(x, f"{name}_project", f"{theirs}.conv_1x1", norm=False)
        B, H, W, D = x.shape
        rows, columns = -(-H // p), -(-W // p)
        x = self.resize(x, (rows * p, columns * p))
        x = x.reshape(B, rows, p, columns, p, D).transpose(0, 2, 4, 1, 3, 5).reshape(B, p * p, rows * columns, D)
        self.note(f"{name}_tokens", x)
        for i in range(depth):
            x = self.encoder_layer(x, f"{name}_t{i}", f"{theirs}.transformer.layer.{i}")
        x = self.layer_norm(x, f"{name}_ln", f"{theirs}.layernorm")
        x = x.reshape(B, p, p, rows, columns, D).transpose(0, 3, 1, 4, 2, 5).reshape(B, rows * p, columns * p, D)
        x = self.note(f"{name}_map", self.resize(x, (H, W)))
        x = self.conv(x, f"{name}_back", f"{theirs}.conv_projection", act=jax.nn.silu)
        return self.conv(jnp.concatenate([before, x], -1), f"{name}_fuse", f"{theirs}.fusion", act=jax.nn.silu)

    def resize(self, x, size):
        """Bilinear, as PyTorch's: shrinking, too, without antialiasing. (B, H, W, C) -> (B, H', W', C)"""
        if x.shape[1:3] == size:
            return x
        return jax.image.resize(
            x, (x.shape[0], *size, x.shape[3]), "linear", antialias=False, precision=jax.lax.Precision.HIGHEST
        )

    def features(self, x):
        """(B, H, W, 3) -> (B, H', W', C)"""
        x = self.conv(x, "stem", "mobilevit.conv_stem", act=jax.nn.silu, stride=2)
        layers = "mobilevit.encoder.layer"
        x = self.bottleneck(x, "s1", f"{layers}.0.layer.0")
        for i in range(3):
            x = self.bottleneck(x, f"s2_{i}", f"{layers}.1.layer.{i}", stride=2 if i == 0 else 1)
        strides = STRIDES[self.config["output_stride"]]
        for i, (depth, (stride, dilation)) in enumerate(zip(DEPTHS, strides, strict=True)):
            theirs = f"{layers}.{2 + i}"
            x = self.bottleneck(x, f"s{3 + i}_down", f"{theirs}.downsampling_layer", stride, dilation)
            x = self.block(x, f"s{3 + i}", theirs, depth)
        return x

    def classifier(self, x):
        """(B, H, W, 3) -> (B, K)"""
        x = self.conv(self.features(x), "last", "mobilevit.conv_1x1_exp", act=jax.nn.silu)
        return self.dense(self.note("pooled", x.mean((1, 2))), "logits", "classifier")

    def segmenter(self, x):
        """(B, H, W, 3) -> (B, H', W', K)"""
        x, relu = self.features(x), jax.nn.relu
        theirs = "segmentation_head.aspp"
        views = [self.conv(x, "aspp0", f"{theirs}.convs.0", act=relu)]
        for i, rate in enumerate(RATES, 1):
            views.append(self.conv(x, f"aspp{i}", f"{theirs}.convs.{i}", act=relu, dilation=rate))
        mean = self.note("aspp4_mean", x.mean((1, 2), keepdims=True))
        mean = self.conv(mean, "aspp4", f"{theirs}.convs.4.conv_1x1", act=relu)
        views.append(jnp.broadcast_to(mean, views[0].shape))
        x = self.conv(jnp.concatenate(views, -1), "aspp", f"{theirs}.project", act=relu)
        x = self.conv(x, "answer", "segmentation_head.classifier", norm=False, bias=True)
        return self.note("logits", x)


def run(
    task: str, tensors: Mapping[str, np.ndarray], config: Mapping[str, Any], pixel_values: np.ndarray
) -> dict[str, np.ndarray]:
    """What the port computes on (B, 3, H, W), and what it holds."""

    names: list[str] = []

    @jax.jit
    def everything(x: jax.Array) -> list[jax.Array]:
        port = Port(tensors, config)
        getattr(port, task)(port.note("pixel_values", x))
        found = {f"parameters/{name}": weight for name, weight in port.weights.items()} | port.notes
        names.extend(found)
        return list(found.values())

    arrays = everything(jnp.asarray(pixel_values.astype(np.float32).transpose(0, 2, 3, 1)))
    return dict(zip(names, map(np.asarray, arrays), strict=True))

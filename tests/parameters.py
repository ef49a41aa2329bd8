"""Every parameter of a network, by name and shape, and drawn values for them.

The names and shapes are written down here a second time, from the table of checkpoint names, so that they are an oracle
too: the recorder of tests/fixtures holds them against transformers' own.

Values come from ``RandomState.random_sample``, whose stream NumPy promises never to change, scaled so that activations
stay of order 1 from the first to the last. Nothing is left at a value that hides a mistake: scales aren't 1, shifts
and running means aren't 0, running variances aren't 1. The default seed was chosen so that no activation cancels almost
to nothing: float32 then stays within 1e-6 of float64, and its tolerance of 1e-5 leaves other machines room.
"""

import hashlib
from collections.abc import Iterator

import numpy as np

from mobilevit_np.config import TRANSFORMER_DEPTHS, NetworkConfig

Shapes = Iterator[tuple[str, tuple[int, ...]]]


def shapes(config: NetworkConfig, head: str) -> dict[str, tuple[int, ...]]:
    """Name to shape, for ``head`` "classifier" or "segmenter"."""
    neck = config.neck_hidden_sizes
    found = dict(_backbone("mobilevit.", config))
    if head == "classifier":
        found |= dict(_conv("mobilevit.conv_1x1_exp", neck[5], neck[6], 1))
        found |= dict(_linear("classifier", neck[6], config.num_labels))
    else:
        found |= dict(_head("segmentation_head.", config))
    return found


def draw(config: NetworkConfig, head: str, seed: int = 1, dtype: object = np.float64) -> dict[str, np.ndarray]:
    """Name to drawn value. Rounded to float32 first, so that both dtypes hold the same numbers."""
    random = np.random.RandomState(seed)
    return {
        name: _value(name, shape, random).astype(np.float32).astype(dtype)
        for name, shape in shapes(config, head).items()
    }


def photo(config: NetworkConfig, size: tuple[int, int], batch: int = 1, seed: int = 2, dtype: object = np.float64):
    """Drawn pixel values in 0..1: (B, C, H, W)."""
    random = np.random.RandomState(seed)
    return random.random_sample((batch, config.num_channels, *size)).astype(np.float32).astype(dtype)


def digest(*arrays: np.ndarray) -> str:
    """SHA-256 of the arrays' bytes, one after the other."""
    return hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()


def _value(name: str, shape: tuple[int, ...], random: np.random.RandomState) -> np.ndarray:
    unit = random.random_sample(shape)  # 0..1
    if name.endswith("running_var"):
        return 0.5 + unit
    if name.endswith(("running_mean", "bias")):
        return 0.6 * unit - 0.3
    if len(shape) == 1:
        return 0.7 + 0.6 * unit
    fan_in = int(np.prod(shape[1:]))
    return (2 * unit - 1) * (2.0 if len(shape) == 4 else 1.7) / fan_in**0.5


def _backbone(at: str, config: NetworkConfig) -> Shapes:
    neck = config.neck_hidden_sizes
    yield from _conv(f"{at}conv_stem", config.num_channels, neck[0], 3)
    yield from _inverted_residual(f"{at}encoder.layer.0.layer.0", config, neck[0], neck[1])
    for i in range(3):
        yield from _inverted_residual(f"{at}encoder.layer.1.layer.{i}", config, neck[1] if i == 0 else neck[2], neck[2])
    for i, (depth, width) in enumerate(zip(TRANSFORMER_DEPTHS, config.hidden_sizes, strict=True)):
        yield from _stage(f"{at}encoder.layer.{2 + i}.", config, neck[2 + i], neck[3 + i], width, depth)


def _inverted_residual(at: str, config: NetworkConfig, channels: int, out: int) -> Shapes:
    wide = config.expanded_channels(channels)
    yield from _conv(f"{at}.expand_1x1", channels, wide, 1)
    yield from _conv(f"{at}.conv_3x3", 1, wide, 3)
    yield from _conv(f"{at}.reduce_1x1", wide, out, 1)


def _stage(at: str, config: NetworkConfig, channels: int, out: int, width: int, depth: int) -> Shapes:
    kernel = config.conv_kernel_size
    yield from _inverted_residual(f"{at}downsampling_layer", config, channels, out)
    yield from _conv(f"{at}conv_kxk", out, out, kernel)
    yield f"{at}conv_1x1.convolution.weight", (width, out, 1, 1)
    for i in range(depth):
        yield from _transformer_layer(f"{at}transformer.layer.{i}.", config, width)
    yield from _norm(f"{at}layernorm", width)
    yield from _conv(f"{at}conv_projection", width, out, 1)
    yield from _conv(f"{at}fusion", 2 * out, out, kernel)


def _transformer_layer(at: str, config: NetworkConfig, width: int) -> Shapes:
    for name in ("query", "key", "value"):
        yield from _linear(f"{at}attention.attention.{name}", width, width, bias=config.qkv_bias)
    yield from _linear(f"{at}attention.output.dense", width, width)
    yield from _linear(f"{at}intermediate.dense", width, config.feed_forward_size(width))
    yield from _linear(f"{at}output.dense", config.feed_forward_size(width), width)
    yield from _norm(f"{at}layernorm_before", width)
    yield from _norm(f"{at}layernorm_after", width)


def _head(at: str, config: NetworkConfig) -> Shapes:
    channels, out = config.neck_hidden_sizes[5], config.aspp_out_channels
    for i, kernel in enumerate((1, 3, 3, 3)):
        yield from _conv(f"{at}aspp.convs.{i}", channels, out, kernel)
    yield from _conv(f"{at}aspp.convs.4.conv_1x1", channels, out, 1)
    yield from _conv(f"{at}aspp.project", 5 * out, out, 1)
    yield f"{at}classifier.convolution.weight", (config.num_labels, out, 1, 1)
    yield f"{at}classifier.convolution.bias", (config.num_labels,)


def _conv(at: str, channels: int, out: int, kernel: int) -> Shapes:
    yield f"{at}.convolution.weight", (out, channels, kernel, kernel)
    for name in ("weight", "bias", "running_mean", "running_var"):
        yield f"{at}.normalization.{name}", (out,)


def _linear(at: str, width: int, out: int, *, bias: bool = True) -> Shapes:
    yield f"{at}.weight", (out, width)
    if bias:
        yield f"{at}.bias", (out,)


def _norm(at: str, width: int) -> Shapes:
    yield f"{at}.weight", (width,)
    yield f"{at}.bias", (width,)

"""The layers against compositions of naive twins, written from the paper's figures; float64 to 1e-12, float32 to 1e-5.

The twins below know parameters as nested dictionaries, no scope: names, order, residuals and activations are said a
second time here.
"""

import naive
import numpy as np
import pytest
from agreement import assert_close
from examples import array
from hypothesis import given, settings
from hypothesis import strategies as st
from parameters import draw
from strategies import sizes

from mobilevit_np.config import NetworkConfig
from mobilevit_np.errors import ConfigError
from mobilevit_np.model import activation, conv_layer, deeplabv3, inverted_residual, mobilevit_block, transformer_layer
from mobilevit_np.scope import Scope

L3 = "mobilevit.encoder.layer.2"


# -- twins -------------------------------------------------------------------------------------------------------------


def tree(tensors):
    """Nested dictionaries of the names' parts."""
    root = {}
    for name, tensor in tensors.items():
        *parts, leaf = name.split(".")
        node = root
        for part in parts:
            node = node.setdefault(part, {})
        node[leaf] = tensor
    return root


def twin_act(x, name):
    return x if name is None else np.vectorize(naive.ACTIVATIONS[name], otypes=[float])(x)


def twin_conv(x, p, act, **options):
    weight = p["convolution"]["weight"]
    padding = (weight.shape[-1] // 2) * options.get("dilation", 1)
    x = naive.conv2d(x, weight, p["convolution"].get("bias"), padding=padding, **options)
    if "normalization" in p:
        n = p["normalization"]
        x = naive.batch_norm(x, n["weight"], n["bias"], n["running_mean"], n["running_var"])
    return twin_act(x, act)


def twin_residual(x, p, act, stride, dilation):
    wide = len(p["conv_3x3"]["convolution"]["weight"])
    y = twin_conv(x, p["expand_1x1"], act)
    y = twin_conv(y, p["conv_3x3"], act, stride=stride, dilation=dilation, groups=wide)
    y = twin_conv(y, p["reduce_1x1"], None)
    return x + y if x.shape == y.shape and stride == 1 else y


def twin_linear(x, p):
    return naive.linear(x, p["weight"], p.get("bias"))


def twin_transformer_layer(x, p, config):
    def norm(x, p):
        return naive.layer_norm(x, p["weight"], p["bias"], eps=config.layer_norm_eps)

    y, heads = norm(x, p["layernorm_before"]), p["attention"]["attention"]
    query, key, value = (twin_linear(y, heads[name]) for name in ("query", "key", "value"))
    y, _ = naive.multi_head_attention(query, key, value, config.num_attention_heads)
    x = x + twin_linear(y, p["attention"]["output"]["dense"])
    y = twin_linear(norm(x, p["layernorm_after"]), p["intermediate"]["dense"])
    return x + twin_linear(twin_act(y, config.hidden_act), p["output"]["dense"])


def twin_block(x, p, config, depth):
    act, patch = config.hidden_act, config.patch_size
    y = twin_conv(twin_conv(x, p["conv_kxk"], act), p["conv_1x1"], None)
    size = y.shape[2:]
    whole = tuple((side + patch - 1) // patch * patch for side in size)
    y = naive.unfold_to_patches(naive.resize_bilinear(y, whole), patch)
    for i in range(depth):
        y = twin_transformer_layer(y, p["transformer"]["layer"][str(i)], config)
    y = naive.layer_norm(y, p["layernorm"]["weight"], p["layernorm"]["bias"], eps=config.layer_norm_eps)
    y = naive.resize_bilinear(naive.fold_from_patches(y, patch, whole), size)
    y = twin_conv(y, p["conv_projection"], act)
    return twin_conv(np.concatenate([x, y], axis=1), p["fusion"], act)


def twin_head(x, p, config):
    convs = p["aspp"]["convs"]
    pyramid = [twin_conv(x, convs["0"], "relu")]
    for i, rate in enumerate(config.atrous_rates):
        pyramid.append(twin_conv(x, convs[str(i + 1)], "relu", dilation=rate))
    mean = naive.global_average_pool(x)[:, :, None, None]
    pooled = twin_conv(mean, convs["4"]["conv_1x1"], "relu")
    pyramid.append(np.tile(pooled, (1, 1, *x.shape[2:])))  # one pixel, resized: the same everywhere
    return twin_conv(twin_conv(np.concatenate(pyramid, axis=1), p["aspp"]["project"], "relu"), p["classifier"], None)


# -- configurations ----------------------------------------------------------------------------------------------------


@st.composite
def configs(draw_from):
    """Configurations of a network with a few channels."""
    heads = draw_from(sizes(3))
    width = heads * draw_from(sizes(3))
    return NetworkConfig(
        num_channels=draw_from(sizes(4)),
        patch_size=draw_from(st.sampled_from([1, 2, 4])),
        hidden_sizes=[width, width, width],
        neck_hidden_sizes=draw_from(st.lists(sizes(5, 2), min_size=7, max_size=7)),
        num_attention_heads=heads,
        mlp_ratio=draw_from(st.sampled_from([1.0, 1.5, 2.0])),
        expand_ratio=draw_from(st.sampled_from([1.0, 2.5])),
        hidden_act=draw_from(st.sampled_from(["silu", "gelu", "relu", "hardswish"])),
        conv_kernel_size=draw_from(st.sampled_from([1, 3, 5])),
        layer_norm_eps=draw_from(st.sampled_from([1e-5, 1e-3])),
        qkv_bias=draw_from(st.booleans()),
        aspp_out_channels=draw_from(sizes(4)),
        atrous_rates=draw_from(st.lists(sizes(4), min_size=3, max_size=3)),
        num_labels=draw_from(sizes(4)),
    )


dtypes = st.sampled_from([np.float64, np.float32])


def parameters(config, head, dtype):
    """The drawn parameters, and their tree in float64."""
    tensors = draw(config, head, dtype=dtype)
    return Scope(tensors), tree({name: tensor.astype(np.float64) for name, tensor in tensors.items()})


def down(scope, path):
    for name in path.split("."):
        scope = scope[name] if isinstance(scope, dict) else scope / name
    return scope


# -- the tests ---------------------------------------------------------------------------------------------------------


@given(configs(), sizes(2), sizes(7), sizes(7), sizes(2), dtypes)
@settings(max_examples=25)
def test_conv_layer(config, B, H, W, stride, dtype):
    scope, p = parameters(config, "classifier", dtype)
    x = array(B, config.num_channels, H, W, dtype=dtype)
    path = "mobilevit.conv_stem"
    out = conv_layer(x, down(scope, path), act=config.hidden_act, stride=stride)
    assert_close(out, twin_conv(x, down(p, path), config.hidden_act, stride=stride), dtype)


@given(configs(), sizes(2), sizes(6), sizes(6), st.sampled_from([(1, 1), (2, 1), (1, 2)]), dtypes)
@settings(max_examples=25)
def test_inverted_residual(config, B, H, W, stride_dilation, dtype):
    stride, dilation = stride_dilation
    scope, p = parameters(config, "classifier", dtype)
    x = array(B, config.neck_hidden_sizes[2], H, W, dtype=dtype)
    path, out_channels = f"{L3}.downsampling_layer", config.neck_hidden_sizes[3]
    out = inverted_residual(x, down(scope, path), config, out_channels, stride=stride, dilation=dilation)
    assert_close(out, twin_residual(x, down(p, path), config.hidden_act, stride, dilation), dtype)


@given(configs(), sizes(4), sizes(5), dtypes)
@settings(max_examples=25)
def test_transformer_layer(config, B, N, dtype):
    scope, p = parameters(config, "classifier", dtype)
    x = array(B, N, config.hidden_sizes[0], dtype=dtype)
    path = f"{L3}.transformer.layer.0"
    out = transformer_layer(x, down(scope, path), config)
    assert_close(out, twin_transformer_layer(x, down(p, path), config), dtype)


@given(configs(), sizes(2), sizes(5), sizes(5), dtypes)
@settings(max_examples=25)
def test_mobilevit_block(config, B, H, W, dtype):
    scope, p = parameters(config, "classifier", dtype)
    x = array(B, config.neck_hidden_sizes[3], H, W, dtype=dtype)
    out = mobilevit_block(x, down(scope, L3), config, 2)
    assert_close(out, twin_block(x, down(p, L3), config, 2), dtype)


@given(configs(), sizes(2), sizes(5), sizes(5), dtypes)
@settings(max_examples=25)
def test_deeplabv3(config, B, H, W, dtype):
    scope, p = parameters(config, "segmenter", dtype)
    x = array(B, config.neck_hidden_sizes[5], H, W, dtype=dtype)
    out = deeplabv3(x, scope / "segmentation_head", config)
    assert_close(out, twin_head(x, p["segmentation_head"], config), dtype)


@pytest.mark.parametrize("side", [5, 1])  # a map of one pixel keeps its shape at any stride
@pytest.mark.parametrize(("stride", "out_channels", "added"), [(1, 4, True), (1, 5, False), (2, 4, False)])
def test_residual_only_where_stride_is_1_and_widths_are_equal(stride, out_channels, added, side):
    config = NetworkConfig(neck_hidden_sizes=[4, out_channels, 4, 4, 4, 4, 4])
    scope, _ = parameters(config, "classifier", np.float64)
    place = down(scope, "mobilevit.encoder.layer.0.layer.0")
    x, seen = array(1, 4, side, side), {}
    listening = place.listen(lambda path, output: seen.__setitem__(path.removeprefix(place.path), output))
    out = inverted_residual(x, listening, config, out_channels, stride=stride)
    expected = seen[".reduce_1x1"] + x if added else seen[".reduce_1x1"]
    np.testing.assert_array_equal(out, expected)


def test_unknown_activation_is_named():
    with pytest.raises(ConfigError, match="'swoosh'"):
        activation(array(2), Scope({}), "swoosh")


def test_learned_activation_reads_its_parameters_from_its_own_path():
    scope = Scope({"conv.activation.weight": np.array([0.5])}) / "conv" / "activation"
    np.testing.assert_array_equal(activation(np.array([-2.0, 2.0]), scope, "prelu"), [-1, 2])

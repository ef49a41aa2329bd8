"""conv2d against seven nested loops (naive.py): float64 to 1e-12, float32 to 1e-5 of the largest magnitude."""

import naive
import numpy as np
import pytest
from agreement import assert_close
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrays, sizes

from mobilevit_np.errors import InputError
from mobilevit_np.ops import conv2d

kernels = st.one_of(st.sampled_from([(1, 1), (3, 3), (5, 5), (2, 2)]), st.tuples(sizes(5), sizes(5)))


@st.composite
def convolutions(draw):
    """Depthwise, with a channel multiplier, grouped and dense ones; None where the kernel is larger than the map."""
    kind = draw(st.sampled_from(["depthwise", "multiplier", "grouped", "dense"]))
    groups = 1 if kind == "dense" else draw(sizes(4))
    per_group = 1 if kind in ("depthwise", "multiplier") else draw(sizes(3))
    out = groups if kind == "depthwise" else groups * draw(sizes(3))
    kernel = draw(kernels)
    options = {"stride": draw(sizes(3)), "padding": draw(sizes(4, 0)), "dilation": draw(sizes(3)), "groups": groups}
    least = [max(1, options["dilation"] * (k - 1) + 1 - 2 * options["padding"]) for k in kernel]
    size = [draw(st.integers(n, n + 5)) for n in least]
    return (draw(sizes(2)), groups * per_group, *size), (out, per_group, *kernel), draw(st.booleans()), options


@given(convolutions(), arrays)
def test_conv2d(convolution, arrays):
    shape, weight_shape, with_bias, options = convolution
    x, weight = arrays.normal(*shape), arrays.normal(*weight_shape)
    bias = arrays.normal(weight_shape[0]) if with_bias else None
    actual, expected = conv2d(x, weight, bias, **options), naive.conv2d(x, weight, bias, **options)
    # a lone sum may cancel; errors count against what was added up
    scale = 1 + float(np.abs(x).max()) * float(np.abs(weight).max()) * weight[0].size
    assert_close(actual / arrays.dtype(scale) + arrays.dtype(1), expected / scale + 1, arrays.dtype)


def test_cross_correlation_not_convolution():
    x = np.zeros((1, 1, 3, 3))
    x[..., 1, 2] = 1
    kernel = np.arange(9.0).reshape(1, 1, 3, 3)
    assert conv2d(x, kernel)[0, 0, 0, 0] == kernel[0, 0, 1, 2]


def test_stride_2_gives_half_rounded_up():
    for side in range(1, 12):
        assert conv2d(np.ones((1, 1, side, side)), np.ones((1, 1, 3, 3)), stride=2, padding=1).shape[2] == -(-side // 2)


@pytest.mark.parametrize(
    ("x", "weight", "options"),
    [
        ((3, 5, 5), (2, 3, 1, 1), {}),
        ((1, 3, 5, 5), (2, 3, 1), {}),
        ((1, 3, 5, 5), (2, 4, 1, 1), {}),
        ((1, 4, 5, 5), (3, 2, 1, 1), {"groups": 2}),
        ((1, 3, 5, 5), (2, 3, 1, 1), {"stride": 0}),
        ((1, 3, 5, 5), (2, 3, 1, 1), {"padding": -1}),
        ((1, 3, 5, 5), (2, 3, 1, 1), {"dilation": 0}),
        ((1, 3, 2, 5), (2, 3, 3, 3), {}),
        ((1, 3, 4, 4), (2, 3, 3, 3), {"dilation": 2}),
    ],
)
def test_impossible_convolutions_are_named(x, weight, options):
    with pytest.raises(InputError):
        conv2d(np.ones(x), np.ones(weight), **options)


@pytest.mark.parametrize("bias", [(1,), (3,), (4, 1), ()])
def test_a_bias_of_another_length_is_named_and_none_is_spread(bias):
    with pytest.raises(InputError, match=r"takes a bias of shape \(4,\), not"):
        conv2d(np.ones((1, 2, 3, 3)), np.ones((4, 2, 1, 1)), np.ones(bias))

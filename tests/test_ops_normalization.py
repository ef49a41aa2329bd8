"""batch_norm, layer_norm and the mean over a map against loops (naive.py): float64 to 1e-12, float32 to 1e-5."""

import naive
import numpy as np
import pytest
from agreement import assert_close
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrays, sizes

from mobilevit_np.errors import InputError
from mobilevit_np.ops import batch_norm, global_average_pool, global_pool, layer_norm

eps = st.sampled_from([1e-6, 1e-5, 1e-3])


@given(sizes(3), sizes(5), sizes(6), sizes(6), eps, arrays)
def test_batch_norm(B, C, H, W, eps, arrays):
    x, weight, bias = arrays.normal(B, C, H, W), arrays.normal(C), arrays.normal(C)
    mean, variance = arrays.normal(C), arrays.positive(C)
    expected = naive.batch_norm(x, weight, bias, mean, variance, eps=eps)
    assert_close(batch_norm(x, weight, bias, mean, variance, eps=eps), expected, arrays.dtype)


@given(st.lists(sizes(4), max_size=3), sizes(9, 3), eps, arrays)
def test_layer_norm(shape, D, eps, arrays):
    x, weight, bias = arrays.normal(*shape, D), arrays.positive(D), arrays.normal(D)
    assert_close(layer_norm(x, weight, bias, eps=eps), naive.layer_norm(x, weight, bias, eps=eps), arrays.dtype)


def test_layer_norm_of_equal_features_is_the_bias():
    weight, bias = np.array([2.0, 3.0]), np.array([0.5, -0.5])
    np.testing.assert_array_equal(layer_norm(np.full((4, 2), 7.0), weight, bias), np.tile(bias, (4, 1)))


@given(sizes(3), sizes(4), sizes(9), sizes(9), arrays)
def test_global_average_pool(B, C, H, W, arrays):
    x = arrays.positive(B, C, H, W)
    assert_close(global_average_pool(x), naive.global_average_pool(x), arrays.dtype)


@pytest.mark.parametrize("kind", ["avg", "max", "avgmax"])
@given(B=sizes(3), C=sizes(4), H=sizes(9), W=sizes(9), arrays=arrays)
def test_global_pool(kind, B, C, H, W, arrays):
    x = arrays.normal(B, C, H, W) + 3  # a mean near 0 has no relative error to speak of
    assert_close(global_pool(x, kind), naive.global_pool(x, kind), arrays.dtype)


@pytest.mark.parametrize("kind", ["catavgmax", "", None])
def test_other_poolings_are_refused(kind):
    with pytest.raises(InputError, match="pooled by avg, max or avgmax, not by"):
        global_pool(np.ones((1, 2, 3, 4)), kind)

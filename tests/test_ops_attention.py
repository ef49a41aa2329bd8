"""Linear layers, heads, attention, patches against loops (naive.py): float64 to 1e-12, float32 to 1e-5."""

import naive
import numpy as np
import pytest
from agreement import assert_close
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrays, sizes

from mobilevit_np.errors import InputError
from mobilevit_np.ops import (
    fold_from_patches,
    linear,
    merge_heads,
    multi_head_attention,
    split_heads,
    unfold_to_patches,
)


@given(st.lists(sizes(4), max_size=3), sizes(6), sizes(6), st.booleans(), arrays)
def test_linear(shape, D, out, with_bias, arrays):
    x, weight = arrays.normal(*shape, D), arrays.normal(out, D)
    bias = arrays.normal(out) if with_bias else None
    actual, expected = linear(x, weight, bias), naive.linear(x, weight, bias)
    # a lone product may cancel; errors count against what was added up
    scale = 1 + float(np.abs(np.asarray(x, float)).max() * np.abs(np.asarray(weight, float)).max() * D)
    assert_close(actual / actual.dtype.type(scale) + 1, expected / scale + 1, arrays.dtype)


@given(sizes(3), sizes(5), sizes(4), sizes(4), arrays)
def test_heads(B, N, h, d, arrays):
    x = arrays.normal(B, N, h * d)
    heads = split_heads(x, h)
    np.testing.assert_array_equal(heads, naive.split_heads(x, h))
    np.testing.assert_array_equal(merge_heads(heads), naive.merge_heads(naive.split_heads(x, h)))
    np.testing.assert_array_equal(merge_heads(heads), x)
    assert heads.dtype == x.dtype


@given(sizes(3), sizes(6), sizes(4), sizes(4), st.sampled_from([None, 0.3]), arrays)
def test_multi_head_attention(B, N, h, d, scale, arrays):
    query, key, value = (arrays.normal(B, N, h * d) for _ in range(3))
    out, probabilities = multi_head_attention(query, key, value, h, scale=scale)
    expected, expected_probabilities = naive.multi_head_attention(query, key, value, h, scale=scale)
    assert_close(probabilities, expected_probabilities, arrays.dtype, "probabilities")
    assert_close(out / 9 + 1, expected / 9 + 1, arrays.dtype)  # a mean of few values may cancel


def test_attention_of_huge_scores_picks_one_token():
    query = np.full((1, 1, 2), 1e4, np.float32).repeat(2, axis=1)
    key = np.array([[[1e4, 1e4], [-1e4, -1e4]]], np.float32)
    value = np.array([[[1, 2], [3, 4]]], np.float32)
    out, probabilities = multi_head_attention(query, key, value, 1)
    np.testing.assert_array_equal(out, [[[1, 2], [1, 2]]])
    np.testing.assert_array_equal(probabilities, [[[[1, 0], [1, 0]]]])


@given(sizes(3), sizes(4), sizes(3), sizes(4), sizes(5), arrays)
def test_patches(B, D, rows, columns, patch, arrays):
    H, W = rows * patch, columns * patch
    x = arrays.normal(B, D, H, W)
    patches = unfold_to_patches(x, patch)
    np.testing.assert_array_equal(patches, naive.unfold_to_patches(x, patch))
    folded = fold_from_patches(patches, patch, (H, W))
    np.testing.assert_array_equal(folded, naive.fold_from_patches(patches, patch, (H, W)))
    np.testing.assert_array_equal(folded, x)
    assert patches.dtype == folded.dtype == x.dtype


def test_unfold_is_no_plain_reshape():
    x = np.arange(2 * 3 * 4 * 6.0).reshape(2, 3, 4, 6)
    assert not np.array_equal(unfold_to_patches(x, 2), x.reshape(8, 6, 3))


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: linear(np.ones((2, 3)), np.ones((4, 2))),
        lambda: linear(np.ones((2, 3)), np.ones(3)),
        lambda: linear(np.ones(()), np.ones((4, 3))),
        lambda: linear(np.ones((2, 3)), np.ones((4, 3)), np.ones(1)),
        lambda: linear(np.ones((2, 3)), np.ones((4, 3)), np.ones(3)),
        lambda: split_heads(np.ones((1, 2, 5)), 2),
        lambda: multi_head_attention(*[np.ones((1, 2, 5))] * 3, 2),
        lambda: unfold_to_patches(np.ones((1, 2, 5, 4)), 2),
        lambda: unfold_to_patches(np.ones((1, 2, 4, 4)), 0),
        lambda: fold_from_patches(np.ones((4, 4, 3)), 2, (4, 5)),
        lambda: fold_from_patches(np.ones((4, 4, 3)), 2, (4, 6)),
        lambda: fold_from_patches(np.ones((3, 4, 3)), 2, (4, 4)),
    ],
)
def test_what_does_not_fit_is_named(wrong):
    with pytest.raises(InputError):
        wrong()

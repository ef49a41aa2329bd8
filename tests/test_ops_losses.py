"""The four losses against loops over single predictions (naive.py): float64 to 1e-12, float32 to 1e-5."""

import naive
import numpy as np
import pytest
from agreement import assert_close
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrays, sizes

from mobilevit_np.errors import InputError
from mobilevit_np.ops import (
    binary_cross_entropy_with_logits,
    cross_entropy,
    mean_squared_error,
    semantic_segmentation_loss,
)

labels_dtypes = st.sampled_from([np.int32, np.int64, np.uint8])


@given(sizes(4), sizes(4), arrays)
def test_mean_squared_error(B, C, arrays):
    logits, labels = arrays.normal(B, C), arrays.normal(B, C)
    assert_close(np.asarray(mean_squared_error(logits, labels)), naive.mean_squared_error(logits, labels), arrays.dtype)


@given(sizes(4), sizes(4), st.sampled_from([np.int64, np.float64, np.float32, np.bool_]), arrays)
def test_binary_cross_entropy(B, C, labels_dtype, arrays):
    logits, labels = 4 * arrays.normal(B, C), (arrays.positive(B, C) > 1).astype(labels_dtype)
    actual, one = binary_cross_entropy_with_logits(logits, labels), arrays.dtype(1)
    assert_close(actual + one, naive.binary_cross_entropy_with_logits(logits, labels) + 1, arrays.dtype)


@given(sizes(4), sizes(5, 2), st.lists(sizes(3), max_size=2), labels_dtypes, st.sampled_from([100, 1]), arrays)
def test_cross_entropy(B, C, rest, labels_dtype, ignored, arrays):
    logits = 2 * arrays.normal(B, C, *rest)
    labels = arrays.random.integers(0, C, (B, *rest)).astype(labels_dtype)
    labels.flat[0] = ignored
    labels.flat[-1] = C - 1 if ignored != C - 1 else 0
    expected = naive.cross_entropy(logits, labels, ignore_index=ignored)
    actual = cross_entropy(logits, labels, ignore_index=ignored)
    assert_close(actual + arrays.dtype(1), expected + 1, arrays.dtype)


@given(sizes(2), sizes(4, 2), sizes(3), sizes(3), sizes(7), sizes(7), labels_dtypes, arrays)
def test_semantic_segmentation_loss(B, C, H, W, height, width, labels_dtype, arrays):
    logits = arrays.normal(B, C, H, W)
    labels = arrays.random.integers(0, C, (B, height, width)).astype(labels_dtype)
    labels[:, 0, 0] = 255
    if (labels != 255).any():
        expected = naive.semantic_segmentation_loss(logits, labels)
        actual = semantic_segmentation_loss(logits, labels)
        assert_close(actual + arrays.dtype(1), expected + 1, arrays.dtype)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_all_ignored_gives_nan_without_a_warning(dtype):
    found = [
        cross_entropy(np.ones((2, 3), dtype), np.full(2, -100)),
        semantic_segmentation_loss(np.ones((1, 3, 2, 2), dtype), np.full((1, 4, 4), 255)),
    ]
    assert np.isnan(found).all()
    assert {loss.dtype for loss in found} == {np.dtype(dtype)}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_huge_logits_neither_warn_nor_spoil(dtype):
    logits = np.array([[1e4, -1e4]], dtype)
    assert cross_entropy(logits, np.array([1])) == 2e4
    assert cross_entropy(logits, np.array([0])) == 0
    assert binary_cross_entropy_with_logits(logits, np.array([[0, 1]])) == 1e4
    assert binary_cross_entropy_with_logits(logits, np.array([[1, 0]])) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: mean_squared_error(np.ones((2, 1)), np.ones(2)),
        lambda: binary_cross_entropy_with_logits(np.ones((2, 3)), np.ones((2, 1))),
        lambda: cross_entropy(np.ones((2, 3)), np.zeros(3, int)),
        lambda: cross_entropy(np.ones((2, 3)), np.array([0, 3])),
        lambda: cross_entropy(np.ones((2, 3)), np.array([-1, 0])),
        lambda: cross_entropy(np.ones((2, 3)), np.array([0.5, 1.0])),
        lambda: cross_entropy(np.ones((2, 3)), np.array([True, False])),
        lambda: semantic_segmentation_loss(np.ones((1, 3, 2, 2)), np.zeros((1, 4, 4))),
        lambda: semantic_segmentation_loss(np.ones((1, 3, 2, 2)), np.full((1, 4, 4), 3)),
        lambda: semantic_segmentation_loss(np.ones((2, 3, 2, 2)), np.zeros((1, 4, 4), int)),
    ],
)
def test_labels_that_do_not_fit_are_named(wrong):
    with pytest.raises(InputError):
        wrong()

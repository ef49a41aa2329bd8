"""resize_bilinear against a loop over output pixels (naive.py): float64 to 1e-12, float32 to 1e-5."""

import naive
import numpy as np
import pytest
from agreement import assert_close
from hypothesis import given
from hypothesis import strategies as st
from strategies import arrays, sizes

from mobilevit_np.errors import InputError
from mobilevit_np.ops import best_class_at_size, resize_bilinear


@given(sizes(2), sizes(3), sizes(7), sizes(7), sizes(11), sizes(11), st.booleans(), arrays)
def test_resize_bilinear(B, C, H, W, height, width, align_corners, arrays):
    x = arrays.positive(B, C, H, W)
    actual = resize_bilinear(x, (height, width), align_corners=align_corners)
    assert_close(actual, naive.resize_bilinear(x, (height, width), align_corners=align_corners), arrays.dtype)


@given(sizes(6), sizes(9), st.slices(9), st.booleans())
def test_some_rows_are_those_of_the_whole(H, height, rows, align_corners):
    x = np.random.default_rng(0).standard_normal((1, 2, H, 3))
    whole = resize_bilinear(x, (height, 5), align_corners=align_corners)
    some = resize_bilinear(x, (height, 5), align_corners=align_corners, rows=rows)
    np.testing.assert_array_equal(some, whole[:, :, rows])


@pytest.mark.parametrize("align_corners", [False, True])
def test_its_own_size_gives_a_copy(align_corners):
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    out = resize_bilinear(x, (3, 4), align_corners=align_corners)
    np.testing.assert_array_equal(out, x)
    assert not np.shares_memory(out, x)


def test_corners_coincide_only_where_asked():
    x = np.array([[[[0.0, 1.0, 2.0]]]])
    np.testing.assert_allclose(resize_bilinear(x, (1, 5), align_corners=True)[0, 0, 0], [0, 0.5, 1, 1.5, 2])
    np.testing.assert_allclose(resize_bilinear(x, (1, 6))[0, 0, 0], [0, 0.25, 0.75, 1.25, 1.75, 2])


@pytest.mark.parametrize(("shape", "size"), [((1, 1, 2, 2), (0, 2)), ((1, 1, 2, 2), (2, -1)), ((1, 1, 0, 2), (2, 2))])
def test_empty_sizes_are_named(shape, size):
    with pytest.raises(InputError):
        resize_bilinear(np.ones(shape), size)


@pytest.mark.parametrize("resize", [resize_bilinear, best_class_at_size])
@pytest.mark.parametrize("size", [(1, 4), (1, 2)])
def test_whole_numbers_are_not_interpolated_by_fractions_of_nothing(resize, size):
    with pytest.raises(InputError, match="in floats, not in int64: cast it to float32 first"):
        resize(np.array([[[[0, 10]], [[5, 5]]]], np.int64), size)

"""How far a tensor is from another: the definitions, and what a tolerance is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from mobilevit_np.golden.measure import MAX_ERROR, MULTIPLE, UNITS, allowed, floor, measure, precision_of

numbers = st.floats(-100, 100, width=32)


@given(st.data(), array_shapes(max_dims=4, max_side=5))
def test_measures_are_what_they_are_called(data, shape):
    a, b = (data.draw(arrays(np.float32, shape, elements=numbers)) for _ in range(2))
    found, (x, y) = measure(a, b), (a.astype(np.float64), b.astype(np.float64))
    worst = max(abs(p - q) for p, q in zip(x.ravel(), y.ravel(), strict=True))
    scale = max(abs(q) for q in y.ravel())
    assert found.max_abs == worst
    assert found.error == (worst / scale if scale else (np.inf if worst else 0))
    assert abs(found.found - found.expected) == worst
    assert (found.found, found.expected) == (x[found.worst], y[found.worst])
    if scale > 1e-3 and np.abs(x).max() > 1e-3:
        assert found.relative_l2 == pytest.approx(np.linalg.norm(x - y) / np.linalg.norm(y), rel=1e-12)
        assert found.cosine == pytest.approx(np.vdot(x, y) / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-12)


def test_what_is_no_number_is_infinitely_far():
    right = np.array([1.0, 2.0])
    for wrong in (np.nan, np.inf, -np.inf):
        found = measure(np.array([1.0, wrong]), right)
        assert found.error == found.max_abs == np.inf
        assert found.worst == (1,)
        assert measure(right, np.array([1.0, wrong])).error == np.inf
        assert measure(np.array([1.0, wrong]), np.array([1.0, wrong])).error == np.inf  # nothing to be right by
    assert measure(np.zeros(0), np.zeros(0)).error == 0
    with pytest.raises(ValueError, match="shapes differ"):
        measure(np.zeros(2), np.zeros(3))


def test_tolerance_is_a_multiple_of_the_floor_and_scales_with_rounding():
    assert allowed(floor(1e-6)) == pytest.approx(MULTIPLE * 1e-6)
    assert allowed(floor(0.0)) == MULTIPLE * 2.0**-24
    assert floor(1e-6, "float16") == pytest.approx(1e-6 * 8192)
    assert floor(1e-6, "float64") == pytest.approx(1e-6 * 2.0**-29)


@pytest.mark.parametrize("noise", [np.inf, np.nan])
def test_a_floor_that_is_no_number_allows_nothing(noise):
    assert allowed(noise) == allowed(floor(noise)) == 0


def test_no_floor_allows_a_tensor_of_zeros():
    zeros = measure(np.zeros(3), np.array([1.0, -2.0, 3.0])).error
    for noise in (0.07, 1.0, 1e30, 1e308):
        assert allowed(noise) == MAX_ERROR < zeros
    assert allowed(0.03) == 16 * 0.03


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("stored", ["float32", "float64"])
def test_precision_is_told_by_the_numbers_not_by_the_dtype(dtype, stored):
    drawn = np.random.default_rng(0).normal(size=(3, 500)).astype(dtype).astype(stored)
    expected = min(dtype, stored, key=lambda name: -UNITS[name])
    assert precision_of(drawn) == expected


def test_precision_of_the_few_does_not_count():
    drawn = list(np.random.default_rng(0).normal(size=(30, 500)))
    assert precision_of([drawn[0].astype(np.float16), *drawn[1:]]) == "float64"
    assert precision_of([np.ones(500), np.zeros(500)]) == "float32"  # nothing to tell it by
    halves = (np.array(drawn, np.float32).view(np.uint32) & 0xFFFF0000).view(np.float32)
    assert precision_of(halves) == "bfloat16"
    assert precision_of([np.arange(9, dtype=np.int8)] * 4) == "int8"

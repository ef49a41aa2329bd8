"""Every activation against Python's math module, number by number (naive.py), both tails included.

Oracle: float64 formulas of one number. Tolerances are relative to each value, not to the largest: 1e-14 in float64
(5e-13 where erfc is far out: it changes by 2a^2 times what its argument a is rounded by), 1e-5 in float32.
"""

import math

import naive
import numpy as np
import pytest
from agreement import assert_close
from examples import activation_parameters
from hypothesis import given, settings
from strategies import arrays, sizes

from mobilevit_np.errors import ConfigError, InputError
from mobilevit_np.ops import ACTIVATIONS, gelu, silu, softmax
from mobilevit_np.ops.error_function import erfc

# Right and left of zero, near it, and as far as the powers inside stay above float's smallest.
FAR = np.concatenate([np.linspace(-85, 85, 681), np.geomspace(1e-30, 1, 61), -np.geomspace(1e-30, 1, 61)])
FAR_OUT = {"gelu", "gelu_10", "gelu_python", "laplace"}


def apply(name, x):
    return ACTIVATIONS[name][0](x, *(p.astype(x.dtype) for p in activation_parameters(name)))


def by_hand(name, x, parameters=None):
    parameters = [float(p.reshape(())) for p in parameters or activation_parameters(name)]
    return np.array([naive.ACTIVATIONS[name](float(v), *parameters) for v in x.ravel()]).reshape(x.shape)


def test_twins_cover_the_table():
    assert set(naive.ACTIVATIONS) == set(ACTIVATIONS)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_both_tails(name, dtype):
    x = FAR.astype(dtype)
    actual, expected = apply(name, x), by_hand(name, x)
    assert actual.dtype == dtype
    floor = np.finfo(dtype).tiny  # below, floats lose digits
    scale = np.maximum(np.abs(expected), floor / np.finfo(dtype).eps)
    off = np.abs(actual.astype(np.float64) - expected) / scale
    allowed = 1e-5 if dtype is np.float32 else 5e-13 if name in FAR_OUT else 1e-14
    assert off.max() <= allowed, f"{off.max():.1e} at {x[off.argmax()]}"


@pytest.mark.parametrize("name", ACTIVATIONS)
@settings(max_examples=25)
@given(x=arrays)
def test_activation_of_any_layout(name, x):
    values = x.normal(2, 3, 4)
    assert_close(apply(name, values), by_hand(name, values), x.dtype, name)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_huge_values_neither_warn_nor_spoil(name, dtype):
    """Warnings are errors in this suite. Left of all digits every activation but the leaking ones has gone to 0."""
    x = np.array([-1e4, -1e3, 1e3, 1e4], dtype)
    assert_close(apply(name, x), by_hand(name, x), dtype)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_float16(name):
    """All 63,488 finite ones, subnormals included: the nearest float16 to the formula's value, or the one beside it."""
    x = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    x = x[np.isfinite(x)]
    with np.errstate(over="ignore"):
        actual = ACTIVATIONS[name][0](x, *(p.astype(np.float16) for p in activation_parameters(name)))
        parameters = [p.astype(np.float16).astype(np.float64) for p in activation_parameters(name)]
        expected = by_hand(name, x, parameters)
        rounded = expected.astype(np.float16)
    assert actual.dtype == np.float16
    finite = np.isfinite(rounded)
    assert np.array_equal(np.isfinite(actual), finite)
    _, exponents = np.frexp(np.maximum(np.abs(rounded[finite]), 2.0**-24))
    steps = np.abs(actual[finite] - expected[finite]) / np.ldexp(1.0, np.maximum(exponents - 11, -24))
    assert steps.max() <= (1 if name == "xielu" else 0.51), f"{steps.max()} at {x[finite][steps.argmax()]}"


def test_hardswish_of_large_float16_is_finite():
    assert ACTIVATIONS["hardswish"][0](np.array([12000, -12000], np.float16)).tolist() == [12000, 0]


@pytest.mark.parametrize("name", sorted(set(ACTIVATIONS) - {"xielu"}))
def test_plus_infinity_gives_the_limit(name):
    actual, beyond = apply(name, np.array([np.inf]))[0], apply(name, np.array([1e12]))[0]
    assert actual == (math.copysign(math.inf, beyond) if abs(beyond) > 1e5 else beyond)


@pytest.mark.parametrize("name", ["silu", "gelu", "gelu_pytorch_tanh", "mish", "quick_gelu", "hardswish"])
def test_minus_infinity_is_not_hidden_where_pytorch_does_not_hide_it(name):
    """A gate multiplies minus infinity by 0. PyTorch answers NaN, and a reference must show what the oracle shows."""
    with np.errstate(invalid="ignore"):
        assert np.isnan(apply(name, np.array([-np.inf]))).all()


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_stays_nan(name):
    assert np.isnan(apply(name, np.array([np.nan]))).all()


def test_silu_keeps_its_left_tail_where_half_a_tanh_would_not():
    x = np.array([-40.0, -300.0, -700.0])
    np.testing.assert_allclose(silu(x), [v * math.exp(v) for v in x], rtol=1e-15)


def test_gelu_keeps_its_left_tail_where_one_plus_erf_would_not():
    assert gelu(np.array([-10.0]))[0] == pytest.approx(-10 * math.erfc(10 / math.sqrt(2)) / 2, rel=1e-13)


def test_erfc_against_math():
    x = np.concatenate([np.linspace(-7, 29, 20011), [-0.0, 5e-324, -30.0, 1e300, -1e300, math.inf, -math.inf]])
    expected = np.array([math.erfc(v) for v in x])
    actual = erfc(x)
    assert np.max(np.abs(actual - expected)) <= 1e-15
    tail = (x > 0) & (x <= 26)
    assert np.max(np.abs(actual - expected)[tail] / expected[tail]) <= 1e-14


def test_erfc_keeps_float32_and_nan():
    out = erfc(np.array([[0.5, np.nan]], np.float32))
    assert out.dtype == np.float32
    assert out.shape == (1, 2)
    assert np.isnan(out).tolist() == [[False, True]]


@given(sizes(3), sizes(9), arrays)
def test_softmax(B, N, arrays):
    x = 3 * arrays.normal(B, 2, N)
    assert_close(softmax(x), naive.softmax(x), arrays.dtype)


def test_softmax_over_no_columns():
    assert softmax(np.ones((2, 3, 0), np.float32)).shape == (2, 3, 0)
    assert softmax(np.ones((0, 3))).shape == (0, 3)
    with pytest.raises(InputError, match="last axis"):
        softmax(np.array(1.0))


def test_softmax_of_huge_scores():
    np.testing.assert_array_equal(softmax(np.array([[0.0, 0.0], [1e4, 1e4]])), [[0.5, 0.5], [0.5, 0.5]])
    np.testing.assert_array_equal(softmax(np.array([[1e4, -1e4, -np.inf]])), [[1, 0, 0]])
    np.testing.assert_array_equal(softmax(np.full((1, 4), 1e4, np.float32)), np.full((1, 4), 0.25, np.float32))


def test_an_unknown_activation_is_named_with_those_that_there_are():
    with pytest.raises(ConfigError, match=r"hidden_act 'sigh' is not a known activation; known are gelu, .*xielu"):
        ACTIVATIONS["sigh"]

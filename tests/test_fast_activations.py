"""The fast engine's exponential: set, asked for, and refused. tests/test_fast.py has what networks compute with it."""

import math

import numpy as np
import pytest

from mobilevit_np import fast
from mobilevit_np.errors import InputError
from mobilevit_np.fast.activations import EXPONENTIALS


@pytest.fixture(autouse=True)
def by_the_processor():
    """Before each test and after it."""
    fast.use_exponential()
    yield
    fast.use_exponential()


@pytest.mark.parametrize("name", EXPONENTIALS)
def test_asking_changes_nothing(name):
    assert fast.use_exponential(name) == name
    assert fast.exponential().name == fast.exponential().name == name


def test_a_setting_ends_with_the_next():
    default = fast.exponential().name
    other = next(name for name in EXPONENTIALS if name != default)
    fast.use_exponential(other)
    assert fast.use_exponential() == fast.exponential().name == default


@pytest.mark.parametrize("name", EXPONENTIALS)
def test_both_are_e_to_the_x(name):
    _, function, per_unit = EXPONENTIALS[name]
    assert function(per_unit * 3.0) == pytest.approx(math.exp(3), rel=1e-14)


@pytest.mark.parametrize("wrong", ["tanh", "EXP", "", b"exp", [], {}, ["exp"], 2, 0, False, np.exp, math.nan])
def test_anything_else_is_refused_and_changes_nothing(wrong):
    fast.use_exponential("exp2")
    with pytest.raises(InputError, match=r"^exponentials are computed with exp or exp2, not .{1,40}$"):
        fast.use_exponential(wrong)
    assert fast.exponential().name == "exp2"


def test_a_long_wrong_one_is_cut():
    with pytest.raises(InputError) as raised:
        fast.use_exponential("e" * 1000)
    assert len(str(raised.value)) < 90

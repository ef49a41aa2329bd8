"""A dtype as a caller may say it. Oracle: NumPy's own."""

import numpy as np
import pytest

from mobilevit_np.errors import InputError
from mobilevit_np.formats.dtypes import float_type, parse_name


@pytest.mark.parametrize("said", ["float64", "f8", np.float64, float, np.dtype(">f8"), np.zeros(1).dtype])
def test_a_dtype_may_be_said_in_every_way_numpy_knows(said):
    assert float_type(said) == np.dtype(np.float64)


@pytest.mark.parametrize(
    "said", [None, "nonsense", "bfloat16", int, "longdouble", complex, object(), [], "f4,f4", "x" * 99]
)
def test_what_is_no_such_dtype_is_refused_on_one_line(said):
    with pytest.raises(InputError, match=r"^dtype must be float32 or float64, not .{0,40}$"):
        float_type(said, ("float32", "float64"))


@pytest.mark.parametrize("said", ["float16", "F16", "half", np.float16, np.dtype(np.float16)])
def test_so_may_a_file_s(said):
    assert parse_name(said) == "F16"


@pytest.mark.parametrize("said", [np.int8, 16, None, [], object(), "x" * 99])
def test_what_no_weights_are_stored_in_is_refused(said):
    with pytest.raises(InputError, match=r"^.{1,40} is not a dtype for weights; choose from float64, "):
        parse_name(said)


def test_what_one_caller_takes_another_may_not():
    assert float_type(np.float16) == np.dtype(np.float16)
    with pytest.raises(InputError, match=r"must be float64 or float32, not <class 'numpy\.float16'>"):
        float_type(np.float16, ("float64", "float32"))

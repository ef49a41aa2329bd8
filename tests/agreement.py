"""The assertions that hold results against oracles, each at its shipped tolerance.

Error: the largest difference over the oracle's largest magnitude, per array. float64 agrees to 1e-12, float32 to 1e-5.
The mutants of tests/mutants are killed by these very functions.
"""

from collections.abc import Mapping

import numpy as np

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}


def error(actual: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest expected magnitude; infinite where shapes or NaNs differ."""
    if actual.shape != expected.shape or not np.array_equal(np.isnan(actual), np.isnan(expected)):
        return np.inf
    difference = float(np.nanmax(np.abs(actual - expected), initial=0.0))
    magnitude = float(np.nanmax(np.abs(expected), initial=0.0))
    return difference / magnitude if magnitude else (np.inf if difference else 0.0)


def assert_close(actual: np.ndarray, expected: np.ndarray, dtype: object, name: str = "result") -> None:
    """``actual`` has this dtype and the expected shape, and is within that dtype's tolerance of ``expected``."""
    dtype = np.dtype(dtype)
    assert actual.dtype == dtype, f"{name} is {actual.dtype}, not {dtype}"
    assert actual.shape == np.shape(expected), f"{name} has shape {actual.shape}, not {np.shape(expected)}"
    found = error(actual.astype(np.float64), np.asarray(expected, np.float64))
    assert found <= TOLERANCE[dtype.name], f"{name} is off by {found:.2e}, allowed is {TOLERANCE[dtype.name]:.0e}"


def assert_agree(trace: Mapping[str, np.ndarray], recorded: Mapping[str, np.ndarray], dtype: object) -> None:
    """Every recorded activation is in ``trace``, nothing else is, and each agrees; the first that doesn't is named."""
    assert set(trace) == set(recorded), f"not in both: {sorted(set(trace) ^ set(recorded))}"
    for name, actual in trace.items():
        assert_close(actual, recorded[name], dtype, name)

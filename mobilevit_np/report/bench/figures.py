"""Floor 5.5. What is made of the times: medians, ratios that drifts cancel from, errors. NumPy, standard library."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

import numpy as np

Times = Mapping[int, float]  # round -> seconds


def median(times: Times) -> float:
    """The middle one of the times."""
    return statistics.median(times.values())


def minimum(times: Times) -> float:
    """The shortest of the times."""
    return min(times.values())


def ratio(times: Times, others: Times) -> float | None:
    """How many times as long as ``others``: the median of the quotients within each round that both ran in.

    The two calls of a round are neighbours in time, so that a machine that is slow for a while slows both.
    """
    both = times.keys() & others.keys()
    return statistics.median(times[i] / others[i] for i in both) if both else None


def error(answer: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest magnitude of ``expected``; infinite where shapes or NaN rule it out."""
    if answer.shape != expected.shape or not np.isfinite(answer).all():
        return float("inf")
    scale = float(np.abs(expected).max())
    return float(np.abs(answer - expected).max()) / scale if scale else float("inf")

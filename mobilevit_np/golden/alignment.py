"""Tensors without names found by order, shape and content: dynamic programming.

Both sides are in order of execution. Pairs must agree in shape (in some layout); of all ways to pair them off without
crossing, the best has the most in common: each pair counts for itself, and more for the likeness of its numbers. So
where a port goes wrong and nothing looks alike any more, the order of shapes still carries the alignment through.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

_PAIR = 1.0  # what a pair of fitting shape is worth, however unlike its numbers
_LIKENESS = 4.0  # and how much more, at most, for likeness
_SAMPLES = 256

Fit = Callable[[int, int], "np.ndarray | None"]  # the port's tensor in our layout, None where no layout fits


def align(ours: Sequence[np.ndarray], count: int, fit: Fit) -> dict[int, int]:
    """For each of our tensors (by its place) the place of the port's, of which there are ``count``."""
    scores = np.full((len(ours), count), -np.inf)
    for i, expected in enumerate(ours):
        for j in range(count):
            found = fit(i, j)
            if found is not None:
                scores[i, j] = _PAIR + _LIKENESS * likeness(found, expected)
    return _best_path(scores)


def likeness(found: np.ndarray, expected: np.ndarray) -> float:
    """1 for equal tensors, towards 0 the further they are apart; by a sample of their numbers."""
    step = max(1, expected.size // _SAMPLES)
    a, b = (np.asarray(x, np.float64).ravel()[::step] for x in (found, expected))
    with np.errstate(all="ignore"):
        distance = np.sqrt(np.square(a - b).sum() / max(np.square(b).sum(), np.finfo(np.float64).tiny))
    return float(1 / (1 + 10 * distance)) if np.isfinite(distance) else 0.0


def _best_path(scores: np.ndarray) -> dict[int, int]:
    rows, columns = scores.shape
    best = np.zeros((rows + 1, columns + 1))
    for i in range(rows):
        paired = best[i, :-1] + scores[i]
        best[i + 1, 1:] = np.maximum.accumulate(np.maximum(best[i, 1:], paired))
    pairs: dict[int, int] = {}
    i, j = rows, columns
    while i and j:
        if best[i, j] == best[i, j - 1]:
            j -= 1
        elif best[i, j] == best[i - 1, j]:
            i -= 1
        else:
            i, j = i - 1, j - 1
            pairs[i] = j
    return dict(sorted(pairs.items()))

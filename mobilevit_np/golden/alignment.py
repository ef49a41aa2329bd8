"""Tensors without names, matched by order, shape and content: dynamic programming.

Both sides are in order of execution. Pairs must agree in shape (in some layout); of all ways to pair tensors without
crossing, the best has the highest score: each pair counts, and counts more the more alike its numbers are. So when a
port goes wrong and nothing looks alike any more, the order of shapes still carries the alignment through.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

_PAIR = 0.2  # the score of a pair of fitting shape, however unlike its numbers
_UNUSUAL = 0.05  # the score of one whose layout isn't that of the others
_LIKENESS = 4.0  # how much more, at most, for likeness (cubed: a little means nothing)
_SAMPLES = 256
_ORDERED = 0.5  # of the anchors mustn't cross one another, or the port's order isn't that of execution
_SAME = 0.9  # likeness (about a hundredth apart) by which a tensor is matched wherever it stands

# the port's tensor in our layout, and whether its layout is that of the others; None if no layout fits
Fit = Callable[[int, int], "tuple[np.ndarray, bool] | None"]


def align(
    ours: Sequence[Sequence[np.ndarray]], count: int, fit: Fit, anchors: Mapping[int, int] | None = None
) -> dict[int, int]:
    """For each of our tensors (by its place) the place of the port's, of which there are ``count``.

    Each of ours is one array or several, of which the most alike counts. ``anchors`` are known pairs: they stay, and no
    pair crosses them, except those that cross one another themselves. If most do, the port's order isn't that of
    execution, and the rest are matched by equal content alone.
    """
    anchors = dict(anchors or {})
    pairs = dict(anchors)
    chain = _in_order(anchors)
    if len(chain) < _ORDERED * len(anchors):
        return dict(sorted((anchors | _by_content(ours, count, fit, anchors)).items()))
    ends = [(-1, -1), *chain, (len(ours), count)]
    taken = set(anchors.values())
    for (i0, j0), (i1, j1) in pairwise(ends):
        rows = [i for i in range(i0 + 1, i1) if i not in anchors]
        columns = [j for j in range(j0 + 1, j1) if j not in taken]
        scores = np.full((len(rows), len(columns)), -np.inf)
        for row, i in enumerate(rows):
            for column, j in enumerate(columns):
                found = fit(i, j)
                if found is not None:
                    tensor, usual = found
                    alike = max(likeness(tensor, each) for each in ours[i])
                    scores[row, column] = (_PAIR if usual else _UNUSUAL) + _LIKENESS * alike**3
        pairs |= {rows[row]: columns[column] for row, column in _best_path(scores).items()}
    return dict(sorted(pairs.items()))


def _in_order(anchors: Mapping[int, int]) -> list[tuple[int, int]]:
    """The largest set of anchors that don't cross one another, in order."""
    chains: list[list[tuple[int, int]]] = []
    for pair in sorted(anchors.items()):
        before = [chain for chain in chains if chain[-1][1] < pair[1]]
        chains.append([*max(before, key=len, default=[]), pair])
    return max(chains, key=len, default=[])


def _by_content(
    ours: Sequence[Sequence[np.ndarray]], count: int, fit: Fit, anchors: Mapping[int, int]
) -> dict[int, int]:
    """Pairs by likeness, the most alike first, wherever they stand."""
    taken = set(anchors.values())
    alike: list[tuple[float, int, int]] = []
    for i, each in enumerate(ours):
        for j in range(count) if i not in anchors else ():
            found = fit(i, j) if j not in taken else None
            if found is not None:
                alike.append((max(likeness(found[0], one) for one in each), i, j))
    pairs: dict[int, int] = {}
    for score, i, j in sorted(alike, key=lambda pair: -pair[0]):
        if score >= _SAME and i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs


def likeness(found: np.ndarray, expected: np.ndarray) -> float:
    """1 for equal tensors, towards 0 the further apart they are; by a sample of their numbers."""
    step = max(1, expected.size // _SAMPLES)
    a, b = (x.ravel()[::step].astype(np.float64) for x in (found, expected))
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

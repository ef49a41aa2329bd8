"""A port's axes brought into our order: NHWC, no batch axis, tokens by pixel, heads apart.

A layout is written as in einops: ``b h w c``; parentheses join axes, the last fastest. ``b`` batch, ``c`` channels,
``h w`` height and width; ``p`` pixels in a patch (``i j`` its rows and columns), ``n`` (and ``m``) patches (``u v``
rows and columns of them), ``k`` heads, ``e`` the width of one. A tensor's layout is told by its shape if only one fits,
and otherwise taken from the tensors for which only one did: never by which looks best, or a mistake about axes would be
undone before it's seen.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

MAP, TOKENS, PROBABILITIES, VECTOR, OTHER = "b c h w", "(b p) n (k e)", "(b p) k n m", "b c", "other"
IN_MAP = ("b (u i) (v j) (k e)", "b (k e) (u i) (v j)")  # tokens where their pixels are, not unfolded at all
LAYOUTS: dict[str, tuple[str, ...]] = {  # our layout -> those that ports have, ours first
    MAP: ("b c h w", "b h w c", "c h w", "h w c", "b c (h w)", "b (h w) c", "c (h w)", "(h w) c"),
    TOKENS: (
        "(b p) n (k e)",
        "b p n (k e)",
        "b n p (k e)",
        "b (k e) p n",
        "b (k e) n p",
        "b p (k e) n",
        "p n (k e)",
        "b (p n) (k e)",
        "(b p) k n e",
        "(b p) n k e",
        "(b p) k e n",
        "b p k n e",
        "b k p n e",
        "(b p k) n e",
        "(b p) u v (k e)",
        "b p u v (k e)",
        *IN_MAP,
    ),
    PROBABILITIES: ("(b p) k n m", "b p k n m", "b k p n m", "p k n m", "(b p k) n m"),
    VECTOR: ("b c", "c", "b c 1 1", "b 1 1 c"),
}
_GROUPS = re.compile(r"\(([^)]*)\)|(\S+)")
Lengths = Mapping[str, int]


def kind_of(path: str, expected: np.ndarray) -> str:
    """Our layout of the activation at ``path``."""
    if path.endswith("probabilities") and expected.ndim == 4:
        return PROBABILITIES
    return {4: MAP, 3: TOKENS, 2: VECTOR}.get(expected.ndim, OTHER)


def lengths_of(
    kind: str, shape: Sequence[int], batch: int, heads: int, grid: tuple[int, int] | None = None
) -> dict[str, int] | None:
    """The length of each axis of our layout; None if no tensor of that kind has the shape.

    ``grid`` is the number of rows and columns of patches, if that's known.
    """
    if kind == MAP:
        return dict(zip("bchw", shape, strict=True))
    if kind == VECTOR:
        return dict(zip("bc", shape, strict=True))
    if kind == OTHER or batch < 1 or shape[0] % batch:
        return None
    pixels = shape[0] // batch
    patch = math.isqrt(pixels) if math.isqrt(pixels) ** 2 == pixels else 1
    lengths = {"b": batch, "i": patch, "j": pixels // patch}
    if kind == PROBABILITIES:
        return {**lengths, "k": shape[1], "u": 1, "v": shape[2], "m": shape[3]}
    rows, columns = grid if grid and math.prod(grid) == shape[1] else (1, shape[1])
    heads = heads if heads and shape[2] % heads == 0 else 1
    return {**lengths, "u": rows, "v": columns, "k": heads, "e": shape[2] // heads}


@functools.lru_cache(maxsize=1 << 14)  # tensors without names are compared with one another by the thousand
def fits(
    kind: str,
    expected: tuple[int, ...],
    found: tuple[int, ...],
    batch: int,
    heads: int,
    grid: tuple[int, int] | None = None,
) -> tuple[Lengths | None, list[str]]:
    """Our axes' lengths, and the layouts in which a tensor of shape ``found`` could hold one of ``expected``."""
    lengths = lengths_of(kind, expected, batch, heads, grid)
    if lengths is None:
        return None, []
    return lengths, [layout for layout in LAYOUTS[kind] if shape_in(layout, lengths) == found]


def shape_in(layout: str, lengths: Lengths) -> tuple[int, ...] | None:
    """The shape of the tensor in ``layout``; None if that lacks an axis that's longer than 1."""
    groups = _groups(layout)
    named = {axis for group in groups for axis in group}
    if any(length > 1 for axis, length in lengths.items() if axis not in named):
        return None
    return tuple(math.prod(lengths.get(axis, 1) for axis in group) for group in groups)


def arrange(array: np.ndarray, layout: str, kind: str, lengths: Lengths) -> np.ndarray:
    """A port's tensor, which is in ``layout``, in our layout ``kind``."""
    axes = [axis for group in _groups(layout) for axis in group]
    ours = [axis for group in _groups(kind) for axis in group]
    atoms = array.reshape([lengths.get(axis, 1) for axis in axes])
    order = [axes.index(axis) for axis in ours if axis in axes]
    order += [i for i in range(len(axes)) if i not in order]  # axes of length 1 that ours hasn't got
    shape = shape_in(kind, lengths)
    assert shape is not None
    return atoms.transpose(order).reshape(shape)


def vote(kinds_and_layouts: Iterable[tuple[str, list[str]]]) -> dict[str, str]:
    """For each kind the commonest layout among the tensors for which only one fits."""
    votes: dict[str, list[str]] = {}
    for kind, fits in kinds_and_layouts:
        if len(fits) == 1:
            votes.setdefault(kind, []).append(fits[0])
    return {kind: max(found, key=found.count) for kind, found in votes.items()}


def choose(kind: str, fits: Sequence[str], votes: Mapping[str, str]) -> str:
    """One of the layouts that fit: the elected one if it does, else one with the channels where that has them."""
    elected = votes.get(kind, fits[0])
    if elected in fits:
        return elected
    alike = [layout for layout in fits if kind == MAP and _channels_last(layout) == _channels_last(elected)]
    return (alike or list(fits))[0]


def _channels_last(layout: str) -> bool:
    return layout.endswith(" c")


@functools.cache
def _groups(layout: str) -> list[list[str]]:
    whole = {"p": ["i", "j"], "n": ["u", "v"], "1": []}
    return [
        [axis for letter in (inside or alone).split() for axis in whole.get(letter, [letter])]
        for inside, alone in _GROUPS.findall(layout)
    ]

"""Two tensors and their difference as small pictures, compact enough for a page.

A tensor becomes slices, (S, h, w): a map's channels; tokens' features, folded back to the map they came from; the
matrices of attention's heads; a vector as one row. The slices with the largest errors are kept, at most ``most`` of
them, and of a slice at most ``side`` by ``side`` elements. A block of elements is shown by the one among them that is
furthest off, in all three pictures: it's a real element, and no error is lost.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..model import whole_patches
from ..ops import fold_from_patches
from ..pages import coded, number
from .layouts import MAP, OTHER, PROBABILITIES, TOKENS, VECTOR, kind_of
from .measure import distances

IMAGE, MATRIX, BARS = "image", "matrix", "bars"  # how slices are drawn
_MAX_BARS = 512  # of a vector
_ROOM = 4.0  # times the golden's range, by which a port's values may exceed it before they're clipped to the scale
_MAX_END = float(np.finfo(np.float64).max) / 4  # of a scale, so that its range is finite
_MAX_VECTORS = 4  # that are drawn as bars; more are a matrix


@dataclass(frozen=True)
class View:
    """How a tensor of one shape becomes slices."""

    kind: str
    shape: tuple[int, int, int]  # (S, h, w)
    arrange: Callable[[np.ndarray], np.ndarray]  # the tensor -> (S, h, w)
    label: Callable[[int], str]  # of the slice with that number
    names: str  # what slices are, in the plural
    caption: str

    def drawn(self, most: int, side: int) -> tuple[int, int, int]:
        """The shape of the pictures: at most ``most`` slices of at most ``side`` by ``side`` elements."""
        down, across = self.steps(side) if most and side else (1, 1)
        return min(most, self.shape[0]), -(-self.shape[1] // down), -(-self.shape[2] // across)

    def steps(self, side: int) -> tuple[int, int]:
        """How many rows and columns of elements one element of a picture stands for."""
        _, h, w = self.shape
        if self.kind == BARS:
            return 1, -(-w // max(side, min(side * side, _MAX_BARS)))
        if self.kind == MATRIX:
            return -(-h // side), -(-w // side)
        step = -(-max(h, w) // side)  # the same for both: maps keep their proportions
        return step, step


def view_of(path: str, tensors: Mapping[str, np.ndarray], patch_size: int, batch: int) -> View | None:
    """How to draw the tensor at ``path``; None if it's empty. ``tensors`` are the golden's."""
    tensor = tensors[path]
    kind, shape = kind_of(path, tensor), tensor.shape
    if tensor.size == 0:
        return None
    if kind == TOKENS and (size := _map_size(path, tensors)) is not None:
        view = _folded(shape, patch_size, size)
        if view is not None:
            return view
    return _VIEWS[kind](shape, max(batch, 1))


def pictures(
    view: View, expected: np.ndarray, found: np.ndarray, most: int, side: int, allowed: float
) -> dict[str, Any]:
    """The pictures of the slices that are furthest off, for the page: plain values, bytes in base64.

    ``off`` is the number of slices with an element off by more than ``allowed`` times the largest magnitude expected.
    """
    ours, theirs = (view.arrange(np.asarray(x, np.float64)) for x in (expected, found))
    off = distances(theirs, ours)
    scale = float(np.max(np.abs(ours), initial=0.0, where=np.isfinite(ours)))
    furthest = off.max(axis=(1, 2))
    kept = [int(i) for i in np.argsort(-furthest, kind="stable")[:most]]
    steps = view.steps(side) if kept else (1, 1)
    places = [_furthest_in_blocks(off[i], *steps) for i in kept]
    return {
        "kind": view.kind,
        "caption": view.caption,
        "names": view.names,
        "of": view.shape[0],
        "off": int(np.count_nonzero(furthest > allowed * scale)),
        "steps": list(steps),
        "size": list(view.shape[1:]),
        "shape": list(view.drawn(most, side)[1:]),
        "slices": [
            {"label": view.label(i), "error": number(furthest[i], 2), **_slice(ours[i], theirs[i], off[i], place)}
            for i, place in zip(kept, places, strict=True)
        ],
    }


def _slice(ours: np.ndarray, theirs: np.ndarray, off: np.ndarray, place: np.ndarray) -> dict[str, Any]:
    low, high = _range(ours, theirs)
    expected, found = ours.ravel()[place], theirs.ravel()[place]
    with np.errstate(all="ignore"):
        signed = np.where(off.ravel()[place] == 0, 0.0, found - expected)
    span = min(_MAX_END, float(np.max(np.abs(signed), initial=0.0, where=np.isfinite(signed))))
    mark = int(off.ravel()[place].argmax())
    finite = np.isfinite(theirs)
    return {
        "low": low,
        "high": high,
        "span": span,
        "mark": [mark // place.shape[1], mark % place.shape[1]],
        "beyond": int(np.count_nonzero(finite & ((theirs < low) | (theirs > high)))),
        "undefined": [int(np.count_nonzero(~np.isfinite(ours))), int(np.count_nonzero(~finite))],
        "bytes": [coded(expected, low, high), coded(found, low, high), coded(signed, -span, span)],
    }


def _range(ours: np.ndarray, theirs: np.ndarray) -> tuple[float, float]:
    """One scale for both pictures: all of the golden's values, and the port's as far as those stay visible."""
    finite = ours[np.isfinite(ours)]
    others = theirs[np.isfinite(theirs)]
    if not finite.size:
        finite = others if others.size else np.zeros(1)
    low, high = float(finite.min()), float(finite.max())
    if not others.size:
        return low, high
    with np.errstate(over="ignore"):
        room = _ROOM * (high - low) if high > low else np.inf
        low, high = max(low - room, min(low, float(others.min()))), min(high + room, max(high, float(others.max())))
    return max(low, -_MAX_END), min(high, _MAX_END)


def _furthest_in_blocks(off: np.ndarray, down: int, across: int) -> np.ndarray:
    """For each block of ``down`` by ``across`` elements the flat index of the one that is furthest off.

    (h, w) -> (h', w')
    """
    h, w = off.shape
    rows, columns = -(-h // down), -(-w // across)
    padded = np.full((rows * down, columns * across), -1.0)
    padded[:h, :w] = off
    blocks = padded.reshape(rows, down, columns, across).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    y, x = np.divmod(blocks.argmax(axis=2), across)
    return (np.arange(rows)[:, None] * down + y) * w + np.arange(columns) * across + x


# -- views -------------------------------------------------------------------------------------------------------------


def _map(shape: Sequence[int], batch: int) -> View:
    B, C, H, W = shape
    if H * W == 1:  # pooled: a vector
        return _vector((B, C), batch)

    def label(i: int) -> str:
        return _of_image(f"channel {i % C}", i // C, B)

    return View(IMAGE, (B * C, H, W), lambda x: x.reshape(B * C, H, W), label, "channels", "a map for each channel")


def _folded(shape: Sequence[int], patch_size: int, size: tuple[int, int]) -> View | None:
    """Tokens put back in their places in the map; None if they don't fill it."""
    BP, N, D = shape
    H, W = whole_patches(size, patch_size)
    if BP % patch_size**2 or N * patch_size**2 != H * W:
        return None
    B = BP // patch_size**2

    def label(i: int) -> str:
        return _of_image(f"feature {i % D}", i // D, B)

    def arrange(x: np.ndarray) -> np.ndarray:
        return fold_from_patches(x, patch_size, (H, W)).reshape(B * D, H, W)

    return View(IMAGE, (B * D, H, W), arrange, label, "features", "tokens, folded back to a map for each feature")


def _tokens(shape: Sequence[int], batch: int) -> View:
    return _matrices(shape, "sequence", "a matrix of tokens (down) and features (across) for each sequence")


def _probabilities(shape: Sequence[int], batch: int) -> View:
    BP, heads, N, M = shape
    P = max(1, BP // batch)

    def label(i: int) -> str:
        return _of_image(f"head {i % heads}, pixel {i // heads % P}", i // heads // P, BP // P)

    caption = "a matrix of queries (down) and keys (across) for each head and pixel of a patch"
    return View(MATRIX, (BP * heads, N, M), lambda x: x.reshape(-1, N, M), label, "heads and pixels", caption)


def _vector(shape: Sequence[int], batch: int) -> View:
    B, C = shape
    if B > _MAX_VECTORS and batch != B:
        return _matrices((1, B, C), "matrix", "a matrix")

    def label(i: int) -> str:
        return f"image {i}" if B > 1 else "all"

    return View(BARS, (B, 1, C), lambda x: x.reshape(B, 1, C), label, "vectors", "a bar for each element")


def _other(shape: Sequence[int], batch: int) -> View:
    if len(shape) < 2:
        return _vector((1, int(np.prod(shape))), 1)
    return _matrices((int(np.prod(shape[:-2])), *shape[-2:]), "slice", "a matrix of the last two axes")


def _matrices(shape: Sequence[int], name: str, caption: str) -> View:
    S, h, w = shape

    def label(i: int) -> str:
        return f"{name} {i}" if S > 1 else "all"

    return View(MATRIX, (S, h, w), lambda x: x.reshape(S, h, w), label, f"{name}s", caption)


def _of_image(label: str, image: int, batch: int) -> str:
    return f"image {image}, {label}" if batch > 1 else label


def _map_size(path: str, tensors: Mapping[str, np.ndarray]) -> tuple[int, int] | None:
    """Height and width of the map that tokens come from: that of the nearest block's ``folding`` or ``conv_1x1``."""
    parts = path.split(".")
    for end in range(len(parts) - 1, 0, -1):
        for part in ("folding", "conv_1x1"):
            tensor = tensors.get(".".join([*parts[:end], part]))
            if tensor is not None and tensor.ndim == 4:
                return tensor.shape[2], tensor.shape[3]
    return None


_VIEWS: dict[str, Callable[[Sequence[int], int], View]] = {
    MAP: _map,
    TOKENS: _tokens,
    PROBABILITIES: _probabilities,
    VECTOR: _vector,
    OTHER: _other,
}

"""What a wrong tensor looks like beside the right one, if no known mistake gives it.

A mistake without a name still leaves a pattern: off by a constant for each channel, it's a bias; right except at the
border, it's the padding. Each description is exact, to the tolerance allowed at the layer: what almost fits isn't said.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..ops import sigmoid, softmax
from .measure import error

_NAMES = {  # our axes, by how many there are: what they're called, and which holds the channels
    4: (("images", "channels", "rows", "columns"), 1),
    3: (("pixels of the patch", "tokens", "features"), 2),
    2: (("images", "entries"), 1),
}
_ACTIVATED = {  # what a port may make of its answer, the classes last
    "the softmax of": softmax,
    "the logarithm of the softmax of": lambda x: np.log(softmax(x)),
    "the sigmoid of": sigmoid,
}
_MAX_BORDER = 4  # pixels
_MAX_LISTED = 6
EPS = (1e-3, 1e-6, 1e-12, 1e-8, 1e-7, 1e-4, 1e-2, 0.0)  # TensorFlow's batch norm, ViT's, BERT's, and others
_DROPOUT = 1.01  # the least factor by which dropout enlarges what it keeps
_STEPS = 60  # of the search, each of which leaves two thirds
Fits = Callable[[np.ndarray, np.ndarray], bool]


def describe(
    found: np.ndarray, expected: np.ndarray, given: np.ndarray | None, allowed: float, *, heads: bool = False
) -> str:
    """What ``found`` looks like beside ``expected``, in a sentence; empty if it's no pattern known here.

    ``given`` is the layer's input. ``heads``: the four axes are patches, heads, queries and keys, not a map's.
    """
    if found.shape != expected.shape or found.ndim not in _NAMES:
        return ""
    if not (np.isfinite(found).all() and np.isfinite(expected).all()):
        return ""
    names, channels = _NAMES[found.ndim] if not heads else (("patches", "heads", "queries", "keys"), 1)

    theirs, ours = found.astype(np.float64), expected.astype(np.float64)
    limit = allowed * float(np.abs(ours).max(initial=0))

    def fits(a: np.ndarray, b: np.ndarray) -> bool:
        return bool(np.abs(a - b).max(initial=0) <= limit)

    for how, activate in _ACTIVATED.items():
        with np.errstate(divide="ignore"):  # the logarithm of a softmax that is 0
            activated = np.moveaxis(activate(np.moveaxis(ours, channels, -1)), -1, channels)
        if error(theirs, activated) <= allowed:
            return f"it's {how} the right tensor"
    return next(_sentences(theirs, ours, given, fits, names, channels), "") or _partly(
        np.abs(theirs - ours), limit, names, channels
    )


def eps_of(found: np.ndarray, normalize: Callable[[float], np.ndarray], allowed: float) -> str:
    """The eps with which a norm gives ``found``, in a sentence; empty if none does.

    ``normalize(eps)`` is the norm's output. The usual values are tried first, then the best one in 1e-12..10.
    """

    def off(eps: float) -> float:
        return error(found, normalize(eps))

    low, high = -12.0, 1.0  # of the exponent; the error falls towards the right one, and rises after it
    for _ in range(_STEPS):
        third = (high - low) / 3
        low, high = (low, high - third) if off(10 ** (low + third)) < off(10 ** (high - third)) else (low + third, high)
    fitting = [eps for eps in (*EPS, 10 ** ((low + high) / 2)) if off(eps) <= allowed]
    return f"its eps is {fitting[0]:.3g}" if fitting else ""


def _sentences(
    found: np.ndarray, expected: np.ndarray, given: np.ndarray | None, fits: Fits, names: tuple[str, ...], channels: int
) -> Iterator[str]:
    if fits(found, np.zeros_like(found)):
        yield "it's all zeros"
    if given is not None and given.shape == found.shape:
        if fits(found, given):
            yield "it's the layer's own input: the layer is left out"
        if fits(found, expected + given):
            yield "it's the right tensor plus the layer's input: one residual too many"
        if fits(found, expected - given):
            yield "it's the right tensor without the layer's input: a residual is missing"
    dropped = (found == 0) & (expected != 0)
    size = float(np.square(expected[~dropped]).sum())
    if 0.02 < dropped.mean() < 0.98 and size:
        factor = float((found * expected).sum()) / size
        if factor > _DROPOUT and fits(found, np.where(dropped, 0, expected * factor)):
            share = f"{dropped.mean():.0%} of it is zero"
            yield f"{share}, and the rest {factor:.3g} times what it should be: dropout is on"
    yield from _scaled(found, expected, fits, names, channels)
    yield from _moved(found, expected, fits, names)
    if fits(np.sort(found, axis=None), np.sort(expected, axis=None)):
        yield "it holds the right numbers in another order: a reshape or a transposition"


def _scaled(
    found: np.ndarray, expected: np.ndarray, fits: Fits, names: tuple[str, ...], channels: int
) -> Iterator[str]:
    """Right except for a constant or a factor, one for all or one for each channel."""
    others = tuple(axis for axis in range(found.ndim) if axis != channels)
    channel = names[channels].removesuffix("s")
    off = (found - expected).mean()
    if fits(found - off, expected):
        yield f"it's off by the constant {off:.6g}"
    size = float((expected * expected).sum())
    factor = float((found * expected).sum()) / size if size else 0.0
    if factor and fits(found / factor, expected):
        yield f"it's {factor:.6g} times the right tensor"
    if found.size == found.shape[channels]:
        return  # one number for each channel: anything would fit
    offsets = (found - expected).mean(axis=others, keepdims=True)
    if fits(found - offsets, expected):
        yield f"it's off by a constant for each {channel}: a bias, or a batch norm's mean, is missing or another's"
    with np.errstate(all="ignore"):
        factors = (found * expected).sum(axis=others, keepdims=True) / (expected * expected).sum(others, keepdims=True)
        if _none_zero(factors) and fits(found, expected * factors):
            yield f"it's off by a factor for each {channel}: a norm's weight or a variance is another's"
        spread = expected - expected.mean(axis=others, keepdims=True)
        slopes = (found * spread).sum(axis=others, keepdims=True) / (spread * spread).sum(axis=others, keepdims=True)
        offsets = (found - expected * slopes).mean(axis=others, keepdims=True)
        if found.size > 3 * found.shape[channels] and _none_zero(slopes) and fits(found, expected * slopes + offsets):
            yield f"it's off by a factor and a constant for each {channel}: a norm's parameters or statistics are wrong"


def _none_zero(factors: np.ndarray) -> bool:
    """Whether they're all finite, and none is so small that its channel would hardly count."""
    return bool(np.isfinite(factors).all() and np.abs(factors).min() > 1e-3 * np.abs(factors).max())


def _moved(found: np.ndarray, expected: np.ndarray, fits: Fits, names: tuple[str, ...]) -> Iterator[str]:
    """Right except for the order along an axis, or for two exchanged axes."""
    for axis, name in enumerate(names):
        length = found.shape[axis]
        if not 1 < length <= 4096:
            continue
        theirs, ours = (np.moveaxis(x, axis, 0).reshape(length, -1) for x in (found, expected))
        order = _order(theirs, ours)
        if sorted(order) == list(range(length)) and order != list(range(length)) and fits(theirs, ours[order]):
            how = "reversed" if order == list(range(length))[::-1] else f"in the order {listed(order)}"
            yield f"its {name} are {how}"
    for first in range(found.ndim):
        for second in range(first + 1, found.ndim):
            turned = found.swapaxes(first, second)
            if turned.shape == expected.shape and fits(turned, expected):
                yield f"its {names[first]} and {names[second]} are exchanged"


def _order(theirs: np.ndarray, ours: np.ndarray) -> list[int]:
    """For each row of theirs the nearest of ours, by a sample of columns."""
    step = max(1, theirs.shape[1] // 64)
    a, b = theirs[:, ::step], ours[:, ::step]
    squares = (a * a).sum(1)[:, None] - 2 * a @ b.T + (b * b).sum(1)
    return [int(i) for i in squares.argmin(axis=1)]


def _partly(off: np.ndarray, limit: float, names: tuple[str, ...], channels: int) -> str:
    """Right except at a border of the map, or for some entries of an axis. ``off``: how far off each element is."""
    if names[-1] == "columns":
        for width in range(1, _MAX_BORDER + 1):
            inner = off[..., width:-width, width:-width]
            if inner.size and inner.max() <= limit:
                return f"it's right except for a border of {width}: the padding"
    for axis in sorted(range(off.ndim), key=lambda axis: axis != channels):
        others = tuple(other for other in range(off.ndim) if other != axis)
        wrong = np.flatnonzero(off.max(axis=others) > limit).tolist()
        if 0 < len(wrong) <= off.shape[axis] // 2:
            return f"{len(wrong)} of its {off.shape[axis]} {names[axis]} are off ({listed(wrong)}), the others right"
    return ""


def listed(numbers: list[int]) -> str:
    """The first few, and whether there are more."""
    return ", ".join(map(str, numbers[:_MAX_LISTED])) + (", ..." if len(numbers) > _MAX_LISTED else "")

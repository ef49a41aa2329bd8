"""Chapter 12's ideas, each timed against its plain form: ``python tutorials/measure_ideas.py [--side N] [--rounds N]``.

Both forms of an idea must give the same numbers, or there's no race. They then run in turn, in shuffled order, so that
a slow spell of the machine meets both; the gain is the median of the quotients, round by round. One thread, unless
threads are the idea. NumPy and the standard library alone.
"""

from __future__ import annotations

import os

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"  # read once, when NumPy is loaded

import argparse
import math
import random
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

Form = Callable[[], np.ndarray]
CHANNELS, WIDE, TOKENS, HEAD = 32, 128, 256, 16  # of a map, of one widened, of a sequence, of an attention head
STRIP_BYTES = 1 << 20  # of the widest array


class Race(NamedTuple):
    """An idea on its numbers: the plain form, and the quick one, whose numbers times ``factor`` are the same."""

    plain: Form
    quick: Form
    factor: float = 1.0


def draw(*shape: int) -> np.ndarray:
    """Numbers around 0, float32, the same every time."""
    return np.random.RandomState(0).normal(size=shape).astype(np.float32)


def channels_last(side: int) -> Race:
    """A 1x1 convolution whose result a linear layer reads: with the map moved in between, and where it lies right."""
    first, weight, then = draw(CHANNELS, side * side), draw(WIDE, CHANNELS), draw(WIDE, CHANNELS)
    last = np.ascontiguousarray(first.T)  # (C, H*W) -> (H*W, C)
    return Race(lambda: np.ascontiguousarray((weight @ first).T) @ then, lambda: (last @ weight.T) @ then)


def folding(side: int) -> Race:
    """A 1x1 convolution and its batch norm: after it, and in its weights."""
    x, weight = draw(side * side, CHANNELS), draw(CHANNELS, WIDE)
    scale, shift = draw(2, WIDE)
    folded = weight * scale

    def plain() -> np.ndarray:
        out = x @ weight
        out *= scale
        out += shift
        return out

    def quick() -> np.ndarray:
        out = x @ folded
        out += shift
        return out

    return Race(plain, quick)


def silu_by_sign(side: int) -> Race:
    """SiLU of x in eight passes that can't overflow, and in three of u = -x, which give its negative."""
    x = draw(side * side, WIDE)
    u, e, out = -x, np.empty_like(x), np.empty_like(x)

    def plain() -> np.ndarray:
        np.abs(x, out=e)
        np.negative(e, out=e)
        np.exp(e, out=e)
        np.divide(np.where(x < 0, e, 1), 1 + e, out=out)
        return np.multiply(x, out, out=out)

    def quick() -> np.ndarray:
        np.exp(u, out=e)
        np.add(e, 1, out=e)
        np.divide(u, e, out=out)
        return out

    return Race(plain, quick, -1.0)


def silu_by_tanh(side: int) -> Race:
    """SiLU as h * tanh(h) + h of h = x/2, and as u / (1 + exp(u)) of u = -x: three passes either way."""
    x = draw(side * side, WIDE)
    h, t = x / 2, np.empty_like(x)

    def plain() -> np.ndarray:
        np.tanh(h, out=t)
        np.multiply(t, h, out=t)
        return np.add(t, h, out=t)

    return Race(plain, silu_by_sign(side).quick, -1.0)


def silu_by_exp2(side: int) -> Race:
    """SiLU with exp of u = -x, and with exp2 of u = -x / ln 2, the same number: three passes either way."""
    u = -draw(side * side, WIDE) / math.log(2)
    e, out = np.empty_like(u), np.empty_like(u)

    def quick() -> np.ndarray:
        np.exp2(u, out=e)
        np.add(e, 1, out=e)
        return np.divide(u, e, out=out)

    return Race(silu_by_sign(side).quick, quick, math.log(2))


def strips(side: int) -> Race:
    """Widen, SiLU, narrow: the whole map at a time, and as many rows as fit the cache."""
    x, widen, narrow = draw(side * side, CHANNELS), draw(CHANNELS, WIDE), draw(WIDE, CHANNELS)
    wide, e, out = np.empty((side * side, WIDE), np.float32), np.empty((side * side, WIDE), np.float32), draw(*x.shape)
    rows = max(1, STRIP_BYTES // (4 * WIDE))

    def some(part: slice) -> None:
        count = len(x[part])
        u, begun = wide[:count], e[:count]  # the same memory for every strip: it stays in the cache
        np.matmul(x[part], widen, out=u)
        np.exp(u, out=begun)
        np.add(begun, 1, out=begun)
        np.divide(u, begun, out=u)
        np.matmul(u, narrow, out=out[part])

    def quick() -> np.ndarray:
        for top in range(0, len(x), rows):
            some(slice(top, top + rows))
        return out.copy()

    def plain() -> np.ndarray:
        some(slice(0, len(x)))
        return out.copy()

    return Race(plain, quick)


def depthwise(side: int) -> Race:
    """A depthwise 3x3 convolution, channels last: nine products and eight sums, and one einsum over nine views."""
    padded, taps = draw(side + 2, (side + 2) * WIDE), np.tile(draw(3, 3, WIDE), side)
    views = sliding_window_view(padded, (side, side * WIDE))[:, ::WIDE]  # (3, 3, H, W*C)
    out, product = np.empty((side, side * WIDE), np.float32), np.empty((side, side * WIDE), np.float32)

    def plain() -> np.ndarray:
        np.multiply(views[0, 0], taps[0, 0], out=out)
        for i, j in [(i, j) for i in range(3) for j in range(3)][1:]:
            np.multiply(views[i, j], taps[i, j], out=product)
            np.add(out, product, out=out)
        return out

    return Race(plain, lambda: np.einsum("ijhw,ijw->hw", views, taps))


def tiles(side: int) -> Race:
    """A dense 3x3 convolution, channels last: nine neighbors side by side, and Winograd's tiles of 2x2 pixels."""
    half = max(1, side // 8)  # tiles on the map's side
    padded, weight = draw(2 * half + 2, 2 * half + 2, CHANNELS), draw(3, 3, CHANNELS, CHANNELS)
    taps, matrix = sliding_window_view(padded, (3, 3), (0, 1)).transpose(0, 1, 3, 4, 2), weight.reshape(-1, CHANNELS)
    seen = sliding_window_view(padded, (2 * half - 1, 2 * half - 1), (0, 1))[..., ::2, ::2]  # (4, 4, C, h, w)
    one = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], np.float32)
    filters = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]], np.float32)
    sums = np.array([[1, 1, 1, 0], [0, 1, -1, -1]], np.float32)
    inputs, outputs = np.kron(one, one), np.kron(sums, sums)
    once = np.einsum("ai,bj,ijco->abco", filters, filters, weight).reshape(16, CHANNELS, CHANNELS)

    def plain() -> np.ndarray:
        return (taps.reshape(-1, 9 * CHANNELS) @ matrix).reshape(half, 2, half, 2, -1).transpose(1, 3, 0, 2, 4)

    def quick() -> np.ndarray:
        gathered = seen.transpose(0, 1, 3, 4, 2).reshape(16, -1)
        products = (inputs @ gathered).reshape(16, half * half, CHANNELS) @ once
        return (outputs @ products.reshape(16, -1)).reshape(2, 2, half, half, -1)

    return Race(plain, quick)


def pieces(side: int) -> Race:
    """A product of a strip's pixels with 1x1 weights: whole, and in pieces of 16 rows of pixels, in one call."""
    x, weight = draw(side * 16, CHANNELS), draw(CHANNELS, CHANNELS)
    out = np.empty((side * 16, CHANNELS), np.float32)
    parts, out_parts = x.reshape(16, side, -1), out.reshape(16, side, -1)

    def quick() -> np.ndarray:
        np.matmul(parts, weight, out=out_parts)
        return out

    return Race(lambda: np.matmul(x, weight, out=out), quick)


def attention(side: int) -> Race:
    """Softmax and gathering: with maximum, sum and division, and with none of them over the scores."""
    count = min(TOKENS, side * side)
    scores, values, ones = draw(4, count, count), draw(4, count, HEAD), np.ones((count, 1), np.float32)
    e = np.empty_like(scores)

    def plain() -> np.ndarray:
        np.subtract(scores, scores.max(axis=-1, keepdims=True), out=e)
        np.exp(e, out=e)
        np.divide(e, e.sum(axis=-1, keepdims=True), out=e)
        return e @ values

    def quick() -> np.ndarray:
        np.exp(scores, out=e)
        return (e @ values) / (e @ ones)

    return Race(plain, quick)


def row_sums(side: int) -> Race:
    """Sums along rows: ``sum``, and a product with ones."""
    x, ones = draw(4, 4 * side, TOKENS), np.ones((TOKENS, 1), np.float32)
    return Race(lambda: x.sum(axis=-1, keepdims=True), lambda: x @ ones)


def threads(side: int) -> Race:
    """SiLU of a map in strips, in one thread and in two."""
    x = draw(4, side * side, WIDE)
    e, out = np.empty_like(x), np.empty_like(x)
    pool = ThreadPoolExecutor(2)

    def work(part: int) -> None:
        np.exp(-x[part], out=e[part])
        np.add(e[part], 1, out=e[part])
        np.divide(x[part], e[part], out=out[part])

    def run(mapped: Callable[..., object]) -> np.ndarray:
        list(mapped(work, range(len(x))))  # type: ignore[call-overload]
        return out.copy()

    return Race(lambda: run(map), lambda: run(pool.map))


IDEAS = {
    "channels last, nothing to move": channels_last,
    "batch norm in the weights": folding,
    "SiLU by sign, against eight passes": silu_by_sign,
    "SiLU by sign, against tanh": silu_by_tanh,
    "exp2 for exp in SiLU": silu_by_exp2,
    "strips that fit the cache": strips,
    "depthwise by one einsum": depthwise,
    "dense 3x3 in tiles": tiles,
    "products in pieces": pieces,
    "attention without maximum, division": attention,
    "row sums as a product with ones": row_sums,
    "two threads": threads,
}


def check(name: str, race: Race) -> None:
    """Stop where the two forms don't give the same numbers."""
    plain = race.plain().copy()  # the quick form may write where the plain one did
    quick = race.factor * race.quick()
    if np.abs(plain - quick).max() > 1e-4 * np.abs(plain).max():
        sys.exit(f"{name}: the two forms give different numbers")


def times(race: Race, rounds: int) -> tuple[float, float, float]:
    """Median milliseconds of the plain and the quick form, and the median of their quotients."""
    taken: dict[Form, list[float]] = {race.plain: [], race.quick: []}
    for _ in range(rounds):
        for form in random.sample(list(taken), 2):
            begun = time.perf_counter()
            form()
            taken[form].append(time.perf_counter() - begun)
    plain, quick = taken.values()
    gain = statistics.median(one / other for one, other in zip(plain, quick, strict=True))
    return 1e3 * statistics.median(plain), 1e3 * statistics.median(quick), gain


def main() -> None:
    """Race all ideas, and print a line for each."""
    parser = argparse.ArgumentParser(description="Time each idea of chapter 12 against its plain form.")
    parser.add_argument("--side", type=int, default=128, help="height and width of the maps (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=25, help="how often each form runs (default: %(default)s)")
    options = parser.parse_args()
    if options.side < 1 or options.rounds < 1:
        parser.error("--side and --rounds must be at least 1")
    print(f"{'idea':<36} {'plain, ms':>10} {'quick, ms':>10} {'gain':>6}")
    for name, make in IDEAS.items():
        race = make(options.side)
        check(name, race)
        plain, quick, gain = times(race, options.rounds)
        print(f"{name:<36} {plain:>10.3f} {quick:>10.3f} {gain:>6.2f}", flush=True)


if __name__ == "__main__":
    main()

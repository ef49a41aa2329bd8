"""A plan: everything about one input size that can be decided before the numbers come.

Given a size, a network's layers write themselves into a plan as steps. A step is cut into independent parts, strips of
rows or groups of tokens, each a function without arguments: its views of the maps and of scratch memory are made along
with the plan. Running it makes no arrays and decides nothing.

Each worker owns scratch memory, reused by every part it runs, so that what a part writes and reads a moment later is
still in the cache of the core that wrote it.

Explained in tutorials/12-making-numpy-fast.md.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import prod
from typing import NamedTuple

import numpy as np

STRIP_BYTES = 1 << 20  # of a strip's widest array: small enough for the cache, large enough that calls don't matter
MIN_BYTES = 1 << 16  # per thread: with fewer, two threads cost each other more time than they save
_LINE = 64  # bytes of a cache line: where scratch arrays begin

Function = Callable[[], object]


class Strip(NamedTuple):
    """Some rows of one image's map, and the worker who computes them."""

    image: int
    top: int
    bottom: int
    worker: int


@dataclass(frozen=True)
class Map:
    """A feature map, channels last, that holds ``factor`` times its values: array (n, H, W, C)"""

    array: np.ndarray
    factor: float = 1.0


@dataclass
class Step:
    """A named step of the plan: for each worker, its parts, in order.

    Workers meet after it, unless it's the last, or the first worker does it and the next one alone.
    """

    name: str
    parts: list[list[Function]]
    meets: bool = True


@dataclass
class _Draft:
    """A step before there is scratch: what each strip needs of it, and how its function is made."""

    name: str
    strips: Sequence[Strip]
    shapes: Sequence[tuple[int, ...]]
    build: Callable[..., Function]


@dataclass
class Plan:
    """The steps for ``images`` images, shared by ``workers`` workers that wait for each other between them."""

    images: int
    workers: int
    dtype: np.dtype
    steps: list[Step] = field(default_factory=list)
    nbytes: int = 0
    _drafts: list[_Draft] = field(default_factory=list)

    def empty(self, *shape: int) -> np.ndarray:
        """An array that lives as long as the plan."""
        self.nbytes += prod(shape) * self.dtype.itemsize
        return _fresh(prod(shape) * self.dtype.itemsize).view(self.dtype).reshape(shape)

    def workers_for(self, nbytes: int) -> int:
        """How many should share a step whose widest arrays have ``nbytes``: all, or one."""
        return self.workers if nbytes >= self.workers * MIN_BYTES else 1

    def strips(self, rows: int, row_bytes: int, *, multiple: int = 1) -> list[Strip]:
        """Cut maps of ``rows`` rows into strips whose widest array fits the cache, the same number for every worker.

        Strips begin at multiples of ``multiple``.
        """
        units = -(-rows // multiple)
        workers = self.workers_for(rows * row_bytes)
        count = -(-max(1, -(-rows * row_bytes // STRIP_BYTES)) // workers) * workers
        return [
            Strip(image, top * multiple, min(rows, bottom * multiple), worker)
            for image in range(self.images)
            for top, bottom, worker in shared(units, count, workers)
        ]

    def add(
        self,
        name: str,
        strips: Sequence[Strip],
        shapes: Callable[[int], Sequence[tuple[int, ...]]],
        build: Callable[..., Function],
    ) -> None:
        """Add a step: ``build(strip, *scratch)`` makes the function of one strip.

        ``shapes(rows)`` are those of the scratch arrays for a strip of so many rows; every strip gets the tallest's.
        """
        self._drafts.append(_Draft(name, strips, shapes(max(s.bottom - s.top for s in strips)), build))

    def finish(self) -> Plan:
        """Allocate the scratch, and build all the functions."""
        sizes = [[_aligned(prod(shape) * self.dtype.itemsize) for shape in draft.shapes] for draft in self._drafts]
        arena_bytes = max(map(sum, sizes)) + _LINE
        arenas = [_fresh(arena_bytes) for _ in range(self.workers)]
        self.nbytes += self.workers * arena_bytes
        for draft, bytes_of in zip(self._drafts, sizes, strict=True):
            scratch = [_carve(arena, draft.shapes, bytes_of, self.dtype) for arena in arenas]
            parts: list[list[Function]] = [[] for _ in range(self.workers)]
            for strip in draft.strips:
                parts[strip.worker].append(draft.build(strip, *scratch[strip.worker]))
            self.steps.append(Step(draft.name, parts))
        for step, following in pairwise(self.steps):
            step.meets = any(step.parts[1:]) or any(following.parts[1:])
        self.steps[-1].meets = False
        self._drafts.clear()
        return self


def shared(units: int, count: int, workers: int) -> list[tuple[int, int, int]]:
    """``units`` things in at most ``count`` runs: of each the first, the last + 1, and the worker."""
    count = min(units, count)
    edges = [units * i // count for i in range(count + 1)]
    return [(first, last, i * workers // count) for i, (first, last) in enumerate(pairwise(edges))]


def _fresh(nbytes: int) -> np.ndarray:
    """Zeroed bytes straight from the system, to which they return with the last view of them.

    As plans of a thousand sizes come and go, NumPy's allocator would be left with more holes than memory in use.
    Raises MemoryError if there's no room.
    """
    try:
        return np.frombuffer(mmap.mmap(-1, nbytes, access=mmap.ACCESS_COPY), np.uint8)  # a copy: a fork has its own
    except OSError as error:
        raise MemoryError(f"no room for {nbytes} bytes of a plan") from error


def _aligned(size: int) -> int:
    return -(-size // _LINE) * _LINE


def _carve(
    arena: np.ndarray, shapes: Sequence[tuple[int, ...]], sizes: Sequence[int], dtype: np.dtype
) -> list[np.ndarray]:
    """Arrays of these shapes, one after another in the arena."""
    start = -arena.ctypes.data % _LINE
    arrays = []
    for shape, size in zip(shapes, sizes, strict=True):
        arrays.append(arena[start : start + prod(shape) * dtype.itemsize].view(dtype).reshape(shape))
        start += size
    return arrays


def rows_of(array: np.ndarray, count: int, width: int) -> np.ndarray:
    """The first ``count`` rows of ``width`` numbers in a scratch array."""
    return array.reshape(-1)[: count * width].reshape(count, width)


def tiled(values: np.ndarray, times: int) -> np.ndarray:
    """Values per channel, repeated for each pixel of a row: NumPy is fastest when its inner loop is long."""
    return np.tile(values, times)

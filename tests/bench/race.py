"""Turns and checks: every contender in every round, order shuffled, no answer believed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np

from mobilevit_np.errors import MobileViTError

from .machine import settle

WARM_UP = 2  # rounds that aren't counted
LEAST = 5  # rounds that are, however long they take
MOST = 100
SEED = 0  # of the order


class WrongAnswerError(MobileViTError):
    """A contender computed something else than the reference; its times say nothing."""


class Turn(NamedTuple):
    """What a contender did when it was its turn: its answers to all inputs, and how long the last call took."""

    seconds: float
    answers: Sequence[np.ndarray]


class Contender(Protocol):
    """Whoever can be asked for calls on inputs known by their numbers."""

    @property
    def name(self) -> str:
        """What it's called in the tables."""

    @property
    def version(self) -> str:
        """What it's made of, for the settings."""

    @property
    def compile_seconds(self) -> float | None:
        """How long it compiled before it was asked; None where it didn't."""

    @property
    def peak_bytes(self) -> int | None:
        """The most memory it has held; None where that isn't known."""

    @property
    def most_rounds(self) -> int | None:
        """How many rounds it takes part in; None for all."""

    def run(self, draws: Sequence[int]) -> Turn:
        """Calls with these inputs, one right after the other, the last one timed."""


@dataclass(frozen=True)
class Rules:
    """How long a race lasts, and what's allowed.

    ``rounds``, or as many as fit into ``seconds`` (from LEAST to MOST). ``wake``: right before each call that counts
    one that doesn't, so that caches and threads are as warm as in a loop of the contender's own; for short calls.
    """

    tolerance: float
    rounds: int | None = None
    seconds: float = 10.0
    wake: bool = False

    def over(self, rounds: int, elapsed: float) -> bool:
        """Whether the race ends after so many counted rounds and seconds."""
        if self.rounds is not None:
            return rounds >= self.rounds
        return rounds >= MOST or (rounds >= LEAST and elapsed > self.seconds)


@dataclass
class Result:
    """What one contender did: its time in each round, and its largest error against the reference."""

    times: dict[int, float] = field(default_factory=dict)  # round -> seconds
    worst: float = 0.0

    def ratio_to(self, other: Result) -> float | None:
        """How many times as long as ``other`` it took: the median of the quotients within each round that both ran in.

        The two calls of a round are neighbors in time, so that a machine that is slow for a while slows both.
        """
        both = self.times.keys() & other.times.keys()
        return float(np.median([self.times[i] / other.times[i] for i in both])) if both else None


def error(answer: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference over the largest magnitude of ``expected``; infinite where shapes or NaN rule it out."""
    if answer.shape != expected.shape or not np.isfinite(answer).all():
        return float("inf")
    scale = float(np.abs(expected).max())
    return float(np.abs(answer - expected).max()) / scale if scale else float("inf")


def race(contenders: Sequence[Contender], expected: Callable[[int], np.ndarray], rules: Rules) -> dict[str, Result]:
    """Have the contenders run in turn. ``expected(draw)`` is the right answer to input number ``draw``.

    Raises WrongAnswerError, naming the contender, at the first answer off by more than the rules' tolerance.
    """
    results = {contender.name: Result() for contender in contenders}
    shuffle = np.random.default_rng(SEED)
    numbers = itertools.count()  # no input is given twice
    started = time.monotonic()
    for number in itertools.count(-WARM_UP):
        if number == 0:
            started = time.monotonic()
        if number >= 0 and rules.over(number, time.monotonic() - started):
            return results
        draws = list(itertools.islice(numbers, 2 if rules.wake else 1))
        right = [expected(draw) for draw in draws]
        settle()  # the reference's threads
        for place in shuffle.permutation(len(contenders)):
            contender = contenders[place]
            if contender.most_rounds is not None and not -1 <= number < contender.most_rounds:
                continue
            turn, result = contender.run(draws), results[contender.name]
            for answer, expectation in zip(turn.answers, right, strict=True):
                off = _checked(contender.name, answer, expectation, rules.tolerance)
                result.worst = max(result.worst, off)
            if number >= 0:
                result.times[number] = turn.seconds
    raise AssertionError("unreachable: counting has no end")


def _checked(name: str, answer: np.ndarray, expected: np.ndarray, tolerance: float) -> float:
    off = error(answer, expected)
    if not off <= tolerance:
        raise WrongAnswerError(
            f"{name} gives a wrong answer: {list(answer.shape)} numbers, off by {off:.2g} of the reference's "
            f"largest where {tolerance:g} is allowed; its times would say nothing, so mend it or leave it out"
        )
    return off

"""A contender in a process of its own: ``Process`` asks, ``_work`` answers."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mobilevit_np.errors import MobileViTError

from .machine import peak_bytes, settle
from .race import Turn

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

    from .contenders import Runner

_CONTEXT = multiprocessing.get_context("spawn")  # a new Python: what this one has loaded and holds stays here
_PATIENCE = 10.0  # seconds for a process that was told to end


class ContenderError(MobileViTError):
    """A contender can't be loaded or run, or its process stopped before it was asked to."""


class _Failure(str):
    """Why a contender couldn't do what it was asked to."""


class Process:
    """A contender at work: ``Process(...)`` starts it, ``ready`` waits until it's loaded, ``run`` has it called.

    ``load()`` runs in the process, and gives its Runner, or None for a job that's done with loading.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[], Runner | None],
        environment: dict[str, str],
        most_rounds: int | None = None,
    ):
        self.name, self.most_rounds = name, most_rounds
        self.version, self.compile_seconds = "", None
        self.peak_bytes: int | None = None
        self._pipe, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_work, args=(load, theirs))
        with _environment(environment):
            self._process.start()
        theirs.close()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        """End the process: politely, then surely."""
        self._pipe.close()
        self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def ready(self) -> None:
        """Wait until it's loaded. Raises ContenderError where it can't be."""
        self.version, self.compile_seconds = self._hear()

    def run(self, draws: Sequence[int]) -> Turn:
        """Calls with these inputs, the last one timed. Raises ContenderError where they fail."""
        with contextlib.suppress(OSError):  # it has ended, as ``_hear`` says
            self._pipe.send(draws)
        turn, self.peak_bytes = self._hear()
        return turn

    def _hear(self) -> Any:
        try:
            said = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join()
            said = _Failure(f"exit code {self._process.exitcode}")
        if isinstance(said, _Failure):
            raise ContenderError(f"{self.name} stopped: {said:.300}; leave it out, or repair what it stands on")
        return said


@contextlib.contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """What's started inside has these: libraries read theirs as they're imported, before any code of ours could set."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _work(load: Callable[[], Runner | None], pipe: Connection) -> None:
    """The contender's end of the pipe; it's the process's whole life. What libraries print goes nowhere."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)
    try:
        runner = load()
        pipe.send((runner.version, runner.compile_seconds) if runner else ("", None))
        if runner:
            serve(runner, _requests(pipe), pipe.send)
    except Exception as error:
        pipe.send(_Failure(traceback.format_exception_only(error)[-1].strip()))


def _requests(pipe: Connection) -> Iterator[Sequence[int]]:
    with contextlib.suppress(EOFError):  # nobody asks any more
        while True:
            yield pipe.recv()


def serve(runner: Runner, requests: Iterable[Sequence[int]], send: Callable[[tuple[Turn, int | None]], None]) -> None:
    """Answer each request with its calls, one right after the other; inputs are drawn before the first.

    The answer is sent when the threads are asleep, so that the next contender has the machine for itself.
    """
    for draws in requests:
        results = []
        start = 0.0
        for given in [runner.draw(draw) for draw in draws]:
            start = time.perf_counter()
            results.append(runner.call(given))
        seconds = time.perf_counter() - start
        answers = [np.asarray(runner.answer(result), np.float32) for result in results]
        settle()
        send((Turn(seconds, answers), peak_bytes()))

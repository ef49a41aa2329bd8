"""Threads that run a plan together.

NumPy releases Python's lock while it computes, so two threads on two cores are nearly twice as fast, as long as each
call is large enough that taking the lock again doesn't matter. Meanwhile the matrix library must not use threads of its
own, or both compete for the cores: ``use_threads`` sees to that, if it can.

Explained in tutorials/12-making-numpy-fast.md.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import numpy as np

from ..errors import InputError
from ..matrix_library import is_decided
from .plan import Plan

MAX_THREADS = 1024
_setting: dict[str, Any] = {}  # what use_threads has set: "count", and the "limits" of the matrix library


def cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads() -> int:
    """How many threads the fast engine uses: as many as ``use_threads`` has set.

    By default it's one, and the matrix library uses its own.
    """
    return int(_setting.get("count", 1))


def is_limited() -> bool:
    """Whether ``use_threads`` has been called, and so the matrix library runs one thread."""
    return "count" in _setting


def use_threads(count: int | None = None) -> int:
    """Let the fast engine use ``count`` threads from now on (None: one per core), and NumPy's matrix library one.

    This holds for the whole process. The matrix library is limited by threadpoolctl, if that's installed, unless the
    environment has set it: the command line sets ``OPENBLAS_NUM_THREADS=1`` and the like before NumPy is imported. With
    neither, answers are just as right, only slower. Returns the count. Raises InputError unless it's a whole number
    from 1 to ``MAX_THREADS``.
    """
    if count is None:
        count = cores()
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_THREADS:
        raise InputError(f"threads must be a whole number from 1 to {MAX_THREADS}, not {count!r:.40}")
    _setting["count"] = count
    if is_decided() or "limits" in _setting:
        return count
    try:
        import threadpoolctl
    except ImportError:
        pass
    else:
        _setting["limits"] = threadpoolctl.threadpool_limits(1, user_api="blas")
    return count


class Barrier:
    """A point that all parties reach before any goes on, unless it's broken.

    Of locks alone: a meeting of two takes 25 us, and 41 with ``threading.Barrier``, which is built on a condition.
    """

    def __init__(self, parties: int):
        self._waiting, self._parties = 0, parties
        self._mutex = threading.Lock()
        self._gates = [threading.Lock() for _ in range(parties)]
        for gate in self._gates:
            gate.acquire()
        self.broken = False

    def wait(self, party: int) -> None:
        """Come to the barrier, and wait for the others."""
        with self._mutex:
            self._waiting += 1
            last = self._waiting == self._parties
            if last:
                self._waiting = 0
        if last:
            self._open(except_for=party)
        else:
            self._gates[party].acquire()

    def abort(self) -> None:
        """Let everyone go, now and from now on. It may be called more than once, and by several."""
        self.broken = True
        self._open()

    def _open(self, except_for: int | None = None) -> None:
        for party, gate in enumerate(self._gates):
            if party != except_for:
                with suppress(RuntimeError):  # the gate was open: the barrier is broken
                    gate.release()


def run_plans(plans: Sequence[Plan]) -> None:
    """Run several plans of one worker each at the same time, or a single plan by all its workers."""
    if len(plans) > 1:
        _together([partial(_work, plan) for plan in plans])
    elif (workers := plans[0].workers) > 1:
        barrier = Barrier(workers)
        _together([partial(_work, plans[0], worker, barrier) for worker in range(workers)], barrier.abort)
    else:
        _work(plans[0])


def _work(plan: Plan, worker: int = 0, barrier: Barrier | None = None) -> None:
    """One worker's parts of a plan, waiting for the others after every step that others go on from."""
    with np.errstate(all="ignore"):
        for step in plan.steps:
            for part in step.parts[worker]:
                part()
            if barrier is not None and step.meets:
                barrier.wait(worker)
                if barrier.broken:
                    return


def _together(jobs: Sequence[Callable[[], object]], give_up: Callable[[], object] = lambda: None) -> None:
    """Run the jobs at the same time, the first in this thread. Raises the first error when all have ended.

    Whatever goes wrong, ``give_up`` is called, so that no job waits for one that has failed, or was never started.
    If this thread is interrupted while it starts or awaits the others, they end by themselves, a little later.
    """
    errors: list[BaseException] = []

    def guarded(number: int) -> None:
        try:
            with _core_of(number, len(jobs)):
                jobs[number]()
        except BaseException as error:
            errors.append(error)
            give_up()

    others = [threading.Thread(target=guarded, args=(number,), daemon=True) for number in range(1, len(jobs))]
    try:
        for thread in others:
            _start(thread)
        guarded(0)
        for thread in others:
            thread.join()
    except BaseException:
        give_up()
        raise
    if errors:
        raise errors[0]


@contextmanager
def _core_of(number: int, count: int) -> Iterator[None]:
    """If there are as many threads as cores, this thread keeps to one of its own.

    Else, in the first call after a pause, Linux often lets all of them wait for the same core.
    """
    allowed = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    if len(allowed) != count:
        yield
        return
    with suppress(OSError):
        os.sched_setaffinity(0, {sorted(allowed)[number]})
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, allowed)


def _start(thread: threading.Thread) -> None:
    try:
        thread.start()
    except RuntimeError:  # how Python says that the system has no room for the thread's stack
        raise MemoryError("no room for another thread: --threads 1 needs none") from None

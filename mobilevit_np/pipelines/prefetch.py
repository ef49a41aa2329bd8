"""Photos prepared ahead of time, in threads, while the network runs.

Pillow releases Python's lock while it decodes and resizes, so that a few threads can prepare the next batch while
this one is computed. What comes out is the same, in the same order. There are no surprises:

- Only the thread that asks for answers reads the source. An error in it comes after the answers before it.
- At most ``count`` items beyond the current one have been taken from it, however fast the threads are.
- Threads live as long as the generator: once it has ended, or was closed or interrupted, they have ended too.
- The caller's own thread prepares the first item, so that a single one starts no thread. It also prepares, in its turn,
  what others may be holding: an open file, or a PIL image, which Pillow reads when it's first looked at.

Explained in tutorials/13-more-photos-than-one-machine.md.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from itertools import islice
from queue import SimpleQueue
from typing import Any, NoReturn

import numpy as np

WORKERS = min(4, os.cpu_count() or 1)  # each holds one decoded photo
_SAFE_ELSEWHERE = (str, bytes, os.PathLike, np.ndarray)


def prefetch(
    function: Callable[[Any], Any], source: Iterator[Any], count: int, workers: int = WORKERS
) -> Generator[tuple[Any, Any], None, None]:
    """Each item of ``source``, in order, with ``function(item)``, while up to ``count`` more are being prepared.

    What ``function`` raises is raised in its item's turn.
    """
    coming = _tasks(function, source)
    tasks = deque(islice(coming, 1))
    with _Pool(workers) as pool:
        while tasks:
            tasks.extend(pool.submit(task) for task in islice(coming, count + 1 - len(tasks)))
            yield tasks.popleft().result()  # not kept in a variable: a large photo goes when its receiver lets it go


def in_batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The items in lists of ``size``, the last with the rest. An error comes after the items before it."""
    batch: list[Any] = []
    problem = None
    try:
        for item in items:
            batch.append(item)
            if len(batch) == size:
                yield batch
                batch = []
    except Exception as error:
        problem = error
    if batch:
        yield batch
    if problem is not None:
        raise problem


def _tasks(function: Callable[[Any], Any], source: Iterator[Any]) -> Iterator[_Task]:
    """A task for each item; an error of the source becomes the last one, which raises it in its turn."""
    try:
        for item in source:
            yield _Task(function, item)
    except Exception as error:
        yield _Task(_raise, error)


def _raise(error: Exception) -> NoReturn:
    raise error


class _Task:
    """One item, and what becomes of it."""

    def __init__(self, function: Callable[[Any], Any], item: Any) -> None:
        self.item = item
        self.elsewhere = False  # whether a thread has been given it
        self._function = function
        self._result: Any = None
        self._error: BaseException | None = None
        self._done = threading.Event()

    def run(self) -> None:
        try:
            self._result = self._function(self.item)
        except BaseException as error:
            self._error = error
        self._done.set()

    def result(self) -> tuple[Any, Any]:
        """The item and its result, once there is one."""
        if not self.elsewhere:
            return self.item, self._function(self.item)
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self.item, self._result


class _Pool:
    """Threads that run tasks in the order they're submitted, and are gone when the ``with`` has ended."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._tasks: SimpleQueue[_Task | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._over = False

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self._over = True
        for _thread in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def submit(self, task: _Task) -> _Task:
        """The task, which a thread will run if it's safe elsewhere."""
        if isinstance(task.item, _SAFE_ELSEWHERE) and self._has_threads():
            task.elsewhere = True
            self._tasks.put(task)
        return task

    def _has_threads(self) -> bool:
        """Whether there is a thread, after starting one more if that's allowed and the system has room."""
        if len(self._threads) < self._most:
            # A daemon, so that a second Ctrl-C ends the process while it waits for a photo that never comes.
            thread = threading.Thread(target=self._work, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                self._most = len(self._threads)
            else:
                self._threads.append(thread)
        return bool(self._threads)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            if not self._over:
                task.run()
            del task  # it may hold a large photo

"""How commands print: color where it's wanted, charts, progress on a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import TextIO

from ..errors import OutputError, visible

_EIGHTHS = " ▏▎▍▌▋▊▉█"
PATIENCE = 1.0  # seconds before progress is shown
_C_BUFFER = 1 << 20  # bytes of what C libraries print: a damaged photo is good for a hundred
_FULLY_BUFFERED, _UNBUFFERED = 0, 2  # C's _IOFBF and _IONBF, on Linux and macOS
_MAX_LINE = 10_000  # characters; only a hostile file has longer names
_MAX_LABEL = 44  # characters of a label in a chart; some of ImageNet's are longer than a terminal is wide


def say(text: str, end: str = "\n") -> None:
    """Print to standard output, unbuffered. Raises OutputError if that fails, BrokenPipeError at the end of `| head`.

    After either, standard output leads nowhere: else Python would try to write the rest at exit, and complain again.
    """
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:
        _abandon_output()
        raise
    except OSError as error:
        _abandon_output()
        raise OutputError(f"can't write to standard output: {(error.strerror or 'it failed').lower()}") from None


@contextlib.contextmanager
def c_libraries_held_back() -> Iterator[None]:
    """Drop what C libraries print about a damaged photo (libtiff does), unless one of them ends the process.

    C's standard error, which isn't Python's, collects it in a buffer, which is emptied here and written by C's exit().
    """
    try:
        import ctypes

        libc = ctypes.CDLL(None)
        stream = ctypes.c_void_p.in_dll(libc, "__stderrp" if sys.platform == "darwin" else "stderr")
        drop = libc.fpurge if sys.platform == "darwin" else libc.__fpurge
        # written before libraries are unloaded at exit, which their other threads may not survive
        libc.__cxa_atexit(ctypes.cast(libc.fflush, ctypes.c_void_p), stream, None)
    except (ImportError, OSError, TypeError, ValueError, AttributeError):  # another C library: nothing is dropped
        yield
        return
    buffer = ctypes.create_string_buffer(_C_BUFFER)
    libc.setvbuf(stream, buffer, _FULLY_BUFFERED, _C_BUFFER)
    try:
        yield
    finally:
        drop(stream)
        libc.setvbuf(stream, None, _UNBUFFERED, 0)


def wants_color(stream: TextIO) -> bool:
    """Color only on a terminal, never with NO_COLOR (no-color.org) or on a dumb one."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def bold(text: str) -> str:
    """``text`` in bold, if color is wanted."""
    return f"\033[1m{text}\033[0m" if wants_color(sys.stdout) else text


def dim(text: str) -> str:
    """``text`` dimmed, if color is wanted."""
    return f"\033[2m{text}\033[0m" if wants_color(sys.stdout) else text


def heading(model: str, knows: str) -> str:
    """The line above all answers: which model gives them, and what it knows."""
    return f"{bold(printable(model))} {dim(printable(f'({knows})'))}"


def chart(fractions: Iterable[tuple[str, float]]) -> list[str]:
    """A line for each (label, fraction): label, percentage and bar, in columns."""
    named = [(_shortened(printable(label)), fraction) for label, fraction in fractions]
    width = max(len(label) for label, _ in named)
    return [f"  {label:<{width}}  {fraction:6.1%}  {bar(fraction)}".rstrip() for label, fraction in named]


def numbers(values: Iterable[tuple[str, str]]) -> list[str]:
    """A line for each (label, number), in columns."""
    named = [(_shortened(printable(label)), value) for label, value in values]
    widths = [max(map(len, column)) for column in zip(*named, strict=True)]
    return [f"  {label:<{widths[0]}}  {value:>{widths[1]}}" for label, value in named]


def bar(fraction: float, width: int = 24) -> str:
    """A horizontal bar in eighths of a character; in hash signs if the output's encoding has no blocks."""
    try:
        _EIGHTHS.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return "#" * round(fraction * width)
    eighths = round(max(0.0, min(1.0, fraction)) * width * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()


def printable(text: str) -> str:
    """``text`` safe to print: a file name may hold undecodable bytes, or control characters."""
    encoding = sys.stdout.encoding or "utf-8"
    return visible(text, _MAX_LINE).encode(encoding, "backslashreplace").decode(encoding)


def _shortened(label: str) -> str:
    return label if len(label) <= _MAX_LABEL else f"{label[: _MAX_LABEL - 3]}..."


def _abandon_output() -> None:
    with contextlib.suppress(OSError):  # under a test there is no file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Progress:
    """A line on stderr that says how far the work is: only on a terminal, and only after the first second.

    A thread draws it, so that it appears during one long photo too. Whatever else is printed inside ``with progress:``
    is printed inside ``with progress.aside():``.
    """

    def __init__(self, total: int, what: str) -> None:
        self._total, self._what, self._done = total, what, 0
        self._started, self._shown = time.monotonic(), False
        self._lock, self._over = threading.Lock(), threading.Event()
        self._thread = threading.Thread(target=self._draw, daemon=True)

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            with contextlib.suppress(RuntimeError):  # no room for a thread: it goes without
                self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        self._erase()

    def step(self) -> None:
        """One more is finished."""
        self._done += 1

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Hide the line while something else is printed."""
        with self._lock:
            self._erase()
            yield

    def _draw(self) -> None:
        pause = PATIENCE
        while not self._over.wait(pause):
            pause = 0.2
            with self._lock:
                self._shown = True
                _to_terminal(self._text())

    def _text(self) -> str:
        done, seconds = self._done, time.monotonic() - self._started
        text = f"{done} of {self._total} {self._what}, {seconds:.0f} s"
        if not 0 < done < self._total:
            return text
        return f"{text}, about {seconds / done * (self._total - done):.0f} s to go"

    def _erase(self) -> None:
        if self._shown:
            self._shown = False
            _to_terminal("")


def _to_terminal(text: str) -> None:
    with contextlib.suppress(OSError):  # the terminal was closed
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)

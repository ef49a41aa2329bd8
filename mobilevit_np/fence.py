"""The fence around a command: what ends it becomes one line on standard error and an exit code.

Imports next to nothing, so that everything else can be imported inside the fence.
"""

from __future__ import annotations

import contextlib
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Any

from .errors import SYSTEM_ERRORS, MobileViTError, MobileViTWarning, one_line, refusal

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGBREAK")
ENDING = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]  # what ends a process, where it's known


def fenced(command: Callable[[], int]) -> int:
    """The command's exit code; 2 if nothing could be done. A bug of ours keeps its traceback."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always", MobileViTWarning)
            warnings.showwarning = _show_warning
            return command()
    except MobileViTError as error:
        complain(error)
    except BrokenPipeError:  # the reader of our output has gone: `| head`
        return 1
    except SYSTEM_ERRORS as error:
        complain(refusal(error))
    except ImportError as error:
        root = _root(error)
        if str(root.name).startswith(__package__):
            raise
        complain(f"a part that's needed can't be loaded: {root}")
    except (KeyboardInterrupt, RuntimeError) as error:
        if KeyboardInterrupt not in (type(error), type(error.__cause__)):  # before 3.12 wrapped while a class is made
            raise
        exec("")  # Python remembers one that went through exec (dataclasses use it), and would die of it at exit
        complain("interrupted; what was written is whole")
    return 2


def complain(problem: object) -> None:
    """Say on standard error, on one line, what went wrong."""
    with contextlib.suppress(OSError):  # nowhere left to say it
        print(f"mobilevit-np: {one_line(str(problem))}", file=sys.stderr, flush=True)


def signals_interrupt() -> None:
    """From now on a signal that ends the process acts like Ctrl-C, unless it's ignored (``nohup``) or handled."""
    for number in ENDING:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def ignore_signals() -> None:
    """Nothing is left to do but exit, which a signal would only make noisy."""
    for number in ENDING:
        if signal.getsignal(number) == signal.default_int_handler:
            signal.signal(number, signal.SIG_IGN)


def _root(error: ImportError) -> ImportError:
    """The import that failed first: NumPy wraps it in a page of advice."""
    while isinstance(below := error.__cause__ or error.__context__, ImportError):
        error = below
    return error


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    """A warning as one line, without the place in our code that Python would print."""
    complain(f"warning: {message}")

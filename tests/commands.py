"""The command line as tests run it: here, or in a process of its own for limits, signals, closed streams."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from tiny import REPOSITORY

from mobilevit_np import cli
from mobilevit_np.fence import fenced

MAIN = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have switched it off
sys.path.insert(0, {repository!r})
{prelude}
from mobilevit_np.__main__ import main
sys.argv = ["mobilevit-np", *{arguments!r}]
sys.exit(main())
"""
HANG_WRITING = """
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may ignore it
calls, sync = [], os.fsync
def fsync(handle):
    calls.append(1)
    if len(calls) == {call}:
        print("READY", file=sys.stderr, flush=True)
        for _ in range(600): time.sleep(0.1)  # a signal just before one long sleep would be noticed after it
    sync(handle)
os.fsync = fsync
"""


def run(arguments: Sequence[str]) -> int:
    """The command's exit code, within the fence that ``python -m`` puts around it."""
    return fenced(lambda: cli.run(arguments))


def process(*arguments: Any, prelude: str = "", **options: Any) -> subprocess.Popen:
    """The command, started; ``prelude`` is Python run there first."""
    code = MAIN.format(repository=str(REPOSITORY), prelude=prelude, arguments=[str(each) for each in arguments])
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}  # as most have it
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": buffered, **options}
    return subprocess.Popen([sys.executable, "-c", code], **options)


def done(*arguments: Any, prelude: str = "", **options: Any) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of the command."""
    with process(*arguments, prelude=prelude, **options) as running:
        try:
            out, err = running.communicate(timeout=120)
        finally:
            running.kill()  # one that waits forever fails its test, and doesn't keep the others
    return running.returncode, out, err

"""Floor 5.5. A contender's process: ``python -m mobilevit_np.report.bench.worker``. Imports contenders, folder.

On standard input come lines of JSON: first the job, then ``{"draws": [number, ...]}`` for each turn: calls, one after
the other, of which the last is timed. To each there's an answer on standard output: a line of JSON (``seconds``,
``peak_bytes``, ``shapes``), then the answers' bytes as float32. It comes when the threads are asleep, so that the next
contender has the machine for itself. What libraries print goes to standard error. The end of the input is the end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

import numpy as np

from . import peers
from .cells import Cell
from .contenders import Runner, load
from .machine import peak_bytes, settle


def _load_network(job: dict[str, Any]) -> Runner:
    return load(job["name"], Cell(**job["cell"]), job["threads"], job.get("model"))


def _load_folder(job: dict[str, Any]) -> Runner:
    from . import folder  # what reads photos is no part of the others' memory

    return folder.load(job)


def _export(job: dict[str, Any]) -> None:
    peers.export([Cell(**cell) for cell in job["cells"]], job["folder"])


JOBS: dict[str, Callable[[dict[str, Any]], Runner | None]] = {
    "network": _load_network,
    "folder": _load_folder,
    "export": _export,
}


def serve(runner: Runner, requests: Iterable[bytes], out: BinaryIO) -> None:
    """Answer each request with its calls, the last one timed; inputs are drawn before the first."""
    for request in requests:
        results = []
        start = 0.0
        for given in [runner.draw(draw) for draw in json.loads(request)["draws"]]:
            start = time.perf_counter()
            results.append(runner.call(given))
        seconds = time.perf_counter() - start
        answers = [np.ascontiguousarray(runner.answer(result), np.float32) for result in results]
        settle()
        about = {"seconds": seconds, "peak_bytes": peak_bytes(), "shapes": [answer.shape for answer in answers]}
        _send(out, about, b"".join(answer.tobytes() for answer in answers))


def main() -> None:
    """Load what the first line asks for, and serve until the input ends."""
    out = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    peers.quiet()
    job = json.loads(sys.stdin.buffer.readline())
    runner = JOBS[job["kind"]](job)
    _send(out, {"version": runner.version if runner else ""})
    if runner:
        serve(runner, sys.stdin.buffer, out)


def _send(out: BinaryIO, about: dict[str, Any], data: bytes = b"") -> None:
    out.write(json.dumps(about).encode() + b"\n" + data)
    out.flush()


if __name__ == "__main__":
    main()

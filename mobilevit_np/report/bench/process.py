"""Floor 5.5. The asking end of the pipe: a contender in a process of its own. Imports errors; standard library."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import MobileViTError
from .race import Turn

_PATIENCE = 10.0  # seconds for a process that was told to end


def python_path() -> str:
    """PYTHONPATH for a process that is to import this very package: where it lies first, then what was there before."""
    here = str(Path(__file__).resolve().parents[3])
    return os.pathsep.join(filter(None, [here, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]))


class ContenderError(MobileViTError):
    """A contender's process stopped before it was asked to."""


class Process:
    """A contender at work: ``start`` returns at once, ``ready`` waits until it's loaded, ``run`` has it called once."""

    def __init__(self, name: str, job: dict[str, Any], environment: dict[str, str], most_rounds: int | None = None):
        self.name, self.most_rounds = name, most_rounds
        self.version = ""
        self.peak_bytes: int | None = None
        self._problems = tempfile.TemporaryFile()  # noqa: SIM115  # closed by ``close``
        self._process = subprocess.Popen(
            [sys.executable, "-m", "mobilevit_np.report.bench.worker"],
            env={**os.environ, **environment, "PYTHONPATH": python_path()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._problems,
        )
        try:
            self._ask(job)
        except ContenderError:
            self.close()
            raise

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def ready(self) -> None:
        """Wait until it's loaded. Raises ContenderError where it can't be."""
        self.version = self._hear()["version"]

    def run(self, draws: Sequence[int]) -> Turn:
        """Calls with these inputs, the last one timed. Raises ContenderError where the process has ended."""
        self._ask({"draws": list(draws)})
        about = self._hear()
        self.peak_bytes = about["peak_bytes"]
        return Turn(about["seconds"], [self._answer(shape) for shape in about["shapes"]])

    def close(self) -> None:
        """End the process: politely, then surely."""
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(OSError):
                if pipe:
                    pipe.close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._problems.close()

    def _ask(self, request: dict[str, Any]) -> None:
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise self._stopped() from None

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            raise self._stopped()
        about: dict[str, Any] = json.loads(line)
        return about

    def _answer(self, shape: Sequence[int]) -> np.ndarray:
        assert self._process.stdout
        data = self._process.stdout.read(4 * math.prod(shape))
        if len(data) != 4 * math.prod(shape):
            raise self._stopped()
        return np.frombuffer(data, np.float32).reshape(shape)

    def _stopped(self) -> ContenderError:
        self._process.wait()
        self._problems.seek(0)
        lines = [line for line in self._problems.read().decode("utf-8", "replace").splitlines() if line.strip()]
        said = lines[-1].strip() if lines else f"exit code {self._process.returncode}"
        return ContenderError(f"{self.name} stopped: {said:.300}; leave it out, or repair what it stands on")


def run_job(name: str, job: dict[str, Any], environment: dict[str, str]) -> None:
    """A job that needs no answer, in a process of its own. Raises ContenderError where it fails."""
    with Process(name, job, environment) as process:
        process.ready()

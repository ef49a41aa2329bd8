"""The whole command, from the process's start to its answer.

``python -m mobilevit_np classify PHOTO`` against a script that does the same with transformers and PyTorch. Both as a
user starts them: no thread is limited.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mobilevit_np.checkpoints.shipped import DEFAULTS, shipped
from mobilevit_np.pipelines import Classifier

from .contenders import CONTENDERS, VERSION
from .process import ContenderError
from .race import Rules, Turn, race
from .tables import records

TOLERANCE = 1e-3  # of the largest score: what decodes and resizes the photo is other code
TOP = 5
SCRIPT = Path(__file__).with_name("with_transformers.py")


class Command:
    """A contender that is a command: each call starts it anew, and waits for its last line."""

    most_rounds: int | None = None
    peak_bytes: int | None = None
    compile_seconds: float | None = None

    def __init__(self, name: str, arguments: Sequence[str], classes: int, version: str):
        self.name, self.version = name, version
        self._arguments, self._classes = arguments, classes
        self._environment = dict(os.environ)
        self._environment.pop("PYTHONDONTWRITEBYTECODE", None)  # nobody compiles modules anew at every start

    def run(self, _: Sequence[int]) -> Turn:
        """Start it, and wait for its end. Raises ContenderError where it fails."""
        command = [sys.executable, *self._arguments]
        start = time.perf_counter()
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self._environment)
        seconds = time.perf_counter() - start
        if done.returncode:
            said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ContenderError(f"{self.name} failed: {said:.300}; leave it out, or repair what it stands on")
        answers = json.loads(done.stdout.strip().splitlines()[-1])["predictions"]
        pairs = ((each["index"], each.get("probability", each.get("score"))) for each in answers)
        return Turn(seconds, [_vector(pairs, self._classes)])


def race_commands(photo: str, weights: str | None, with_peer: bool, rules: Rules) -> list[dict[str, Any]]:
    """How our command did, and transformers' script where it's wanted. Raises ImageError for no photo."""
    source = weights or DEFAULTS["classifier"]
    classifier = Classifier.from_pretrained(source, engine="reference")
    best = classifier(photo, top=TOP).predictions
    classes = len(classifier.labels)
    expected = _vector(((each.index, each.score) for each in best), classes)
    ours = ["-m", "mobilevit_np", "classify", photo, "--json", "--top", str(TOP), "--weights", source]
    commands = [Command("mobilevit-np classify", ours, classes, VERSION)]
    if with_peer:
        theirs = [str(SCRIPT), photo, str(shipped().get(source, source)), str(TOP)]
        versions = ", ".join(f"{package} {version(package)}" for package in CONTENDERS["torch"].packages)
        commands.append(Command("transformers", theirs, classes, versions))
    return records(commands, race(commands, lambda _: expected, rules), 1)


def _vector(pairs: Iterable[tuple[int, float]], classes: int) -> np.ndarray:
    vector = np.zeros(classes, np.float32)
    for index, score in pairs:
        vector[index] = score
    return vector

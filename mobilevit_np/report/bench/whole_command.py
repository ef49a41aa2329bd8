"""Floor 5.5. The whole command, from the process's start to its answer. Imports pipelines, checkpoints.

``python -m mobilevit_np classify PHOTO`` against a script that does the same with transformers and PyTorch, as short as
such scripts are. Both as a user starts them: no thread is limited.
"""

from __future__ import annotations

import inspect
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...checkpoints.shipped import DEFAULTS, shipped
from ...pipelines import Classifier
from . import peers
from .contenders import VERSION
from .process import ContenderError, python_path
from .race import Rules, Turn, race
from .tables import records

TOLERANCE = 1e-3  # of the largest score: what decodes and resizes the photo is other code
TOP = 5

_SCRIPT = f"""\
import json
import sys
from importlib import import_module
from typing import Any

{inspect.getsource(peers.import_transformers)}

transformers, torch = import_transformers(), import_module("torch")
from PIL import Image

photo, weights, problem_type = sys.argv[1:]
processor = transformers.MobileViTImageProcessorPil.from_pretrained(weights)
model = transformers.MobileViTForImageClassification.from_pretrained(weights).eval()
with torch.inference_mode():
    logits = model(**processor(images=Image.open(photo).convert("RGB"), return_tensors="pt")).logits
if problem_type != "regression":
    logits = logits.sigmoid() if problem_type == "multi_label_classification" else logits.softmax(-1)
best = logits[0].topk(min({TOP}, logits.shape[1]))
pairs = zip(best.indices.tolist(), best.values.tolist())
print(json.dumps({{"predictions": [{{"index": index, "probability": p}} for index, p in pairs]}}))
"""


class Command:
    """A contender that is a command: each call starts it anew, and waits for its last line."""

    most_rounds: int | None = None
    peak_bytes: int | None = None

    def __init__(self, name: str, arguments: Sequence[str], classes: int, version: str):
        self.name, self.version = name, version
        self._arguments, self._classes = arguments, classes
        self._environment = {**os.environ, "PYTHONPATH": python_path()}
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
        return Turn(seconds, [_vector(map(_index_and_score, answers), self._classes)])


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
        theirs = ["-c", _SCRIPT, photo, str(shipped().get(source, source)), classifier.checkpoint.problem_type]
        commands.append(Command("transformers", theirs, classes, _peer_version()))
    return records(commands, race(commands, lambda _: expected, rules), 1)


def _peer_version() -> str:
    from importlib.metadata import version

    return ", ".join(f"{package} {version(package)}" for package in peers.PEERS["torch"].packages)


def _index_and_score(answer: dict[str, Any]) -> tuple[int, float]:
    return answer["index"], answer["probability" if "probability" in answer else "score"]


def _vector(pairs: Any, classes: int) -> np.ndarray:
    vector = np.zeros(classes, np.float32)
    for index, score in pairs:
        vector[index] = score
    return vector

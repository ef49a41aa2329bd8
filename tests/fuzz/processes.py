"""Whole commands under limits of the system, or with a signal at some moment: ``run.py --processes 200 --seed 7``.

Right is an answer or one line a photo and one besides, exit code 0, 1 or 2, whole files or none, and the inputs as they
were. A signal is sent once our own code runs: before, it's Python that it meets.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[2]
PHOTOS = ("a.png", "b.png")
COMMANDS = (
    ("classify", *PHOTOS, "--weights", "classifier"),
    ("segment", *PHOTOS, "-o", "new/o/", "--mask", "new/m/", "--weights", "segmenter"),
    ("explain", "a.png", "-o", "page.html", "--weights", "classifier"),
    ("trace", "--formula", "xx_small", "--size", "64", "-o", "g.npz", "--weights-out", "new"),
    ("trace", "--operators", "new"),
    ("compare", "golden.npz", "golden.npz", "--html", "page.html", "--weights", "classifier"),
    ("diagnose", "golden.npz", "golden.npz", "--weights", "classifier"),
    ("weights", "convert", "pets-xx-small", "new/w"),
    ("weights", "quantize", "classifier", "q.safetensors", "--photos", *PHOTOS),
)
LIMITS = {  # from the least that Python itself can start with
    "AS": (180e6, 600e6),
    "FSIZE": (0, 4e6),
    "NOFILE": (8, 40),
    "CPU": (1, 3),
    "STACK": (256e3, 8e6),
}
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGXCPU", "SIGUSR1")
COMMAND = """
import os, sys
sys.path.insert(0, {repository!r})
from mobilevit_np import __main__ as entry, fence
usual = entry._run
def run():
    fence.signals_interrupt()
    os.write(1, b"\\n")
    return usual()
entry._run = run
sys.argv = ["mobilevit-np", *{arguments!r}]
sys.exit(entry.main())
"""


def run_case(seed: int, number: int) -> str | None:
    """Run one command. None where it ended as it should, else what went wrong."""
    random = np.random.default_rng([seed, number])
    arguments = COMMANDS[random.integers(len(COMMANDS))]
    with tempfile.TemporaryDirectory() as folder:
        _prepare(Path(folder))
        before = _files(Path(folder))
        under, what, send = _trial(random)
        running = subprocess.Popen(
            [sys.executable, "-c", COMMAND.format(repository=str(REPOSITORY), arguments=list(arguments))],
            cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=under,
        )  # fmt: skip
        with running:
            assert running.stdout
            running.stdout.readline()
            send(running)
            _, errors = running.communicate(timeout=120)
        problem = _problem(running.returncode, errors.decode(errors="replace"))
        problem = problem or _left(before, _files(Path(folder)), Path(folder))
    return problem and f"{' '.join(arguments)} {what}: {problem}"


def _trial(random: np.random.Generator) -> tuple[Callable[[], None] | None, str, Callable[[Any], None]]:
    """What to do in the process before it begins, what that is, and what to do to it later."""
    if random.integers(2):
        import resource

        name = list(LIMITS)[random.integers(len(LIMITS))]
        limit = int(random.uniform(*LIMITS[name]))
        number = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(number)[1] if name == "CPU" else limit
        return lambda: resource.setrlimit(number, (limit, hard)), f"under {name} {limit}", lambda running: None
    sent = [SIGNALS[i] for i in random.integers(0, len(SIGNALS), random.integers(1, 3))]
    pauses = [random.uniform(0, 1.2), *random.uniform(0, 0.02, len(sent) - 1)]

    def send(running: Any) -> None:
        for name, pause in zip(sent, pauses, strict=True):
            time.sleep(pause)
            running.send_signal(getattr(signal, name))

    return None, f"sent {sent} after {pauses}", send


def _problem(code: int, errors: str) -> str | None:
    lines = [line for line in errors.splitlines() if ": warning: " not in line]
    if code not in (0, 1, 2) or "Traceback" in errors or len(lines) > len(PHOTOS) + 1 or (code == 2 and not lines):
        return f"exit code {code}, {len(lines)} lines:\n{errors[-2000:]}"
    return None


def _left(before: dict[str, bytes], after: dict[str, bytes], folder: Path) -> str | None:
    """What was changed that was there, or left that's no result."""
    changed = [name for name, data in before.items() if after.get(name) != data]
    scraps = [name for name in after if ".tmp" in name]
    empty = [path.name for path in folder.rglob("*") if path.is_dir() and not list(path.iterdir())]
    return f"changed {changed}, left {scraps} and empty {empty}" if changed or scraps or empty else None


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _prepare(folder: Path) -> None:
    """Two photos, two networks and a golden file, made once and copied."""
    from mobilevit_np.formats.files import write_files

    if not _made:
        from tiny import save_photo, save_tiny

        from mobilevit_np.cli import run

        with tempfile.TemporaryDirectory() as name:
            for seed, photo in enumerate(PHOTOS):
                save_photo(Path(name, photo), seed=seed)
            for task in ("classifier", "segmenter"):
                save_tiny(Path(name, task), task)
            photo, golden, weights = (str(Path(name, part)) for part in ("a.png", "golden.npz", "classifier"))
            assert run(["trace", photo, "-o", golden, "--weights", weights]) == 0
            _made.update(_files(Path(name)))
    paths = {folder / name: data for name, data in _made.items()}
    write_files(paths, folders={path.parent for path in paths})


_made: dict[str, bytes] = {}

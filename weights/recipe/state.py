"""Training state: saved so that a kill at any moment costs minutes, never the run.

A file is written beside its target and renamed over it, which POSIX makes atomic: whoever reads the target finds the
old state or the new one, whole. Randomness needs no saving, since every random draw of the recipe comes from a
generator seeded by (seed, photos seen): see `generator`.
"""

import csv
import os
import time
from datetime import datetime, timezone
from functools import lru_cache
from pathlib import Path

import torch
from torch import nn


def save_atomically(content: dict, path: Path) -> None:
    """Write `content` with torch.save so that `path` never holds half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(path.suffix + ".part")
    torch.save(content, beside)
    os.replace(beside, path)


def load(path: Path) -> dict:
    """Read a state written by `save_atomically`; tensors and plain values only, no pickled code."""
    return torch.load(path, map_location="cpu", weights_only=True)


def generator(seed: int, photos_seen: int) -> torch.Generator:
    """The random source of one batch: the same numbers whether or not the run was interrupted before it."""
    return torch.Generator().manual_seed(seed * 1_000_000_007 + photos_seen)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, photos: int) -> torch.Tensor:
    return torch.randperm(photos, generator=torch.Generator().manual_seed(seed * 7_919 + epoch))


def next_indices(seed: int, photos_seen: int, photos: int, batch: int) -> torch.Tensor:
    """Which photos come next, (batch,): every epoch a fresh order, batches running across the epochs' ends."""
    epoch, start = divmod(photos_seen, photos)
    order = _order(seed, epoch, photos)
    if start + batch > photos:
        order = torch.cat([order, _order(seed, epoch + 1, photos)])
    return order[start : start + batch]


class Average:
    """Exponential moving average of weights and BatchNorm statistics: what is validated and exported.

    Early on it forgets faster, (1 + n) / (10 + n), so that the random start does not linger.
    """

    def __init__(self, network: nn.Module, decay: float):
        self.decay = decay
        self.updates = 0
        self.values = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        self.updates += 1
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, weight)
            else:
                self.values[name].copy_(value)

    def state_dict(self) -> dict:
        return {"updates": self.updates, "values": self.values}

    def load_state_dict(self, saved: dict) -> None:
        self.updates = saved["updates"]
        for name, value in saved["values"].items():
            self.values[name].copy_(value)


class Log:
    """A CSV file, one row per validation, that a resumed run goes on filling; also printed."""

    def __init__(self, path: Path):
        self.path = path

    def write(self, **row) -> None:
        row = {"utc": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S"), **row}
        row = {name: f"{value:.5g}" if isinstance(value, float) else value for name, value in row.items()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        columns = self.path.read_text().splitlines()[0].split(",") if self.path.exists() else list(row)
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")  # in the file's order
            if file.tell() == 0:
                writer.writeheader()
            writer.writerow(row)
        print(" ".join(f"{name}={value}" for name, value in row.items()), flush=True)


class Every:
    """True once every `seconds`: when to save."""

    def __init__(self, seconds: float):
        self.seconds = seconds
        self.last = time.monotonic()

    def __call__(self) -> bool:
        due = time.monotonic() - self.last >= self.seconds
        if due:
            self.last = time.monotonic()
        return due

"""What the real ports are held against, and the table that tells how they did: the same for every framework.

The networks have weights by formula, and are xx_small where nothing else is said. Their sizes make every layer work:
112 gives maps with odd sides, which are resized to whole patches; at 128 the segmenter's first dilated convolution
reaches beyond its center.
"""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mobilevit_np.config import VARIANTS, NetworkConfig
from mobilevit_np.golden import Comparison, Golden, Network, compare, trace
from mobilevit_np.golden.formula import network_by_formula, tensor
from mobilevit_np.golden.network import digest

SIZES = {"classifier": 112, "segmenter": 128, "backbone": 64}
STRIDES = {"segmenter": 16}
LABELS = {"classifier": 1000, "segmenter": 21}
NAMES = Path(__file__).parent / "fixtures" / "port_names.json.gz"
HEADER = (
    "| port | network | matched | worst error, replayed | in noise floors | first bad layer | verdict |",
    "|---|---|---|---|---|---|---|",
)


@functools.cache
def golden_and_network(task: str, variant: str = "xx_small") -> tuple[Golden, Network]:
    """A golden file's content for a task, and the network that it was made with."""
    config = NetworkConfig(**VARIANTS[variant], num_labels=LABELS.get(task, 2), output_stride=STRIDES.get(task, 32))
    network = network_by_formula(config, "classifier" if task == "backbone" else task, 0)
    if task == "backbone":
        tensors = {name: t for name, t in network.tensors.items() if name.startswith("mobilevit.")}
        network = Network(task, config, tensors, True, None, {"name": "formula", "sha256": digest(tensors)})
    size = SIZES[task]
    return trace(tensor("pixel_values", (1, 3, size, size)), network), network


def recorded_names() -> dict[str, list[str]]:
    """What real ports call their tensors, as recorded: ``port/task/variant`` -> names in order of execution."""
    return json.loads(gzip.decompress(NAMES.read_bytes())) if NAMES.exists() else {}


@dataclass(frozen=True)
class Port:
    """A port's tensors for one of the networks."""

    title: str
    task: str
    tensors: Mapping[str, np.ndarray]
    precision: str | None = None  # None: as its numbers show

    def compared(self, *, replayed: bool = True) -> Comparison:
        """Its tensors beside the golden's, layer by layer."""
        golden, network = golden_and_network(self.task)
        given = network if replayed else None
        return compare(golden, self.tensors, network=given, precision=self.precision)


def line(port: Port) -> str:
    """One line of the table."""
    replayed = port.compared()
    worst = max(replayed.rows, key=lambda row: row.multiple)
    error = max(row.difference.error if row.difference else np.inf for row in replayed.rows)
    first = replayed.first_bad.path if replayed.first_bad else "none"
    verdict = "right" if replayed.ok else "WRONG"
    if replayed.precision != "float32":
        verdict += f" for {replayed.precision}"
    count = f"{len(replayed.rows)} of {len(golden_and_network(port.task)[0].noise) + 1}"
    return (
        f"| {port.title} | {port.task} | {count} | {error:.1e} | {worst.multiple:.1f} ({worst.path}) "
        f"| {first} | {verdict} |"
    )


def print_table(ports: Iterable[tuple[str, str]], record: Callable[[str, str], Port]) -> bool:
    """Print the table of these (title, task), a line as soon as it's known; whether something in it is wrong."""
    print(*HEADER, sep="\n", flush=True)
    wrong = False
    for title, task in ports:
        told = line(record(title, task))
        print(told, flush=True)
        wrong |= "WRONG" in told
    return wrong

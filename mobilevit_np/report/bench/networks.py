"""Floor 5.5. The race of networks: cell by cell, engines and peers in turn. Imports this package and engines."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from ...engines import compile_network
from ...scope import Scope
from . import peers
from .cells import Cell
from .contenders import environment, rounds_at_most
from .process import Process, run_job
from .race import Rules, race
from .tables import records

TOLERANCE = 1e-5  # of the largest magnitude of the reference's float32 answer
Tell = Callable[[str], None]


def race_networks(
    cells: Sequence[Cell], names: Sequence[str], threads: int, rules: Rules, tell: Tell
) -> list[dict[str, Any]]:
    """For each cell what was run and how each contender did, as plain values. ``tell`` is told how far it is.

    Raises WrongAnswerError, ContenderError.
    """
    with tempfile.TemporaryDirectory(prefix="mobilevit-np-") as folder:
        if any(_reads_onnx(name) for name in names):
            tell(f"exporting {len(cells)} networks to ONNX")
            job = {"kind": "export", "cells": [dataclasses.asdict(cell) for cell in cells], "folder": folder}
            run_job("the export to ONNX", job, environment("torch", threads))
        laps = []
        for i, cell in enumerate(cells):
            tell(f"{i + 1} of {len(cells)}: {cell}: {', '.join(names)}")
            laps.append(_lap(cell, names, threads, rules, folder))
        return laps


def _lap(cell: Cell, names: Sequence[str], threads: int, rules: Rules, folder: str) -> dict[str, Any]:
    rules = dataclasses.replace(rules, wake=cell.batch == 1)
    with contextlib.ExitStack() as stack:
        contenders = [stack.enter_context(_start(name, cell, threads, folder)) for name in names]
        expected = expecting(cell)
        for contender in contenders:
            contender.ready()
        results = race(contenders, expected, rules)
        return {**dataclasses.asdict(cell), "contenders": records(contenders, results, cell.batch)}


def _start(name: str, cell: Cell, threads: int, folder: str) -> Process:
    job = {"kind": "network", "name": name, "cell": dataclasses.asdict(cell), "threads": threads}
    if _reads_onnx(name):
        job["model"] = peers.onnx_file(cell, folder)
    return Process(name, job, environment(name, threads), rounds_at_most(name))


def expecting(cell: Cell) -> Callable[[int], np.ndarray]:
    """The reference's answer to each of the cell's inputs."""
    network = compile_network("reference", cell.task, Scope(cell.tensors()), cell.config)
    return lambda draw: network(cell.pixel_values(draw))[0]


def cells_of(variants: Iterable[str], batches: Sequence[int], task: str, size: int) -> list[Cell]:
    """The cells of the tables, in their order: all variants with one batch, then with the next."""
    variants = list(variants)
    return [Cell(variant, task, batch, size) for batch in batches for variant in variants]


def _reads_onnx(name: str) -> bool:
    return name in peers.PEERS and peers.PEERS[name].reads_onnx

"""The race of networks: cell by cell, engines and peers in turn."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from mobilevit_np.engines import compile_network
from mobilevit_np.scope import Scope

from .cells import Cell
from .contenders import CONTENDERS, environment, export, onnx_file
from .process import Process
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
        if any(CONTENDERS[name].reads_onnx for name in names):
            tell(f"exporting {len(cells)} networks to ONNX")
            job = partial(export, cells, folder)
            with Process("the export to ONNX", job, environment("torch", threads)) as exporting:
                exporting.ready()
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
    entry = CONTENDERS[name]
    model = onnx_file(cell, folder) if entry.reads_onnx else None
    return Process(name, partial(entry.load, cell, threads, model), environment(name, threads), entry.most_rounds)


def expecting(cell: Cell) -> Callable[[int], np.ndarray]:
    """The reference's answer to each of the cell's inputs."""
    network = compile_network("reference", cell.task, Scope(cell.tensors()), cell.config)
    return lambda draw: network(cell.pixel_values(draw))

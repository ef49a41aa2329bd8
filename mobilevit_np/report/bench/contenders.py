"""Floor 5.5. Who can be in a race: our engines by name, peers by name, and how each is called. Imports engines, cells.

A ``Runner`` is a contender ready to run, in its own process. Only ``call`` is timed: the input is drawn and brought
into the contender's own kind of array before, and the answer made a NumPy array afterwards.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ... import matrix_library
from ..._version import __version__
from ...engines import ENGINES, compile_network
from ...errors import InputError, MissingExtraError
from ...scope import Scope
from . import peers
from .cells import Cell

FAST = "fast"
VERSION = f"mobilevit_np {__version__}"


@dataclass(frozen=True)
class Runner:
    """A contender, loaded. ``draw(number)`` gives an input, ``call(input)`` is timed, ``answer`` makes it NumPy's."""

    draw: Callable[[int], Any]
    call: Callable[[Any], Any]
    answer: Callable[[Any], np.ndarray]
    version: str


def environment(name: str, threads: int) -> dict[str, str]:
    """The environment variables for a contender's process: as many threads for each, however it makes them.

    The fast engine's threads are Python's, so that each of its matrix products is to stay in one.
    """
    number = "1" if name == FAST else str(threads)
    return dict.fromkeys(matrix_library.VARIABLES, number)


def choose_peers(wanted: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """The peers to run, and ``{name: how to install it}`` of those that were left out.

    ``wanted``: None for all installed ones that take no patience; names; or "none" or "all" alone.
    Raises MissingExtraError where a peer named isn't installed, InputError for an unknown name.
    """
    if wanted is not None and list(wanted) not in (["none"], ["all"]):
        return _named(wanted), {}
    names = [name for name, peer in peers.PEERS.items() if wanted is not None or not peer.slow]
    if wanted is not None and wanted[0] == "none":
        names = []
    missing = {name: how_to_install(name) for name in names if not installed(name)}
    return [name for name in names if name not in missing], missing


def installed(name: str) -> bool:
    """Whether all that a peer needs is there; nothing of it is imported."""
    return all(importlib.util.find_spec(package) for package in peers.PEERS[name].packages)


def how_to_install(name: str) -> str:
    """The command that installs what a peer needs."""
    return f"pip install {' '.join(peers.PEERS[name].packages)}"


def rounds_at_most(name: str) -> int | None:
    """How many rounds a contender takes part in: few where each takes seconds; None for all."""
    return 3 if name in peers.PEERS and peers.PEERS[name].slow else None


def load(name: str, cell: Cell, threads: int, model: str | None) -> Runner:
    """The contender, ready to run in this process; ``model`` is the ONNX file for those that read one."""
    if name in ENGINES:
        return _load_engine(name, cell, threads)
    call, bring, take, version = peers.PEERS[name].load(cell, threads, model)
    return Runner(lambda draw: bring(cell.pixel_values(draw)), call, take, version)


def use_threads(engine: str, threads: int) -> None:
    """Let an engine run on ``threads`` threads; the reference's are the matrix library's, set by ``environment``."""
    if engine == FAST:
        from ... import fast

        fast.use_threads(threads)


def _load_engine(name: str, cell: Cell, threads: int) -> Runner:
    use_threads(name, threads)
    network = compile_network(name, cell.task, Scope(cell.tensors()), cell.config)
    return Runner(cell.pixel_values, network, lambda outputs: outputs[0], VERSION)


def _named(wanted: Sequence[str]) -> list[str]:
    for name in wanted:
        if name not in peers.PEERS:
            known = ", ".join(peers.PEERS)
            raise InputError(f"there is no peer {name!r}; known are {known}, and alone none or all")
        if not installed(name):
            raise MissingExtraError(f"{name} isn't installed; {how_to_install(name)}, or leave it out of --peers")
    return list(dict.fromkeys(wanted))

"""Helpers for a port's own tests, with this package as the reference.

    @pytest.mark.parametrize("golden", operator_cases("conv2d*"), ids=str)
    def test_convolution(golden):
        assert_matches_golden(my_convolution, golden)

Nothing here needs pytest. The cases are goldens made by formula, without a file or a download.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError
from .golden.comparison import Comparison, compare
from .golden.file import LOGITS, OPERATOR, OUTPUT, PIXELS, Golden, read_golden
from .golden.formula import make
from .golden.measure import MULTIPLE
from .golden.network import Network
from .golden.operators import CASES, make_operator
from .golden.tables import comparison_lines

__all__ = ["assert_matches_golden", "network_cases", "operator_cases"]


def assert_matches_golden(
    port: Callable[..., Any],
    golden: Golden | str | Path,
    *,
    network: Network | None = None,
    mapping: Mapping[str, str | list[str]] | None = None,
    precision: str | None = "float32",
    multiple: float = MULTIPLE,
) -> Comparison:
    """Run a port on a golden's input and raise AssertionError, with ``compare``'s lines, unless its results are right.

    For a network's golden, ``port(pixel_values)`` returns the logits, or a mapping of every tensor it has. For an
    operator's, ``port(operands, **arguments)`` returns the output (or a mapping); ``operands`` are by name (``x``,
    ``weight``...). Inputs are float32. ``network`` compares by replay; the other arguments, and what else is raised,
    are those of ``golden.compare``. ``golden`` may be a file, read as by ``golden.read_golden``.
    """
    golden = golden if isinstance(golden, Golden) else read_golden(golden)
    found = _tensors(_run(port, golden), OUTPUT if golden.task == OPERATOR else LOGITS)
    comparison = compare(golden, found, network=network, mapping=mapping, precision=precision, multiple=multiple)
    if not comparison.ok:
        raise AssertionError("\n".join([f"{golden} isn't matched", *comparison_lines(comparison)]))
    return comparison


def operator_cases(pattern: str = "*", *, seed: int = 0) -> list[Golden]:
    """The operators' goldens whose names match a shell-style pattern (``conv2d*``, ``unfold``, ``mobilevit_block``).

    Raises InputError if none does, since a test of nothing would pass, or for an impossible seed.
    """
    names = [name for name in CASES if fnmatchcase(name, pattern)]
    if not names:
        raise InputError(f"no operator is called {pattern!r}; there are {', '.join(CASES)}")
    return [make_operator(name, seed) for name in names]


def network_cases(
    *, variant: str = "xx_small", task: str = "classifier", size: int = 64, seed: int = 0
) -> list[Golden]:
    """A whole network's golden, in a list; ``golden.formula.remake`` gives the network with its weights.

    Raises InputError for an unknown variant or task, or an impossible size or seed.
    """
    return [make(variant, task=task, size=size, seed=seed)]


def _run(port: Callable[..., Any], golden: Golden) -> Any:
    inputs = {name: value.astype(np.float32) for name, value in golden.inputs.items() if value.dtype.kind == "f"}
    if golden.task != OPERATOR:
        return port(inputs[PIXELS])
    return port(inputs, **golden.config["arguments"])


def _tensors(found: Any, name: str) -> dict[str, np.ndarray]:
    if isinstance(found, Mapping):
        return {str(key): np.asarray(value) for key, value in found.items()}
    return {name: np.asarray(found)}

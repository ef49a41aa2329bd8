"""A port's tensors beside the golden's, layer by layer.

Two ways. Plainly, each tensor is held against the golden's: error piles up from layer to layer, and everything after
the first mistake is off. With ``replay`` each layer is held against what the reference gives for the port's own input
to it: every wrong layer shows, and no other.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ..errors import InputError
from .file import PIXELS, Golden
from .matching import Matching, match
from .measure import MULTIPLE, UNITS, Difference, allowed, floor, measure, precision_of
from .network import Network
from .replay import replay


@dataclass(frozen=True)
class Row:
    """One tensor of the comparison. ``difference`` is None where its shape can't be compared."""

    path: str
    name: str  # the port's
    shape: tuple[int, ...]  # the port's
    difference: Difference | None
    noise: float  # the floor in the port's precision
    ok: bool

    @property
    def multiple(self) -> float:
        """The error as a multiple of the noise floor; infinite where there's none that's a number."""
        return self.difference.error / self.noise if self.difference and math.isfinite(self.noise) else float("inf")

    @property
    def finite(self) -> bool:
        """Whether its error and its noise floor are numbers; a tensor where one isn't is never right."""
        return self.difference is None or (math.isfinite(self.difference.error) and math.isfinite(self.noise))


@dataclass(frozen=True)
class Comparison:
    """Every tensor that both have, one at least, in order of execution, and what only one of them has."""

    rows: tuple[Row, ...]
    missing: tuple[str, ...]  # the golden's, not in the port
    unknown: tuple[str, ...]  # the port's, not in the golden
    absent: tuple[str, ...]  # what the user's map names, not in the port
    how: str
    layouts: dict[str, str]
    precision: str
    multiple: float  # of the noise floor, that is allowed
    replayed: bool

    @property
    def ok(self) -> bool:
        """Whether everything that was compared is within tolerance, and finite."""
        return all(row.ok for row in self.rows)

    @property
    def bad(self) -> tuple[Row, ...]:
        """The rows that aren't."""
        return tuple(row for row in self.rows if not row.ok)

    @property
    def first_bad(self) -> Row | None:
        """The first of them, in order of execution."""
        return next((row for row in self.rows if not row.ok), None)

    @property
    def last_good(self) -> Row | None:
        """The row before the first bad one."""
        good = None
        for row in self.rows:
            if not row.ok:
                return good
            good = row
        return good

    def as_json(self) -> dict[str, Any]:
        """Plain values, for programs."""
        first, last = self.first_bad, self.last_good
        return {
            "ok": self.ok,
            "first_bad": first.path if first else None,
            "last_good": last.path if last else None,
            "replayed": self.replayed,
            "matched_by": self.how,
            "layouts": self.layouts,
            "precision": self.precision,
            "multiple_allowed": self.multiple,
            "compared": len(self.rows),
            "missing": list(self.missing),
            "unknown": list(self.unknown),
            "absent": list(self.absent),
            "tensors": [_row_json(row) for row in self.rows],
        }


def compare(
    golden: Golden,
    port: Mapping[str, np.ndarray],
    *,
    network: Network | None = None,
    mapping: Mapping[str, str | list[str]] | None = None,
    by: str = "auto",
    precision: str | None = None,
    multiple: float = MULTIPLE,
) -> Comparison:
    """Compare a port's tensors with a golden's; with ``network`` (the golden's own) by layer-local replay.

    ``mapping`` and ``by``: see ``match``. ``precision`` is what the port computes in (float64, float32, float16,
    bfloat16, int8), by default what its numbers show. ``multiple`` of the noise floor is allowed.
    Raises InputError where nothing can be compared.
    """
    return compare_matched(golden, match(golden, port, mapping=mapping, by=by), network, precision, multiple)


def compare_matched(
    golden: Golden,
    matching: Matching,
    network: Network | None = None,
    precision: str | None = None,
    multiple: float = MULTIPLE,
) -> Comparison:
    """The same for tensors that have been matched."""
    if precision is None:
        precision = precision_of(tensor for path, tensor in matching.tensors.items() if path != PIXELS)
    if not 0 < multiple < math.inf:
        raise InputError(f"multiple must be a positive number, not {multiple!r}")
    if precision not in UNITS:
        raise InputError(f"precision must be one of {', '.join(UNITS)}, not {precision!r}")
    if network is None:
        rows = _plain_rows(golden, matching, precision, multiple)
    else:
        rows = _replayed_rows(golden, matching, network, precision, multiple)
    if not rows:
        raise InputError("none of the port's tensors stands where the network computes one: nothing was compared")
    missing = tuple(path for path in golden.noise if path not in matching.found and path not in matching.misshapen)
    return Comparison(
        tuple(rows),
        missing,
        matching.unknown,
        matching.absent,
        matching.how,
        matching.layouts,
        precision,
        multiple,
        network is not None,
    )


def judged(path: str, name: str, found: np.ndarray, difference: Difference, noise: float, multiple: float) -> Row:
    """A row with its verdict."""
    return Row(path, name, found.shape, difference, noise, difference.error <= allowed(noise, multiple))


def _plain_rows(golden: Golden, matching: Matching, precision: str, multiple: float) -> list[Row]:
    rows = []
    for path, expected in golden.tensors.items():
        if path in matching.misshapen:
            rows.append(_misshapen(path, matching))
        elif path in matching.found:
            matched = matching.found[path]
            noise = _floor(path, golden.noise.get(path, 0.0), matched.tensor, precision)
            rows.append(judged(path, matched.name, matched.tensor, measure(matched.tensor, expected), noise, multiple))
    return rows


def _replayed_rows(golden: Golden, matching: Matching, network: Network, precision: str, multiple: float) -> list[Row]:
    locally = replay(network, golden, matching.tensors, precision)
    rows = []
    for path in golden.tensors:
        if path in matching.misshapen:
            rows.append(_misshapen(path, matching))
        elif path in locally:
            matched = matching.found[path]
            noise = _floor(path, locally[path].noise, matched.tensor, precision)
            rows.append(judged(path, matched.name, matched.tensor, locally[path].difference, noise, multiple))
    return rows


def _floor(path: str, noise: float, found: np.ndarray, precision: str) -> float:
    """The noise floor in the port's precision; its input may have another, and isn't held to better than float32."""
    if path == PIXELS:
        precision = max("float32", precision_of([found]), key=UNITS.__getitem__)
    return floor(noise, precision)


def _misshapen(path: str, matching: Matching) -> Row:
    name, shape = matching.misshapen[path]
    return Row(path, name, shape, None, 1.0, False)


def plain(value: Any) -> Any:
    """A value as JSON can hold it: infinite and undefined numbers, which it hasn't, become null."""
    if isinstance(value, dict):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _row_json(row: Row) -> dict[str, Any]:
    difference = asdict(row.difference) if row.difference else None
    return {"path": row.path, "name": row.name, "ok": row.ok, "shape": list(row.shape)} | (
        {"noise": row.noise, "multiple": row.multiple, **difference} if difference else {"problem": "shape"}
    )

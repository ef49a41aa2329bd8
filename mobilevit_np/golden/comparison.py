"""A port's tensors beside the golden's, layer by layer.

Two ways. Plainly, each tensor is held against the golden's: error piles up from layer to layer, and everything after
the first mistake is off. With ``replay`` each layer is held against what the reference gives for the port's own input
to it: every wrong layer shows, and no other.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..errors import InputError
from .doubt import settle, without_heirs
from .file import LOGITS, OPERATOR, PIXELS, Golden
from .identity import Identity, split
from .matching import Matching, match, other_size
from .measure import MULTIPLE, UNITS, Difference, allowed, floor, measure, precision_of, precisions_of
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
    reaches: bool = True  # what comes after it; one that's off and doesn't is told, and is no mistake of the answer's

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
    identity: Identity | None = None  # what the port's weights say
    answer: Row | None = None  # the logits (or a backbone's last map) beside the golden's own, if the port has them
    other_size: tuple[int, int] | None = None  # height and width of the port's input, where its shapes tell another

    @property
    def ok(self) -> bool:
        """Whether everything that was compared is within tolerance, and finite, or reaches nothing."""
        return not self.bad

    @property
    def bad(self) -> tuple[Row, ...]:
        """The rows that aren't."""
        return tuple(row for row in self.rows if not row.ok and row.reaches)

    @property
    def idle(self) -> tuple[Row, ...]:
        """The rows that are off, and reach nothing that comes after them."""
        return tuple(row for row in self.rows if not row.ok and not row.reaches)

    @property
    def first_bad(self) -> Row | None:
        """The first of them, in order of execution."""
        return next(iter(self.bad), None)

    @property
    def last_good(self) -> Row | None:
        """The row before the first bad one."""
        good = None
        for row in self.rows:
            if row is self.first_bad:
                break
            good = row if row.ok else good
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
            "other_size": self.other_size,
            "idle": [row.path for row in self.idle],
            "answer": _row_json(self.answer) if self.answer else None,
            "weights": asdict(self.identity) if self.identity else None,
            "tensors": [_row_json(row) for row in self.rows],
        }


def compare(
    golden: Golden,
    port: Mapping[str, np.ndarray],
    *,
    network: Network | None = None,
    replayed: bool | None = None,
    mapping: Mapping[str, str | list[str]] | None = None,
    by: str = "auto",
    precision: str | None = None,
    multiple: float = MULTIPLE,
) -> Comparison:
    """Compare a port's tensors with a golden's; with ``network`` (the golden's own) by layer-local replay.

    ``replayed=False`` uses the network to find the tensors alone. ``mapping`` and ``by``: see ``match``. ``precision``
    is what the port computes in (float64, float32, float16, bfloat16, int8), by default what its numbers show.
    ``multiple`` of the noise floor is allowed. Raises InputError where nothing can be compared.
    """
    settled = pair_up(golden, port, network, mapping=mapping, by=by, precision=precision, multiple=multiple)
    return compare_matched(golden, settled, network if replayed in (None, True) else None)


@dataclass(frozen=True)
class Paired:
    """A port's tensors beside the golden's, the doubtful pairs settled, and by what measure they're judged."""

    matching: Matching
    idle: frozenset[str]  # off, and reaching nothing
    precision: str  # the port's
    precisions: Mapping[str, str]  # each tensor's
    multiple: float


def pair_up(
    golden: Golden,
    port: Mapping[str, np.ndarray],
    network: Network | None = None,
    *,
    mapping: Mapping[str, str | list[str]] | None = None,
    by: str = "auto",
    precision: str | None = None,
    multiple: float = MULTIPLE,
) -> Paired:
    """Match and settle. The arguments are those of ``compare``."""
    if not 0 < multiple < math.inf:
        raise InputError(f"multiple must be a positive number, not {multiple!r}")
    if precision is not None and precision not in UNITS:
        raise InputError(f"precision must be one of {', '.join(UNITS)}, not {precision!r}")
    matching = match(golden, port, network=network, mapping=mapping, by=by)
    tensors = {path: tensor for path, tensor in matching.tensors.items() if path != PIXELS}
    found = precision_of(tensors.values()) if precision is None else precision
    precisions = precisions_of(tensors, found) if precision is None else dict.fromkeys(tensors, found)
    if PIXELS in matching.found:  # which may be in another than the port computes in, and isn't held to better
        precisions[PIXELS] = precisions_of({PIXELS: matching.found[PIXELS].tensor}, "float32")[PIXELS]
    off = [row.path for row in _plain_rows(golden, matching, precisions, multiple) if not row.ok]
    idle: frozenset[str] = frozenset()
    if off and network is not None and golden.task != OPERATOR:
        matching, idle = settle(golden, split(port)[0], matching, network, precisions, multiple)
    elif off:
        matching, idle = without_heirs(golden, matching, off)
    return Paired(matching, idle, found, precisions, multiple)


def compare_matched(golden: Golden, paired: Paired, network: Network | None = None) -> Comparison:
    """The same for tensors that have been matched: with ``network`` by replay."""
    matching, precisions, multiple = paired.matching, paired.precisions, paired.multiple
    if network is None:
        rows = _plain_rows(golden, matching, precisions, multiple)
    else:
        rows = _replayed_rows(golden, matching, network, precisions, multiple)
    if not rows:
        raise InputError("none of the port's tensors stands where the network computes one: nothing was compared")
    missing = tuple(path for path in golden.noise if path not in matching.found and path not in matching.misshapen)
    return Comparison(
        tuple(replace(row, reaches=row.path not in paired.idle or not row.finite) for row in rows),
        missing,
        matching.unknown,
        matching.absent,
        matching.how,
        matching.layouts,
        paired.precision,
        multiple,
        network is not None,
        matching.identity,
        _answer(golden, matching, precisions, multiple),
        other_size(golden, matching),
    )


def judged(path: str, name: str, found: np.ndarray, difference: Difference, noise: float, multiple: float) -> Row:
    """A row with its verdict."""
    return Row(path, name, found.shape, difference, noise, difference.error <= allowed(noise, multiple))


def _plain_rows(golden: Golden, matching: Matching, precisions: Mapping[str, str], multiple: float) -> list[Row]:
    rows = []
    for path, expected in golden.tensors.items():
        if path in matching.misshapen:
            rows.append(_misshapen(path, matching))
        elif path in matching.found:
            matched = matching.found[path]
            noise = floor(golden.noise.get(path, 0.0), precisions[path])
            rows.append(judged(path, matched.name, matched.tensor, measure(matched.tensor, expected), noise, multiple))
    return rows


def _answer(golden: Golden, matching: Matching, precisions: Mapping[str, str], multiple: float) -> Row | None:
    path = LOGITS if LOGITS in matching.found or golden.task != "backbone" else "mobilevit"
    found = {path: matching.found[path]} if path in matching.found else {}
    return next(iter(_plain_rows(golden, replace(matching, found=found, misshapen={}), precisions, multiple)), None)


def _replayed_rows(
    golden: Golden, matching: Matching, network: Network, precisions: Mapping[str, str], multiple: float
) -> list[Row]:
    locally = replay(network, golden, matching.tensors, precisions)
    rows = []
    for path in golden.tensors:
        if path in matching.misshapen:
            rows.append(_misshapen(path, matching))
        elif path in locally:
            matched = matching.found[path]
            local = locally[path]
            rows.append(judged(path, matched.name, matched.tensor, local.difference, local.noise, multiple))
    return rows


def _misshapen(path: str, matching: Matching) -> Row:
    name, tensor = matching.misshapen[path]
    return Row(path, name, tensor.shape, None, 1.0, False)


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

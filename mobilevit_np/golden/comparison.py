"""A port's tensors beside the golden's, layer by layer.

Two ways. End to end, each tensor is compared with the golden's: errors accumulate from layer to layer, and everything
after the first mistake is off. By ``replay``, each layer is compared with what the reference outputs for the port's own
input to it: every wrong layer shows, and no other.

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
from .measure import MULTIPLE, UNITS, Difference, allowed, error, floor, measure, precision_of, precisions_of
from .network import Network
from .replay import Measured, replay
from .rounding import TO_HALF


@dataclass(frozen=True)
class Row:
    """One tensor of the comparison. ``difference`` is None if its shape can't be compared."""

    path: str
    name: str  # the port's
    shape: tuple[int, ...]  # the port's
    difference: Difference | None
    noise: float  # the floor in the port's precision
    ok: bool
    reaches: bool = True  # what comes after it: one that is off and doesn't is listed, but not counted as bad

    @property
    def multiple(self) -> float:
        """The error as a multiple of the noise floor; infinite if either isn't finite."""
        return self.difference.error / self.noise if self.difference and math.isfinite(self.noise) else float("inf")

    @property
    def finite(self) -> bool:
        """Whether its error and its noise floor are finite; otherwise it's never right."""
        return self.difference is None or (math.isfinite(self.difference.error) and math.isfinite(self.noise))


@dataclass(frozen=True)
class Comparison:
    """Every tensor that both have, at least one, in order of execution, and what only one of them has."""

    rows: tuple[Row, ...]
    missing: tuple[str, ...]  # the golden's, not in the port
    unknown: tuple[str, ...]  # the port's, not in the golden
    absent: tuple[str, ...]  # named by the user's map, not in the port
    how: str  # the tensors were matched
    layouts: dict[str, str]  # ours -> the port's
    precision: str  # the port's
    multiple: float  # of the noise floor that is allowed
    replayed: bool
    identity: Identity | None = None  # what the port's weights tell
    answer: Row | None = None  # the logits (or a backbone's last map) against the golden's own, if the port has them
    other_size: tuple[int, int] | None = None  # height and width of the port's input, if its shapes tell another

    def __str__(self) -> str:
        """What the command prints."""
        from .tables import comparison_lines

        return "\n".join(comparison_lines(self))

    def __repr__(self) -> str:
        return f"Comparison(ok={self.ok}, {len(self.bad)} of {len(self.rows)} tensors off)"

    @property
    def ok(self) -> bool:
        """Whether everything that was compared is finite and within tolerance, or reaches nothing."""
        return not self.bad

    @property
    def bad(self) -> tuple[Row, ...]:
        """The rows that are off, and reach what comes after them."""
        return tuple(row for row in self.rows if not row.ok and row.reaches)

    @property
    def idle(self) -> tuple[Row, ...]:
        """The rows that are off, and reach nothing that comes after them."""
        return tuple(row for row in self.rows if not row.ok and not row.reaches)

    @property
    def first_bad(self) -> Row | None:
        """The first of the bad rows, in order of execution."""
        return next(iter(self.bad), None)

    @property
    def last_good(self) -> Row | None:
        """The last row within tolerance before the first bad one."""
        good = None
        for row in self.rows:
            if row is self.first_bad:
                break
            good = row if row.ok else good
        return good

    def as_json(self) -> dict[str, Any]:
        """Values that JSON can hold, for programs; numbers that aren't finite are None."""
        first, last = self.first_bad, self.last_good
        return plain(
            {
                "ok": self.ok,
                "first_bad": first.path if first else None,
                "last_good": last.path if last else None,
                "replayed": self.replayed,
                "matched_by": self.how,
                "layouts": self.layouts,
                "precision": self.precision,
                "multiple_allowed": self.multiple,
                "compared": len(self.rows),
                "missing": self.missing,
                "unknown": self.unknown,
                "absent": self.absent,
                "other_size": self.other_size,
                "idle": [row.path for row in self.idle],
                "answer": _row_json(self.answer) if self.answer else None,
                "weights": asdict(self.identity) if self.identity else None,
                "tensors": [_row_json(row) for row in self.rows],
            }
        )


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
    """Compare a port's tensors, by name, with a golden's; with ``network`` (the golden's own) by replay.

    ``replayed=False`` uses the network only to match the tensors. ``mapping`` and ``by``: see ``match``. ``precision``
    is what the port computes in (float64, float32, float16, bfloat16, int8), by default what its numbers show.
    ``multiple`` of the noise floor is allowed. Raises InputError for an impossible argument, or if nothing can be
    compared.
    """
    paired = pair_up(golden, port, network, mapping=mapping, by=by, precision=precision, multiple=multiple)
    if network is None or replayed is False:
        return compare_paired(golden, paired)
    return compare_paired(golden, paired, paired.replay(network, golden))


@dataclass(frozen=True)
class Paired:
    """A port's tensors paired with the golden's, doubtful pairs settled, and how they're judged."""

    matching: Matching
    idle: frozenset[str]  # off, and reaching nothing
    precision: str  # the port's
    precisions: Mapping[str, str]  # each tensor's
    multiple: float
    replayed: Mapping[str, Measured] | None = None  # if settling the doubtful pairs took a replay

    def replay(self, network: Network, golden: Golden) -> Mapping[str, Measured]:
        """Each of the port's tensors against the reference's for the port's own input."""
        return self.replayed or replay(network, golden, self.matching.tensors, self.precisions)


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
    """Match the tensors, and settle the doubtful pairs. Arguments and errors are those of ``compare``."""
    if not 0 < multiple < math.inf:
        raise InputError(f"multiple must be a positive number, not {multiple!r}")
    if precision is not None and precision not in UNITS:
        raise InputError(f"precision must be one of {', '.join(UNITS)}, not {precision!r}")
    matching = match(golden, port, network=network, mapping=mapping, by=by)
    tensors = {path: tensor for path, tensor in matching.tensors.items() if path != PIXELS}
    found = precision_of(tensors.values()) if precision is None else precision
    precisions = dict.fromkeys(golden.tensors, found)  # of paths that another tensor may turn out to be, too
    if precision is None:
        precisions |= precisions_of(tensors, found)
    if PIXELS in matching.found:  # whose precision may be another than the port's, and needn't be better than float32
        precisions[PIXELS] = _precision_of_input(matching.found[PIXELS].tensor, golden.tensors[PIXELS], found)
    rows = _rows(golden, matching, _end_to_end(golden, matching, precisions), multiple)
    off = [row.path for row in rows if not row.ok]
    idle: frozenset[str] = frozenset()
    replayed: Mapping[str, Measured] | None = None
    if off and network is not None and golden.task != OPERATOR:
        matching, idle, replayed = settle(golden, split(port)[0], matching, network, precisions, multiple)
    elif off:
        matching, idle = without_heirs(golden, matching, off)
    return Paired(matching, idle, found, precisions, multiple, replayed)


def _precision_of_input(found: np.ndarray, expected: np.ndarray, ports: str) -> str:
    """The input's own precision; in a port that computes in a finer one it's the right input rounded, or none: values
    divided by 256 are short numbers too.
    """
    own = precisions_of({PIXELS: found}, "float32")[PIXELS]
    if own in TO_HALF and UNITS[ports] < UNITS[own] and found.shape == expected.shape:
        return own if error(found, TO_HALF[own](expected)) <= UNITS["float32"] else "float32"
    return own


def compare_paired(golden: Golden, paired: Paired, replayed: Mapping[str, Measured] | None = None) -> Comparison:
    """``compare`` for tensors that have been paired: as ``replayed``, or end to end."""
    matching, multiple = paired.matching, paired.multiple
    end_to_end = _end_to_end(golden, matching, paired.precisions)
    rows = _rows(golden, matching, end_to_end if replayed is None else replayed, multiple)
    if not rows:
        raise InputError("none of the port's tensors is one that the network computes: nothing was compared")
    last = LOGITS if LOGITS in matching.found or golden.task != "backbone" else "mobilevit"
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
        replayed is not None,
        matching.identity,
        _row(last, matching, end_to_end[last], multiple) if last in end_to_end else None,
        other_size(golden, matching),
    )


def _end_to_end(golden: Golden, matching: Matching, precisions: Mapping[str, str]) -> dict[str, Measured]:
    """Each of the port's tensors against the golden's."""
    found = {}
    for path, matched in matching.found.items():
        expected, noise = golden.tensors[path], floor(golden.noise.get(path, 0.0), precisions[path])
        found[path] = Measured(measure(matched.tensor, expected), noise, expected)
    return found


def _rows(golden: Golden, matching: Matching, measured: Mapping[str, Measured], multiple: float) -> list[Row]:
    """A row for each tensor that was measured, or has an impossible shape, in order of execution."""
    paths = [path for path in golden.tensors if path in matching.misshapen or path in measured]
    return [_row(path, matching, measured.get(path), multiple) for path in paths]


def _row(path: str, matching: Matching, measured: Measured | None, multiple: float) -> Row:
    if measured is None:
        name, tensor = matching.misshapen[path]
        return Row(path, name, tensor.shape, None, 1.0, False)
    matched = matching.found[path]
    ok = measured.difference.error <= allowed(measured.noise, multiple)
    return Row(path, matched.name, matched.tensor.shape, measured.difference, measured.noise, ok)


def plain(value: Any) -> Any:
    """A value as JSON can hold it: numbers that aren't finite become None."""
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

"""Which of a port's tensors is which of the golden's, and in what layout.

By name where one of the tables (or the user's own) knows the names, else by order, shape and content. What comes out
is the port's tensors under our paths and in our layout: the rest of the toolkit knows no ports.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError, InputError
from ..formats import files
from . import layouts
from .alignment import align
from .file import IMAGE, LOGITS, PIXELS, Golden, read_tensors
from .hook_names import MAP, Entry, from_map, table

BY = ("auto", "names", "order")
NAMELESS = "order, shape and content"
_ENOUGH_KNOWN = 0.5  # of the port's tensors must be known by name, or of the golden's, else they're taken as nameless


@dataclass(frozen=True)
class Matched:
    """One of the golden's tensors in the port."""

    name: str  # the port's name for it
    tensor: np.ndarray  # in our layout
    layout: str


@dataclass(frozen=True)
class Matching:
    """A port's tensors under the golden's paths, in the golden's order."""

    found: dict[str, Matched]
    misshapen: dict[str, tuple[str, tuple[int, ...]]]  # known by name, and of a shape that can't be it
    unknown: tuple[str, ...]  # the port's names that match nothing
    how: str  # the table's name, or how else
    layouts: dict[str, str] = field(default_factory=dict)  # our layout -> the port's
    absent: tuple[str, ...] = ()  # what the user's map names, and the port doesn't have

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """The port's tensors under our paths."""
        return {path: matched.tensor for path, matched in self.found.items()}


def read_port(path: str | Path) -> dict[str, np.ndarray]:
    """A port's tensors, in order of execution as far as the file says it.

    .npz keeps the order it was written in. Safetensors don't: there an ``order`` in the metadata (a JSON list of
    names) is followed, and without it the names are taken in natural order (``layer_2`` before ``layer_10``).
    """
    tensors, metadata = read_tensors(path)
    names = list(tensors)
    if "order" in metadata:
        names = _listed(metadata["order"], tensors, str(path))
    elif not str(path).endswith(".npz"):
        names.sort(key=natural)
    return {name: tensors[name] for name in names if tensors[name].dtype.kind in "fiu"}


def read_map(path: str | Path) -> dict[str, Any]:
    """A user's table of names: a JSON object ``{"port's name": "our path" or [paths]}``. Raises InputError."""
    mapping = files.read_json(path)
    for name, ours in mapping.items():
        if not isinstance(ours, str) and not (isinstance(ours, list) and all(isinstance(o, str) for o in ours)):
            raise InputError(f"{path} maps {name[:80]!r} to {str(ours)[:40]!r}; give a path, or a list of paths")
    return mapping


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key that counts: ``layer_2`` before ``layer_10``."""
    return [(int(digits), "") if digits else (-1, rest) for digits, rest in re.findall(r"(\d{1,18})|(\D+)", name)]


def match(
    golden: Golden,
    port: Mapping[str, np.ndarray],
    *,
    mapping: Mapping[str, str | list[str]] | None = None,
    by: str = "auto",
) -> Matching:
    """The port's tensors under the golden's paths. ``by``: ``names``, ``order``, or whichever fits (``auto``).

    ``mapping`` is a table of the port's names, see ``from_map``. Raises InputError where nothing can be matched.
    """
    if by not in BY:
        raise InputError(f"tensors are matched by one of {', '.join(BY)}, not {by!r}")
    targets = {name: tensor for name, tensor in golden.tensors.items() if name in golden.noise or name == PIXELS}
    if mapping is not None:
        how, entries = MAP, from_map(mapping, port, targets)
    else:
        how, entries = table(port, targets)
    nameless = by == "order" or (by == "auto" and mapping is None and not _known(entries, port, targets))
    matching = _by_order(golden, targets, port) if nameless else _by_name(golden, targets, port, how, entries)
    if not matching.found and not matching.misshapen:
        raise InputError(
            f"none of the port's {len(port)} tensors could be matched with the golden's {len(targets)}; "
            f"give a JSON map of {'names' if mapping is None else 'names that both have'} (--map)"
        )
    return replace(matching, absent=tuple(name for name in mapping or () if name not in port))


def _known(entries: Mapping[str, Entry], port: Mapping[str, Any], targets: Mapping[str, Any]) -> bool:
    """Whether names are to be trusted: half of the port's are known, and not only those of input and output."""
    telling = [name for name, entry in entries.items() if entry.choice not in ((PIXELS,), (LOGITS,))]
    if not telling and len(entries) < len(port):
        return False
    return len(entries) >= _ENOUGH_KNOWN * min(len(port), len(targets))


def _by_name(
    golden: Golden,
    targets: Mapping[str, np.ndarray],
    port: Mapping[str, np.ndarray],
    how: str,
    entries: Mapping[str, Entry],
) -> Matching:
    pairs: dict[str, tuple[str, np.ndarray]] = {}
    for name, entry in entries.items():
        for path, tensor in _split(port[name], entry):
            pairs.setdefault(path, (name, tensor))
    ordered = {path: pairs[path] for path in targets if path in pairs}
    unknown = tuple(name for name in port if name not in entries and name != IMAGE)
    return _arranged(golden, ordered, unknown, how)


def _split(tensor: np.ndarray, entry: Entry) -> list[tuple[str, np.ndarray]]:
    if not entry.parts:
        return [(entry.choice[0], tensor)]
    if tensor.ndim == 0 or tensor.shape[-1] % len(entry.parts):
        return [(path, tensor) for path in entry.parts]  # misshapen, and said to be
    return list(zip(entry.parts, np.split(tensor, len(entry.parts), axis=-1), strict=True))


def _arranged(
    golden: Golden, pairs: Mapping[str, tuple[str, np.ndarray]], unknown: tuple[str, ...], how: str
) -> Matching:
    """The matched tensors in our layout; the ones whose shape fits no layout apart."""
    shapes = {path: _fits(golden, path, tensor) for path, (_, tensor) in pairs.items()}
    votes = layouts.vote((kind, fits) for kind, _, fits in shapes.values())
    found: dict[str, Matched] = {}
    misshapen: dict[str, tuple[str, tuple[int, ...]]] = {}
    for path, (name, tensor) in pairs.items():
        kind, lengths, fits = shapes[path]
        if lengths is None or not fits:
            if tensor.shape == golden.tensors[path].shape:
                found[path] = Matched(name, tensor, "as it is")
            else:
                misshapen[path] = name, tensor.shape
            continue
        layout = layouts.choose(kind, fits, votes)
        found[path] = Matched(name, layouts.arrange(tensor, layout, kind, lengths), layout)
    return Matching(found, misshapen, unknown, how, votes)


def _fits(golden: Golden, path: str, tensor: np.ndarray) -> tuple[str, layouts.Lengths | None, list[str]]:
    expected = golden.tensors[path]
    kind = layouts.kind_of(path, expected)
    heads = golden.config.get("num_attention_heads", 1)
    heads = heads if isinstance(heads, int) else 1
    return kind, *layouts.fits(kind, expected.shape, tensor.shape, _batch(golden), heads)


def _batch(golden: Golden) -> int:
    return golden.tensors[PIXELS].shape[0] if PIXELS in golden.tensors else 1


def _by_order(golden: Golden, targets: Mapping[str, np.ndarray], port: Mapping[str, np.ndarray]) -> Matching:
    ours, theirs = list(targets), [name for name in port if name != IMAGE]
    sizes = {name: port[name].size for name in theirs}
    fits = {
        (i, j): _fits(golden, path, port[name])
        for i, path in enumerate(ours)
        for j, name in enumerate(theirs)
        if sizes[name] == targets[path].size
    }
    votes = layouts.vote((kind, found) for kind, _, found in fits.values())

    def fit(i: int, j: int) -> np.ndarray | None:
        if (i, j) not in fits:
            return None
        kind, lengths, found = fits[i, j]
        if lengths is None or not found:
            return port[theirs[j]] if port[theirs[j]].shape == targets[ours[i]].shape else None
        return layouts.arrange(port[theirs[j]], layouts.choose(kind, found, votes), kind, lengths)

    places = align([targets[path] for path in ours], len(theirs), fit)
    pairs = {ours[i]: (theirs[j], port[theirs[j]]) for i, j in places.items()}
    taken = {name for name, _ in pairs.values()}
    return _arranged(golden, pairs, tuple(name for name in theirs if name not in taken), NAMELESS)


def _listed(text: str, tensors: Mapping[str, Any], where: str) -> list[str]:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or set(map(str, names)) != set(tensors):
        raise CheckpointError(f"the `order` in the metadata of {where} is no JSON list of its tensors' names; mend it")
    return [str(name) for name in names]

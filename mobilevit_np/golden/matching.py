"""Which of a port's tensors is which of the golden's, and in what layout.

By name if one of the tables (or the user's own) knows the names; otherwise by the weights of the module that outputs a
tensor; the rest by order, shape and content. The result is the port's tensors under our paths and in our layout, so
that the rest of the toolkit needs to know nothing about ports.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import difflib
import functools
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError, InputError
from ..formats import files
from . import layouts
from .alignment import align, likeness
from .answer import answer, extras
from .file import IMAGE, LOGITS, OPERATOR, PIXELS, Golden, read_tensors
from .hook_names import MAP, Entry, from_map, table
from .identity import Identity, identify, in_turn, split
from .network import Network, paths_of
from .replay import reference_tensors

BY = ("auto", "names", "weights", "order")
WEIGHTS, NAMELESS = "weights", "order, shape and content"
_ENOUGH_KNOWN = 0.5  # of the port's or the golden's tensors must be known by name, or names aren't used at all
_ALIKE = 0.5  # likeness above which a tensor is taken for another one, whatever the weights say
_IN_BLOCK = re.compile(r"\.?\b(?:transformer|layernorm|unfolding)\b")
_CLEARLY = 1.5  # times nearer to one tensor than to another
_UNLIKE = 1e-6  # likeness of nothing
_ROUNDS = 3  # of alignment, each with the reference's outputs for the pairs found in the round before

Pairs = Mapping[str, tuple[str, np.ndarray]]  # the golden's path -> the port's name, and its tensor or a part of it


@dataclass(frozen=True)
class Matched:
    """One of the golden's tensors in the port."""

    name: str  # the port's name for it
    tensor: np.ndarray  # in our layout
    layout: str
    firm: bool = True  # known by name or weights, not by its place among others


@dataclass(frozen=True)
class Matching:
    """A port's tensors under the golden's paths, in the golden's order."""

    found: dict[str, Matched]
    misshapen: dict[str, tuple[str, np.ndarray]]  # known by name, but of an impossible shape
    unknown: tuple[str, ...]  # the port's names that match nothing
    how: str  # the table's name, or another way
    layouts: dict[str, str] = field(default_factory=dict)  # our layout -> the port's
    absent: tuple[str, ...] = ()  # named by the user's map, but not in the port
    identity: Identity | None = None  # what the port's weights tell, if it has any and ours are known

    @property
    def tensors(self) -> dict[str, np.ndarray]:
        """The port's tensors under our paths."""
        return {path: matched.tensor for path, matched in self.found.items()}

    def without(self, paths: Collection[str]) -> Matching:
        """The same without these pairs: the port's tensors count as unknown."""
        unknown = (*self.unknown, *(self.found[path].name for path in paths))
        return replace(
            self, found={path: pair for path, pair in self.found.items() if path not in paths}, unknown=unknown
        )

    def with_others(self, pairs: Mapping[str, Matched]) -> Matching:
        """The same with these tensors at their paths: the ones they replace count as unknown."""
        names = {pair.name for pair in pairs.values()}
        given_up = (self.found[path].name for path in pairs if path in self.found)
        unknown = (*(name for name in self.unknown if name not in names), *given_up)
        return replace(self, found={**self.found, **pairs}, unknown=unknown)


def read_port(path: str | Path) -> dict[str, np.ndarray]:
    """A port's numeric tensors by name, in order of execution if the file keeps it.

    .npz keeps the order it was written in. Safetensors doesn't: an ``order`` in the metadata (a JSON list of names) is
    followed, and without it the names are in natural order (``layer_2`` before ``layer_10``). Raises CheckpointError
    if the file can't be read, or its ``order`` isn't that of its tensors.
    """
    tensors, metadata = read_tensors(path)
    names = list(tensors)
    if "order" in metadata:
        names = _listed(metadata["order"], tensors, str(path))
    elif Path(path).suffix.lower() != ".npz":
        names.sort(key=natural)
    return {name: tensors[name] for name in names if tensors[name].dtype.kind in "fiu"}


def read_map(path: str | Path) -> dict[str, Any]:
    """A user's table of names: a JSON object ``{"port's name": "our path" or [paths]}``.

    Raises CheckpointError if the file can't be read as one, InputError for a value that is neither.
    """
    mapping = files.read_json(path)
    for name, ours in mapping.items():
        if not isinstance(ours, str) and not (isinstance(ours, list) and all(isinstance(o, str) for o in ours)):
            raise InputError(f"{path} maps {name[:80]!r} to {str(ours)[:40]!r}; give a path, or a list of paths")
    return mapping


def natural(name: str) -> list[tuple[int, str]]:
    """A sort key for natural order: ``layer_2`` before ``layer_10``."""
    return [(int(digits), "") if digits else (-1, rest) for digits, rest in re.findall(r"(\d{1,18})|(\D+)", name)]


def match(
    golden: Golden,
    port: Mapping[str, np.ndarray],
    *,
    network: Network | None = None,
    mapping: Mapping[str, str | list[str]] | None = None,
    by: str = "auto",
) -> Matching:
    """The port's tensors under the golden's paths.

    ``by``: ``names``, ``weights`` (whatever the names), ``order``, or whichever fits (``auto``). ``network`` is the
    golden's own: without it a port's weights tell nothing. ``mapping`` is a table of the port's names, see
    ``from_map``; it takes precedence. Raises InputError if nothing can be matched.
    """
    if by not in BY:
        raise InputError(f"tensors are matched by one of {', '.join(BY)}, not {by!r}")
    activations, parameters = split(port)
    targets = {name: tensor for name, tensor in golden.tensors.items() if name in golden.noise or name == PIXELS}
    given = from_map(_checked(mapping or {}, golden), activations, targets)
    absent = tuple(name for name in mapping or () if name not in activations)
    beside = extras(activations, targets[LOGITS], mapping or ()) if LOGITS in targets else ()
    activations = {name: tensor for name, tensor in activations.items() if name not in beside}
    how, entries = table(activations, targets)
    named = by == "names" or (by == "auto" and _known({**entries, **given}, activations, targets))
    identity = None
    if network is not None and parameters and by != "order":
        identity = identify(network.tensors, parameters, _places(entries) if named else {})
        identity = identity if named else in_turn(identity, network.tensors, list(activations), list(golden.tensors))
    if named:
        known = {**entries, **given}
        known |= _handed_out(activations, targets, known, mapping or ())
        matching = _by_name(golden, targets, activations, MAP if mapping else how, known)
    else:
        weights = _outputs(golden, targets, activations, identity.modules, network) if identity and network else {}
        anchors = {**weights, **given}
        anchors |= {name: Entry((name,)) for name in (PIXELS, LOGITS) if {name} <= targets.keys() & activations.keys()}
        anchors |= _handed_out(activations, targets, anchors, mapping or ())
        if LOGITS in weights and LOGITS in targets:  # who gives the last layer's output shows it under that name only
            last = targets[LOGITS]
            targets = {name: x for name, x in targets.items() if name == LOGITS or not np.array_equal(x, last)}
        matching = _by_order(
            golden, targets, activations, anchors, network, _strangers(identity, parameters, targets, activations)
        )
        matching = replace(matching, how=f"{WEIGHTS}, then {NAMELESS}" if weights else matching.how)
    if not matching.found and not matching.misshapen:
        raise InputError(
            f"none of the port's {len(activations)} tensors could be matched with the golden's {len(targets)}; "
            f"give a JSON map of {'names' if mapping is None else 'names that both have'} (--map)"
        )
    return replace(matching, absent=absent, identity=identity, unknown=(*matching.unknown, *beside))


def _handed_out(
    port: Mapping[str, np.ndarray],
    targets: Mapping[str, np.ndarray],
    known: Mapping[str, Entry],
    mapped: Container[str],
) -> dict[str, Entry]:
    """The port's answer, if none is ``known``; what the user has ``mapped`` is what the map says."""
    if LOGITS not in targets or any(entry.choice == (LOGITS,) for entry in known.values()):
        return {}
    free = {name: tensor for name, tensor in port.items() if name not in mapped}
    name = answer(free, targets[LOGITS], known)
    return {} if name is None else {name: Entry((LOGITS,))}


def _checked(mapping: Mapping[str, str | list[str]], golden: Golden) -> Mapping[str, str | list[str]]:
    """The map. Raises InputError for a path that no tensor of such a network has."""
    named = [path for ours in mapping.values() for path in ([ours] if isinstance(ours, str) else ours) if path]
    strange = [path for path in named if path not in golden.tensors]
    if strange and golden.task != OPERATOR:
        paths = paths_of(golden)
        strange = [path for path in strange if path not in paths]
    if strange:
        near = difflib.get_close_matches(strange[0], list(golden.tensors), 1, 0.6)
        hint = f"; did you mean {near[0]}?" if near else "; the golden file's names are printed by compare --all"
        raise InputError(f"the map names {strange[0]!r:.120}, and no tensor of the golden network is called so{hint}")
    return mapping


_ENDS = ((PIXELS,), (LOGITS,))
_ACTIVATED = (  # modules that a port may join with the activation after them: the path of ours -> the activation's
    (re.compile(r"(.*\.)normalization"), r"\1activation"),
    (re.compile(r"(.*\.intermediate\.)dense"), r"\1intermediate_act_fn"),
)


def _entry(paths: tuple[str, ...]) -> Entry:
    return Entry(paths) if len(paths) == 1 else Entry(parts=paths)


def _places(entries: Mapping[str, Entry]) -> dict[str, tuple[str, ...]]:
    return {name: entry.parts or entry.choice for name, entry in entries.items()}


def _known(entries: Mapping[str, Entry], port: Mapping[str, Any], targets: Mapping[str, Any]) -> bool:
    """Whether names are to be trusted: half of the port's are known, and not only those of input and output."""
    telling = [name for name, entry in entries.items() if entry.choice not in _ENDS]
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
    pairs = _pairs(targets, port, entries)
    unknown = tuple(name for name in port if name not in entries and name != IMAGE)
    return arranged(golden, pairs, unknown, how)


def _pairs(targets: Mapping[str, np.ndarray], port: Mapping[str, np.ndarray], entries: Mapping[str, Entry]) -> Pairs:
    """The golden's path -> the port's name and tensor, in the golden's order."""
    pairs: dict[str, tuple[str, np.ndarray]] = {}
    for name, entry in entries.items():
        for path, tensor in _split(port[name], entry):
            pairs.setdefault(path, (name, tensor))
    return {path: pairs[path] for path in targets if path in pairs}


def _split(tensor: np.ndarray, entry: Entry) -> list[tuple[str, np.ndarray]]:
    if not entry.parts:
        return [(entry.choice[0], tensor)]
    if tensor.ndim == 0 or tensor.shape[-1] % len(entry.parts):
        return [(path, tensor) for path in entry.parts]  # misshapen, and said to be
    return list(zip(entry.parts, np.split(tensor, len(entry.parts), axis=-1), strict=True))


def arranged(golden: Golden, pairs: Pairs, unknown: tuple[str, ...], how: str) -> Matching:
    """The matched tensors in our layout; those whose shape fits no layout are kept apart."""
    shapes = {path: _fits(golden, path, tensor) for path, (_, tensor) in pairs.items()}
    votes = layouts.vote((kind, fits) for kind, _, fits in shapes.values())
    found: dict[str, Matched] = {}
    misshapen: dict[str, tuple[str, np.ndarray]] = {}
    for path, (name, tensor) in pairs.items():
        kind, lengths, fits = shapes[path]
        if lengths is None or not fits:
            if tensor.shape == golden.tensors[path].shape:
                found[path] = Matched(name, tensor, "as it is")
            else:
                misshapen[path] = name, tensor
            continue
        layout = layouts.choose(kind, fits, votes)
        found[path] = Matched(name, layouts.arrange(tensor, layout, kind, lengths), layout)
    return Matching(found, misshapen, unknown, how, votes)


def _fits(golden: Golden, path: str, tensor: np.ndarray) -> tuple[str, layouts.Lengths | None, list[str]]:
    expected = golden.tensors[path]
    kind = layouts.kind_of(path, expected)
    heads = golden.config.get("num_attention_heads", 1)
    heads = heads if isinstance(heads, int) else 1
    grid = _grid(golden, path) if kind == layouts.TOKENS else None
    return kind, *layouts.fits(kind, expected.shape, tensor.shape, _batch(golden), heads, grid)


def _grid(golden: Golden, path: str) -> tuple[int, int] | None:
    """Rows and columns of patches, for what is computed between a block's unfold and its fold."""
    before = golden.tensors.get(f"{_IN_BLOCK.split(path)[0]}.conv_1x1".removeprefix("."))
    patch = golden.config.get("patch_size", 2)
    if before is None or before.ndim != 4 or not isinstance(patch, int) or patch < 1:
        return None
    return -(-before.shape[2] // patch), -(-before.shape[3] // patch)


def _batch(golden: Golden) -> int:
    return golden.tensors[PIXELS].shape[0] if PIXELS in golden.tensors else 1


def _by_order(
    golden: Golden,
    targets: Mapping[str, np.ndarray],
    port: Mapping[str, np.ndarray],
    entries: Mapping[str, Entry],
    network: Network | None,
    strangers: tuple[Collection[str], Collection[str]] = ((), ()),
) -> Matching:
    """The known pairs, and the rest aligned between them: by likeness to the golden's tensors, and, given the network,
    to what the reference outputs for the port's own inputs, which earlier mistakes don't change. ``strangers``, our
    modules that the port hasn't got and the port's that aren't ours, can only be matched with each other.
    """
    theirs = [name for name in port if name != IMAGE]
    known = _pairs(targets, port, entries)
    echoes = _echoes(targets).difference(known)
    again = _echoes({name: port[name] for name in theirs}).difference(name for name, _ in known.values())
    fit = _fitter(golden, targets, port, theirs, strangers)

    def round_(pairs: Pairs, ours: Sequence[str], left: Sequence[str], sure: Pairs) -> Pairs:
        matching = arranged(golden, pairs, (), NAMELESS)
        local = reference_tensors(network, golden, matching.tensors, everything=True) if network else {}
        expected = [[each[path] for each in (targets, local) if path in each] for path in ours]
        anchors = {ours.index(path): left.index(sure[path][0]) for path in sure if path in matching.found}
        places = align(expected, len(left), functools.partial(fit, ours, left), anchors)
        found = {ours[i]: (left[j], port[left[j]]) for i, j in places.items()} | dict(sure)
        return {path: found[path] for path in targets if path in found}

    pairs: Pairs = known
    for _ in range(_ROUNDS if network else 1):
        before, ours, left = pairs, [p for p in targets if p not in echoes], [n for n in theirs if n not in again]
        pairs = round_(pairs, ours, left, known)
        if _names(pairs) == _names(before):
            break
    pairs = round_(pairs, list(targets), theirs, pairs)
    taken = {name for name, _ in pairs.values()}
    matching = arranged(golden, pairs, tuple(name for name in theirs if name not in taken), NAMELESS)
    weak = {path: replace(pair, firm=path in known) for path, pair in matching.found.items()}
    return replace(matching, found=weak)


def _names(pairs: Pairs) -> dict[str, str]:
    return {path: name for path, (name, _) in pairs.items()}


def _outputs(
    golden: Golden,
    targets: Mapping[str, np.ndarray],
    port: Mapping[str, np.ndarray],
    modules: Mapping[str, tuple[str, ...]],
    network: Network,
) -> dict[str, Entry]:
    """What each of the port's modules outputs: what ours does, or the activation after it, if the port joins the two;
    and if a graph computes the module in several steps (a layer norm as a factor and an offset), the last of them.

    The nearest is taken: to the golden's tensor, or to what the reference outputs for the port's own inputs.
    """
    entries = {name: _entry(paths) for name, paths in modules.items() if name in port}
    activated = {
        name: path
        for name, entry in entries.items()
        if entry.choice
        for plain, after in _ACTIVATED
        if (found := plain.fullmatch(entry.choice[0])) and (path := found.expand(after)) in targets
    }
    sure = _pairs(targets, port, {name: entry for name, entry in entries.items() if name not in activated})
    local = reference_tensors(network, golden, arranged(golden, sure, (), WEIGHTS).tensors, everything=True)

    def nearness(name: str, path: str) -> float:
        found = arranged(golden, {path: (name, port[name])}, (), WEIGHTS).tensors if path in targets else {}
        return max((likeness(each, ours[path]) for each in found.values() for ours in (targets, local)), default=0.0)

    outputs: dict[str, Entry] = {}
    leanings: dict[str, tuple[str, float]] = {}  # how many times nearer a module is to its activation
    for module, steps in _steps(port, entries).items():
        entry, name = entries[module], module
        if entry.choice:
            own = nearness(name, entry.choice[0])
            last = max(steps, key=lambda step: nearness(step, entry.choice[0]))
            if nearness(last, entry.choice[0]) > max(_ALIKE, 2 * own):
                name, own = last, nearness(last, entry.choice[0])
            if module in activated:
                leanings[name] = activated[module], nearness(name, activated[module]) / max(own, _UNLIKE)
        outputs[name] = entry
    for name, (path, leaning) in leanings.items():
        if 1 / _CLEARLY < leaning < _CLEARLY:  # as the others of its kind
            leaning = float(np.median([other for its, other in leanings.values() if _leaf(its) == _leaf(path)]))
        outputs[name] = Entry((path,)) if leaning > 1 else outputs[name]
    return outputs


def _leaf(path: str) -> str:
    return path.rpartition(".")[2]


def _steps(port: Mapping[str, np.ndarray], entries: Mapping[str, Entry]) -> dict[str, list[str]]:
    """Each module's name, and the port's tensors from its own up to the next module's."""
    found: dict[str, list[str]] = {}
    for name in port:
        if name in entries:
            found[name] = []
        if found:
            found[next(reversed(found))].append(name)
    return found


def _echoes(targets: Mapping[str, np.ndarray]) -> set[str]:
    """The paths that repeat an earlier tensor, as a layer's output repeats its last part's: aligned after the rest."""
    found: set[str] = set()
    before: dict[tuple[int, ...], np.ndarray] = {}  # the last other tensor of each shape
    for path, tensor in targets.items():
        if tensor.shape in before and np.array_equal(before[tensor.shape], tensor):
            found.add(path)
        else:
            before[tensor.shape] = tensor
    return found


def _strangers(
    identity: Identity | None,
    parameters: Mapping[str, Mapping[str, np.ndarray]],
    targets: Mapping[str, np.ndarray],
    port: Mapping[str, np.ndarray],
) -> tuple[Collection[str], Collection[str]]:
    """Our modules of whose weights the port has none, and the port's modules that hold none of ours; and the tensors
    that only repeat their outputs.
    """
    if identity is None:
        return (), ()
    known = {path for paths in identity.modules.values() for path in paths}
    lost = {name.rpartition(".")[0] for name in identity.never_loaded}
    unknown = {name.rpartition("/")[0] for name in identity.unknown}
    return _shown(lost - known, targets), _shown(unknown & (parameters.keys() - identity.modules.keys()), port)


def _shown(names: Collection[str], tensors: Mapping[str, np.ndarray]) -> Collection[str]:
    """These names, and those right after them with the same tensors."""
    found: set[str] = set()
    last: np.ndarray | None = None
    for name, tensor in tensors.items():
        last = tensor if name in names else last if last is not None and np.array_equal(last, tensor) else None
        if last is not None:
            found.add(name)
    return found


def _fitter(
    golden: Golden,
    targets: Mapping[str, np.ndarray],
    port: Mapping[str, np.ndarray],
    names: Sequence[str],
    strangers: tuple[Collection[str], Collection[str]],
) -> Callable[[Sequence[str], Sequence[str], int, int], tuple[np.ndarray, bool] | None]:
    """A function that gives the j-th of some names' tensors in the layout of the i-th of some paths, and whether the
    port's layout is that of its other tensors of the kind; None if no layout fits.
    """
    fits = {
        (path, name): _fits(golden, path, port[name])
        for path, expected in targets.items()
        for name in names
        if port[name].size == expected.size and (path in strangers[0]) == (name in strangers[1])
    }
    votes = layouts.vote((kind, found) for kind, _, found in fits.values())

    def fit(paths: Sequence[str], left: Sequence[str], i: int, j: int) -> tuple[np.ndarray, bool] | None:
        path, found = paths[i], port[left[j]]
        if (path, left[j]) not in fits:
            return None
        kind, lengths, possible = fits[path, left[j]]
        possible = [layout for layout in possible if layout not in layouts.IN_MAP]  # any map could be one
        if lengths is None or not possible:
            return (found, True) if found.shape == targets[path].shape else None
        layout = layouts.choose(kind, possible, votes)
        return layouts.arrange(found, layout, kind, lengths), layout == votes.get(kind, layout)

    return fit


def other_size(golden: Golden, matching: Matching) -> tuple[int, int] | None:
    """Height and width of the input that the port's misshapen maps belong to, if most of its maps agree."""
    if PIXELS in matching.found:
        return None  # it was fed the golden's size: its maps are misshapen by a mistake
    height, width = golden.tensors[PIXELS].shape[2:] if PIXELS in golden.tensors else (0, 0)
    told: Counter[tuple[int, int]] = Counter()
    for path, (_, tensor) in matching.misshapen.items():
        shape, expected = tensor.shape, golden.tensors[path].shape
        if path == PIXELS and len(shape) == 4:
            return (shape[1], shape[2]) if shape[1] != expected[1] == shape[3] else (shape[2], shape[3])
        if len(shape) == 4 == len(expected) and expected[1] in (shape[1], shape[3]):
            sides = shape[2:] if shape[1] == expected[1] else shape[1:3]
            told[round(sides[0] * height / expected[2]), round(sides[1] * width / expected[3])] += 1
    told[height, width] += sum(pair.tensor.ndim == 4 for pair in matching.found.values())
    size, votes = told.most_common(1)[0]
    return size if 2 * votes > told.total() and size != (height, width) else None


def _listed(text: str, tensors: Mapping[str, Any], where: str) -> list[str]:
    try:
        names = json.loads(text)
    except (ValueError, RecursionError):
        names = None
    if not isinstance(names, list) or set(map(str, names)) != set(tensors):
        raise CheckpointError(f"the `order` in the metadata of {where} isn't a JSON list of its tensors' names; fix it")
    return [str(name) for name in names]

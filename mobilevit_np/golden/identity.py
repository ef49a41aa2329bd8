"""Which of our modules a port's module is, by its weights.

A port's names are its own, and so are its mistakes, but its weights are the golden network's: whatever layout a
framework keeps a parameter in, its sorted values are the same. So each of the port's parameters is compared with each
of ours of the same size, in the forms that ports have: as they are; queries, keys and values fused; batch norm folded
into the convolution before it, or written as a scale and an offset; layer norm multiplied into the linear layer after
it. A module is the one that has most of its numbers.

A parameter comes with a port's tensors as ``parameters/MODULE/NAME``, where MODULE is the name of the tensor that the
module outputs: the adapters write it so.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import permutations, product

import numpy as np

from ..checkpoints.parameter_names import PARTS
from ..config import BATCH_NORM_EPS
from . import layouts
from .description import listed
from .file import LOGITS
from .rounding import is_quantized

PREFIX = "parameters/"
CLOSE = 0.02  # of the largest magnitude: int8 rounding moves sorted values less than that, other parameters differ more
_TINY = float(np.finfo(np.float32).tiny)
_EXACT = 1e-5  # more than float32's rounding does
_WHOLE = 1e-3  # of a step
_MIN_VALUES = 3  # different ones: a parameter filled with one number could be any
_NORMED = re.compile(r"(.*\.transformer\.layer\.\d+\.)(?:attention\.attention\.\w+|(intermediate)\.dense)")
_KERNEL, _MATRIX = "o i h w", "o i"
_LAYOUTS = {  # of weights: our own -> those of the frameworks
    _KERNEL: (
        "o i h w",
        "h w i o",
        "o h w i",
        "h w o i",
        "i h w o",
        "i o h w",
        "o i",
        "i o",
        "o i h",
        "h i o",
        "o 1 i h w",
    ),
    _MATRIX: ("o i", "i o", "o i 1 1", "1 1 i o", "o 1 1 i", "o i 1", "1 i o"),
}
_PARALLEL = re.compile(r"\.(?:query|key|value)$|(?<=aspp\.convs)\.\d.*")  # run in any order
_MOST_MOVED = 0.25  # of the modules, or the port's order isn't that of execution
_SCRAMBLED = "holds the right numbers in another order"
_ALIASES = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
Leaves = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Own:
    """One of our modules' parameters in one of the forms that ports keep them in.

    ``paths`` are the activations that it outputs: one, or several side by side on the last axis.
    """

    paths: tuple[str, ...]
    names: Mapping[str, str]  # leaf -> the names of our parameters in it, joined by " + "
    leaves: Leaves


@dataclass(frozen=True)
class Misplaced:
    """A parameter that the port holds, but not as it should."""

    parameter: str  # ours
    name: str  # the port's
    how: str


@dataclass(frozen=True)
class Identity:
    """Which of our modules a port's are, and what became of the weights."""

    modules: Mapping[str, tuple[str, ...]]  # the port's module -> the activations it outputs
    misplaced: tuple[Misplaced, ...] = ()
    never_loaded: tuple[str, ...] = ()  # our parameters that the port hasn't got
    unknown: tuple[str, ...] = ()  # the port's that are none of ours
    count: int = 0  # of our parameters


def split(port: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], dict[str, dict[str, np.ndarray]]]:
    """A port's activations, and its parameters by module and name."""
    activations: dict[str, np.ndarray] = {}
    parameters: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for name, tensor in port.items():
        if name.startswith(PREFIX):
            module, _, leaf = name.removeprefix(PREFIX).rpartition("/")
            parameters[module][leaf] = tensor
        else:
            activations[name] = tensor
    return activations, dict(parameters)


def parameter_name(module: str, leaf: str) -> str:
    """The name under which a port's parameter is recorded."""
    return f"{PREFIX}{module}/{leaf}"


def identify(
    tensors: Leaves, parameters: Mapping[str, Leaves], places: Mapping[str, tuple[str, ...]] | None = None
) -> Identity:
    """Which of our modules the port's are. ``tensors`` are our parameters, by their Hugging Face names.

    ``places`` are the activations that the port's modules output, for those known by name: weights that tell otherwise
    are misplaced.
    """
    held = _held(list(_forms(tensors)), parameters)
    matched = {own.names[ours] for own, pairs in held.values() for ours in pairs.values()}
    known = {name for text in matched for name in text.split(" + ")}
    strangers = tuple(
        _theirs(module, leaf)
        for module, leaves in parameters.items()
        for leaf, tensor in leaves.items()
        if (module not in held or leaf not in held[module][1]) and np.ptp(tensor) > 0  # an eps is none of ours
    )
    lost = tuple(name for name, tensor in tensors.items() if name not in known and _tells(_sorted(tensor)))
    longer = dict(_longer(tensors, lost, parameters, strangers))
    held |= {
        each.name.rpartition("/")[0]: (Own((name.rpartition(".")[0],), {}, {}), {}) for name, each in longer.items()
    }
    lost = tuple(name for name in lost if name not in longer)
    strangers = tuple(name for name in strangers if name not in {each.name for each in longer.values()})
    return Identity(
        _outputs(held),
        (*_elsewhere(held, places or {}), *longer.values(), *_misplaced(held, parameters), *_rounded(held, parameters)),
        lost,
        strangers,
        len(tensors),
    )


def _longer(
    tensors: Leaves, lost: Sequence[str], parameters: Mapping[str, Leaves], strangers: Sequence[str]
) -> Iterator[tuple[str, Misplaced]]:
    """Parameters of ours that the port holds with more outputs or fewer, at one end: a background class, say."""
    for name, stranger in product(lost, strangers):
        module, _, leaf = stranger.rpartition("/")
        ours, found = tensors[name], parameters[module][leaf]
        for theirs in (found, found.T) if found.ndim == ours.ndim and found.ndim <= 2 else ():
            more, rows = len(theirs) - len(ours), min(len(theirs), len(ours))
            if not more or 2 * rows <= len(ours) or theirs.shape[1:] != ours.shape[1:]:
                continue
            off = f"{more} more" if more > 0 else f"{-more} fewer"
            perhaps = ", perhaps a background class" if more > 0 else ""
            for end, shared in (("start", slice(-rows, None)), ("end", slice(rows))):
                if _alike(theirs[shared], ours[shared]):
                    how = f"has {len(theirs)} outputs for {len(ours)}, {off} at the {end}{perhaps}"
                    yield name, Misplaced(name, stranger, how)


def in_turn(identity: Identity, tensors: Leaves, theirs: Sequence[str], ours: Sequence[str]) -> Identity:
    """The same, but modules that a port runs in one another's place count as what stands there: it's their weights that
    are exchanged. Told from the order of execution, ``theirs`` and ``ours``, if all else is in the same order.
    """
    held = [name for name in theirs if name in identity.modules]
    rank = {path: place for place, path in enumerate(ours)}
    if any(path not in rank for name in held for path in identity.modules[name]):
        return identity
    due = sorted((identity.modules[name] for name in held), key=lambda paths: rank[paths[0]])
    moved = {
        name: stands
        for name, stands in zip(held, due, strict=True)
        if _PARALLEL.sub("", stands[0]) != _PARALLEL.sub("", identity.modules[name][0])
    }
    if len(set(due)) < len(due) or len(moved) > _MOST_MOVED * len(held):
        return identity
    if any(_shapes(tensors, stands) != _shapes(tensors, identity.modules[name]) for name, stands in moved.items()):
        return identity
    exchanged = [
        Misplaced(parameter, name, f"is stored where {_apart(stand, path)} belongs")
        for name, stands in moved.items()
        for path, stand in zip(identity.modules[name], stands, strict=True)
        for parameter in tensors
        if parameter.rpartition(".")[0] == path
    ]
    modules = {**identity.modules, **moved}
    return replace(identity, modules=modules, misplaced=(*exchanged, *identity.misplaced))


def _shapes(tensors: Leaves, paths: Sequence[str]) -> list[tuple[str, tuple[int, ...]]]:
    parts = ((name.rpartition("."), tensor.shape) for name, tensor in tensors.items())
    return [(leaf, shape) for (path, _, leaf), shape in parts if path in paths]


def _apart(path: str, other: str) -> str:
    """The module in which ``path`` stands, up to where it differs from ``other``."""
    parts, others = path.split("."), other.split(".")
    while len(parts) > 1 and len(others) > 1 and parts[-1] == others[-1]:
        parts, others = parts[:-1], others[:-1]
    return ".".join(parts)


# -- our parameters, in the forms that ports have ----------------------------------------------------------------------


def _forms(tensors: Leaves) -> Iterator[Own]:
    modules: dict[str, dict[str, np.ndarray]] = defaultdict(dict)
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        modules[path][leaf] = tensor
    for path, leaves in modules.items():
        yield Own((path,), {leaf: f"{path}.{leaf}" for leaf in leaves}, leaves)
        if normed := _NORMED.fullmatch(path):
            norm = f"{normed[1]}layernorm_{'after' if normed[2] else 'before'}"
            yield _absorbed(path, leaves, norm, modules[norm])
        if path.endswith(".query"):
            yield from _fused(path.removesuffix(".query"), modules)
        if "running_var" in leaves:
            yield from _folded(path, leaves, modules.get(path.removesuffix("normalization") + "convolution", {}))


def _fused(attention: str, modules: Mapping[str, Leaves]) -> Iterator[Own]:
    for parts in (PARTS, PARTS[1:], PARTS[:2]):
        paths = tuple(f"{attention}.{part}" for part in parts)
        leaves = {leaf: np.concatenate([modules[path][leaf] for path in paths]) for leaf in modules[paths[0]]}
        yield Own(paths, {leaf: " + ".join(f"{path}.{leaf}" for path in paths) for leaf in leaves}, leaves)


def _absorbed(path: str, linear: Leaves, norm: str, leaves: Leaves) -> Own:
    """A linear layer with the scale and the offset of the layer norm before it multiplied into its own."""
    weight = linear["weight"] * leaves["weight"]
    bias = linear["weight"] @ leaves["bias"] + linear.get("bias", 0)
    names = {leaf: f"{norm}.{leaf}" + (f" + {path}.{leaf}" if leaf in linear else "") for leaf in ("weight", "bias")}
    return Own((path,), names, {"weight": weight, "bias": bias})


def _folded(path: str, norm: Leaves, conv: Leaves) -> Iterator[Own]:
    """Batch norm as a scale and an offset, alone and folded into the convolution's weight."""
    scale = norm["weight"] / np.sqrt(norm["running_var"] + BATCH_NORM_EPS)
    offset = norm["bias"] - norm["running_mean"] * scale
    everything = " + ".join(f"{path}.{leaf}" for leaf in norm)
    scaled = " + ".join(f"{path}.{leaf}" for leaf in ("weight", "running_var"))
    yield Own((path,), {"weight": scaled, "bias": everything}, {"weight": scale, "bias": offset})
    if "weight" in conv:
        weight = conv["weight"] * scale[:, None, None, None]
        name = f"{path.removesuffix('normalization')}convolution.weight"
        yield Own((path,), {"weight": f"{name} + {scaled}", "bias": everything}, {"weight": weight, "bias": offset})


# -- which holds which numbers -----------------------------------------------------------------------------------------


def _sorted(array: np.ndarray) -> np.ndarray:
    return np.sort(np.asarray(array, np.float32), axis=None)


def _by_size(owns: Iterable[Own]) -> dict[int, list[tuple[int, str, np.ndarray]]]:
    found: dict[int, list[tuple[int, str, np.ndarray]]] = defaultdict(list)
    for number, own in enumerate(owns):
        for leaf, tensor in own.leaves.items():
            values = _sorted(tensor)
            if _tells(values):
                found[values.size].append((number, leaf, values))
    return found


def _tells(values: np.ndarray) -> bool:
    """Whether sorted values tell a parameter from others: all ones or zeros, as it was initialized, don't."""
    return values.size < _MIN_VALUES or bool(np.count_nonzero(np.diff(values)) >= _MIN_VALUES - 1)


def _held(owns: list[Own], parameters: Mapping[str, Leaves]) -> dict[str, tuple[Own, dict[str, str]]]:
    """Which of ours each of the port's modules is, and which of our leaves each of its leaves is."""
    candidates = _by_size(owns)
    held: dict[str, tuple[Own, dict[str, str]]] = {}
    taken: Counter[tuple[str, ...]] = Counter()
    for module, leaves in parameters.items():
        found = _owner(leaves, candidates, owns, taken)
        if found is not None:
            held[module] = found
            taken[found[0].paths] += 1
    return held


def _owner(
    leaves: Leaves, candidates: Mapping[int, list], owns: list[Own], taken: Counter[tuple[str, ...]]
) -> tuple[Own, dict[str, str]] | None:
    """Which of ours has most of the numbers; among equals one not taken yet, then the nearest, then the first."""
    pairs: dict[int, dict[str, tuple[str, float]]] = defaultdict(dict)  # ours -> leaf -> (our leaf, distance)
    for name, tensor in leaves.items():
        values = _sorted(tensor)
        for number, leaf, expected in candidates.get(values.size, ()):
            distance = _distance(values, expected)
            if distance <= CLOSE and (name not in pairs[number] or distance < pairs[number][name][1]):
                pairs[number][name] = leaf, distance

    def rank(number: int) -> tuple[float, ...]:
        size = sum(leaves[name].size for name in pairs[number])
        farthest = max(distance for _, distance in pairs[number].values())
        return -size, taken[owns[number].paths], round(farthest, 6), number

    best = min(pairs, key=rank, default=None)
    return None if best is None else (owns[best], {name: leaf for name, (leaf, _) in pairs[best].items()})


def _distance(values: np.ndarray, expected: np.ndarray) -> float:
    """How far sorted values are apart, over the largest magnitude; infinite if they aren't finite, or aren't close."""
    least, most = float(expected[0]), float(expected[-1])
    largest = max(abs(least), abs(most), _TINY)
    if max(abs(float(values[0]) - least), abs(float(values[-1]) - most)) > CLOSE * largest:
        return float("inf")  # as mostly: the rest needn't be looked at
    with np.errstate(all="ignore"):
        distance = float(np.abs(values - expected).max()) / largest
    return distance if np.isfinite(distance) else float("inf")


def _outputs(held: Mapping[str, tuple[Own, dict[str, str]]]) -> dict[str, tuple[str, ...]]:
    """The activations that each module outputs; of several modules that have the same ones only one does.

    A product and its bias may be two modules, of which the last gives the sum. Of two calls of one module the first
    counts.
    """
    one: dict[tuple[str, ...], str] = {}
    for module, (own, pairs) in held.items():
        if own.paths not in one or set(pairs.values()) != set(held[one[own.paths]][1].values()):
            one[own.paths] = module
    return {module: own.paths for module, (own, _) in held.items() if one[own.paths] == module}


def _theirs(module: str, leaf: str) -> str:
    """What a port's parameter is called in a report."""
    return f"{module}/{leaf}" if module else leaf


# -- how they are held -------------------------------------------------------------------------------------------------


def _elsewhere(
    held: Mapping[str, tuple[Own, dict[str, str]]], places: Mapping[str, tuple[str, ...]]
) -> Iterator[Misplaced]:
    """Weights in modules that are others by their names. A name for several of ours tells nothing."""
    for module, (own, _) in held.items():
        place = places.get(module, own.paths)
        if place != (LOGITS,) and len(place) == 1 == len(own.paths) and _module(place[0]) != _module(own.paths[0]):
            yield Misplaced(own.paths[0], module, f"is stored where {place[0]} belongs")


def _module(path: str) -> str:
    """A convolution with its batch norm and activation counts as one: ports fold them into one another."""
    return path.removesuffix(".convolution").removesuffix(".normalization").removesuffix(".activation")


def _misplaced(held: Mapping[str, tuple[Own, dict[str, str]]], parameters: Mapping[str, Leaves]) -> Iterator[Misplaced]:
    """Weights that are transposed, flipped or otherwise unlike the port's others of their kind, or swapped."""
    every = [(module, leaf, own, ours) for module, (own, pairs) in held.items() for leaf, ours in pairs.items()]
    fits = {(module, leaf): _fitting(own.leaves[ours], parameters[module][leaf]) for module, leaf, own, ours in every}
    votes = _elected(every, fits, parameters)
    for module, leaf, own, ours in every:
        name = _theirs(module, leaf)
        wanted = _ALIASES.get(leaf, leaf)
        if wanted != ours and wanted in own.leaves and len(own.leaves) > 1:
            yield Misplaced(own.names[ours], name, f"is stored where {own.names[wanted]} belongs")
        expected, found = own.leaves[ours], parameters[module][leaf]
        if expected.ndim < 2:
            if found.size == expected.size and not _alike(found.reshape(expected.shape), expected):
                how = _reordered(found.reshape(expected.shape), expected, _parts(own)) or _SCRAMBLED
                yield Misplaced(own.names[ours], name, how)
            continue
        possible, true = fits[module, leaf]
        elected = votes.get(_kind(expected, found), "")
        if true and (elected in true or elected not in possible):
            continue
        if true:
            yield Misplaced(own.names[ours], name, f"is stored as {true[0]}, unlike the others, which are {elected}")
        else:
            yield Misplaced(own.names[ours], name, _changed(expected, found, [elected, *possible], _parts(own)))


def _rounded(held: Mapping[str, tuple[Own, dict[str, str]]], parameters: Mapping[str, Leaves]) -> Iterator[Misplaced]:
    """Weights in half precision or int8, in a port most of whose large weights aren't.

    Small ones don't count: most parameters are, and an int8 port keeps them in float32.
    """
    off = {
        (module, leaf): _distance(_sorted(parameters[module][leaf]), _sorted(own.leaves[ours]))
        for module, (own, pairs) in held.items()
        for leaf, ours in pairs.items()
    }
    large = [distance for (module, leaf), distance in off.items() if is_quantized(parameters[module][leaf])]
    if not large or np.median(large) > _EXACT:
        return
    for (module, leaf), distance in off.items():
        found = parameters[module][leaf]
        with np.errstate(over="ignore"):
            half = np.array_equal(found, found.astype(np.float16))
        how = "float16" if half else "int8" if _in_steps(found) else ""
        if how and distance > _EXACT:
            own, pairs = held[module]
            yield Misplaced(own.names[pairs[leaf]], _theirs(module, leaf), f"is rounded to {how}, unlike the others")


def _in_steps(weight: np.ndarray) -> bool:
    """Whether all numbers are whole multiples of a 127th of the largest: of all, or of each output's."""
    if weight.ndim < 2:
        return False  # the largest of each output is all there is
    for axes in (None, tuple(range(1, weight.ndim)), tuple(range(weight.ndim - 1))):
        with np.errstate(all="ignore"):
            steps = weight / np.abs(weight).max(axis=axes, keepdims=True) * 127
        if np.abs(steps - np.rint(steps)).max() < _WHOLE:
            return True
    return False


def _parts(own: Own) -> list[str]:
    """What is fused in it: queries, keys and values, or only one thing, which needs no name."""
    return [path.rpartition(".")[2] for path in own.paths]


def _kind(expected: np.ndarray, found: np.ndarray) -> tuple[int, int, bool]:
    """What parameters that a framework keeps in one layout have in common."""
    return expected.ndim, found.ndim, expected.ndim == 4 and expected.shape[1] == 1


def _elected(every: Iterable[tuple[str, str, Own, str]], fits: Mapping, parameters: Mapping[str, Leaves]) -> dict:
    """For each kind the commonest layout, above all among those whose shape allows no other."""
    votes: dict[tuple, Counter[str]] = defaultdict(Counter)
    for module, leaf, own, ours in every:
        possible, true = fits[module, leaf]
        for layout in true:
            votes[_kind(own.leaves[ours], parameters[module][leaf])][layout] += 1000 if len(possible) == 1 else 1
    return {kind: counts.most_common(1)[0][0] for kind, counts in votes.items()}


def _fitting(expected: np.ndarray, found: np.ndarray) -> tuple[list[str], list[str]]:
    """The layouts that the shape allows, and those of them in which the numbers are ours."""
    kind = {4: _KERNEL, 2: _MATRIX}.get(expected.ndim)
    if kind is None:
        return [], []
    lengths = dict(zip(kind.split(), expected.shape, strict=True))
    possible = [layout for layout in _LAYOUTS[kind] if layouts.shape_in(layout, lengths) == _shape(found, expected)]
    true = [layout for layout in possible if _alike(_arranged(found, layout, expected), expected)]
    return possible, true


def _shape(found: np.ndarray, expected: np.ndarray) -> tuple[int, ...]:
    """The port's shape, its heads joined if they're an axis of their own."""
    if expected.ndim == 2 and found.ndim == 3 and 1 not in found.shape:
        first, last = found.shape[0], found.shape[-1]
        return (first, found.size // first) if first in expected.shape else (found.size // last, last)
    return found.shape


def _arranged(found: np.ndarray, layout: str, expected: np.ndarray) -> np.ndarray:
    kind = {4: _KERNEL, 2: _MATRIX}[expected.ndim]
    lengths = dict(zip(kind.split(), expected.shape, strict=True))
    return layouts.arrange(found, layout, kind, lengths)


def _alike(found: np.ndarray, expected: np.ndarray) -> bool:
    with np.errstate(all="ignore"):
        return bool(np.abs(found - expected).max(initial=0) <= CLOSE * np.abs(expected).max(initial=0))


def _changed(expected: np.ndarray, found: np.ndarray, tried: Iterable[str], parts: Sequence[str]) -> str:
    """What was done to a weight that has our numbers, but in none of the layouts."""
    for layout in filter(None, tried):
        if layouts.shape_in(layout, dict(zip(_KERNEL.split(), expected.shape, strict=False))) != found.shape:
            continue
        here = _arranged(found, layout, expected)
        if expected.ndim == 4:
            for how, other in (
                ("has its kernels flipped upside down", here[:, :, ::-1]),
                ("has its kernels mirrored", here[:, :, :, ::-1]),
                ("has its kernels turned by half a turn", here[:, :, ::-1, ::-1]),
                ("has its kernels' height and width exchanged", here.swapaxes(2, 3)),
                ("has its input channels reversed", here[:, ::-1]),
            ):
                if other.shape == expected.shape and _alike(other, expected):
                    return how
        if order := _reordered(here, expected, parts):
            return order
        pairs = zip(parts, np.split(here, len(parts)), np.split(expected, len(parts)), strict=True)
        off = [(part, a.T, b) for part, a, b in pairs if not _alike(a, b)]
        if all(a.shape == b.shape and _alike(a, b) for _, a, b in off):
            return f"holds {', '.join(part for part, *_ in off)} transposed, each by itself"
    for axes in permutations(range(found.ndim)):
        turned = found.transpose(axes)
        if turned.shape == expected.shape and _alike(turned, expected):
            return f"has its axes in the order {axes}"
    return _SCRAMBLED


def _reordered(found: np.ndarray, expected: np.ndarray, parts: Sequence[str]) -> str:
    """Which axis' entries are in another order; empty if it isn't a matter of one axis."""
    for axis, what in ((0, "outputs"), (1, "inputs")):
        if axis >= expected.ndim:
            break
        theirs, ours = (np.moveaxis(x, axis, 0).reshape(x.shape[axis], -1) for x in (found, expected))
        order = [int(np.abs(ours - row).max(axis=1).argmin()) for row in theirs]
        if sorted(order) == list(range(len(ours))) and _alike(theirs, ours[order]):
            return _order_of(order, what, parts if axis == 0 else parts[:1])
    return ""


def _order_of(order: list[int], what: str, parts: Sequence[str]) -> str:
    """In words. What is fused may be exchanged as a whole, or interleaved, row by row or head by head."""
    breaks = [i for i in range(1, len(order)) if order[i] != order[i - 1] + 1]
    run = math.gcd(len(order), *breaks)  # rows that stay together
    blocks = [first // run for first in order[::run]]
    count = len(parts)
    if count > 1 and len(blocks) == count:
        return f"holds {', '.join(parts[i] for i in blocks)} in this order, where {', '.join(parts)} belong"
    way = "row by row" if run == 1 else "head by head"
    if count > 1 and blocks == np.arange(len(blocks)).reshape(count, -1).T.ravel().tolist():
        return f"holds {', '.join(parts)} interleaved {way}, not all of each at once"
    if count > 1 and blocks == np.arange(len(blocks)).reshape(-1, count).T.ravel().tolist():
        return f"holds {', '.join(parts)} taken apart as if they were interleaved {way}"
    together = f", {run} at a time" if run > 1 else ""
    return f"has its {what} in another order{together} ({listed(blocks)})"

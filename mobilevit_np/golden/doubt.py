"""Doubtful pairs: a layer that is wrong though nothing after it is, or right though everything after it is wrong.

Errors seldom heal. If a port's tensor is off and nothing after it is affected, it was probably never the reference's
tensor of that path, only matched with it by its place and shape: such a pair is dropped. If names or weights say that
it's the one, it stays, as one that is off and reaches nothing: a key's bias does that, which the softmax cancels.

The other way round, if a port goes on computing before it hands a tensor on (an activation too many), the tensor that
was handed on is the one to judge: what comes after is right with it, and wrong without.

Both are found by replay: the reference continues with its own tensor in place of the doubtful one. If what was right
after it stays right, the port's tensor was fed to no other layer.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from itertools import pairwise

import numpy as np

from .file import Golden
from .matching import Matched, Matching, arranged
from .measure import allowed, error
from .network import Network
from .replay import Measured, reference_tensors, replay

_MAX_ROUNDS = 12  # each finds at least one tensor that another one needs
_MAX_STEPS = 3  # back from the last
_LAYER = re.compile(r".*\btransformer\.layer\.\d+")
_BEFORE_SUM = re.compile(r"\.\d+\.attention(\.output)?$")  # easily taken for the sum after it, which has no path
_CHANGED = 2.0  # noise floors from which a tensor counts as changed


def settle(
    golden: Golden,
    port: Mapping[str, np.ndarray],
    matching: Matching,
    network: Network,
    precisions: Mapping[str, str],
    multiple: float,
) -> tuple[Matching, frozenset[str], dict[str, Measured]]:
    """The matching without the wrong pairs, the paths that are off and reach nothing, and the matching's replay.

    ``port``: the port's activations by name; ``precisions``: each matched tensor's; ``multiple``: see ``compare``.
    """
    case = _Case(golden, matching, network, precisions, multiple)
    weak = case.before_others(case.with_echoes([path for path in case.off if not matching.found[path].firm]))
    given_up = _idle(weak, case, weak=True) | {path for path in weak if _BEFORE_SUM.search(path)}
    if given_up:
        matching = matching.without(given_up)
        case = _Case(golden, matching, network, precisions, multiple)
    for _ in range(2):  # what is handed on shows more of them
        harmful = _harmful(case, matching)
        if harmful:
            matching = matching.without(harmful)
            case = _Case(golden, matching, network, precisions, multiple)
        handed_on = _handed_on(golden, port, matching, case)
        if not handed_on:
            break
        matching = matching.with_others(handed_on)
        case = _Case(golden, matching, network, precisions, multiple)
    last = next(reversed(case.ours), None)
    return matching, _idle([path for path in case.off if path != last], case), case.replayed


class _Case:
    """A replay, and what changes when pairs are left out."""

    def __init__(
        self, golden: Golden, matching: Matching, network: Network, precisions: Mapping[str, str], multiple: float
    ) -> None:
        self.golden, self.network, self.port, self.multiple = golden, network, matching.tensors, multiple
        self.replayed = replayed = replay(network, golden, self.port, precisions)
        self.ours = {path: local.expected for path, local in replayed.items()}
        self.floors = {path: allowed(local.noise, multiple) / multiple for path, local in replayed.items()}
        self.errors = {path: local.difference.error / self.floors[path] for path, local in replayed.items()}
        self.off = [path for path, floors in self.errors.items() if floors > multiple]

    def with_echoes(self, doubted: Collection[str]) -> list[str]:
        """The doubted, and the paths that only repeat one of them, which makes them look right."""
        found: list[str] = []
        before = ""
        for path, expected in self.ours.items():
            if path in doubted or (found and before == found[-1] and np.array_equal(expected, self.port[before])):
                found.append(path)
            before = path
        return found

    def before_others(self, doubted: Collection[str]) -> list[str]:
        """The doubted with something after them: nothing after the answer could show that it's a wrong pair."""
        order = list(self.ours)
        last = max((place for place, path in enumerate(order) if path not in doubted), default=-1)
        return [path for path in doubted if order.index(path) < last]

    def without(self, left_out: Collection[str]) -> dict[str, np.ndarray]:
        """What the reference outputs, for every path, when these pairs are left out."""
        fed = {path: tensor for path, tensor in self.port.items() if path not in left_out}
        return reference_tensors(self.network, self.golden, fed, everything=True)

    def floors_off(self, path: str, expected: np.ndarray) -> float:
        """How far the port's tensor is from ``expected``, in noise floors."""
        return error(self.port[path], expected) / self.floors[path]

    def changed(self, path: str, expected: np.ndarray) -> bool:
        """Whether ``expected`` differs from what it is with all the port's tensors."""
        return error(expected, self.ours[path]) > _CHANGED * self.floors[path]


def _idle(doubted: Collection[str], case: _Case, *, weak: bool = False) -> frozenset[str]:
    """Those of the doubted without which everything after them stays what it is.

    They're all left out at once. What is right then was off only because of its input, and goes back. If something
    else changes, the last of them before it was needed, and goes back as well; if ``weak``, only if it brings the port
    nearer.
    """
    idle = dict.fromkeys(doubted)
    for _ in range(_MAX_ROUNDS):
        if not idle:
            break
        ours = case.without(idle)
        back = {path for path in idle if weak and case.floors_off(path, ours[path]) <= case.multiple}
        changed = {
            path
            for path in case.ours
            if path not in idle
            and case.changed(path, ours[path])
            and not (weak and case.errors[path] >= case.floors_off(path, ours[path]))
        }
        back |= _needed(list(case.ours), idle, changed)
        if not back:
            return frozenset(idle)
        for path in back:
            del idle[path]
    return frozenset()


def _harmful(case: _Case, matching: Matching) -> frozenset[str]:
    """Weak pairs that are off, and so is what comes next, which is right without them: they were none."""
    harmful: list[str] = []
    order, off = list(case.ours), set(case.off)
    for path, after in pairwise(order):
        if {path, after} <= off and not matching.found[path].firm:
            ours = case.without([*harmful, path])
            left = [each for each in order if each not in harmful and each != path]
            wrong = {each for each in left if case.floors_off(each, ours[each]) > case.multiple}
            if after not in wrong and wrong <= off:
                harmful.append(path)
    return frozenset(harmful)


def _handed_on(golden: Golden, port: Mapping[str, np.ndarray], matching: Matching, case: _Case) -> dict[str, Matched]:
    """The port's own further steps, in place of the tensors they continue, if what comes after is right with them.

    A step is a tensor of the same shape that matches nothing, before the next one that does: the last, or one of those
    before it.
    """
    steps = _further_steps(golden, port, matching) if case.off else {}
    found: dict[str, Matched] = {}
    for back in range(1, _MAX_STEPS + 1):
        found |= _mending(
            {path: each[-back] for path, each in steps.items() if path not in found and len(each) >= back}, golden, case
        )
    return found


def _mending(steps: Mapping[str, Matched], golden: Golden, case: _Case) -> dict[str, Matched]:
    """Those of the steps with which nothing after them is worse, and something is right."""
    if not steps:
        return {}
    fed = {**case.port, **{path: step.tensor for path, step in steps.items()}}
    ours = reference_tensors(case.network, golden, fed, everything=True)
    mended: dict[str, bool] = {}  # a path with a step -> whether nothing after it is worse for it
    before = ""
    for path in ours:  # a step may stand where the port has nothing to compare, and what comes after it is its doing
        if before and path in case.ours and path not in steps and case.changed(path, ours[path]):
            right = case.floors_off(path, ours[path]) <= case.multiple
            if right == (path not in case.off):
                continue
            mended[before] = right and mended.get(before, True)
        before = path if path in steps else before
    return {path: steps[path] for path, good in mended.items() if good}


def _further_steps(golden: Golden, port: Mapping[str, np.ndarray], matching: Matching) -> dict[str, list[Matched]]:
    """The steps that follow each of the port's tensors, at the last path that repeats it."""
    paths = {pair.name: path for path, pair in matching.found.items()}  # of one name's paths the last
    unknown = set(matching.unknown)
    steps: dict[str, list[Matched]] = {}
    lasts = _lasts(golden.tensors)
    path = ""
    for name, tensor in port.items():
        path = lasts[paths[name]] if name in paths else path
        if path and name in unknown:
            step = arranged(golden, {path: (name, tensor)}, (), "").found.get(path)
            if step is not None:
                steps.setdefault(path, []).append(step)
    return steps


def _lasts(tensors: Mapping[str, np.ndarray]) -> dict[str, str]:
    """For each path the last that repeats its tensor right after it, as a layer's output repeats its last part's."""
    lasts: dict[str, str] = {}
    after = ""
    for path in reversed(list(tensors)):
        same = bool(after) and np.array_equal(tensors[path], tensors[after])
        lasts[path] = lasts[after] if same else path
        after = path
    return lasts


def _needed(order: list[str], idle: Mapping[str, None], changed: Collection[str]) -> set[str]:
    """The nearest idle path before each that changed; of several in one transformer layer only the first, since its
    sums carry a change past the later ones.
    """
    needed: dict[str, str] = {}
    before: str | None = None
    for path in order:
        if path in idle:
            before = path
        elif path in changed and before is not None:
            layer = _LAYER.match(before)
            needed.setdefault(layer[0] if layer else before, before)
    return set(needed.values())


def without_heirs(golden: Golden, matching: Matching, off: Collection[str]) -> tuple[Matching, frozenset[str]]:
    """``settle`` without the network: all that can be seen then is whether the very last tensor is right."""
    paths = [path for path in golden.tensors if path in matching.found]
    if not off or not paths or paths[-1] in off or matching.misshapen:
        return matching, frozenset()
    weak = {path for path in off if not matching.found[path].firm}
    return matching.without(weak), frozenset(off) - weak

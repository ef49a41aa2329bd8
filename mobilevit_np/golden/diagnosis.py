"""Which known mistake gives the port's numbers.

The port's wrong layers are found by replay. At the first of them the reference is run again on the port's own input,
once with each known mistake planted (``scope.wrap``): the one that reproduces the port's tensor is named. It stays
planted wherever it explains the port, and what is still wrong is examined in the same way: for a second mistake
elsewhere, or together with the first. If nothing fits, the layer stays unexplained, and the answer lists what was
tried. A layer whose weights the port doesn't hold as it should isn't examined at all: its weights come first. Some
mistakes can't show with a given golden file, whatever the port: those are listed.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from itertools import product
from typing import Any

import numpy as np

from ..errors import InputError, MobileViTError
from ..preprocess import PROFILES
from ..preprocess.resize import RESAMPLES
from ..scope import Scope
from .comparison import Comparison, Paired, Row, compare_paired, pair_up, plain
from .description import describe, eps_of
from .file import IMAGE, LOGITS, OPERATOR, PIXELS, Golden, profile_of
from .matching import NAMELESS, Matching, arranged
from .measure import MULTIPLE, allowed, error, floor
from .mistakes import MISTAKES, Mistake
from .network import Network, make_pixel_values
from .planting import resize_by
from .replay import reference_tensors
from .supposing import supposed
from .variants import embedded, unlike, variants

_MAX_UNEXPLAINED = 6  # kinds of layers that nothing explains, before the search ends
_LEVEL = 1.01 / 255  # of a photo's values
_NEAREST = 3  # single mistakes, the nearest, that pairs are built on
_NORM = re.compile(r"\.(normalization|layernorm\w*)$")
_COARSE_COSINE, _COARSE_ERROR = 0.999, 0.05  # at least and at most, of one layer in half precision or int8
_PRODUCTS = (".convolution", ".query", ".key", ".value", ".dense", "classifier")
_HOLDING = (".unfolding", ".transformer.layer.0.output", ".transformer.layer.0")  # what is added to the tokens
_NUMBERED = re.compile(r"\.\d+")
Mistakes = tuple[Mistake, ...]


@dataclass(frozen=True)
class Finding:
    """A mistake, and the tensor that shows it."""

    mistake: Mistake
    path: str  # the first layer where it shows
    error_without: float  # of the port's tensor there, over the largest magnitude
    error_with: float  # the same with the mistake planted (and those found before)
    allowed: float
    explains: tuple[str, ...]  # every layer that is wrong without it and right with it
    also: tuple[str, ...] = ()  # other mistakes that give the same numbers here
    together_with: tuple[str, ...] = ()  # mistakes in the same layer, without which it doesn't fit


@dataclass(frozen=True)
class Misloaded:
    """Wrong layers whose weights are missing, or aren't as they should be."""

    how: str
    parameters: tuple[str, ...]
    paths: tuple[str, ...]  # the wrong layers


@dataclass(frozen=True)
class Unexplained:
    """A wrong layer that no known mistake reproduces."""

    path: str
    error: float  # infinite if its shape is another
    ruled_out: tuple[str, ...]  # mistakes that change this tensor, but not to the port's
    hint: str = ""
    unseen: tuple[str, ...] = ()  # layers just before it that the port has no tensors of: one of them may be wrong
    also: tuple[str, ...] = ()  # wrong layers of the same kind, not examined one by one


@dataclass(frozen=True)
class Diagnosis:
    """What is wrong with a port, in order of execution."""

    comparison: Comparison  # the replay
    findings: tuple[Finding, ...]
    unexplained: tuple[Unexplained, ...]
    still_wrong: tuple[str, ...]  # wrong layers that weren't examined any more
    misloaded: tuple[Misloaded, ...] = ()
    hidden: tuple[Mistake, ...] = ()  # those that change nothing with this golden file

    def __str__(self) -> str:
        """What the command prints."""
        from .tables import diagnosis_lines

        return "\n".join(diagnosis_lines(self))

    def __repr__(self) -> str:
        parts = f"names={self.names}", f"misloaded={len(self.misloaded)}", f"unexplained={len(self.unexplained)}"
        return f"Diagnosis(clean={self.clean}, {', '.join(parts)})"

    @property
    def clean(self) -> bool:
        """Whether every layer is right."""
        return self.comparison.ok

    @property
    def left_over(self) -> bool:
        """Whether something is wrong that no mistake explains."""
        return bool(self.unexplained or self.still_wrong)

    @property
    def names(self) -> tuple[str, ...]:
        """The mistakes, by name."""
        return tuple(finding.mistake.name for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """Values that JSON can hold, for programs; numbers that aren't finite are None."""
        return plain(
            {
                "clean": self.clean,
                "findings": [_finding_json(finding) for finding in self.findings],
                "misloaded": [asdict(each) for each in self.misloaded],
                "unexplained": [asdict(each) for each in self.unexplained],
                "hidden": [mistake.name for mistake in self.hidden],
                "still_wrong": self.still_wrong,
                "comparison": self.comparison.as_json(),
            }
        )


def _finding_json(finding: Finding) -> dict[str, Any]:
    mistake, fields = finding.mistake, dict(vars(finding))
    del fields["mistake"]
    return {"name": mistake.name, "sentence": mistake.sentence, "remedy": mistake.remedy, **fields}


@dataclass(frozen=True)
class _Try:
    """One tensor with some mistakes planted: how far the port's is from it, and whether they change it at all."""

    error: float
    changes: bool


class _Case:
    """A port being diagnosed: what all tries share, and their results."""

    def __init__(self, golden: Golden, network: Network, matching: Matching, replayed: Comparison) -> None:
        self.golden, self.network, self.port = golden, network, matching.tensors
        self.misshapen, self.replayed = matching.misshapen, replayed
        self.weak = {path for path, pair in matching.found.items() if not pair.firm}
        self.bad = {row.path: row for row in replayed.bad}
        self.rows = {row.path: row for row in replayed.rows}
        self._right: tuple[str, np.ndarray | None] = "", None
        self._reached: dict[str, set[str]] = {}
        self._tried: dict[tuple[str, tuple[str, ...]], _Try] = {}

    def attempt(self, mistakes: Mistakes, path: str) -> _Try:
        """The port's tensor at ``path`` against the reference's with the mistakes planted."""
        key = path, tuple(mistake.name for mistake in mistakes)
        if key not in self._tried and not self._reaches(mistakes, path):
            row = self.rows[path]
            self._tried[key] = _Try(row.difference.error if row.difference else float("inf"), False)
        elif key not in self._tried:
            if self._right[0] != path:
                self._right = path, self._tensor((), path)
            right, ours = self._right[1], self._tensor(mistakes, path)
            changes = ours is not None and right is not None and not np.array_equal(ours, right, equal_nan=True)
            self._tried[key] = _Try(float("inf") if ours is None else self._error(path, ours), changes)
        return self._tried[key]

    def _reaches(self, mistakes: Mistakes, path: str) -> bool:
        """Whether a mistake is made on the way to ``path`` from the port's tensors before it."""
        patterns = [pattern for mistake in mistakes for pattern, _ in mistake.replacements]
        return any(fnmatchcase(each, pattern) for each in self.reached(path) for pattern in patterns)

    def reached(self, path: str) -> set[str]:
        """The modules on the way to ``path`` from the port's tensors before it."""
        if path not in self._reached:
            seen = self._reached[path] = set()
            look = functools.partial(_look, seen)
            reference_tensors(self.network, self.golden, self.port, plant=lambda s: s.wrap("*", look), target=path)
        return self._reached[path]

    def under(self, mistakes: Mistakes) -> tuple[set[str], set[str]]:
        """The wrong layers that are right with the mistakes planted; and the right ones that are wrong with them."""
        try:
            ours = reference_tensors(
                self.network, self.golden, self.port, plant=_plant(mistakes), everything=bool(self.misshapen)
            )
        except (MobileViTError, ValueError):
            return set(), set(self.rows) - set(self.bad)
        right = {
            path for path in self.rows if path in ours and self.fits(path, self._error(path, ours[path]), mistakes)
        }
        return right & set(self.bad), set(self.rows) - set(self.bad) - right

    def contradicts(self, path: str, mistakes: Mistakes, broken: Collection[str], made: Mistakes) -> bool:
        """Whether layers that are right speak against the mistakes: they stand in the very module where one is made,
        and are ``broken`` with it.
        """
        patterns = [pattern for mistake in mistakes if mistake not in made for pattern, _ in mistake.replacements]
        above = [path[:end] for end, letter in enumerate(path) if letter == "."]  # the modules that hold the layer
        places = [place for place in above if any(fnmatchcase(place, pattern) for pattern in patterns)]
        return any(each.startswith(f"{place}.") for place in places for each in broken)

    def doubts(self, finding: Finding) -> bool:
        """Whether the pair that shows it may be wrong: it's known by its place alone, and others like it don't show it.

        Where all else is explained, the pairs are right, and one layer may well have a mistake that the others don't.
        """
        alike = {path for path in self.rows if _kind(path) == _kind(finding.path)}
        return finding.path in self.weak and not alike <= {*finding.explains}

    def fits(self, path: str, found: float, mistakes: Mistakes = ()) -> bool:
        """Whether an error is within the tolerance at ``path``."""
        return found <= self.allowed(path, mistakes)

    def allowed(self, path: str, mistakes: Mistakes = ()) -> float:
        """The tolerance at ``path``, higher if implementations of a mistake differ; the golden's for a tensor that has
        the port's shape only with the mistake.
        """
        goldens = floor(self.golden.noise.get(path, 0.0), self.replayed.precision)
        noise = goldens if path in self.misshapen else self.rows[path].noise
        slack = max((mistake.slack for mistake in mistakes), default=0.0) if path == PIXELS else 0.0
        return max(slack, allowed(noise, self.replayed.multiple))

    def finite(self, path: str) -> bool:
        """Whether the port's tensor is finite: no mistake is named for one that isn't."""
        found = self.misshapen[path][1] if path in self.misshapen else self.port[path]
        return bool(np.isfinite(found).all())

    def _error(self, path: str, ours: np.ndarray) -> float:
        """How far the port's tensor is from ours, whose shape may be another with a mistake."""
        if path not in self.misshapen:
            return error(self.port[path], ours) if self.port[path].shape == ours.shape else float("inf")
        golden = replace(self.golden, tensors={**self.golden.tensors, path: ours})
        found = arranged(golden, {path: self.misshapen[path]}, (), "").found
        return error(found[path].tensor, ours) if path in found else float("inf")

    def description(self, path: str) -> str:
        """What the port's tensor looks like beside the right one."""
        given: list[np.ndarray] = []
        again: list[Any] = []

        def look(compute: Any, x: np.ndarray, scope: Scope, *args: Any, **kwargs: Any) -> np.ndarray:
            given.append(x)
            again.append(lambda eps: compute(x, scope, *args, **{**kwargs, "eps": eps}))
            return np.asarray(compute(x, scope, *args, **kwargs))

        found = reference_tensors(
            self.network, self.golden, self.port, plant=lambda scope: scope.wrap(path, look), target=path
        )
        heads = path.endswith("probabilities")
        fed = given[0] if given else None
        if again and _NORM.search(path) and (said := eps_of(self.port[path], again[0], self.allowed(path))):
            return said
        return describe(self.port[path], found[path], fed, self.allowed(path), heads=heads) if path in found else ""

    def embeddings(self) -> Iterator[Mistake]:
        """What a port may add to the tokens, told by the first tensor that still holds it alone."""
        added: dict[str, np.ndarray] = {}
        for end, path in product(_HOLDING, self.bad):
            stage = path.removesuffix(end)
            if path.endswith(end) and stage not in added and path in self.port:
                right = self._tensor((), path)
                if right is not None:
                    added[stage] = (self.port[path] - right).mean(axis=0)
        if added:
            yield embedded(added)

    def _tensor(self, mistakes: Mistakes, path: str) -> np.ndarray | None:
        """The reference's tensor with the mistakes planted; None if they can't be made in this network."""
        try:
            found = reference_tensors(
                self.network,
                self.golden,
                self.port,
                plant=_plant(mistakes),
                target=path,
                everything=path in self.misshapen,  # which the port has in another shape
            )
        except (MobileViTError, ValueError):
            return None
        return found.get(path)


def diagnose(
    golden: Golden,
    port: Mapping[str, np.ndarray],
    network: Network,
    *,
    mapping: Mapping[str, str | list[str]] | None = None,
    by: str = "auto",
    precision: str | None = None,
    multiple: float = MULTIPLE,
    mistakes: Sequence[Mistake] = MISTAKES,
) -> Diagnosis:
    """What is wrong with a port: the known mistakes that reproduce its numbers, and what none of them explains.

    ``network`` is the one that the golden was made with; the other arguments are those of ``compare``. Raises
    InputError for an operator's golden, and as ``compare`` does.
    """
    if golden.task == OPERATOR:
        raise InputError("only a network's golden file can be diagnosed; an operator has no layers to tell apart")
    judge = functools.partial(pair_up, golden, port, network, precision=precision, multiple=multiple)
    paired = judge(mapping=mapping, by=by)
    first = _diagnosed(golden, paired, network, mistakes)
    how = paired.matching.how
    if not how.endswith(NAMELESS) or not (first.left_over or len(first.findings) > 1):
        return first
    names = {*first.names, *(name for each in first.unexplained for name in each.ruled_out)}
    likely = [mistake for mistake in mistakes if mistake.name in names]
    if first.left_over:
        likely += unlike(network, golden.tensors)
    again = _diagnosed(golden, judge(mapping=supposed(golden, port, network, likely)), network, mistakes)
    if again.misloaded or _open(again) >= _open(first) or _told(again) < _told(first):
        return first
    return replace(again, comparison=replace(again.comparison, how=how))


def _open(diagnosis: Diagnosis) -> tuple[int, ...]:
    """How many layers nothing is known of; then how many no mistake explains, and how many mistakes there are."""
    unknown = sum(not each.hint for each in diagnosis.unexplained) + len(diagnosis.still_wrong)
    return unknown, len(diagnosis.unexplained), len(diagnosis.findings)


def _told(diagnosis: Diagnosis) -> int:
    """How many of the port's tensors are right, or are wrong for a reason that is given."""
    named = _explained(diagnosis.findings)
    named |= {path for each in diagnosis.unexplained if each.hint for path in (each.path, *each.also)}
    return sum(row.ok or row.path in named for row in diagnosis.comparison.rows)


def _diagnosed(golden: Golden, paired: Paired, network: Network, mistakes: Sequence[Mistake]) -> Diagnosis:
    """The diagnosis of these pairs."""
    replayed = compare_paired(golden, paired, paired.replay(network, golden))
    case = _Case(golden, network, paired.matching, replayed)
    findings: list[Finding] = []
    unexplained: list[Unexplained] = []
    variants_fit = True  # as long as one explains what no known mistake does: they take seconds each time
    lost = {path for each in _misloaded(case, misplaced=False) for path in each.paths}
    wrong = {path for each in _misloaded(case) for path in each.paths} - lost
    waiting = [path for path in case.bad if path not in wrong]
    while waiting and len(unexplained) < _MAX_UNEXPLAINED:
        path = waiting[0]
        told = {path}
        found = _explain(case, path, findings, mistakes)
        if found:
            findings += found
            told = _explained(found)
        elif path not in lost or path in case.misshapen:
            variant = _variant(case, path, findings) if variants_fit else None
            variants_fit = variant is not None
            covered = _covered(case, variant, findings) if variant and findings else []
            findings = [finding for finding in findings if finding not in covered]
            told = {each for each in waiting if _kind(each) == _kind(path)} | _explained(covered)
            told |= {each for each in waiting if variant and each in variant.explains}
            path, *alike = (each for each in case.bad if each in told)
            hint = variant.mistake.sentence if variant else ""
            unexplained.append(_unexplained(case, path, mistakes, tuple(alike), hint))
        waiting = [each for each in waiting if each not in told]
    if waiting or not all(each.hint for each in unexplained):
        doubted = [finding for finding in findings if case.doubts(finding)]
        findings = [finding for finding in findings if finding not in doubted]
        unexplained += [Unexplained(each.path, each.error_without, (), also=each.explains[1:]) for each in doubted]
        unexplained.sort(key=lambda each: list(case.rows).index(each.path))
    misloaded = _misloaded(case, but_for=_explained(findings))
    unseen = hidden(golden, network, mistakes) if unexplained or waiting or not case.bad else ()
    return Diagnosis(replayed, tuple(findings), tuple(unexplained), tuple(waiting), misloaded, unseen)


def _explained(findings: Iterable[Finding]) -> set[str]:
    return {path for finding in findings for path in finding.explains}


def _covered(case: _Case, variant: Finding, findings: Sequence[Finding]) -> list[Finding]:
    """Those of the findings that explain no layer that the variant alone doesn't: it was made, and not they."""
    alone = case.under((variant.mistake,))[0]
    return [finding for finding in findings if {*finding.explains} <= alone]


def hidden(golden: Golden, network: Network, known: Sequence[Mistake] = MISTAKES) -> tuple[Mistake, ...]:
    """The mistakes that can't be seen with this golden file: made one at a time, they change nothing.

    It takes one run: wherever a mistake would be made, its result is computed too, from the same input.
    """
    unseen = {mistake.name: mistake for mistake in known}

    def beside(compute: Any, x: np.ndarray, scope: Scope, *args: Any, **kwargs: Any) -> np.ndarray:
        right: np.ndarray = compute(x, scope, *args, **kwargs)
        for name, mistake in list(unseen.items()):
            for wrong in (replaced for pattern, replaced in mistake.replacements if fnmatchcase(scope.path, pattern)):
                if not np.array_equal(wrong(compute, x, scope, *args, **kwargs), right, equal_nan=True):
                    unseen.pop(name, None)
        return right

    scope = network.scope(np.float32).wrap("*", beside)
    with np.errstate(all="ignore"):
        if IMAGE in golden.tensors:
            make_pixel_values(golden.tensors[IMAGE], network.profile, scope)
        network.run(golden.tensors[PIXELS].astype(np.float32), scope)
    return tuple(unseen.values())


def _look(seen: set[str], compute: Any, x: np.ndarray, scope: Scope, *args: Any, **kwargs: Any) -> np.ndarray:
    seen.add(scope.path)
    output: np.ndarray = compute(x, scope, *args, **kwargs)
    return output


def _misloaded(case: _Case, *, misplaced: bool = True, but_for: Collection[str] = ()) -> tuple[Misloaded, ...]:
    """The wrong layers whose weights aren't as they should be, by what is wrong with those.

    A weight may be missing because its layer was left out: then that mistake is named instead (``but_for``).
    """
    identity = case.replayed.identity
    if identity is None:
        return ()
    matter = dict.fromkeys(identity.never_loaded, ("the port has nothing like it", ""))
    others = identity.misplaced if misplaced else ()
    matter |= {part: (m.how, m.name) for m in others for part in m.parameter.split(" + ")}
    told = []
    for parameters, paths in _by_matter(case, {name: how for name, (how, _) in matter.items()}, but_for):
        how = matter[parameters[0]][0]
        theirs = list(dict.fromkeys(name for _, name in map(matter.__getitem__, parameters) if name))
        more = f" and {len(theirs) - 1} more" if len(theirs) > 1 else ""
        whole = f"{how}: the port's {theirs[0]}{more}" if theirs else how
        told.append(Misloaded(whole, tuple(parameters), tuple(paths)))
    return tuple(told)


def _by_matter(case: _Case, hows: Mapping[str, str], but_for: Collection[str]) -> list[tuple[list[str], list[str]]]:
    """The parameters with which one thing is the matter, and the wrong layers that they belong to.

    ``hows`` says what is the matter with each.
    """
    alike = {  # at whatever depth, if two modules of one layer are concerned
        name: _kind(how) if _NUMBERED.findall(how) == _NUMBERED.findall(name) else how for name, how in hows.items()
    }
    modules: dict[str, list[str]] = {}
    for name in hows:
        modules.setdefault(name.rpartition(".")[0], []).append(name)
    found: dict[str, tuple[dict[str, None], list[str]]] = {}
    last = ""
    behind: list[str] = []  # this path, and those before it that the port has no tensors for
    for path in case.golden.tensors:
        behind.append(path)
        if path in case.rows:
            if path == LOGITS and {path, last} <= set(case.misshapen):
                behind.append(last)  # of the same shape, so for the same reason
            names = [name for module in behind for name in modules.get(module, ())]
            if path in case.bad and names and path not in but_for:
                parameters, paths = found.setdefault(alike[names[0]], ({}, []))
                parameters |= {name: None for name in names if alike[name] == alike[names[0]]}
                paths.append(path)
            behind, last = [], path
    return [(list(parameters), paths) for parameters, paths in found.values()]


def _kind(path: str) -> str:
    """What layers that do the same at different depths have in common: their path without its numbers."""
    return _NUMBERED.sub("", path)


def _explain(case: _Case, path: str, before: Sequence[Finding], known: Sequence[Mistake]) -> list[Finding]:
    """The mistake (or two in one layer) that reproduces the port's tensor at ``path``, if any.

    Those found before can't: what they explain, alone or together, isn't examined any more.
    """
    if not case.finite(path):
        return []
    made = tuple(finding.mistake for finding in before)
    alone = [(mistake,) for mistake in known if mistake not in made]
    fitting = _fitting(case, path, alone)
    if not fitting and made:
        orders = [order for each in alone for order in ((*made, *each), (*each, *made))]
        fitting = _fitting(case, path, orders)
    if not fitting:
        fitting = _fitting(case, path, _likely_pairs(case, path, alone))
    return _findings(case, path, fitting, made) if fitting else []


def _fitting(case: _Case, path: str, tries: Iterable[Mistakes]) -> list[tuple[Mistakes, float]]:
    """Those of the tries that reproduce the port's tensor, and how far they are from it."""
    found = ((each, case.attempt(each, path)) for each in tries)
    return [(each, tried.error) for each, tried in found if case.fits(path, tried.error, each)]


def _likely_pairs(case: _Case, path: str, alone: Sequence[Mistakes]) -> Iterator[Mistakes]:
    """Two mistakes that change the tensor, one of them among those that come nearest to the port's."""
    showing = [each for each in alone if case.attempt(each, path).changes]
    showing.sort(key=lambda each: case.attempt(each, path).error)
    for i, first in enumerate(showing[:_NEAREST]):
        for second in showing[i + 1 :]:
            yield (*first, *second)
            yield (*second, *first)  # where both are made at one place, the later wraps the earlier


def _findings(case: _Case, path: str, fitting: Sequence[tuple[Mistakes, float]], made: Mistakes) -> list[Finding]:
    """The best of what fits: it explains the most layers, breaks the fewest, and is closest; with its equals."""
    tried = [(each, found, *case.under(each)) for each, found in fitting]
    tried = [each for each in tried if not case.contradicts(path, each[0], each[3], made)]
    if not tried:
        return []
    fitting = [(each, found) for each, found, _, _ in tried]
    explained, broken = [each[2] for each in tried], [each[3] for each in tried]
    order = sorted(range(len(fitting)), key=lambda i: (-len(explained[i]), len(broken[i]), fitting[i][1]))
    best = order[0]
    chosen, found = fitting[best]
    new = [mistake for mistake in chosen if mistake not in made]
    equals = [
        i
        for i in order[1:]
        if (explained[i], broken[i]) == (explained[best], broken[best]) and len(fitting[i][0]) == len(chosen)
    ]
    also = {mistake.name for i in equals for mistake in fitting[i][0] if mistake not in (*made, *chosen)}
    together = case.under((*made, *new))[0] if made else set()
    layers = tuple(each for each in case.bad if each in explained[best] | together | {path})
    return [
        Finding(
            mistake,
            path,
            case.attempt((), path).error,
            found,
            case.allowed(path, chosen),
            layers,
            tuple(sorted(also)),
            tuple(other.name for other in chosen if other is not mistake),
        )
        for mistake in new
    ]


def _variant(case: _Case, path: str, before: Sequence[Finding]) -> Finding | None:
    """What gives the port's tensor at ``path``, if it's no known mistake but near the right thing."""
    others = path in case.misshapen and not path.endswith("probabilities")  # whose shape tells the number of heads
    if path == PIXELS or others or not case.finite(path):
        return None
    made = tuple(finding.mistake for finding in before)
    near = [*case.embeddings(), *variants(case.network, case.reached(path))]
    fitting = _fitting(case, path, [(each,) for each in near])
    if not fitting and made:
        fitting = _fitting(case, path, [(*made, each) for each in near])
    fitting = [(each, 0.0) for each, _ in fitting if case.attempt(each, path).changes]  # of equals the first
    return next(iter(_findings(case, path, fitting, made) if fitting else ()), None)


def _unexplained(
    case: _Case, path: str, known: Sequence[Mistake], also: tuple[str, ...] = (), hint: str = ""
) -> Unexplained:
    row = case.bad[path]
    if row.difference is None:
        return Unexplained(path, float("inf"), (), hint or _shape_hint(case, row), also=also)
    if not case.finite(path):
        return Unexplained(path, float("inf"), (), "it holds NaN or infinity: find the first of them", also=also)
    shown = [mistake.name for mistake in known if case.attempt((mistake,), path).changes]
    if not hint:
        hint = _input_hint(case) if path == PIXELS else case.description(path) or _coarser(case, row)
    return Unexplained(path, row.difference.error, tuple(shown), hint, _unseen(case, path), also)


def _coarser(case: _Case, row: Row) -> str:
    """That one layer of a finer port is computed in half precision or int8, if it's a product and so far off."""
    off = row.difference
    if off and row.path.endswith(_PRODUCTS) and off.cosine > _COARSE_COSINE and off.error <= _COARSE_ERROR:
        return "rounding its weight, or the whole layer, to half precision or int8 would put it as far off"
    return ""


def _unseen(case: _Case, path: str) -> tuple[str, ...]:
    """The layers between ``path`` and the last before it that the port has, but for those that repeat what it has."""
    unseen: list[str] = []
    before = np.empty(0)
    for name, tensor in case.golden.tensors.items():
        if name == path:
            break
        if name in case.rows:
            unseen = []
        elif not np.array_equal(tensor, before):
            unseen.append(name)
        before = tensor
    return tuple(unseen)


def _shape_hint(case: _Case, row: Row) -> str:
    expected = case.golden.tensors[row.path].shape
    known = f"its shape is {row.shape}, and {expected} in no layout known here"
    if len(row.shape) == len(expected):
        ratios = [theirs / ours for theirs, ours in zip(row.shape, expected, strict=True)]
        if len(ratios) == 4 and ratios[:2] == [1, 1] and ratios[2] == ratios[3]:
            return f"{known}: it's {ratios[2]:.3g} times as high and wide"
        if sum(ratio != 1 for ratio in ratios) == 1:
            theirs, ours = next(both for both in zip(row.shape, expected, strict=True) if both[0] != both[1])
            return f"{known}: it has {abs(theirs - ours)} {'more' if theirs > ours else 'fewer'}, {theirs} for {ours}"
    return known


def _input_hint(case: _Case) -> str:
    """What the port's pixel values are instead: those of another named profile, channels reversed, and so on."""
    theirs, ours = case.port[PIXELS], case.golden.tensors[PIXELS]
    if IMAGE in case.golden.tensors:
        mine = profile_of(case.golden)
        for profile in PROFILES.values():
            made = make_pixel_values(case.golden.tensors[IMAGE], profile, Scope({}))
            if profile != mine and made.shape == theirs.shape and case.fits(PIXELS, error(theirs, made)):
                return f"the profile {profile.name} gives them, and the golden file was made with {mine and mine.name}"
    for phrase, other in (
        ("they are the golden file's with the channels reversed (RGB for BGR, or the other way round)", ours[:, ::-1]),
        ("they are the golden file's times 255: rescale by 1/255", ours * 255),
        ("they are the golden file's brought to -1..1: rescale by 1/255 alone", ours * 2 - 1),
    ):
        if case.fits(PIXELS, error(theirs, other)):
            return phrase
    if said := _otherwise_resized(case, theirs) or describe(theirs, ours, None, case.allowed(PIXELS)):
        return said
    if theirs.shape == ours.shape and np.abs(theirs - ours).max() <= _LEVEL:
        return "they are within one of 255 levels: the resize rounds otherwise, or not at all"
    return "they were made from another photo, or in a way not known here"


def _otherwise_resized(case: _Case, theirs: np.ndarray) -> str:
    """The filter or the place of the crop that gives these pixel values."""
    if IMAGE not in case.golden.tensors:
        return ""
    planted = {
        f"a resize by {name} gives them": Scope({}).wrap("preprocessing.resize", resize_by(name)) for name in RESAMPLES
    }
    for down, right in product((-1, 0, 1), repeat=2):
        moved = functools.partial(_cropped_beside, down=down, right=right)
        planted[f"the crop starts {down} below and {right} right of where it should"] = Scope({}).wrap(
            "preprocessing.center_crop", moved
        )
    for phrase, scope in planted.items():
        made = make_pixel_values(case.golden.tensors[IMAGE], case.network.profile, scope)
        if made.shape == theirs.shape and case.fits(PIXELS, error(theirs, made)):
            return phrase
    return ""


def _cropped_beside(compute: Any, image: np.ndarray, scope: Scope, *size: Any, down: int, right: int) -> np.ndarray:
    return np.asarray(compute(np.roll(image, (-down, -right), axis=(1, 2)), scope, *size))


def _plant(mistakes: Mistakes) -> Any:
    def plant(scope: Scope) -> Scope:
        for mistake in mistakes:
            scope = mistake.plant(scope)
        return scope

    return plant

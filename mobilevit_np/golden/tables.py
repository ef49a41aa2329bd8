"""Comparisons and diagnoses as lines of text, for terminals and test messages.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import math

from .comparison import Comparison, Row
from .diagnosis import Diagnosis, Finding, Misloaded, Unexplained
from .file import LOGITS
from .identity import Identity
from .measure import MAX_ERROR, allowed, floor

_BEFORE, _BAD = 3, 12  # rows shown before the first bad one, and of bad ones
_MAX_NAMES = 6  # shown of a list
_LONGEST = 100  # characters of a name; LiteRT's have thousands
_EXPLAINED = {"float16": 1.0, "int8": 0.95}  # share of errors that a precision must explain: int8 has larger ones too
_PRODUCTS = ({"convolution"}, {"query", "key", "value", "dense"})  # kinds of layers that a coarser precision changes
_NEARLY_ALL = 0.9  # of a kind
_HEADER = f"{'':5}{'max abs':>9} {'error':>9} {'x noise':>9} {'rel L2':>9} {'cosine':>11}  tensor"


def comparison_lines(comparison: Comparison, *, everything: bool = False) -> list[str]:
    """The verdict, the last good and the first bad layer, and the table; every row of it with ``everything``."""
    rows, bad = comparison.rows, comparison.bad
    lines = [*_size(comparison), *_answer(comparison), verdict(comparison)]
    if comparison.first_bad:
        good = comparison.last_good
        lines.append(f"last good  {_place(good) if good else 'none: the very first is off'}")
        lines.append(f"first bad  {_place(comparison.first_bad)}")
    shown = rows if everything else _around(comparison)
    if shown:
        lines += ["", _HEADER, *(_row(row) for row in shown)]
    hidden = len(bad) - sum(row in bad for row in shown)
    if hidden:
        lines.append(f"     and {hidden} more that are off")
    return [*lines, "", *remarks(comparison), *_coarser(comparison)]


def diagnosis_lines(diagnosis: Diagnosis) -> list[str]:
    """What to change first; each mistake with its evidence and its remedy; then what stays unexplained."""
    comparison = diagnosis.comparison
    if diagnosis.clean:
        return [f"no mistake found: {verdict(comparison)}", "", *remarks(comparison), *_hidden(diagnosis)]
    lines = [*_answer(comparison), *(_size(comparison) or [f"change first: {first_change(diagnosis)}", ""])]
    for number, misloaded in enumerate(diagnosis.misloaded, 1):
        lines += _misloaded(number, misloaded, len(comparison.bad))
    for number, finding in enumerate(diagnosis.findings, len(diagnosis.misloaded) + 1):
        lines += _finding(number, finding, len(comparison.bad))
    for unexplained in diagnosis.unexplained:
        lines += _unexplained(unexplained)
    if diagnosis.still_wrong:
        lines.append(f"off as well, but not examined: {some(diagnosis.still_wrong)}")
    return [*lines, *remarks(comparison), *_hidden(diagnosis)]


def first_change(diagnosis: Diagnosis) -> str:
    """The one thing to do now: load the weights as they should be, else fix the first wrong layer."""
    order = [row.path for row in diagnosis.comparison.rows]
    steps = [(order.index(finding.path), finding.mistake.remedy) for finding in diagnosis.findings]
    for each in diagnosis.unexplained:
        before = f" ({some(each.unseen)})" if each.unseen else ""
        place, what = each.path, each.hint
        if not what:
            place, what = f"{place} and what goes into it{before}", "what is wrong there has no name"
        steps.append((order.index(each.path), f"look at {place}: {what}"))
    if diagnosis.misloaded:
        first = diagnosis.misloaded[0]
        return f"load {first.parameters[0]} as it should be ({first.how})"
    return min(steps)[1]


def verdict(comparison: Comparison) -> str:
    """One line: how many tensors are off, and by what measure."""
    way = "each layer on the port's own input" if comparison.replayed else "each layer on what came before it"
    count, bad = len(comparison.rows), len(comparison.bad)
    allowed = f"{comparison.multiple:g} times the noise floor of {comparison.precision}"
    if not bad:
        rest = f"all {count} tensors" if not comparison.idle else f"{count - len(comparison.idle)} of {count} tensors"
        return f"{rest} are within {allowed} ({way})"
    return f"{bad} of {count} tensors are off by more than {allowed} ({way})"


def _size(comparison: Comparison) -> list[str]:
    """That the port was run on another size: said before everything else."""
    if comparison.other_size is None:
        return []
    height, width = comparison.other_size
    return [
        f"the port's tensors are those of an input {height} high and {width} wide, unlike the golden file's: feed the "
        "port its pixel_values, or make a golden file of that size"
    ]


def _answer(comparison: Comparison) -> list[str]:
    """That the network's answer is right, if it is while something before it isn't: said first."""
    row = comparison.answer
    if row is None or not row.ok or not (comparison.bad or comparison.idle):
        return []
    what = "the logits are" if row.path == LOGITS else "the last map is"
    return [f"{what} right, to {row.multiple:.2g} x noise; before that:"]


def _place(row: Row) -> str:
    if row.difference is None:
        return f"{row.path}: the port's {row.name!r} has shape {row.shape}, which fits no layout of it"
    d = row.difference
    return (
        f"{row.path}: error {d.error:.2g}, {row.multiple:.2g} x noise; "
        f"worst at {list(d.worst)}: {d.found:.6g}, should be {d.expected:.6g}"
    )


def _around(comparison: Comparison) -> list[Row]:
    if comparison.first_bad is None:
        worst = sorted(comparison.rows, key=lambda row: -row.multiple)[:_BEFORE]
        return [row for row in comparison.rows if row in worst]
    first = comparison.rows.index(comparison.first_bad)
    return [*comparison.rows[max(0, first - _BEFORE) : first], *comparison.bad[:_BAD]]


def _row(row: Row) -> str:
    mark = "  ok " if row.ok else "  >> "
    if row.difference is None:
        return f"{mark}{'shape ' + str(row.shape):>51}  {row.path}"
    d = row.difference
    numbers = f"{d.max_abs:9.2g} {d.error:9.2g} {row.multiple:9.2g} {d.relative_l2:9.2g} {d.cosine:11.8f}"
    return f"{mark}{numbers}  {row.path}"


def remarks(comparison: Comparison) -> list[str]:
    """How the tensors were matched, what only one side has, and what else a reader should know."""
    lines = [f"matched by {comparison.how}; {_layouts(comparison)}"]
    lines += _weights(comparison.identity)
    if comparison.idle:
        lines.append(f"off, but reaching nothing that comes after: {some(tuple(row.path for row in comparison.idle))}")
    for names, what in (
        (comparison.missing, "of the golden's tensors are not in the port"),
        (comparison.unknown, "of the port's tensors match nothing"),
        (comparison.absent, "of the map's names are not in the port"),
    ):
        if names:
            lines.append(f"{len(names)} {what}: {some(names)}")
    undefined = tuple(row.path for row in comparison.rows if not row.finite)
    if undefined:
        lines.append(f"NaN or infinity, here or in the tensor compared with, which is never right: {some(undefined)}")
    noisy = tuple(
        row.path
        for row in comparison.rows
        if row.difference and row.finite and comparison.multiple * row.noise > MAX_ERROR
    )
    if noisy:
        lines.append(f"too noisy for a fine verdict, so {MAX_ERROR:.0%} is allowed: {some(noisy)}")
    if not comparison.ok and not comparison.replayed:
        lines.append("every layer after the first bad one is fed its error; --replay shows which are wrong themselves")
    return lines


def _weights(identity: Identity | None) -> list[str]:
    """Which of the golden's parameters the port hasn't got, or not as it should."""
    if identity is None:
        return []
    misplaced, lost, unknown = identity.misplaced, identity.never_loaded, identity.unknown
    lines = [f"weights: {each.parameter} {each.how}: the port's {each.name}" for each in misplaced[:_MAX_NAMES]]
    if len(misplaced) > _MAX_NAMES:
        lines.append(f"weights: and {len(misplaced) - _MAX_NAMES} more that aren't as they should be")
    if lost:
        lines.append(f"weights: the port has nothing like {len(lost)}: {some(lost)}")
    if unknown:
        lines.append(f"weights: {len(unknown)} of the port's are none of ours: {some(unknown)}")
    return lines or [f"weights: all {identity.count} are in the port, as they should be"]


def _coarser(comparison: Comparison) -> list[str]:
    """A hint for ports that compute in less than float32 and store it as float32, where it doesn't show."""
    if comparison.ok or not comparison.replayed or comparison.precision != "float32":
        return []
    kinds = [[row for row in comparison.rows if row.path.rpartition(".")[2] in kind] for kind in _PRODUCTS]
    if not any(sum(not row.ok for row in rows) >= _NEARLY_ALL * len(rows) > 0 for rows in kinds):
        return []
    fitting = [precision for precision in _EXPLAINED if _explained_by(precision, comparison)]
    if not fitting:
        return []
    makes = f"nearly every error is one that {' or '.join(fitting)} makes"
    return [f"{makes}; if the port computes in that, say so by --precision"]


def _explained_by(precision: str, comparison: Comparison) -> bool:
    errors = [row.difference.error if row.difference else float("inf") for row in comparison.bad]
    limits = [allowed(floor(row.noise, precision), comparison.multiple) for row in comparison.bad]
    within = sum(error <= limit for error, limit in zip(errors, limits, strict=True))
    return within >= _EXPLAINED[precision] * len(errors) and all(map(math.isfinite, errors))


def _layouts(comparison: Comparison) -> str:
    found = [f"{theirs} for {ours}" for ours, theirs in comparison.layouts.items() if ours != theirs]
    return f"layouts: {', '.join(found)}" if found else "layouts as in the golden file"


def _hidden(diagnosis: Diagnosis) -> list[str]:
    """The mistakes that couldn't be seen, by the golden file that would show them."""
    goldens: dict[str, list[str]] = {}
    for mistake in diagnosis.hidden:
        goldens.setdefault(mistake.golden, []).append(mistake.name)
    told = [f"{', '.join(names)} (trace {golden} shows them)" for golden, names in goldens.items()]
    return [f"can't be seen with this golden file: {'; '.join(told)}"] if told else []


def _misloaded(number: int, misloaded: Misloaded, bad: int) -> list[str]:
    return [
        f"{number}. weights: {some(misloaded.parameters)}: {misloaded.how}",
        f"   where     {some(misloaded.paths)}: {len(misloaded.paths)} of the {bad} tensors that are off",
        "   remedy    load it as the golden file's network has it, in the layout of the port's other weights",
        "",
    ]


def _finding(number: int, finding: Finding, bad: int) -> list[str]:
    mistake = finding.mistake
    together = f" (together with {', '.join(finding.together_with)})" if finding.together_with else ""
    others = len(finding.explains) - 1
    lines = [
        f"{number}. {mistake.name}: the port {mistake.sentence}",
        f"   where     {finding.path}" + (f", and {others} more of the {bad} tensors that are off" if others else ""),
        f"   evidence  with {mistake.phrase}{together} the reference gives the port's tensor to "
        f"{finding.error_with:.1g}; without, it's off by {finding.error_without:.2g} (allowed: {finding.allowed:.1g})",
        f"   remedy    {mistake.remedy}",
    ]
    if finding.path == LOGITS:
        lines.append("   note      only the logits show it: give the port's inner tensors too, to be sure of the layer")
    if finding.also:
        lines.append(f"   or        {', '.join(finding.also)}: the same numbers here")
    return [*lines, ""]


def _unexplained(unexplained: Unexplained) -> list[str]:
    more = f", and {len(unexplained.also)} more like it" if unexplained.also else ""
    off = "of another shape" if math.isinf(unexplained.error) else f"off by {unexplained.error:.2g}"
    lines = [f"?  {unexplained.path}{more} is {off}, and no known mistake gives its numbers"]
    if unexplained.hint:
        lines.append(f"   {unexplained.hint}")
    if unexplained.unseen:
        lines.append(f"   or it's wrong just before, where the port has no tensors: {some(unexplained.unseen)}")
    if unexplained.ruled_out:
        lines.append(f"   ruled out (they change it, but otherwise): {', '.join(unexplained.ruled_out)}")
    return [*lines, ""]


def some(names: tuple[str, ...], most: int = _MAX_NAMES) -> str:
    """The first ``most`` names, of long ones the end, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    short = (name if len(name) <= _LONGEST else f"...{name[-_LONGEST:]}" for name in names[:most])
    return ", ".join(name or "''" for name in short) + more

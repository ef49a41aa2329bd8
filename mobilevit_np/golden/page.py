"""A comparison as a page: the network as a column of blocks colored by error.

The page stands alone (``page``) and holds, for every tensor, the comparison's numbers and pictures of both tensors and
their difference (``pictures``). Its size is bounded: the pictures get ``PICTURE_BYTES`` together, and where the
tensors are more than that, fewer channels are kept of each and larger maps are thinned. The first bad one keeps most.
The numbers are always those of all elements.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np

from ..config import NetworkConfig
from ..errors import InputError
from ..pages import assemble, number, plain_name, script_json, text
from .comparison import Comparison, Row, compare_matched, pair_up
from .file import OPERATOR, PIXELS, Golden
from .layouts import MAP, kind_of
from .matching import Matching
from .measure import MULTIPLE, allowed
from .network import Network
from .pictures import View, pictures, view_of
from .replay import reference_tensors
from .tables import remarks, verdict

PICTURE_BYTES = 4 << 20  # of all pictures together; base64 makes a third more of it
_DETAIL = ((12, 96), (8, 64), (6, 48), (4, 32), (3, 24), (2, 16), (1, 8), (0, 0))  # slices of a tensor, their side
_FINEST = (12, 128)  # of the first bad one, whatever the rest have to do with
_STEPS = (1 / 16, 1 / 4, 1.0, 10.0, 1e3, 1e6)  # of the allowed error: where one color ends and the next begins
_WITHIN = 2  # the last color of what is within tolerance
_STAGE = re.compile(r"^(.*?\.layer\.\d+)(?:\.|$)")
_LONGEST_LINE = 1000
_STRANGERS = 4  # of the port's unmatched tensors in a row, by name
_ALONE, _PILED = "layer alone", "end to end"


@dataclass(frozen=True)
class Compared:
    """What the page shows: two comparisons of one port where it was replayed, and the tensors behind the first."""

    golden: Golden
    matching: Matching
    comparison: Comparison
    expected: Mapping[str, np.ndarray]  # what the port's tensors are held against
    plain: Comparison | None = None  # the other, end to end, where ``comparison`` is a replay
    strangers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # a path -> the port's after it, unmatched


def compare_for_page(
    golden: Golden,
    port: Mapping[str, np.ndarray],
    *,
    network: Network | None = None,
    replayed: bool | None = None,
    mapping: Mapping[str, str | list[str]] | None = None,
    by: str = "auto",
    precision: str | None = None,
    multiple: float = MULTIPLE,
) -> Compared:
    """``golden.compare``, with all that ``compare_page`` needs besides. Raises InputError as that does."""
    paired = pair_up(golden, port, network, mapping=mapping, by=by, precision=precision, multiple=multiple)
    matching, plain = paired.matching, compare_matched(golden, paired)
    strangers = _strangers(port, matching)
    if network is None or replayed is False:
        return Compared(golden, matching, plain, golden.tensors, strangers=strangers)
    locally = compare_matched(golden, paired, network)
    expected = reference_tensors(network, golden, matching.tensors)
    return Compared(golden, matching, locally, expected, plain, strangers)


def _strangers(port: Mapping[str, np.ndarray], matching: Matching) -> dict[str, tuple[str, ...]]:
    """What matches nothing, by the path after which the port computes it."""
    paths = {pair.name: path for path, pair in matching.found.items()}
    unknown, found, path = set(matching.unknown), dict[str, tuple[str, ...]](), ""
    for name in port:
        path = paths.get(name, path)
        if name in unknown:
            found[path] = (*found.get(path, ()), name)
    return found


def compare_page(compared: Compared, *, port: str = "port", picture_bytes: int = PICTURE_BYTES) -> str:
    """The page, as HTML. ``port`` is what the port's file is called.

    Raises InputError where nothing was compared.
    """
    comparison = compared.comparison
    if not comparison.rows:
        raise InputError("there is nothing to show: no tensor was compared")
    paths = _paths(compared)
    start = _start(comparison)
    columns = [_ALONE, _PILED] if compared.plain else [""]
    data = {
        "start": paths.index(start),
        "sides": [_reference(comparison), "port"],
        "about": (
            "The reference was run on the port’s own input to this layer: what is off here is the layer’s own doing."
            if comparison.replayed
            else ""
        ),
        "columns": columns,
        "tensors": _tensors(compared, paths, picture_bytes),
    }
    return assemble(
        "compare.html",
        styles=("page.css", "pictures.css", "compare.css"),
        scripts=("pictures.js", "compare.js"),
        parts={
            "title": text(f"{plain_name(port)} against {plain_name(compared.golden.name)}"),
            "verdict": _verdict(compared, paths),
            "facts": _facts(compared),
            "legend": _legend(comparison.multiple),
            "allowed": text(_times(comparison.multiple)),
            "heads": "".join(f"<span>{text(head)}</span>" for head in columns if head),
            "blocks": _blocks(compared, paths),
            "lanes": "two" if compared.plain else "one",
            "data": script_json(data),
        },
    )


# -- the head ----------------------------------------------------------------------------------------------------------


def _verdict(compared: Compared, paths: Sequence[str]) -> str:
    comparison = compared.comparison
    state, mark = ("ok", _mark(True)) if comparison.ok else ("off", _mark(False))
    say = f'<p class="say"><span aria-hidden="true">{mark}</span> {text(_sentence(verdict(comparison)))}</p>'
    first, last, piled = comparison.first_bad, comparison.last_good, compared.plain and compared.plain.first_bad
    lines = _go("First bad", first, paths) + _go("Last good", last, paths) if first else ""
    if piled and (first is None or piled.path != first.path):
        lines += _go("First bad end to end", piled, paths)
    return f'<div class="verdict {state}">{say}{f"<dl>{lines}</dl>" if lines else ""}</div>'


def _go(label: str, row: Row | None, paths: Sequence[str]) -> str:
    if row is None:
        return f"<dt>{label}</dt><dd>none: the very first is off</dd>"
    link = f'<button type="button" data-go="{paths.index(row.path)}">{_breakable(plain_name(row.path))}</button>'
    return f"<dt>{label}</dt><dd>{link} <span>{text(_worst(row))}</span></dd>"


def _worst(row: Row) -> str:
    if row.difference is None:
        return f"has shape {row.shape}, which is no layout of it"
    d, far = row.difference, _far(row.multiple)
    if row.ok:
        return far
    return f"{far}; worst at {list(d.worst)}: {number(d.found, 6)}, should be {number(d.expected, 6)}"


def _facts(compared: Compared) -> str:
    golden = compared.golden
    lines = [_sentence(plain_name(line, _LONGEST_LINE)) for line in remarks(compared.comparison)]
    weights = golden.weights.get("name") or str(golden.weights.get("sha256", ""))[:12]
    about = [golden.task, golden.dtype, f"weights {weights}" if weights else "", _input(golden)]
    lines.insert(0, "Golden: " + ", ".join(plain_name(each) for each in about if each))
    return "".join(f"<li>{text(line)}</li>" for line in lines)


def _input(golden: Golden) -> str:
    name = golden.input.get("name")
    return f"input {name}" if name else ""


def _sentence(line: str) -> str:
    return f"{line[:1].upper()}{line[1:]}."


def _reference(comparison: Comparison) -> str:
    return "reference" if comparison.replayed else "golden"


def _legend(multiple: float) -> str:
    ends = [f"≤ {_times(multiple * step)[:-1]}" for step in _STEPS] + ["more"]
    return "".join(
        f'<li class="b{i}"><span aria-hidden="true">{_mark(i <= _WITHIN)}</span>'
        f'<span class="unseen">{_said(i <= _WITHIN)}, </span>{end}</li>'
        for i, end in enumerate(ends)
    )


# -- the column --------------------------------------------------------------------------------------------------------


def _paths(compared: Compared) -> list[str]:
    """Every tensor that's shown, in order of execution: those compared, and those the port lacks."""
    shown = {row.path for row in compared.comparison.rows} | set(compared.comparison.missing)
    if compared.plain:
        shown |= {row.path for row in compared.plain.rows}
    return [path for path in compared.golden.tensors if path in shown]


def _start(comparison: Comparison) -> str:
    """What is shown first: the first bad one, or that nearest to it."""
    if comparison.first_bad:
        return comparison.first_bad.path
    return max(comparison.rows, key=lambda row: row.multiple / comparison.multiple).path


def _blocks(compared: Compared, paths: Sequence[str]) -> str:
    numbers = {path: i for i, path in enumerate(paths)}
    block = _blocks_of(compared)
    out = []
    for stage, members in ((stage, list(members)) for stage, members in groupby(paths, key=stage_of)):
        name = plain_name(stage)
        head = "" if members == [stage] else f'<div class="head" aria-hidden="true">{_breakable(name)}</div>'
        names = [_within(path, stage) if head else path for path in members]
        blocks = "".join(
            block(path, numbers[path], shown) + _stranger(compared.strangers.get(path, ()))
            for path, shown in zip(members, names, strict=True)
        )
        out.append(f'<div role="group" class="stage" aria-label="{text(name)}">{head}{blocks}</div>')
    return _stranger(compared.strangers.get("", ())) + "".join(out)


def _stranger(names: Sequence[str]) -> str:
    """The port's tensors that match nothing, where it computes them."""
    if not names:
        return ""
    shown = ", ".join(plain_name(name) for name in names[:_STRANGERS])
    more = f" and {len(names) - _STRANGERS} more" if len(names) > _STRANGERS else ""
    return f'<p class="stranger">the port’s own: {text(shown)}{more}</p>'


def _within(path: str, stage: str) -> str:
    return "output" if path == stage else path.removeprefix(f"{stage}.")


def _blocks_of(compared: Compared) -> Callable[[str, int, str], str]:
    """What makes a block of a path, its number, and the name it's shown under."""
    comparison, plain = compared.comparison, compared.plain
    rows, piled = _by_path(comparison), _by_path(plain)
    first, last = comparison.first_bad, comparison.last_good
    tags = {row.path: tag for row, tag in ((last, "last good"), (first, "first bad")) if row}

    def block(path: str, index: int, shown: str) -> str:
        cells = _cell(rows.get(path), comparison) + (_cell(piled.get(path), plain) if plain else "")
        lead, dot, end = plain_name(shown).rpartition(".")
        tag = tags.get(path, "")
        badge = f' <span class="tag {tag.replace(" ", "-")}">{tag}</span>' if tag else ""
        whole = text(plain_name(path))
        return (
            f'<div role="option" class="block {_state(rows.get(path))}" id="t{index}" data-index="{index}" '
            f'data-path="{whole}" title="{whole}" aria-selected="false">{cells}'
            f'<span class="name"><span class="lead">{_breakable(lead + dot)}</span>{_breakable(end)}'
            f"{badge}</span></div>"
        )

    return block


def _state(row: Row | None) -> str:
    if row is None:
        return "missing"
    return "ok" if row.ok else "off" if row.reaches else "idle"


def _cell(row: Row | None, comparison: Comparison) -> str:
    if row is None:
        return '<span class="cell none">not there</span>'
    shown = "shape" if row.difference is None else _times(row.multiple)
    return (
        f'<span class="cell b{color_of(row, comparison.multiple)}"><span aria-hidden="true">{_mark(row.ok)}</span>'
        f'<span class="unseen">{_said(row.ok)}, </span>{text(shown)}</span>'
    )


def stage_of(path: str) -> str:
    """The part of the network that a path belongs to: an encoder's layer, else its first two names."""
    stage = _STAGE.match(path)
    return stage[1] if stage else ".".join(path.split(".")[:2])


def color_of(row: Row, multiple: float) -> int:
    """Which of the seven colors a row has: 0 to 2 within tolerance, 3 to 6 beyond."""
    if not row.reaches:
        return _WITHIN
    found = sum(row.multiple > multiple * step for step in _STEPS)
    return min(found, _WITHIN) if row.ok else max(found, _WITHIN + 1)


def _mark(ok: bool) -> str:
    return "✓" if ok else "✕"


def _said(ok: bool) -> str:
    return "within" if ok else "off"


def _times(multiple: float) -> str:
    """A multiple of the noise floor, short: 0.4×, 12×, 3.1e5×."""
    if multiple < 9.95:
        return f"{multiple:.1f}×".replace(".0×", "×")
    if multiple < 9999.5:
        return f"{multiple:.0f}×"
    return re.sub(r"e\+0?", "e", f"{multiple:.1e}×").replace(".0e", "e") if np.isfinite(multiple) else "∞"


def _far(multiple: float) -> str:
    return f"{_times(multiple)} the noise floor" if np.isfinite(multiple) else "infinitely far"


def _breakable(name: str) -> str:
    """A name as HTML that may go on in the next line after a dot or an underscore."""
    return re.sub(r"([._/])", r"\1<wbr>", text(name))


# -- what a click shows ------------------------------------------------------------------------------------------------


def _tensors(compared: Compared, paths: Sequence[str], picture_bytes: int) -> list[dict[str, Any]]:
    rows, piled = _by_path(compared.comparison), _by_path(compared.plain)
    views = {path: view for path in paths if (view := _view(compared, path, rows.get(path)))}
    first = compared.comparison.first_bad
    detail = _detail(views, first.path if first else "", picture_bytes)
    return [_tensor(compared, path, rows.get(path), piled.get(path), views.get(path), detail(path)) for path in paths]


def _view(compared: Compared, path: str, row: Row | None) -> View | None:
    """How to look at a tensor; None where there's nothing to look at."""
    if row is None or row.difference is None:
        return None
    pixels = compared.golden.tensors.get(PIXELS)
    return view_of(
        path, compared.golden.tensors, _patch_size(compared.golden), 1 if pixels is None else pixels.shape[0]
    )


def _patch_size(golden: Golden) -> int:
    config = golden.config.get("network") if golden.task == OPERATOR else golden.config
    found = config.get("patch_size") if isinstance(config, dict) else None
    return found if isinstance(found, int) and found > 0 else NetworkConfig().patch_size


def _detail(views: Mapping[str, View], first: str, picture_bytes: int) -> Callable[[str], tuple[int, int]]:
    """How many slices of which side each tensor gets: the most that lets all of them into ``picture_bytes``."""

    def cost(path: str, detail: tuple[int, int]) -> int:
        return 3 * int(np.prod(views[path].drawn(*detail)))

    finest = _FINEST
    if first not in views or cost(first, _FINEST) > picture_bytes / 2:
        first = ""
    left = picture_bytes - (cost(first, finest) if first else 0)
    others = [path for path in views if path != first]
    level = next(
        level for level in _DETAIL if sum(cost(path, level) for path in others) <= left or level == _DETAIL[-1]
    )
    return lambda path: finest if path == first else level


def _tensor(
    compared: Compared, path: str, row: Row | None, piled: Row | None, view: View | None, detail: tuple[int, int]
) -> dict[str, Any]:
    golden = compared.golden.tensors[path]
    tensor: dict[str, Any] = {
        "path": plain_name(path),
        "state": _state(row),
        "status": _status(row, piled, compared.comparison),
        "about": _about(compared, path, golden, row or piled),
        "numbers": _numbers([row, piled] if compared.plain else [row]),
    }
    if view is not None and row is not None and row.difference is not None:
        expected, found = compared.expected[path], compared.matching.found[path].tensor
        limit = allowed(row.noise, compared.comparison.multiple)
        tensor["picture"] = pictures(view, expected, found, *detail, limit)
    return tensor


def _status(row: Row | None, piled: Row | None, comparison: Comparison) -> str:
    if row is None:
        return "Not in the port: nothing to compare." if piled is None else "Not reached by the replay."
    if row.difference is None:
        return f"Its shape {row.shape} is no layout of the golden's."
    words = "Within tolerance" if row.ok else "Off" if row.reaches else "Off, and reaching nothing that comes after"
    return f"{words}: {_far(row.multiple)}, where {_times(comparison.multiple)} is allowed."


def _about(compared: Compared, path: str, golden: np.ndarray, row: Row | None) -> list[list[str]]:
    facts = [["shape", f"{golden.shape} {_axes(path, golden)}".strip()]]
    if row is None:
        return facts
    facts.append(["in the port", plain_name(row.name)])
    matched = compared.matching.found.get(path)
    if matched is None:
        return [*facts, ["the port's shape", str(row.shape)]]
    return [*facts, ["the port's layout", matched.layout], ["the port's dtype", str(matched.tensor.dtype)]]


def _axes(path: str, golden: np.ndarray) -> str:
    return "batch, channels, height, width" if kind_of(path, golden) == MAP else ""


def _numbers(rows: Sequence[Row | None]) -> list[list[str]]:
    """The table: a name, and a value for each of the comparisons."""
    return [[name, *("–" if row is None else value(row) for row in rows)] for name, value in _NUMBERS.items()]


def _of(name: str, digits: int = 4) -> Callable[[Row], str]:
    return lambda row: "–" if row.difference is None else number(getattr(row.difference, name), digits)


_NUMBERS: dict[str, Callable[[Row], str]] = {
    "verdict": lambda row: "✓ within" if row.ok else "✕ off",
    "× noise floor": lambda row: "–" if row.difference is None else number(row.multiple),
    "noise floor": lambda row: "–" if row.difference is None else number(row.noise),
    "largest error": _of("max_abs"),
    "relative error": _of("error"),
    "relative L2": _of("relative_l2"),
    "cosine": _of("cosine", 10),
    "worst element": lambda row: "–" if row.difference is None else str(list(row.difference.worst)),
    "should be": _of("expected", 9),
    "is": _of("found", 9),
}


def _by_path(comparison: Comparison | None) -> dict[str, Row]:
    return {row.path: row for row in comparison.rows} if comparison else {}

"""A comparison as a page: the network as a column of blocks colored by error.

The page is one file (``pages``) and has, for every tensor, the comparison's numbers and pictures of both tensors and
their difference (``pictures``). Its size is bounded: all pictures together get ``PICTURE_BYTES``, and if the tensors
are more than that, fewer channels are kept of each and larger maps are thinned. The first bad one keeps the most.
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
from ..pages import assemble, number, plain_name, script_json, text
from .comparison import Comparison, Row, compare_paired, pair_up
from .file import OPERATOR, PIXELS, Golden
from .layouts import MAP, kind_of
from .matching import Matching
from .measure import allowed
from .network import Network
from .pictures import View, pictures, view_of
from .tables import remarks, some, verdict

PICTURE_BYTES = 4 << 20  # of all pictures together; a third more in base64
_DETAIL = ((12, 96), (8, 64), (6, 48), (4, 32), (3, 24), (2, 16), (1, 8), (0, 0))  # slices of a tensor, their side
_FINEST = (12, 128)  # of the first bad one, whatever is left for the rest
_STEPS = (1 / 16, 1 / 4, 1.0, 10.0, 1e3, 1e6)  # of the allowed error: where one color ends and the next begins
_WITHIN = 2  # the last color of what is within tolerance
_STAGE = re.compile(r"^(.*?\.layer\.\d+)(?:\.|$)")
_MAX_LINE = 1000
_MAX_STRANGERS = 4  # of the port's unmatched tensors in a row, by name


@dataclass(frozen=True)
class Compared:
    """What the page shows: a comparison, or two if the port was replayed, and the tensors behind the first."""

    golden: Golden
    matching: Matching
    comparison: Comparison
    expected: Mapping[str, np.ndarray]  # what the port's tensors are compared with
    end_to_end: Comparison | None = None  # the second, if ``comparison`` is a replay
    strangers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # a path -> the port's after it, unmatched


def compare_for_page(
    golden: Golden,
    port: Mapping[str, np.ndarray],
    *,
    network: Network | None = None,
    replayed: bool | None = None,
    **options: Any,
) -> Compared:
    """What ``compare_page`` shows. Arguments and errors are those of ``golden.compare``."""
    paired = pair_up(golden, port, network, **options)
    matching, end_to_end = paired.matching, compare_paired(golden, paired)
    strangers = _strangers(port, matching)
    if network is None or replayed is False:
        return Compared(golden, matching, end_to_end, golden.tensors, strangers=strangers)
    locally = paired.replay(network, golden)
    expected = {path: measured.expected for path, measured in locally.items()}
    return Compared(golden, matching, compare_paired(golden, paired, locally), expected, end_to_end, strangers)


def _strangers(port: Mapping[str, np.ndarray], matching: Matching) -> dict[str, tuple[str, ...]]:
    """The port's tensors that match nothing, by the path that they follow in the port."""
    paths = {pair.name: path for path, pair in matching.found.items()}
    unknown, found, path = set(matching.unknown), dict[str, tuple[str, ...]](), ""
    for name in port:
        path = paths.get(name, path)
        if name in unknown:
            found[path] = (*found.get(path, ()), name)
    return found


def compare_page(compared: Compared, *, port: str = "port", picture_bytes: int = PICTURE_BYTES) -> str:
    """The page, as HTML. ``port`` is the name of the port's file."""
    comparison = compared.comparison
    paths = _paths(compared)
    columns = ["layer alone", "end to end"] if compared.end_to_end else [""]
    data = {
        "start": paths.index(_start(comparison)),
        "sides": ["reference" if comparison.replayed else "golden", "port"],
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
            "lanes": "two" if compared.end_to_end else "one",
            "data": script_json(data),
        },
    )


# -- the head ----------------------------------------------------------------------------------------------------------


def _verdict(compared: Compared, paths: Sequence[str]) -> str:
    comparison, end_to_end = compared.comparison, compared.end_to_end
    mark, sentence = _mark(comparison.ok), text(_sentence(verdict(comparison)))
    say = f'<p class="say"><span aria-hidden="true">{mark}</span> {sentence}</p>'
    first, other = comparison.first_bad, end_to_end.first_bad if end_to_end else None
    lines = _go("First bad", first, paths) + _go("Last good", comparison.last_good, paths) if first else ""
    if other and (first is None or other.path != first.path):
        lines += _go("First bad end to end", other, paths)
    state = "ok" if comparison.ok else "off"
    return f'<div class="verdict {state}">{say}{f"<dl>{lines}</dl>" if lines else ""}</div>'


def _go(label: str, row: Row | None, paths: Sequence[str]) -> str:
    if row is None:
        return f"<dt>{label}</dt><dd>none: the very first is off</dd>"
    link = f'<button type="button" data-go="{paths.index(row.path)}">{_breakable(plain_name(row.path))}</button>'
    return f"<dt>{label}</dt><dd>{link} <span>{text(_worst(row))}</span></dd>"


def _worst(row: Row) -> str:
    if row.difference is None:
        return f"has shape {row.shape}, which fits no layout of it"
    d, far = row.difference, _far(row.multiple)
    if row.ok:
        return far
    return f"{far}; worst at {list(d.worst)}: {number(d.found, 6)}, should be {number(d.expected, 6)}"


def _facts(compared: Compared) -> str:
    golden = compared.golden
    lines = [_sentence(plain_name(line, _MAX_LINE)) for line in remarks(compared.comparison)]
    weights, name = golden.weights.get("name") or str(golden.weights.get("sha256", ""))[:12], golden.input.get("name")
    about = [golden.task, golden.dtype, f"weights {weights}" if weights else "", f"input {name}" if name else ""]
    lines.insert(0, "Golden: " + ", ".join(plain_name(each) for each in about if each))
    return "".join(f"<li>{text(line)}</li>" for line in lines)


def _sentence(line: str) -> str:
    return f"{line[:1].upper()}{line[1:]}."


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
    shown = {*_by_path(compared.comparison), *compared.comparison.missing, *_by_path(compared.end_to_end)}
    return [path for path in compared.golden.tensors if path in shown]


def _start(comparison: Comparison) -> str:
    """What is shown first: the first bad tensor, else the one nearest to the tolerance."""
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
    """The port's tensors that match nothing, in their place."""
    shown = some(tuple(map(plain_name, names)), _MAX_STRANGERS)
    return f'<p class="stranger">the port’s own: {text(shown)}</p>' if names else ""


def _within(path: str, stage: str) -> str:
    return "output" if path == stage else path.removeprefix(f"{stage}.")


def _blocks_of(compared: Compared) -> Callable[[str, int, str], str]:
    """A function that makes the block for a path, with its number and the name it's shown under."""
    comparison, end_to_end = compared.comparison, compared.end_to_end
    rows, others = _by_path(comparison), _by_path(end_to_end)
    first, last = comparison.first_bad, comparison.last_good
    tags = {row.path: tag for row, tag in ((last, "last good"), (first, "first bad")) if row}

    def block(path: str, index: int, shown: str) -> str:
        cells = _cell(rows.get(path), comparison) + (_cell(others.get(path), end_to_end) if end_to_end else "")
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
    rows, others = _by_path(compared.comparison), _by_path(compared.end_to_end)
    views = {path: view for path in paths if (view := _view(compared, path, rows.get(path)))}
    first = compared.comparison.first_bad
    detail = _detail(views, first.path if first else "", picture_bytes)
    return [_tensor(compared, path, rows.get(path), others.get(path), views.get(path), detail(path)) for path in paths]


def _view(compared: Compared, path: str, row: Row | None) -> View | None:
    """How to draw a tensor; None if there's nothing to draw."""
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
    """How many slices of which side each tensor gets: the most with which all fit into ``picture_bytes``."""

    def cost(path: str, detail: tuple[int, int]) -> int:
        return 3 * int(np.prod(views[path].drawn(*detail)))

    if first not in views or cost(first, _FINEST) > picture_bytes / 2:
        first = ""
    left = picture_bytes - (cost(first, _FINEST) if first else 0)
    others = [path for path in views if path != first]
    fitting = (level for level in _DETAIL if sum(cost(path, level) for path in others) <= left)
    level = next(fitting, _DETAIL[-1])
    return lambda path: _FINEST if path == first else level


def _tensor(
    compared: Compared, path: str, row: Row | None, other: Row | None, view: View | None, detail: tuple[int, int]
) -> dict[str, Any]:
    golden = compared.golden.tensors[path]
    tensor: dict[str, Any] = {
        "path": plain_name(path),
        "state": _state(row),
        "status": _status(row, other, compared.comparison),
        "about": _about(compared, path, golden, row or other),
        "numbers": _numbers([row, other] if compared.end_to_end else [row]),
    }
    if view is not None and row is not None and row.difference is not None:
        expected, found = compared.expected[path], compared.matching.found[path].tensor
        limit = allowed(row.noise, compared.comparison.multiple)
        tensor["picture"] = pictures(view, expected, found, *detail, limit)
    return tensor


def _status(row: Row | None, other: Row | None, comparison: Comparison) -> str:
    if row is None:
        return "Not in the port: nothing to compare." if other is None else "Not reached by the replay."
    if row.difference is None:
        return f"Its shape {row.shape} fits no layout of the golden's."
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
    """The table's lines: a name, and a value for each comparison."""
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

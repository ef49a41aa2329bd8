"""What the races gave, as plain values for programs and as tables for people.

The tables are GitHub's Markdown, padded so that they read well in a terminal too.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .race import Contender, Result


def records(contenders: Sequence[Contender], results: Mapping[str, Result], images: int) -> list[dict[str, Any]]:
    """How each contender did, ``images`` at a call; ``ratio_to`` is its time over each other's."""
    return [_record(contender, results, images) for contender in contenders]


def _record(contender: Contender, results: Mapping[str, Result], images: int) -> dict[str, Any]:
    mine = results[contender.name]
    seconds = list(mine.times.values())
    median = statistics.median(seconds)
    return {
        "name": contender.name,
        "version": contender.version,
        "rounds": len(seconds),
        "median_ms": 1e3 * median,
        "minimum_ms": 1e3 * min(seconds),
        "images_per_second": images / median,
        "compile_seconds": contender.compile_seconds,
        "peak_mb": None if contender.peak_bytes is None else contender.peak_bytes / 1e6,
        "ratio_to": {name: mine.ratio_to(other) for name, other in results.items() if other is not mine},
        "worst_error": mine.worst,
        "milliseconds": [1e3 * each for each in seconds],
    }


def network_tables(report: Mapping[str, Any]) -> list[str]:
    """The times of a race of networks, then speed and memory, each with a line that says what is shown."""
    cells = report["cells"]
    names = [each["name"] for each in cells[0]["contenders"]]
    first = names[0]
    compared = f"; 1.25x: takes 1.25 times as long as {first} (median over rounds)" if len(names) > 1 else ""
    head = ["network", "input", *names]
    times = [[*_what(cell), *(_time(each, first) for each in cell["contenders"])] for cell in cells]
    loads = [[*_what(cell), *(_load(each) for each in cell["contenders"])] for cell in cells]
    return [
        f"Milliseconds a call: median (shortest){compared}",
        "",
        *markdown([head, *times]),
        "",
        "Images a second, and the peak memory of the contender's process, libraries included",
        "",
        *markdown([head, *loads]),
        "",
        errors_line([each for cell in cells for each in cell["contenders"]], report["tolerance"]),
    ]


def contender_table(contenders: Sequence[Mapping[str, Any]], tolerance: float, *, speed: bool) -> list[str]:
    """A line for each contender of one race; ``speed`` shows images a second."""
    first = contenders[0]["name"]
    head = ["contender", "median ms", "shortest ms", *(["images/s", "peak memory"] if speed else []), f"over {first}"]
    rows = [head]
    for each in contenders:
        more = [f"{each['images_per_second']:.1f}", _memory(each["peak_mb"])] if speed else []
        rows.append(
            [each["name"], _number(each["median_ms"]), _number(each["minimum_ms"]), *more, _times(each, first) or "1"]
        )
    return [*markdown(rows), "", errors_line(contenders, tolerance)]


def settings_lines(report: Mapping[str, Any]) -> list[str]:
    """On what it was run, against which versions."""
    at = report["settings"]
    versions = dict.fromkeys(version for version in report["versions"].values() if version)
    threads = f"{at['threads']} thread{'s' if at['threads'] > 1 else ''} each"
    return [
        f"{at['processor']}, {at['cores']} cores, {threads}; {at['system']}",
        f"Python {at['python']}, NumPy {at['numpy']} on {at['blas']}; {'; '.join(versions)}",
    ]


def errors_line(contenders: Sequence[Mapping[str, Any]], tolerance: float) -> str:
    """That all was checked, and how far off each contender was at most."""
    worst: dict[str, float] = {}
    for each in contenders:
        worst[each["name"]] = max(worst.get(each["name"], 0.0), each["worst_error"])
    said = ", ".join(f"{name} {value:.1g}" for name, value in worst.items())
    return f"Every answer checked against the reference; largest error, {tolerance:g} being allowed: {said}"


def markdown(rows: Sequence[Sequence[str]]) -> list[str]:
    """A table whose first row is its head, in columns of equal width."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    padded = [[text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in rows]
    lines = [f"| {' | '.join(row)} |" for row in padded]
    return [lines[0], f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines[1:]]


def _what(cell: Mapping[str, Any]) -> list[str]:
    name = cell["variant"] if cell["task"] == "classifier" else f"{cell['variant']} {cell['task']}"
    return [name, f"{cell['batch']} x {cell['size']}x{cell['size']}"]


def _time(record: Mapping[str, Any], first: str) -> str:
    compared = _times(record, first)
    shown = f"{_number(record['median_ms'])} ({_number(record['minimum_ms'])})"
    return f"{shown} {compared}" if compared else shown


def _times(record: Mapping[str, Any], first: str) -> str:
    value = record["ratio_to"].get(first)
    return "" if value is None else f"{value:.2f}x"


def _load(record: Mapping[str, Any]) -> str:
    compiled = record["compile_seconds"]
    more = "" if compiled is None else f", compiled in {_number(compiled)} s"
    return f"{_number(record['images_per_second'])}/s, {_memory(record['peak_mb'])}{more}"


def _memory(megabytes: float | None) -> str:
    return "unknown" if megabytes is None else f"{megabytes:.0f} MB"


def _number(value: float) -> str:
    """Three digits that count, none of them made up."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"

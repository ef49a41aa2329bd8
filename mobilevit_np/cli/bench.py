"""Floor 6. ``mobilevit-np bench``: how fast the engines are, beside what others run MobileViT on."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from typing import Any

from ..errors import ImageError, InputError
from .common import whole_number
from .inputs import expand
from .terminal import complain, printable, say

DESCRIPTION = """\
Race the engines against each other and against whatever peers are installed: PyTorch (transformers' own model, eager,
also with channels_last) and ONNX Runtime, all on the same number of threads, with the same drawn weights.

Each contender runs in a process of its own and is asked in turn, in shuffled order, with a new input every call. Every
answer is checked against the reference; a wrong one ends the race with exit code 1 and the contender's name. Times are
medians; a ratio is the median of the quotients taken round by round, from which a slow spell of the machine cancels.
Peak memory is the most that the contender's process ever held, with all it has loaded.

Without options: the fast engine and the peers on three networks, one image and eight of 256x256, in about two minutes.
Two other races: the whole command from its start to its answer (--whole-command), and a folder of photos, decoded and
classified, against the engine alone (--folder).
"""

EXAMPLES = """\
examples:
  mobilevit-np bench
  mobilevit-np bench --engines fast reference --peers none
  mobilevit-np bench --variants small --batch 1 --threads 1 --seconds 30
  mobilevit-np bench --task segmenter --variants small --batch 1
  mobilevit-np bench --variants xx_small --batch 1 --peers onnx-reference --rounds 3
  mobilevit-np bench --json > bench.json
  mobilevit-np bench --whole-command cat.jpg
  mobilevit-np bench --folder photos/

peers: torch, torch-channels-last, onnxruntime, and on request onnx-reference, which takes seconds a call;
to have them all: pip install torch transformers onnx onnxruntime

exit codes: 0 done, 1 a contender gave a wrong answer, 2 nothing could be done
"""

_ENGINES = ("fast", "reference")
_VARIANTS = ("xx_small", "x_small", "small")


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "bench",
        help="race the engines against each other and other runtimes",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--whole-command", metavar="PHOTO", help="time `classify PHOTO`, beside the same with transformers"
    )
    what.add_argument("--folder", metavar="DIR", help="classify the photos in a folder, beside the engine alone")
    _add_contenders(parser)
    _add_networks(parser)
    parser.add_argument(
        "--threads", type=whole_number, metavar="N", help="of each contender (default: as many as cores)"
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--rounds", type=whole_number, metavar="N", help="how often each contender's call is counted")
    length.add_argument(
        "--seconds",
        type=float,
        default=10.0,
        metavar="S",
        help="as many rounds as fit into this time for each line of the table, from 5 to 100 (default: %(default)g)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object, with every single time, for programs"
    )
    parser.set_defaults(run=run)


def _add_contenders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engines",
        nargs="+",
        choices=_ENGINES,
        default=["fast"],
        help="ours; ratios are to the first (default: fast). --folder takes the first",
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        metavar="P",
        help="whom to race against: names, or the single word none or all (default: what's installed and not slow)",
    )


def _add_networks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--variants", nargs="+", choices=_VARIANTS, default=_VARIANTS, help="the networks' sizes (default: all three)"
    )
    parser.add_argument(
        "--task", choices=("classifier", "segmenter"), default="classifier", help="which head (default: %(default)s)"
    )
    parser.add_argument(
        "--batch", nargs="+", type=whole_number, default=(1, 8), metavar="N", help="images at a call (default: 1 8)"
    )
    parser.add_argument(
        "--size", type=whole_number, metavar="N", help="height and width of an image (default: 256, segmenters 512)"
    )
    parser.add_argument(
        "--weights", metavar="W", help="for --whole-command and --folder: a classifier (default: pets-xx-small)"
    )


def run(options: argparse.Namespace) -> int:
    """Hold the race that was asked for, and print what it gave."""
    from ..fast import cores
    from ..report.bench import contenders
    from ..report.bench.race import WrongAnswerError

    peers, left_out = ([], {}) if options.folder else contenders.choose_peers(options.peers)
    for name, remedy in left_out.items():
        _tell(f"{name} isn't installed, and left out; {remedy}")
    threads = options.threads or cores()
    race = _whole_command if options.whole_command else _folder if options.folder else _networks
    try:
        report, lines = race(options, peers, threads)
    except WrongAnswerError as error:
        complain(error)
        return 1
    report["left_out"] = left_out
    say(json.dumps(report) if options.json else "\n".join(printable(line) for line in lines))
    return 0


def _networks(options: argparse.Namespace, peers: list[str], threads: int) -> tuple[dict[str, Any], list[str]]:
    from ..report.bench import networks, tables
    from ..report.bench.cells import SIZES

    cells = networks.cells_of(
        dict.fromkeys(options.variants), _unique(options.batch), options.task, options.size or SIZES[options.task]
    )
    names = [*_unique(options.engines), *peers]
    rules = _rules(options, networks.TOLERANCE)
    laps = networks.race_networks(cells, names, threads, rules, _tell)
    report = _report(threads, laps[0]["contenders"], rules.tolerance)
    report["cells"] = laps
    return report, [*tables.network_tables(report), "", *tables.settings_lines(report)]


def _whole_command(options: argparse.Namespace, peers: list[str], threads: int) -> tuple[dict[str, Any], list[str]]:
    from ..report.bench import tables, whole_command

    rules = _rules(options, whole_command.TOLERANCE)
    photo, weights = os.path.abspath(options.whole_command), options.weights
    _tell("starting the commands in turn")
    records = whole_command.race_commands(photo, weights, "torch" in peers, rules)
    report = _report(threads, records, rules.tolerance)
    report["whole_command"] = records
    lines = tables.contender_table(records, rules.tolerance, speed=False)
    return report, ["From the process's start to its answer, one photo", "", *lines, "", *tables.settings_lines(report)]


def _folder(options: argparse.Namespace, _: list[str], threads: int) -> tuple[dict[str, Any], list[str]]:
    from ..report.bench import folder, tables

    photos = expand([options.folder])
    paths = [os.path.abspath(photo.source) for photo in photos if photo.problem is None]
    if not paths:
        raise photos[0].problem or ImageError(f"{options.folder} holds no photos")
    rules = _rules(options, folder.TOLERANCE)
    engine = options.engines[0]
    _tell(f"{len(paths)} photos, the {engine} engine")
    records = folder.race_folder(paths, options.weights, engine, threads, rules)
    report = _report(threads, records, rules.tolerance)
    report.update(engine=engine, photos=len(paths), folder=records)
    lines = tables.contender_table(records, rules.tolerance, speed=True)
    head = f"{len(paths)} photos, the {engine} engine, batches of {folder.BATCH}"
    return report, [head, "", *lines, "", *tables.settings_lines(report)]


def _rules(options: argparse.Namespace, tolerance: float) -> Any:
    from ..report.bench.race import Rules

    if not 0 < options.seconds < 1e6:
        raise InputError(f"--seconds must be a positive number, not {options.seconds:g}")
    return Rules(tolerance, options.rounds, options.seconds)


def _report(threads: int, records: list[dict[str, Any]], tolerance: float) -> dict[str, Any]:
    from ..report.bench import machine

    versions = {each["name"]: each["version"] for each in records}
    return {"settings": machine.settings(threads), "versions": versions, "tolerance": tolerance}


def _tell(what: str) -> None:
    with contextlib.suppress(OSError):
        print(what, file=sys.stderr, flush=True)


def _unique(values: Any) -> list[Any]:
    return list(dict.fromkeys(values))

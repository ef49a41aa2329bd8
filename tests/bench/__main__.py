"""``python -m tests.bench``: how fast the engines are, beside what others run MobileViT on."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from mobilevit_np.checkpoints.inference import IMAGE_SIZE
from mobilevit_np.cli.common import whole_number
from mobilevit_np.cli.inputs import expand
from mobilevit_np.cli.terminal import printable, say
from mobilevit_np.config import VARIANTS
from mobilevit_np.engines import ENGINES
from mobilevit_np.errors import InputError
from mobilevit_np.fast import cores
from mobilevit_np.fence import complain, fenced

from . import contenders, folder, machine, networks, tables, whole_command
from .cells import Cell
from .race import Rules, WrongAnswerError

DESCRIPTION = """\
Race the engines against each other and against whatever peers are installed: PyTorch (transformers' own model, eager,
also with channels_last, and compiled), ONNX Runtime and OpenVINO, all in float32, on the same number of threads, with
the same drawn weights.

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
  python -m tests.bench
  python -m tests.bench --engines fast reference --peers none
  python -m tests.bench --variants small --batch 1 --threads 1 --seconds 30
  python -m tests.bench --task segmenter --variants small --batch 1
  python -m tests.bench --variants xx_small --batch 1 --peers torch torch-compile --rounds 20
  python -m tests.bench --json > bench.json
  python -m tests.bench --whole-command cat.jpg
  python -m tests.bench --folder photos/

peers: torch, torch-channels-last, onnxruntime, openvino, and on request torch-compile, which compiles for minutes
before each line of the table, and onnx-reference, which takes seconds a call;
to have them all: a C++ compiler, and pip install torch transformers onnx onnxruntime openvino

exit codes: 0 done, 1 a contender gave a wrong answer, 2 nothing could be done
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
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
    return parser


def _add_contenders(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--engines",
        nargs="+",
        choices=ENGINES,
        default=["fast"],
        help="ours; ratios are to the first (default: fast). --folder takes the first",
    )
    parser.add_argument(
        "--peers",
        nargs="+",
        metavar="P",
        help="whom to race against: names, or the single word none or all (default: all but those on request)",
    )


def _add_networks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--variants",
        nargs="+",
        choices=VARIANTS,
        default=list(VARIANTS),
        help="the networks' sizes (default: all three)",
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


def run(arguments: Sequence[str]) -> int:
    """Hold the race that was asked for, and print what it gave; the exit code is the answer."""
    return fenced(lambda: _run(build_parser().parse_args(arguments)))


def _run(options: argparse.Namespace) -> int:
    peers, left_out = ([], {}) if options.folder else contenders.choose_peers(options.peers)
    for name, remedy in left_out.items():
        _tell(f"{name} isn't installed, and left out; {remedy}")
    race = _whole_command if options.whole_command else _folder if options.folder else _networks
    try:
        report, lines = race(options, peers, options.threads or cores())
    except WrongAnswerError as error:
        complain(error)
        return 1
    report["left_out"] = left_out
    say(json.dumps(report) if options.json else "\n".join(printable(line) for line in lines))
    return 0


def _networks(options: argparse.Namespace, peers: list[str], threads: int) -> tuple[dict[str, Any], list[str]]:
    size = options.size or IMAGE_SIZE[options.task]
    variants, batches = _unique(options.variants), _unique(options.batch)
    cells = [Cell(variant, options.task, batch, size) for batch in batches for variant in variants]
    names = [*_unique(options.engines), *peers]
    rules = _rules(options, networks.TOLERANCE)
    laps = networks.race_networks(cells, names, threads, rules, _tell)
    report = _report(threads, laps[0]["contenders"], rules.tolerance)
    report["cells"] = laps
    return report, [*tables.network_tables(report), "", *tables.settings_lines(report)]


def _whole_command(options: argparse.Namespace, peers: list[str], threads: int) -> tuple[dict[str, Any], list[str]]:
    rules = _rules(options, whole_command.TOLERANCE)
    photo, weights = os.path.abspath(options.whole_command), options.weights
    _tell("starting the commands in turn")
    records = whole_command.race_commands(photo, weights, "torch" in peers, rules)
    report = _report(threads, records, rules.tolerance)
    report["whole_command"] = records
    lines = tables.contender_table(records, rules.tolerance, speed=False)
    return report, ["From the process's start to its answer, one photo", "", *lines, "", *tables.settings_lines(report)]


def _folder(options: argparse.Namespace, _: list[str], threads: int) -> tuple[dict[str, Any], list[str]]:
    photos = expand([os.path.abspath(options.folder)])
    if photos[0].problem:
        raise photos[0].problem
    paths = [photo.source for photo in photos]
    rules = _rules(options, folder.TOLERANCE)
    engine = options.engines[0]
    _tell(f"{len(paths)} photos, the {engine} engine")
    records = folder.race_folder(paths, options.weights, engine, threads, rules)
    report = _report(threads, records, rules.tolerance)
    report.update(engine=engine, photos=len(paths), folder=records)
    lines = tables.contender_table(records, rules.tolerance, speed=True)
    head = f"{len(paths)} photos, the {engine} engine, batches of {folder.BATCH}"
    return report, [head, "", *lines, "", *tables.settings_lines(report)]


def _rules(options: argparse.Namespace, tolerance: float) -> Rules:
    if not 0 < options.seconds < 1e6:
        raise InputError(f"--seconds must be a positive number, not {options.seconds:g}")
    return Rules(tolerance, options.rounds, options.seconds)


def _report(threads: int, records: list[dict[str, Any]], tolerance: float) -> dict[str, Any]:
    versions = {each["name"]: each["version"] for each in records}
    return {"settings": machine.settings(threads), "versions": versions, "tolerance": tolerance}


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def _unique(values: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))

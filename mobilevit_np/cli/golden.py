"""Floor 6. ``mobilevit-np golden``: golden files that need no download."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from .common import help_of
from .terminal import printable, say
from .trace import add_trace_options, check_golden, write

DESCRIPTION = """\
Golden files for a port to be compared with, made without any download: weights and input come by a formula of integer
hashing (documented in mobilevit_np/golden/formula.py), so that a port in any language makes the same bits.
"""

MAKE_DESCRIPTION = """\
Write the golden file of a whole network, or with --operators a folder of small ones, one per operator.
"""

EXAMPLES = """\
examples:
  mobilevit-np golden make --variant xx_small --seed 0 -o golden.safetensors
  mobilevit-np golden make --variant small --task segmenter --size 512 --depth 4 -o segmenter.safetensors
  mobilevit-np golden make --operators -o operators/
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "golden",
        help="make golden files without a download",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=help_of(parser))
    actions = parser.add_subparsers(title="what to do", metavar="ACTION")
    action = actions.add_parser(
        "make",
        help="weights by formula, an input, the trace",
        description=MAKE_DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = action.add_mutually_exclusive_group(required=True)
    what.add_argument("--variant", choices=("xx_small", "x_small", "small"), help="a whole network")
    what.add_argument(
        "--operators", action="store_true", help="every operator, a small file each (with --seed and -o only)"
    )
    action.add_argument("-o", "--out", metavar="FILE|FOLDER", required=True, help="a file; with --operators a folder")
    action.add_argument(
        "--task", choices=("classifier", "segmenter"), default="classifier", help="which head (default: %(default)s)"
    )
    action.add_argument("--seed", type=int, default=0, metavar="N", help="of the formula (default: %(default)s)")
    action.add_argument(
        "--size", type=int, default=256, metavar="N", help="the input's height and width (default: %(default)s)"
    )
    add_trace_options(action)
    action.set_defaults(run=run_make)


def run_make(options: argparse.Namespace) -> int:
    """Make one golden, or all of the operators'."""
    from ..golden.formula import make

    if options.operators:
        return _run_operators(options)
    check_golden(options.out, {}, None)
    golden = make(
        options.variant,
        task=options.task,
        seed=options.seed,
        size=options.size,
        dtype=options.dtype,
        only=options.only,
        depth=options.depth,
    )
    write(options.out, golden)
    return 0


def _run_operators(options: argparse.Namespace) -> int:
    from ..formats.files import make_folder
    from ..golden import write_golden
    from ..golden.operators import CASES, make_operator

    folder = make_folder(Path(options.out))
    for name in CASES:
        write_golden(folder / f"{name}.safetensors", make_operator(name, options.seed))
    say(printable(f"wrote {len(CASES)} golden files to {folder}"))
    return 0

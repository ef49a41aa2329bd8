"""``mobilevit-np summary``: what a network is made of."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .common import add_weights_options, weights_of, whole_number
from .terminal import bold, dim, printable, say

DESCRIPTION = """\
List a network's modules in order of execution: the shape of what each gives for one photo, its parameters, and its
multiply-accumulates (MACs), each with their sum. As in published counts, parameters are those that are learned, the
scale and shift of batch norms included, and MACs are those of convolutions, linear layers and the two products of
attention.
"""

COUNTED = "parameters: all that is learned, batch norm's scale and shift too; not its running mean and variance"

EXAMPLES = """\
examples:
  mobilevit-np summary
  mobilevit-np summary --size 256
  mobilevit-np summary --weights pets-deeplabv3-xx-small --json
  mobilevit-np summary --weights apple/mobilevit-small
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("summary", description=DESCRIPTION, epilog=EXAMPLES)
    add_weights_options(parser)
    parser.add_argument(
        "--size",
        type=whole_number,
        metavar="N",
        help="height and width of the photo that is counted for (default: what the weights were trained at)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Count, and print the table or one JSON object."""
    from ..checkpoints import open_checkpoint
    from ..explain.summary import summarize
    from ..pipelines.common import check_memory, check_size

    checkpoint = open_checkpoint(weights_of(options), prefix=options.prefix)
    size = _size(checkpoint.config.image_size if options.size is None else options.size)
    check_size(*size)
    check_memory(*size, checkpoint)
    summary = summarize(checkpoint.config, checkpoint.task, size, expand_output=checkpoint.expand_output)
    if options.json:
        say(json.dumps(_record(checkpoint, size, summary)))
        return 0
    say(f"{bold(printable(checkpoint.name))} {dim(f'({checkpoint.task}, one photo of {size[1]}x{size[0]})')}")
    say("\n".join(_table(summary)))
    say(dim(COUNTED))
    return 0


def _size(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))


def _record(checkpoint: Any, size: tuple[int, int], summary: Any) -> dict[str, Any]:
    return {
        "name": checkpoint.name,
        "task": checkpoint.task,
        "size": list(size),
        "parameters": summary.parameters,
        "macs": summary.macs,
        "modules": [
            {"module": row.module, "output": list(row.output), "parameters": row.parameters, "macs": row.macs}
            for row in summary.rows
        ],
    }


def _table(summary: Any) -> list[str]:
    """The rows and their sum, in columns."""
    cells = [("module", "output", "parameters", "MACs")]
    for row in summary.rows:
        cells.append((row.module, " x ".join(map(str, row.output)), f"{row.parameters:,}", f"{row.macs:,}"))
    cells.append(("total", "", f"{summary.parameters:,}", f"{summary.macs:,}"))
    wide = [max(len(row[column]) for row in cells) for column in range(4)]
    return [f"{a:<{wide[0]}}  {b:<{wide[1]}}  {c:>{wide[2]}}  {d:>{wide[3]}}" for a, b, c, d in cells]

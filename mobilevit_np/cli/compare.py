"""``mobilevit-np compare``: where a port's numbers leave the golden file's."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from .common import add_weights_options, check_page, output
from .terminal import printable, say

DESCRIPTION = """\
Compare a port's tensors with a golden file's, layer by layer: the last good one and the first bad one come first.

PORT is a .safetensors, .npz or .npy file, or one of PyTorch's. Its tensors are found by name (those of transformers,
timm, Keras, ONNX and TFLite are known, --map adds others); under names of your own, by the weights of the layer that
outputs them, which golden.adapters records too; the rest by order, shape and content. Both NCHW and NHWC will do.
An error is the largest difference over the golden tensor's largest magnitude; it may be a multiple of the noise floor,
which is what float32, or a coarser --precision, does to the reference itself. With --replay each layer is compared
with the reference on the port's own input: every wrong layer shows, and no other. Use it for float16 and int8.
--html writes a page for a browser: the network as a column of blocks colored by error, and both tensors behind each.
"""

EXAMPLES = """\
examples:
  mobilevit-np compare golden.safetensors port.npz
  mobilevit-np compare golden.safetensors port.npz --replay --weights apple/mobilevit-small
  mobilevit-np compare golden.safetensors port.npz --map names.json --json
  mobilevit-np compare golden.safetensors port.npz --html page.html

exit codes: 0 all within tolerance, 1 some are not, 2 nothing could be compared
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("compare", description=DESCRIPTION, epilog=EXAMPLES)
    add_port_options(parser)
    parser.add_argument("--replay", action="store_true", help="feed each layer the port's own input")
    parser.add_argument(
        "--html", metavar="PAGE", type=output, help="write a page with pictures: one file (.html), to be read offline"
    )
    parser.add_argument("--all", action="store_true", help="print every tensor, not only those around the first bad")
    parser.set_defaults(run=run)


def add_port_options(parser: argparse.ArgumentParser) -> None:
    """The arguments that compare and diagnose share."""
    parser.add_argument("golden", metavar="GOLDEN", help="a file written by trace")
    parser.add_argument("port", metavar="PORT", help="the port's tensors")
    parser.add_argument("--map", metavar="JSON", help='a file with {"port\'s name": "golden\'s name"}')
    parser.add_argument(
        "--match", choices=("auto", "names", "weights", "order"), default="auto", help="how tensors are matched"
    )
    parser.add_argument(
        "--precision",
        choices=("float64", "float32", "float16", "bfloat16", "int8"),
        help="what the port computes in (default: what its numbers show)",
    )
    parser.add_argument(
        "--multiple", type=_positive, metavar="X", help="allow errors up to X times the noise floor (default: 16)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object, for programs")
    add_weights_options(parser, "those that the golden file was made with, by formula or by name, if they're here")


def run(options: argparse.Namespace) -> int:
    """Compare, print, and answer by the exit code."""
    from ..formats.files import is_standard_output
    from ..golden import compare, read_golden, read_port
    from ..golden.formula import find, remake
    from ..golden.tables import comparison_lines

    if options.html:
        sources = {"the golden file": options.golden, "the port's file": options.port}
        check_page(options.html, {**sources, "the map": options.map}, options.weights)
    golden = read_golden(options.golden)
    network = (remake if options.replay else find)(golden, options.weights, prefix=options.prefix)
    port = read_port(options.port)
    matching = {**matching_options(options), "network": network, "replayed": options.replay}
    if options.html:
        comparison, written = _page(options, golden, port, matching)
    else:
        comparison, written = compare(golden, port, **matching), []
    if options.html and is_standard_output(options.html):
        pass  # the page alone goes there
    elif options.json:
        say(json.dumps(comparison.as_json()))
    else:
        lines = [*comparison_lines(comparison, everything=options.all), *written]
        say("\n".join(printable(line) for line in lines))
    return 0 if comparison.ok else 1


def _page(options: argparse.Namespace, golden: Any, port: Any, matching: dict[str, Any]) -> tuple[Any, list[str]]:
    """The comparison, its page written, and the line that says so."""
    from ..golden.page import compare_for_page, compare_page
    from ..pages import write_page

    compared = compare_for_page(golden, port, **matching)
    written = write_page(options.html, compare_page(compared, port=Path(options.port).name))
    return compared.comparison, [f"page: {written}"]


def matching_options(options: argparse.Namespace) -> dict[str, Any]:
    """The options as ``compare`` and ``diagnose`` take them."""
    from ..golden.matching import read_map
    from ..golden.measure import MULTIPLE

    return {
        "mapping": read_map(options.map) if options.map else None,
        "by": options.match,
        "precision": options.precision,
        "multiple": options.multiple or MULTIPLE,
    }


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} isn't a positive number")
    return value

"""``mobilevit-np explain``: a photo's way through a network, as a page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ..errors import InputError
from .common import PROFILE_HELP, add_weights_options, check_page, output, weights_of
from .inputs import expand
from .terminal import printable, say

DESCRIPTION = """\
Write a page that shows how a network comes to its answer for one photo: the shape, the parameters and the time of each
stage, its liveliest feature maps, and where each patch looks, layer by layer and head by head. Point at the photo, tap
it, or move with the arrow keys. The page is one file, and needs no network.

The network sees of the photo what `classify` or `segment` would show it; of a photo that `segment` would cut into
windows, the middle one. The numbers are the reference engine's, in float32.
"""

EXAMPLES = """\
examples:
  mobilevit-np explain cat.jpg -o page.html
  mobilevit-np explain cat.jpg -o page.html --weights pets-deeplabv3-xx-small
  mobilevit-np explain cat.jpg -o page.html --weights apple/mobilevit-small
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("explain", description=DESCRIPTION, epilog=EXAMPLES)
    parser.add_argument("image", metavar="IMAGE", help="a photo, or - for stdin")
    parser.add_argument(
        "-o", "--out", metavar="PAGE", type=output, required=True, help="where the page goes: a name in .html"
    )
    add_weights_options(parser)
    parser.add_argument("--profile", metavar="NAME", help=PROFILE_HELP)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the network, write the page, and say so."""
    photos = expand([options.image])
    if len(photos) != 1:
        raise InputError(f"{options.image} holds {len(photos)} photos; a page explains one")
    photo = photos[0]
    if photo.problem:
        raise photo.problem

    check_page(options.out, {"the photo": photo.name}, weights_of(options))

    from ..explain.explanation import explain
    from ..explain.page import explain_page
    from ..formats.files import is_standard_output
    from ..pages import write_page

    explanation = explain(photo.source, options.weights, options.profile, prefix=options.prefix)
    name = "standard input" if photo.name == "-" else Path(photo.name).name
    written = write_page(options.out, explain_page(explanation, name=name))
    if not is_standard_output(written):
        say(printable(f"wrote {written}"))
    return 0

"""The command line: one file per command, for arguments, printing and exit codes; no numerics.

Exit codes: 0 done; 1 some inputs failed; 2 nothing could be done. Nothing heavy is imported before the arguments have
been parsed, so that ``--help`` and typing mistakes are answered at once. Of the commands' files only that of the
command typed is loaded; if none was, all of them are, to be listed.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Sequence
from typing import Any, NoReturn

from .._version import __version__
from ..errors import one_line
from .common import help_of
from .terminal import say

GROUPS = {  # {for whom: {command: what it does}}, as the help lists them
    "for photos": {
        "classify": "name what is in a photo",
        "segment": "mark what is where in a photo",
        "explain": "write a page that follows your photo through the network",
    },
    "for weights": {
        "weights": "list, inspect, convert, quantize and verify checkpoints",
        "summary": "list a network's modules: output shapes, parameters, MACs",
    },
    "for port authors": {
        "trace": "write golden files (every activation of a run) and weights to go with them",
        "compare": "find the first layer where a port differs",
        "diagnose": "name the mistake in a port",
    },
}
COMMANDS = tuple(name for group in GROUPS.values() for name in group)

DESCRIPTION = """\
MobileViT in NumPy: classify and segment photos, inspect checkpoints, and check ports.

Two small models are included, and used unless --weights names another. They know cats and dogs, and nothing else.
The published ones, with ImageNet's 1000 and Pascal VOC's 21 classes, are a download away:

  pip install huggingface_hub
  mobilevit-np classify photo.jpg --weights apple/mobilevit-small
  mobilevit-np segment photo.jpg --weights apple/deeplabv3-mobilevit-small
"""

EXAMPLES = """\
examples:
  mobilevit-np classify cat.jpg                  the five likeliest labels
  mobilevit-np segment cat.jpg                   cat, dog and background, painted over the photo
  mobilevit-np weights list                      the models there are
  mobilevit-np classify --help                   more about one command

exit codes: 0 done, 1 some inputs failed, 2 nothing could be done
"""


class Parser(argparse.ArgumentParser):
    """Shows texts as they're written, and says in one line what is wrong with the arguments; so do the commands'."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, **options})

    def error(self, message: str) -> NoReturn:
        """Print one line, and exit with code 2."""
        if message.startswith("unrecognized arguments"):
            message += " (write ./NAME for a file whose name looks like an option)"
        self.exit(2, f"{one_line(f'{self.prog}: {message}; see {self.prog} --help')}\n")


def build_parser(command: str | None = None) -> argparse.ArgumentParser:
    """The parser of all commands, or of ``command`` alone if it's one of them."""
    parser = Parser(
        prog="mobilevit-np",
        usage="%(prog)s [-h] [--version] COMMAND ...",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.add_argument("--version", action="version", version=f"mobilevit-np {__version__}")
    parser.set_defaults(run=help_of(parser))
    for title, group in GROUPS.items():
        parser.add_argument_group(title, "\n".join(f"{name:<12}{summary}" for name, summary in group.items()))
    commands = parser.add_subparsers(metavar="COMMAND", prog="mobilevit-np", help=argparse.SUPPRESS)  # in the groups
    for name in (command,) if command in COMMANDS else COMMANDS:
        importlib.import_module(f".{name}", __name__).add_parser(commands)
    return parser


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. What it raises is for ``fence.fenced``, which ``python -m`` sets up."""
    try:
        options = build_parser(arguments[0] if arguments else None).parse_args(arguments)
    finally:
        say("", end="")  # argparse exits without flushing its help
    code: int = options.run(options)
    return code

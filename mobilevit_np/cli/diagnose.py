"""``mobilevit-np diagnose``: which known mistakes a port makes."""

from __future__ import annotations

import argparse
import json
from typing import Any

from .compare import add_port_options, matching_options
from .terminal import printable, say

DESCRIPTION = """\
Say what a port does wrong. At each wrong layer the reference is run on the port's own input, once with each mistake
that MobileViT ports are known to make; the one that reproduces the port's numbers is named, with the evidence and the
remedy. If none does, the answer says so, and what was ruled out.

Give it all the tensors you have: a mistake shows only in tensors that it changes, and best in the first of them.
"""

EXAMPLES = """\
examples:
  mobilevit-np diagnose golden.safetensors port.npz --weights apple/mobilevit-small
  mobilevit-np diagnose golden.safetensors port.npz --json

exit codes: 0 no mistake found, 1 something is off, 2 nothing could be compared
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("diagnose", description=DESCRIPTION, epilog=EXAMPLES)
    add_port_options(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Diagnose, print, and answer by the exit code."""
    from ..golden import diagnose, read_golden, read_port
    from ..golden.formula import remake
    from ..golden.tables import diagnosis_lines

    golden = read_golden(options.golden)
    network = remake(golden, options.weights, prefix=options.prefix)
    diagnosis = diagnose(golden, read_port(options.port), network, **matching_options(options))
    if options.json:
        say(json.dumps(diagnosis.as_json()))
    else:
        say("\n".join(printable(line) for line in diagnosis_lines(diagnosis)))
    return 0 if diagnosis.clean else 1

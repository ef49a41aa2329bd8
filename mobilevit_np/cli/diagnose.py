"""``mobilevit-np diagnose``: which known mistake gives a port's numbers."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import Any

from .compare import add_port_options, find_network, matching_options, port_of
from .terminal import printable, say
from .trace import add_weights

DESCRIPTION = """\
Say what a port does wrong. At each wrong layer the reference is run on the port's own input, once with each mistake
that MobileViT ports are known to make; the one that gives the port's numbers is named, with the evidence and the
remedy. Where none does, that is said, and what was ruled out.

Give it all the tensors you have: a mistake can be told only by a tensor it changes, and best by the first of them.
"""

EXAMPLES = """\
examples:
  mobilevit-np diagnose golden.safetensors port.npz --weights apple/mobilevit-small
  mobilevit-np diagnose golden.safetensors port.npz --json

exit codes: 0 no mistake found, 1 something is off, 2 nothing could be compared
"""


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "diagnose",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_port_options(parser)
    add_weights(parser, "those that the golden file was made with, by formula or by name, where they're here")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Diagnose, print, and answer by the exit code."""
    from ..golden import diagnose, read_golden
    from ..golden.comparison import plain
    from ..golden.tables import diagnosis_lines

    golden = read_golden(options.golden)
    network = find_network(golden, options)
    diagnosis = diagnose(golden, port_of(options), network, **matching_options(options))
    if options.json:
        say(json.dumps(plain(as_json(diagnosis))))
    else:
        say("\n".join(printable(line) for line in diagnosis_lines(diagnosis)))
    return 0 if diagnosis.clean else 1


def as_json(diagnosis: Any) -> dict[str, Any]:
    """Plain values, for programs."""
    return {
        "clean": diagnosis.clean,
        "findings": [_finding(finding) for finding in diagnosis.findings],
        "misloaded": [dataclasses.asdict(each) for each in diagnosis.misloaded],
        "unexplained": [dataclasses.asdict(each) for each in diagnosis.unexplained],
        "hidden": [mistake.name for mistake in diagnosis.hidden],
        "still_wrong": list(diagnosis.still_wrong),
        "comparison": diagnosis.comparison.as_json(),
    }


def _finding(finding: Any) -> dict[str, Any]:
    fields = {field.name: getattr(finding, field.name) for field in dataclasses.fields(finding)}
    mistake = fields.pop("mistake")
    return {"name": mistake.name, "sentence": mistake.sentence, "remedy": mistake.remedy, **fields}

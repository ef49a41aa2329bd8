"""``mobilevit-np weights``: checkpoints listed, inspected, converted, quantized and verified."""

from __future__ import annotations

import argparse
import json
from typing import Any

from ..fence import complain
from . import quantize
from .common import add_prefix_option, help_of, output
from .terminal import bold, dim, printable, say

DESCRIPTION = """\
Inspect checkpoints: which are shipped and published, what a file holds, the same numbers under other names.

W is a file (.safetensors, or PyTorch's .bin, .pt, .pth, .ckpt, which is read without PyTorch and without running
anything in it), a folder in the hub's layout, a shipped model's name, or a hub id. Weights may be in shards, and the
file may hold more than the network, as training checkpoints do: what is left out is named, and --prefix chooses one
of several networks.
"""

EXAMPLES = """\
examples:
  mobilevit-np weights list
  mobilevit-np weights info pets-xx-small
  mobilevit-np weights info downloads/pytorch_model.bin --json
  mobilevit-np weights convert apple/mobilevit-small small-timm.safetensors --names timm
  mobilevit-np weights convert training.pt converted/ --dtype float16
  mobilevit-np weights quantize pets-xx-small pets-int8/
  mobilevit-np weights verify apple/mobilevit-small
"""

LIST_EXAMPLES = """\
examples:
  mobilevit-np weights list
  mobilevit-np weights list --json
"""

INFO_EXAMPLES = """\
examples:
  mobilevit-np weights info pets-xx-small
  mobilevit-np weights info downloads/pytorch_model.bin
  mobilevit-np weights info apple/mobilevit-small --json
"""

CONVERT_DESCRIPTION = """\
Write W as safetensors. The numbers stay the same to the bit, unless --dtype asks for narrower ones. Between timm's
names and the others the stem's input channels are reversed: timm's weights expect RGB, the others BGR. Weights that
differ from that, according to their preprocessor_config.json, are changed to conform if OUT is a single file, which
has no place to say it.
"""

CONVERT_EXAMPLES = """\
examples:
  mobilevit-np weights convert apple/mobilevit-small mobilevit-small/
  mobilevit-np weights convert pets-xx-small pets-timm.safetensors --names timm
  mobilevit-np weights convert training.pt converted/ --dtype float16
"""

VERIFY_DESCRIPTION = """\
Compare a weights file's sha256 with the table of published ones. The table was copied from pages about the files, so
a difference is a reason to look again, not proof of harm: a warning, and exit code 1.
"""

VERIFY_EXAMPLES = """\
examples:
  mobilevit-np weights verify apple/mobilevit-small
  mobilevit-np weights verify downloads/pytorch_model.bin --repository apple/mobilevit-small
"""

W_HELP = "file, folder, shipped model or hub id"
OUT_HELP = "NAME.safetensors, or a folder that gets the json files too"


def add_parser(commands: Any) -> None:
    """Add the command and its five actions to the parser."""
    parser = _add(commands, "weights", "", DESCRIPTION, EXAMPLES)
    parser.set_defaults(run=help_of(parser))
    actions = parser.add_subparsers(title="what to do", metavar="ACTION")

    action = _add(actions, "list", "the shipped models, and the published ones that are known", "", LIST_EXAMPLES)
    action.set_defaults(run=run_list)

    action = _add(actions, "info", "what a file holds: format, variant, classes, dtype, sha256", "", INFO_EXAMPLES)
    action.add_argument("where", metavar="W", help=W_HELP)
    add_prefix_option(action)
    action.set_defaults(run=run_info)

    summary = "write a checkpoint as safetensors, under other names or in another dtype"
    action = _add(actions, "convert", summary, CONVERT_DESCRIPTION, CONVERT_EXAMPLES)
    action.add_argument("where", metavar="W", help=W_HELP)
    action.add_argument("out", metavar="OUT", type=output, help=OUT_HELP)
    action.add_argument(
        "--names",
        choices=("huggingface", "timm", "ml-cvnets"),
        default="huggingface",
        help="the tensors' naming scheme (default: %(default)s)",
    )
    action.add_argument(
        "--dtype", choices=("float64", "float32", "float16", "bfloat16"), help="the tensors' (default: the file's own)"
    )
    add_prefix_option(action)
    action.set_defaults(run=run_convert)

    summary = "write a checkpoint's weights as int8, and measure what that costs"
    action = _add(actions, "quantize", summary, quantize.DESCRIPTION, quantize.EXAMPLES)
    quantize.add_options(action, W_HELP, OUT_HELP)
    action.set_defaults(run=quantize.run)

    action = _add(actions, "verify", "compare a file with the published checksums", VERIFY_DESCRIPTION, VERIFY_EXAMPLES)
    action.add_argument("where", metavar="W", help=W_HELP)
    action.add_argument(
        "--repository", metavar="ID", help="where the file should come from, such as apple/mobilevit-small"
    )
    action.set_defaults(run=run_verify)

    for action in actions.choices.values():
        action.add_argument("--json", action="store_true", help="print JSON, for programs")


def _add(commands: Any, name: str, summary: str, description: str, examples: str) -> argparse.ArgumentParser:
    description = description or f"{summary[0].upper()}{summary[1:]}."
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=description, epilog=examples)
    return parser


def run_list(options: argparse.Namespace) -> int:
    """Print the shipped models and the published repositories."""
    from ..checkpoints.published import published_checksums
    from ..checkpoints.shipped import shipped

    models = {name: str(folder) for name, folder in shipped().items()}
    repositories = list(dict.fromkeys(entry["repository"] for entry in published_checksums()))
    if options.json:
        say(json.dumps({"shipped": models, "published": repositories}))
        return 0
    say(bold("shipped") + dim(" (used unless --weights names another)"))
    for name, folder in models.items():
        say(printable(f"  {name:<28} {folder}"))
    say(bold("published") + dim(" (downloaded when named; that needs: pip install huggingface_hub)"))
    for name in repositories:
        say(f"  {name}")
    return 0


def run_info(options: argparse.Namespace) -> int:
    """Print what a checkpoint is."""
    from ..checkpoints import info

    facts = info(options.where, prefix=options.prefix)
    if options.json:
        say(json.dumps(facts))
        return 0
    labels = facts.pop("labels")
    if labels:
        facts["labels"] = ", ".join(labels[:6]) + (f", ... ({len(labels)})" if len(labels) > 6 else "")
    for key, value in facts.items():
        if isinstance(value, list):
            value = "; ".join(value)
        if value not in (None, ""):
            value = f"{value:,}" if isinstance(value, int) else value
            say(printable(f"{key.replace('_', ' '):<14} {value}"))
    return 0


def run_convert(options: argparse.Namespace) -> int:
    """Convert, and say what was written and what else than the names has changed."""
    from ..checkpoints import convert

    conversion = convert(options.where, options.out, scheme=options.names, dtype=options.dtype, prefix=options.prefix)
    paths = [str(path) for path in conversion.paths]
    if options.json:
        say(json.dumps({"written": paths, "notes": conversion.notes}))
        return 0
    for line in (*(f"wrote {path}" for path in paths), *conversion.notes):
        say(printable(line))
    return 0


def run_verify(options: argparse.Namespace) -> int:
    """Compare with the published checksums: 1 if the file should have one and hasn't, else 0."""
    from ..checkpoints import verify

    found = verify(options.where, repository=options.repository)
    if options.json:
        say(json.dumps({"status": found.status, "sha256": found.sha256, "message": found.message}))
    elif found.status == "mismatch":
        complain(f"warning: {found.message}")
    else:
        say(printable(f"{found.status}: {found.message}"))
        say(f"sha256 {found.sha256}")
    return 1 if found.status == "mismatch" else 0

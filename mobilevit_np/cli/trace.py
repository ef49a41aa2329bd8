"""Floor 6. ``mobilevit-np trace``: every activation of one run in a golden file."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any

from ..errors import OutputError
from .common import PROFILE_HELP, check_target, whole_number
from .terminal import printable, say

DESCRIPTION = """\
Run a network on a photo or a tensor in the reference engine, and keep everything it computes: a golden file, for a
port to be compared with. It holds the photo, the input, every activation under the name that a PyTorch hook sees, the
logits, and each one's noise floor: how far float32 is from float64 there.
"""

EXAMPLES = """\
examples:
  mobilevit-np trace cat.jpg -o golden.safetensors
  mobilevit-np trace cat.jpg --weights apple/mobilevit-small -o golden.npz
  mobilevit-np trace input.npy --weights W --depth 4 -o stages.safetensors
  mobilevit-np trace cat.jpg --only "mobilevit.encoder.layer.2*" -o stage3.safetensors
"""


SUFFIXES = (".safetensors", ".npz")  # those of write_golden, which would say so only after the run


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "trace",
        help="write every activation to a golden file",
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "source", metavar="IMAGE|TENSOR", help="a photo, or pixel values (B, C, H, W) in .npy, .npz or .safetensors"
    )
    add_weights(parser)
    parser.add_argument("-o", "--out", metavar="FILE", required=True, help="ends in .safetensors or .npz")
    parser.add_argument("--profile", metavar="NAME", help=PROFILE_HELP)
    add_trace_options(parser)
    parser.set_defaults(run=run)


def add_weights(parser: argparse.ArgumentParser, default: str = "pets-xx-small") -> None:
    """The option that names the checkpoint."""
    parser.add_argument(
        "--weights", metavar="W", help=f"a checkpoint: file, folder, shipped model or hub id (default: {default})"
    )


def add_trace_options(parser: argparse.ArgumentParser) -> None:
    """The options on what is kept of a run."""
    parser.add_argument(
        "--dtype",
        choices=("float64", "float32"),
        default="float64",
        help="precision of what is written (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        metavar="PATTERN",
        help="keep activations whose whole path matches, such as 'mobilevit.encoder.layer.2*' for L3 (* crosses dots)",
    )
    parser.add_argument(
        "--depth",
        type=whole_number,
        metavar="N",
        help="keep activations whose path has at most N names; 4 are whole stages",
    )


def run(options: argparse.Namespace) -> int:
    """Trace, and say what was written."""
    from ..checkpoints import open_checkpoint
    from ..checkpoints.shipped import DEFAULTS
    from ..golden import network_of, trace
    from ..preprocess import named_profile

    weights = options.weights or DEFAULTS["classifier"]
    check_golden(options.out, {"the input": options.source}, weights)
    profile = named_profile(options.profile) if options.profile else None
    network = network_of(open_checkpoint(weights), profile)
    golden = trace(options.source, network, dtype=options.dtype, only=options.only, depth=options.depth)
    write(options.out, golden)
    return 0


def check_golden(target: str, sources: Mapping[str, str | None], weights: str | None) -> None:
    """Raise OutputError, before any work, where a golden file can't be meant to go there; see ``check_target``."""
    check_target(target, sources, weights, "give the golden file a name in it, such as golden.safetensors")
    suffix = os.path.splitext(target)[1]
    if suffix not in SUFFIXES:
        raise OutputError(f"a golden file ends in {' or '.join(SUFFIXES)}, not {suffix or 'nothing'}: {target}")


def write(path: str, golden: Any) -> None:
    """Write a golden file, and say so."""
    from ..golden import write_golden

    written = write_golden(path, golden)
    numbers = sum(tensor.size for tensor in golden.tensors.values())
    say(printable(f"wrote {written}: {len(golden.tensors)} tensors, {numbers:,} numbers"))

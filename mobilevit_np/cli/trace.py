"""``mobilevit-np trace``: golden files of a photo, by formula or of every operator; the formula's weights."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, OutputError
from .common import PROFILE_HELP, add_weights_options, check_target, output, weights_of, whole_number
from .terminal import printable, say

DESCRIPTION = """\
Run a network in the reference engine and keep everything it computes: a golden file, for ports to be compared with.
It holds the input, every activation under the name that a PyTorch hook sees, the logits, and the noise floor of each:
how far float32 is from float64 there. What is run is one of these three:

- IMAGE or TENSOR: a checkpoint's network on your photo, which the file keeps too, or on pixel values.
- --formula VARIANT: a whole network that needs no download. Its weights and its input come from a formula of integer
  hashing (written down in mobilevit_np/golden/formula.py), so that a port in any language makes the same bits. A port
  that loads checkpoints gets them by --weights-out, under the names it knows; the numbers are the same under all.
- --operators DIR: every operator and layer by itself, in a small file each, for a port that is built bottom-up.
"""

EXAMPLES = """\
examples:
  mobilevit-np trace cat.jpg -o golden.safetensors
  mobilevit-np trace cat.jpg --weights apple/mobilevit-small -o golden.npz
  mobilevit-np trace input.npy --weights W --depth 4 -o stages.safetensors
  mobilevit-np trace cat.jpg --only "mobilevit.encoder.layer.2*" -o stage3.safetensors
  mobilevit-np trace --formula xx_small --seed 7 -o golden.safetensors
  mobilevit-np trace --formula small --task segmenter --size 512 --depth 4 -o segmenter.safetensors
  mobilevit-np trace --formula xx_small -o golden.safetensors --weights-out weights/ --names timm
  mobilevit-np trace --operators operators/
"""

SUFFIXES = (".safetensors", ".npz")  # those of write_golden, which would complain only after the run
KEPT = ("dtype", "only", "depth")
TAKES = {  # what is run: the options that go with it; all are None unless they were given
    "source": ("out", "weights", "prefix", "profile", *KEPT),
    "formula": ("out", *KEPT, "task", "seed", "size", "weights_out", "names"),
    "operators": ("seed",),
}
NEEDS = {"out": (*KEPT, "size"), "weights_out": ("names",)}  # a result: the options that concern it alone
FLAGS = {"source": "IMAGE|TENSOR", "out": "-o"}  # the others have the names they're stored under


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "trace",
        usage="%(prog)s [-h] (IMAGE|TENSOR | --formula VARIANT | --operators DIR) [-o FILE] [options]",
        description=DESCRIPTION,
        epilog=EXAMPLES,
    )
    parser.add_argument(
        "-o", "--out", metavar="FILE", type=output, help="the golden file: ends in .safetensors or .npz"
    )
    add_kept_options(parser)
    source = parser.add_argument_group("of a photo or tensor")
    source.add_argument(
        "source",
        nargs="?",
        metavar="IMAGE|TENSOR",
        help="a photo, or pixel values (B, C, H, W) in .npy, .npz or .safetensors",
    )
    add_weights_options(source)
    source.add_argument("--profile", metavar="NAME", help=PROFILE_HELP)
    add_formula_options(parser.add_argument_group("by formula, without a download"))
    operators = parser.add_argument_group("of every operator, without a download")
    operators.add_argument(
        "--operators", metavar="DIR", type=output, help="the folder that gets the files (--seed goes with it)"
    )
    parser.set_defaults(run=run)


def add_kept_options(parser: argparse.ArgumentParser) -> None:
    """What is kept of a run, and how."""
    parser.add_argument(
        "--dtype", choices=("float64", "float32"), help="precision of what is written (default: float64)"
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
        help="keep activations whose path has at most N names; 4 gives whole stages",
    )


def add_formula_options(parser: Any) -> None:
    """Which network and input the formula makes, and where its weights go."""
    parser.add_argument(
        "--formula",
        choices=("xx_small", "x_small", "small"),
        metavar="VARIANT",
        help="a whole network: xx_small, x_small or small",
    )
    parser.add_argument("--task", choices=("classifier", "segmenter"), help="which head (default: classifier)")
    parser.add_argument("--seed", type=int, metavar="N", help="the formula's (default: 0)")
    parser.add_argument("--size", type=whole_number, metavar="N", help="the input's height and width (default: 256)")
    parser.add_argument(
        "--weights-out",
        metavar="OUT",
        type=output,
        help="write the weights, without -o alone: NAME.safetensors, or a folder that gets config.json as well",
    )
    parser.add_argument(
        "--names",
        choices=("huggingface", "timm", "ml-cvnets"),
        help="the naming scheme of the tensors in OUT (default: huggingface)",
    )


def run(options: argparse.Namespace) -> int:
    """Trace what was asked for, and say what was written."""
    return {"source": _run_source, "formula": _run_formula, "operators": _run_operators}[asked_for(options)](options)


def asked_for(options: argparse.Namespace) -> str:
    """``source``, ``formula`` or ``operators``. Raises InputError for none or two, and for options of another."""
    known = dict.fromkeys(name for what, takes in TAKES.items() for name in (what, *takes))
    given = [name for name in known if getattr(options, name) is not None]
    chosen = [name for name in TAKES if name in given]
    if len(chosen) != 1:
        raise InputError(
            f"trace one thing at a time, {', '.join(map(_flag, TAKES))}; "
            f"asked for: {' and '.join(map(_flag, chosen)) or 'none of them'}"
        )
    for name in given:
        if name not in (*chosen, *TAKES[chosen[0]]):
            takes = ", ".join(map(_flag, TAKES[chosen[0]]))
            raise InputError(f"{_flag(name)} doesn't go with {_flag(chosen[0])}, which takes {takes}")
    results = [name for name in NEEDS if name in TAKES[chosen[0]]]
    if results and not any(name in given for name in results):
        raise InputError(f"say where the result goes: {' or '.join(map(_flag, results))}")
    for result, settings in NEEDS.items():
        for name in settings:
            if name in given and result not in given:
                raise InputError(f"{_flag(name)} says how {_flag(result)} is written, and there is none; give both")
    return chosen[0]


def _flag(name: str) -> str:
    """An option as users write it."""
    return FLAGS.get(name) or f"--{name.replace('_', '-')}"


def _run_source(options: argparse.Namespace) -> int:
    from ..checkpoints import open_checkpoint
    from ..golden import network_of, trace
    from ..preprocess import named_profile

    weights = weights_of(options)
    check_golden(options.out, {"the input": options.source}, weights)
    profile = named_profile(options.profile) if options.profile else None
    network = network_of(open_checkpoint(weights, prefix=options.prefix), profile)
    write(options.out, trace(options.source, network, **_kept(options)))
    return 0


def _run_formula(options: argparse.Namespace) -> int:
    """The golden file, the weights, or both, which are written together or not at all."""
    task, scheme = options.task or "classifier", options.names or "huggingface"
    if (task, scheme) == ("segmenter", "timm"):
        raise InputError("timm has no segmenter of this kind, and so no names for it; --names huggingface or ml-cvnets")
    if options.out is not None:
        check_golden(options.out, {}, None)
    if options.weights_out is not None:
        _check_weights(options.weights_out, options.out)

    from ..golden.file import golden_bytes
    from ..golden.formula import make, save_weights

    made: dict[str, Any] = {"task": task, "seed": options.seed or 0}
    size = 256 if options.size is None else options.size
    golden = make(options.formula, **made, size=size, **_kept(options)) if options.out is not None else None
    if options.weights_out is None:
        write(options.out, golden)
        return 0
    also = {} if golden is None else {Path(options.out): golden_bytes(options.out, golden)}
    paths = save_weights(options.weights_out, options.formula, **made, scheme=scheme, also=also)
    for path in paths[: len(paths) - len(also)]:
        say(printable(f"wrote {path}"))
    if golden is not None:
        _say_written(paths[-1], golden)
    return 0


def _run_operators(options: argparse.Namespace) -> int:
    from ..formats.files import write_files
    from ..golden.file import golden_bytes
    from ..golden.operators import CASES, make_operator

    paths = {name: Path(options.operators, f"{name}.safetensors") for name in CASES}
    goldens = {path: golden_bytes(path, make_operator(name, options.seed or 0)) for name, path in paths.items()}
    write_files(goldens, folders=[options.operators])
    say(printable(f"wrote {len(goldens)} golden files to {options.operators}"))
    return 0


def _kept(options: argparse.Namespace) -> dict[str, Any]:
    return {"dtype": options.dtype or "float64", "only": options.only, "depth": options.depth}


def _check_weights(target: str, golden: str | None) -> None:
    """Raise OutputError, before any work, if weights can't go to ``target``, or would be where the golden file goes."""
    from ..checkpoints.saving import check_form
    from ..formats.hub import WEIGHTS_FILE

    check_form(Path(target))
    if Path(target).suffix == ".safetensors":
        check_target(target, "weights file", SUFFIXES[:1], {}, None)
    elif os.path.lexists(target) and not os.path.isdir(target):
        raise OutputError(f"can't write {target}: weights go into a folder or a .safetensors file, and it is neither")
    places = (target, os.path.join(target, WEIGHTS_FILE))
    if golden is not None and os.path.realpath(golden) in map(os.path.realpath, places):
        raise OutputError(f"the weights and the golden file would both be {golden}; give one another name")


def check_golden(target: str, sources: Mapping[str, str | None], weights: str | None) -> None:
    """Raise OutputError, before any work, if a golden file can't go to ``target``; see ``check_target``."""
    check_target(target, "golden file", SUFFIXES, sources, weights)


def write(path: str, golden: Any) -> None:
    """Write a golden file, and say so."""
    from ..golden import write_golden

    _say_written(write_golden(path, golden), golden)


def _say_written(path: Path, golden: Any) -> None:
    numbers = sum(tensor.size for tensor in golden.tensors.values())
    say(printable(f"wrote {path}: {len(golden.tensors)} tensors, {numbers:,} numbers"))

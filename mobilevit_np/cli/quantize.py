"""``mobilevit-np weights quantize``: int8 weights, and what they cost in accuracy."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, MobileViTError
from ..fence import complain
from .common import add_engine_options, add_prefix_option, complaint, engine_of, output
from .inputs import Photo, expand
from .terminal import Progress, bold, c_libraries_held_back, printable, say

DESCRIPTION = """\
Write W with int8 weights and a scale for each output channel: half the size of float16, a quarter of float32. Small
weights and everything else become float16. Every other command reads the result like any checkpoint; it's dequantized
when it's loaded, so it's no faster.

What that costs is measured on the photos given, or else on drawn ones: how far the logits move; how often the first
answer stays the same (for a segmenter, the share of the photo whose class does; for multi-label weights, the share of
the yes-or-no answers that do; not for a regression); and, if the photos' names begin with their label
(Abyssinian_12.jpg), how many answers are right before and after.
"""

EXAMPLES = """\
examples:
  mobilevit-np weights quantize pets-xx-small pets-int8/ --photos pets/
  mobilevit-np weights quantize apple/mobilevit-xx-small xx-small-int8.safetensors
"""

DRAWN = 8  # drawn photos, if none are given


def add_options(parser: argparse.ArgumentParser, source_help: str, target_help: str) -> None:
    """The arguments of the command."""
    parser.add_argument("where", metavar="W", help=source_help)
    parser.add_argument("out", metavar="OUT", type=output, help=target_help)
    parser.add_argument(
        "--photos", nargs="+", metavar="IMAGE", default=(), help="photos, folders or patterns to measure on"
    )
    add_prefix_option(parser)
    add_engine_options(parser)


def run(options: argparse.Namespace) -> int:
    """Quantize, then compare the result with the original. 1 if a photo couldn't be compared."""
    photos = expand(options.photos)
    if any(photo.name == "-" for photo in photos):
        raise InputError("photos to measure on are read twice, and - (standard input) can't be; give files")
    engine = engine_of(options)

    from ..checkpoints import open_checkpoint
    from ..checkpoints.quantization import errors_by_group
    from ..checkpoints.saving import check_form, reopen, write_quantized

    check_form(Path(options.out))
    before = open_checkpoint(options.where, prefix=options.prefix)
    reason = _why_not(before)
    first = _pipeline(before, engine) if reason is None else None  # wrong settings are reported before writing
    conversion = write_quantized(before, Path(options.out))
    after = reopen(conversion.paths[-1], before)
    groups = errors_by_group(before.tensors, after.tensors)
    found, failed = (None, 0) if first is None else _compare(first, _pipeline(after, engine), photos)
    record = {
        "written": [str(path) for path in conversion.paths],
        "notes": [*conversion.notes, *([] if reason is None else [f"no answers were compared: {reason}"])],
        "bytes": (before.provenance.size, conversion.paths[-1].stat().st_size),
        "groups": [dataclasses.asdict(group) for group in groups],
        "photos": "given" if photos else "drawn",
        "agreement": None if found is None else dataclasses.asdict(found),
    }
    say(json.dumps(record) if options.json else "\n".join(_report(record, before)))
    return 1 if failed else 0


def _why_not(checkpoint: Any) -> str | None:
    """Why the checkpoint can't answer photos; None if it can."""
    if not checkpoint.labels:
        return "it has no classes"
    from ..preprocess import PHOTO_CHANNELS

    channels = checkpoint.config.num_channels
    return None if channels in PHOTO_CHANNELS else f"it takes {channels} channels, and photos have 1 or 3"


def _pipeline(checkpoint: Any, engine: str) -> Any:
    from ..pipelines import Classifier, Segmenter

    return (Classifier if checkpoint.task == "classifier" else Segmenter)(checkpoint, engine=engine)


def _compare(first: Any, second: Any, photos: Sequence[Photo]) -> tuple[Any, int]:
    """(how far the two pipelines agree, how many photos couldn't be compared)."""
    from ..pipelines.agreement import agreement, differences, drawn_photos

    if not photos:
        photos = [Photo(f"drawn photo {i}", image) for i, image in enumerate(drawn_photos(DRAWN), start=1)]
    problems = [complaint(photo, photo.problem) for photo in photos if photo.problem is not None]
    readable = [photo for photo in photos if photo.problem is None]
    results = differences(first, second, [photo.source for photo in readable])
    found: list[Any] = []
    with c_libraries_held_back(), Progress(len(readable), "photos") as progress:
        for photo, result in zip(readable, results, strict=True):
            if isinstance(result, MobileViTError):
                problems.append(complaint(photo, result))
            else:
                found.append(result)
            progress.step()
    for problem in problems:
        complain(problem)
    return agreement(found), len(problems)


def _report(record: dict[str, Any], checkpoint: Any) -> list[str]:
    before, after = record["bytes"]
    return [
        *(printable(f"wrote {path}") for path in record["written"]),
        *map(printable, record["notes"]),
        f"{before:,} bytes before, {after:,} now ({after / before:.0%})",
        bold(f"{'weights':<24}{'tensors':>8}{'largest error':>16}{'mean error':>12}"),
        *(
            f"{group['group']:<24}{group['tensors']:>8}{group['largest']:>16.2%}{group['mean']:>12.2%}"
            for group in record["groups"]
        ),
        *_agreement_lines(record["agreement"], record["photos"], _answer(checkpoint)),
    ]


def _answer(checkpoint: Any) -> str:
    """What may stay the same or not, in words."""
    if checkpoint.task == "segmenter":
        return "class of a place"
    return "yes or no of a class" if checkpoint.problem_type == "multi_label_classification" else "first answer"


def _agreement_lines(found: dict[str, Any] | None, photos: str, what: str) -> list[str]:
    if found is None:
        return []
    lines = [
        bold(f"on {found['photos']} {photos} {'photo' if found['photos'] == 1 else 'photos'}"),
        f"  logits: off by at most {found['logits_error']:.1%} of the largest",
    ]
    if found["unchanged"] is not None:
        lines.append(
            f"  {what}: the same for {found['unchanged']:.1%}; its probability moved by "
            f"{100 * found['probability_change']:.2f} percentage points on average"
        )
    if found["right"] is not None:
        before, after = found["right"]
        lines.append(f"  right: {before:.1%} before, {after:.1%} now, of {found['labeled']} named by their label")
    return lines

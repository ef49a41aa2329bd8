"""``mobilevit-np segment``: what is where in a photo."""

from __future__ import annotations

import argparse
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import OutputError
from .common import add_common_options, check_kept, opened, output, walk
from .inputs import Photo, expand
from .terminal import chart, heading, printable, say

DESCRIPTION = """\
Say for every pixel of a photo what it belongs to, and paint the classes over the photo.

The whole photo is segmented, at its own proportions. Without --weights the shipped model answers: background, cat or
dog. For Pascal VOC's 21 classes: --weights apple/deeplabv3-mobilevit-small.

Without -o the overlay is written to the working folder as NAME-overlay.png. With several photos, or with / at the
end, -o and --mask name folders; missing ones are made.
"""

EXAMPLES = """\
examples:
  mobilevit-np segment cat.jpg
  mobilevit-np segment cat.jpg -o overlay.png --mask mask.png
  mobilevit-np segment photos/ -o overlays/ --mask masks/
  mobilevit-np segment --json photos/ -o overlays/ > areas.jsonl
"""

SUFFIXES = {  # a mask must keep its class numbers: no lossy format, and no GIF, whose palettes Pillow renumbers
    "overlay": (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff"),
    "mask": (".png", ".tif", ".tiff", ".bmp"),
}


def add_parser(commands: Any) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser("segment", description=DESCRIPTION, epilog=EXAMPLES)
    add_common_options(parser, "pets-deeplabv3-xx-small", "apple/deeplabv3-mobilevit-small")
    parser.add_argument(
        "-o", "--output", metavar="FILE", type=output, help="where the overlay goes (a folder, for several photos)"
    )
    parser.add_argument(
        "--mask", metavar="FILE", type=output, help="where the mask goes, as indexed PNG: pixel = class number"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Segment the photos; write overlays and masks; print the areas."""
    photos = expand(options.images)
    targets = _targets(photos, options.output, options.mask)
    written = [path for paths in targets.values() for path in paths.values()]
    check_kept(written, (("one of the photos", photo.name) for photo in photos), options.weights)

    from ..formats.files import write_files
    from ..pipelines import Segmenter

    segmenter = opened(Segmenter, options)
    model = segmenter.checkpoint.name
    if not options.json:
        say(heading(model, segmenter.knows))

    def show(photo: Photo, result: Any) -> None:
        paths = targets[photo]
        images = {"overlay": result.overlay, "mask": result.mask_image}
        contents = {path: _encoded(images[kind](), path) for kind, path in paths.items()}
        write_files(contents, folders=[path.parent for path in contents])
        say(_json_line(photo, model, result, paths) if options.json else _table(photo, result, paths))

    return walk(photos, segmenter.stream, show)


def _targets(photos: Sequence[Photo], overlay: str | None, mask: str | None) -> dict[Photo, dict[str, Path]]:
    """Where each photo's overlay and mask go. Raises OutputError, before any work, if they can't go there."""
    wanted = {"overlay": _paths(photos, overlay or "./", "overlay")}
    if mask is not None:
        wanted["mask"] = _paths(photos, mask, "mask")
    taken: set[str] = set()
    for path in (path for paths in wanted.values() for path in paths):
        real = os.path.realpath(path)
        if real in taken:
            raise OutputError(f"{path} can't be overlay and mask at once; give them two names")
        taken.add(real)
    return {photo: {kind: paths[i] for kind, paths in wanted.items()} for i, photo in enumerate(photos)}


def _paths(photos: Sequence[Photo], target: str, kind: str) -> list[Path]:
    """A path for each photo: the target itself, or NAME-overlay.png in the folder it names. Raises OutputError."""
    if os.path.isdir(target) or target.endswith(("/", os.sep)) or len(photos) > 1:
        _check_folder(target, kind)
        return [Path(target, f"{stem}-{kind}.png") for stem in _stems(photos)]
    _check_file(Path(target), kind)
    return [Path(target)]


def _stems(photos: Sequence[Photo]) -> list[str]:
    """The photos' names without folder and suffix, numbered if several (from different folders) are the same."""
    taken: set[str] = set()
    stems = []
    for photo in photos:
        stem = name = "stdin" if photo.name == "-" else Path(photo.name).stem
        number = 1
        while name.casefold() in taken:  # A and a are the same to some file systems
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        stems.append(name)
    return stems


def _check_file(path: Path, kind: str) -> None:
    if path.suffix.lower() not in SUFFIXES[kind]:
        known = ", ".join(SUFFIXES[kind])
        raise OutputError(f"can't write {path}: give the {kind} a name ending in {known}, or a folder ending in /")
    if not os.path.isdir(path.parent):
        raise OutputError(f"can't write {path}: there is no folder {path.parent}")


def _check_folder(folder: str, kind: str) -> None:
    if os.path.isdir(folder):
        return
    if os.path.splitext(folder)[1].lower() in SUFFIXES[kind]:
        raise OutputError(f"{folder} is one file; several photos need a folder for their {kind}s, such as {kind}s/")
    nearest = next(path for path in (Path(folder), *Path(folder).absolute().parents) if os.path.lexists(path))
    if not os.path.isdir(nearest):
        raise OutputError(f"can't make the folder {folder}: {nearest} isn't a folder")


def _encoded(image: Any, path: Path) -> bytes:
    """The image as a file, in the format that its name asks for. Raises OutputError if that can't hold it."""
    from PIL import Image

    buffer = io.BytesIO()
    try:
        image.save(buffer, format=Image.registered_extensions()[path.suffix.lower()])
    except (OSError, ValueError, KeyError) as error:  # too long a side for JPEG or WebP
        raise OutputError(f"can't write {path} in that format ({str(error)[:100]}); give a name in .png") from None
    return buffer.getvalue()


def _table(photo: Photo, result: Any, paths: dict[str, Path]) -> str:
    written = [printable(f"  {kind}: {path}") for kind, path in paths.items()]
    return "\n".join([printable(photo.name), *chart(result.areas.items()), *written])


def _json_line(photo: Photo, model: str, result: Any, paths: dict[str, Path]) -> str:
    areas = [{"label": label, "area": round(area, 6)} for label, area in result.areas.items()]
    record = {"image": photo.name, "model": model, "size": list(result.mask.shape), "areas": areas}
    return json.dumps(record | {kind: str(path) for kind, path in paths.items()})

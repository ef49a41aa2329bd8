"""Which photos the user meant: files, folders, patterns, standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ImageError

_NO_PHOTOS = "holds no photos (files ending in .jpg, .png and so on)"


@dataclass(frozen=True, eq=False)  # the same file given twice is two photos
class Photo:
    """A photo: what to call it, and what to give to the pipeline; or why there's nothing to give."""

    name: str
    source: Any = None
    problem: ImageError | None = None


def expand(arguments: Sequence[str]) -> list[Photo]:
    """The photos that the arguments mean, in their order; those of folders and patterns sorted by name.

    A file is taken whatever its name; from folders (and those in them, links included) only what has a photo's suffix
    and isn't hidden. A folder that can't be read, and a folder or pattern without photos, is a Photo with a problem.
    """
    photos: list[Photo] = []
    for argument in arguments:
        if argument == "-":
            photos.append(_standard_input())
        elif os.path.isdir(argument):
            photos += _in_folder(argument) or [_problem(argument, f"{argument} {_NO_PHOTOS}")]
        elif not os.path.lexists(argument) and glob.has_magic(argument) and not _is_address(argument):
            photos += _matching(argument) or [_problem(argument, f"{argument} matches no file")]
        else:
            photos.append(Photo(argument, argument))
    return photos


def _is_address(argument: str) -> bool:
    from ..preprocess.decoding import is_address

    return is_address(argument)


def _standard_input() -> Photo:
    if sys.stdin is None:
        return Photo("-", problem=ImageError("- means standard input, and that is closed"))
    return Photo("-", sys.stdin.buffer)


def _problem(name: str, what: str) -> Photo:
    return Photo(name, problem=ImageError(what))


def _matching(pattern: str) -> list[Photo]:
    found: list[Photo] = []
    for path in sorted(glob.glob(pattern, recursive=True)):
        if not os.path.isdir(path):
            found.append(Photo(path, path))
        elif "**" not in pattern:  # which matches what's inside as well
            found += _in_folder(path)
    return found


def _in_folder(folder: str) -> list[Photo]:
    from ..preprocess.decoding import FORMATS

    suffixes = {suffix for those in FORMATS.values() for suffix in those}
    found: list[Photo] = []
    real = Path(os.path.realpath(folder))
    seen = {str(path) for path in (real, *real.parents)}  # a link may lead back

    def unreadable(error: OSError) -> None:
        name = error.filename or folder
        found.append(_problem(name, f"can't open {name}: {(error.strerror or 'it failed').lower()}"))

    for above, folders, names in os.walk(folder, onerror=unreadable, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".") and _is_new(os.path.join(above, name), seen)]
        shown = [name for name in names if not name.startswith(".")]
        paths = [os.path.join(above, name) for name in shown if os.path.splitext(name)[1].lower() in suffixes]
        found += [Photo(path, path) for path in paths]
    return sorted(found, key=lambda photo: photo.name)


def _is_new(folder: str, seen: set[str]) -> bool:
    real = os.path.realpath(folder)
    new = real not in seen
    seen.add(real)
    return new

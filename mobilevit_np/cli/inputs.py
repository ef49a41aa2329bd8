"""Which photos the user meant: files, folders, patterns, standard input."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import ImageError


@dataclass(frozen=True, eq=False)  # the same file given twice is two photos
class Photo:
    """A photo to look at: what to call it, and what to give to the pipeline; or why there's nothing to look at."""

    name: str
    source: Any = None
    problem: ImageError | None = None


def expand(arguments: Sequence[str]) -> list[Photo]:
    """The photos that the arguments mean, in their order; folders and patterns in the order of their names.

    A file is taken whatever its name; from folders (and theirs below) only files with a photo's suffix, and none that
    are hidden. A folder or pattern without any gives one Photo with a problem.
    """
    photos: list[Photo] = []
    for argument in arguments:
        if argument == "-":
            photos.append(_standard_input())
        elif os.path.isdir(argument):
            photos += _all(_in_folder(argument), argument, "holds no photos (files ending in .jpg, .png and so on)")
        elif not os.path.lexists(argument) and glob.has_magic(argument) and not _is_address(argument):
            photos += _all(glob.glob(argument, recursive=True), argument, "matches no file")
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


def _all(paths: list[str], argument: str, otherwise: str) -> list[Photo]:
    found = [Photo(path, path) for path in sorted(paths) if os.path.isfile(path)]
    return found or [Photo(argument, problem=ImageError(f"{argument} {otherwise}"))]


def _in_folder(folder: str) -> list[str]:
    from ..preprocess.decoding import FORMATS

    photos = {suffix for suffixes in FORMATS.values() for suffix in suffixes}
    found = []
    for above, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        shown = [name for name in names if not name.startswith(".")]
        found += [os.path.join(above, name) for name in shown if os.path.splitext(name)[1].lower() in photos]
    return found

"""Checksums of the checkpoint files that others publish, and comparing a file with them.

The table is data, ``weights/published.json``. Its checksums were read on pages about the files, not from the files: a
mismatch is a reason to look again, not proof of harm.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import Any

from ..errors import CheckpointError, NotFoundError
from ..formats import files
from .shipped import PUBLISHED_CHECKSUMS, data_file
from .sources import Source, locate


@dataclass(frozen=True)
class Verification:
    """How a file compares with the published ones.

    ``status`` is ``match`` (a published file), ``mismatch`` (it has a published file's name, but isn't it) or
    ``unknown`` (nothing is published under its name). ``message`` says so in one line.
    """

    status: str
    message: str
    sha256: str
    published: tuple[dict[str, Any], ...] = ()  # the entries it matches, or those it was compared with


def published_checksums() -> list[dict[str, Any]]:
    """The entries of the table: repository, file, sha256, and some with a revision, a note, megabytes."""
    path = data_file(PUBLISHED_CHECKSUMS)
    if path is None:
        raise CheckpointError(f"{PUBLISHED_CHECKSUMS} is missing from this installation; install the package again")
    entries: list[dict[str, Any]] = files.read_json(path)["files"]
    return entries


def verify(where: str | os.PathLike[str], *, repository: str | None = None, **options: Any) -> Verification:
    """Compare the weights file at ``where`` with the published checksums; ``repository`` says whose it should be.

    Without it the file's place tells: the hub's cache, or a folder named like the repository. Raises CheckpointError
    if the file can't be read.
    """
    source = locate(where, **options)
    if source.weights is None:
        raise NotFoundError(f"{where} holds no weights to verify")
    digest = hashlib.sha256(files.read_bytes(source.weights)).hexdigest()
    entries = published_checksums()
    if matches := tuple(entry for entry in entries if entry["sha256"] == digest):
        return Verification("match", f"{source.weights} is {_describe(matches[0])}", digest, matches)
    name = repository or _repository_of(source)
    expected = tuple(
        entry
        for entry in entries
        if _same_repository(entry["repository"], name) and entry["file"] == source.weights.name
    )
    if expected:
        message = f"{source.weights} differs from every published {expected[0]['repository']} {expected[0]['file']}"
        return Verification("mismatch", f"{message}; it may be newer than the table, or changed", digest, expected)
    return Verification("unknown", f"no checksum is published under the name of {source.weights}", digest)


def _describe(entry: dict[str, Any]) -> str:
    details = ", ".join(str(entry[key]) for key in ("revision", "note") if key in entry)
    return f"{entry['repository']}'s {entry['file']}" + (f" ({details})" if details else "")


def _repository_of(source: Source) -> str:
    """``owner/name`` from the hub's cache, else the name of the file's folder."""
    assert source.weights is not None
    for folder in source.weights.absolute().parents:
        if folder.name.startswith("models--"):
            return folder.name.removeprefix("models--").replace("--", "/")
    return source.repository or source.weights.resolve().parent.name


def _same_repository(published: str, name: str) -> bool:
    return name == published or ("/" not in name and name == published.split("/")[1])

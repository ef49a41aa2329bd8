"""Floor 2. Where a checkpoint comes from: a file, a folder, a shipped model's name, a hub id; imports floor 1.

What exists on the disk wins over names. A folder in the hub's layout holds model.safetensors (preferred) or
pytorch_model.bin, config.json and preprocessor_config.json; a folder with a single other weights file will do.
The two json files beside a file count only where the file has one of the hub's names: beside any other they may
belong to something else.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..errors import CheckpointError, InputError
from ..formats import hub
from .shipped import WEIGHTS_FILE, shipped

WEIGHTS_FILES = (WEIGHTS_FILE, "pytorch_model.bin")
CONFIG_FILE = "config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
_WEIGHTS_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Source:
    """The files of one checkpoint. ``name`` is what messages and answers call it."""

    name: str
    kind: str  # "file", "folder", "shipped" or "hub"
    weights: Path | None  # None: only a configuration is there
    config: Path | None = None
    preprocessor: Path | None = None
    repository: str | None = None
    revision: str | None = None


def locate(where: str | os.PathLike[str], *, revision: str | None = None, cache: str | Path | None = None) -> Source:
    """The files of the checkpoint at ``where``; those of a hub id are downloaded where the cache lacks them.

    Raises CheckpointError, MissingExtraError, InputError.
    """
    try:
        text = os.fspath(where)
    except TypeError:
        raise InputError(f"a checkpoint is given as a path or a name, not as a {type(where).__name__}") from None
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError("a checkpoint is given as a path or a name; this is neither")
    path = Path(os.path.expanduser(text))  # pathlib's raises where there's no such user
    if _exists(path):
        return _of_folder(path, path.resolve().name, "folder") if path.is_dir() else _of_file(path)
    if text in (models := shipped()):
        return _of_folder(models[text], text, "shipped")
    if hub.is_repository(text) and not isinstance(where, Path):
        return _of_hub(text, revision or hub.MAIN, cache)
    known = f"shipped models are {', '.join(models)}; " if models else ""
    raise CheckpointError(
        f"there is no file or folder {text[:200]!r}; {known}a hub id reads like apple/mobilevit-small"
    )


def _of_file(path: Path) -> Source:
    if path.name == CONFIG_FILE:
        return Source(path.resolve().parent.name, "file", None, path)
    standard = path.name in WEIGHTS_FILES
    return Source(
        path.resolve().parent.name if standard else path.stem,
        "file",
        path,
        _beside(path, CONFIG_FILE) if standard else None,
        _beside(path, PREPROCESSOR_FILE) if standard else None,
    )


def _of_folder(folder: Path, name: str, kind: str) -> Source:
    weights = _weights_in(folder)
    config = folder / CONFIG_FILE if (folder / CONFIG_FILE).is_file() else None
    preprocessor = folder / PREPROCESSOR_FILE if (folder / PREPROCESSOR_FILE).is_file() else None
    if weights is None and config is None:
        raise CheckpointError(f"the folder {folder} holds no weights; it should hold {' or '.join(WEIGHTS_FILES)}")
    return Source(name, kind, weights, config, preprocessor)


def _of_hub(repository: str, revision: str, cache: str | Path | None) -> Source:
    folder = hub.cached_snapshot(repository, revision, cache=cache)
    if folder is None or _weights_in(folder) is None:
        wanted = (WEIGHTS_FILES, (CONFIG_FILE,), (PREPROCESSOR_FILE,))
        folder = hub.download(repository, wanted, revision, cache=cache)
    found = _of_folder(folder, repository, "hub")
    return Source(repository, "hub", found.weights, found.config, found.preprocessor, repository, revision)


def _weights_in(folder: Path) -> Path | None:
    """The hub's names first, in their order; else the only file that looks like weights."""
    for name in WEIGHTS_FILES:
        if (folder / name).is_file():
            return folder / name
    try:
        others = sorted(path for path in folder.iterdir() if path.suffix in _WEIGHTS_ENDINGS and path.is_file())
    except OSError as error:
        raise CheckpointError(f"can't read the folder {folder}: {(error.strerror or 'it failed').lower()}") from None
    if len(others) > 1:
        names = ", ".join(path.name for path in others[:5])
        raise CheckpointError(f"the folder {folder} holds several weights files ({names}); give the one you mean")
    return others[0] if others else None


def _beside(path: Path, name: str) -> Path | None:
    return path.with_name(name) if path.with_name(name).is_file() else None


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a file name, or without permission to look
        return False

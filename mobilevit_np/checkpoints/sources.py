"""Where a checkpoint comes from: a file, a folder, a shipped model's name, a hub id.

What exists on the disk wins over names. A folder in the hub's layout holds model.safetensors (preferred) or
pytorch_model.bin, config.json and preprocessor_config.json; a folder with a single other weights file will do.
The two json files beside a file count only where the file has one of the hub's names: beside any other they may
belong to something else.

In the hub's cache a checkpoint is whole once its weights and its config.json are there. The weights are downloaded
last, so that a download that broke off is taken up again.

Explained in tutorials/10-checkpoints.md.
"""

from __future__ import annotations

import os
import stat
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import CheckpointError, InputError, MobileViTWarning, NotFoundError
from ..formats import files, hub
from ..formats.hub import CONFIG_FILE, PREPROCESSOR_FILE, WEIGHTS_FILES
from .shipped import shipped

_WEIGHTS_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")
Needs = Literal["weights", "config", "preprocessor"]
_NAMES: dict[Needs, tuple[str, ...]] = {
    "weights": WEIGHTS_FILES,
    "config": (CONFIG_FILE,),
    "preprocessor": (PREPROCESSOR_FILE,),
}
_DOWNLOADED: dict[Needs, tuple[Needs, ...]] = {  # in this order; the last must be there
    "weights": ("config", "preprocessor", "weights"),
    "config": ("config",),
    "preprocessor": ("preprocessor",),
}


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


def locate(
    where: str | os.PathLike[str],
    *,
    subfolder: str = "",
    variant: str | None = None,
    revision: str | None = None,
    cache: str | Path | None = None,
    token: str | bool | None = None,
    local_files_only: bool = False,
    force_download: bool = False,
    needs: Needs = "weights",
) -> Source:
    """The files of the checkpoint at ``where``; those of a hub id are downloaded where the cache lacks them.

    ``needs`` says what for: to load ``weights`` a hub id's json files are fetched too, for its ``config`` or
    ``preprocessor`` that file alone. Of what's on the disk all is given that is there.
    Raises CheckpointError, MissingExtraError, InputError.
    """
    try:
        text = os.fspath(where)
    except TypeError:
        raise InputError(f"a checkpoint is given as a path or a name, not as a {type(where).__name__}") from None
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError("a checkpoint is given as a path or a name; this is neither")
    path = Path(os.path.expanduser(text))  # pathlib's raises where there's no such user
    if mode := _mode(path):
        return _of_folder(path, path.resolve().name, "folder", needs) if stat.S_ISDIR(mode) else _of_file(path)
    if text in (models := shipped()):
        return _of_folder(models[text], text, "shipped", needs)
    if hub.is_repository(text) and not isinstance(where, Path):
        return _of_hub(text, revision or hub.MAIN, cache, needs)
    known = f"shipped models are {', '.join(models)}; " if models else ""
    raise NotFoundError(f"there is no file or folder {text[:200]!r}; {known}a hub id reads like apple/mobilevit-small")


def _of_file(path: Path) -> Source:
    if path.name == CONFIG_FILE:
        return Source(path.resolve().parent.name, "file", None, path)
    standard = path.name in WEIGHTS_FILES
    return Source(
        path.resolve().parent.name if standard else path.stem,
        "file",
        path,
        _inside(path.parent, CONFIG_FILE) if standard else None,
        _inside(path.parent, PREPROCESSOR_FILE) if standard else None,
    )


def _of_folder(folder: Path, name: str, kind: str, needs: Needs) -> Source:
    weights = _weights_in(folder)
    source = Source(name, kind, weights, _inside(folder, CONFIG_FILE), _inside(folder, PREPROCESSOR_FILE))
    if weights is None and source.config is None and getattr(source, needs) is None:
        raise NotFoundError(f"the folder {folder} holds no {needs}; it should hold {' or '.join(_NAMES[needs])}")
    return source


def _of_hub(repository: str, revision: str, cache: str | Path | None, needs: Needs) -> Source:
    folder = hub.cached_snapshot(repository, revision, cache=cache)
    if folder is None or not _is_usable(folder, repository, needs):
        wanted = [_NAMES[part] for part in _DOWNLOADED[needs]]
        folder = hub.download(repository, wanted, revision, cache=cache)
    return replace(_of_folder(folder, repository, "hub", needs), repository=repository, revision=revision)


def _is_usable(snapshot: Path, repository: str, needs: Needs) -> bool:
    """Whether the cache has what is needed; weights without their config.json only where that can't be fetched."""
    if needs != "weights":
        return _inside(snapshot, _NAMES[needs][0]) is not None
    if _weights_in(snapshot) is None:
        return False
    if _inside(snapshot, CONFIG_FILE) is None and hub.is_offline():
        message = f"{repository} is in the cache without its {CONFIG_FILE}, so its labels and settings may be others"
        warnings.warn(f"{message}; unset HF_HUB_OFFLINE to download it", MobileViTWarning, stacklevel=4)
        return True
    return _inside(snapshot, CONFIG_FILE) is not None


def _weights_in(folder: Path) -> Path | None:
    """The hub's names first, in their order; else the only file that looks like weights."""
    for name in WEIGHTS_FILES:
        if (found := _inside(folder, name)) is not None:
            return found
    try:
        entries = sorted(path for path in folder.iterdir() if path.suffix in _WEIGHTS_ENDINGS)
    except OSError as error:
        raise NotFoundError(f"can't read the folder {folder}: {files.reason(error)}") from None
    others = [path for path in entries if stat.S_ISREG(_mode(path))]
    if len(others) > 1:
        names = ", ".join(path.name for path in others[:5])
        raise CheckpointError(f"the folder {folder} holds several weights files ({names}); give the one you mean")
    return others[0] if others else None


def _inside(folder: Path, name: str) -> Path | None:
    return folder / name if stat.S_ISREG(_mode(folder / name)) else None


def _mode(path: Path) -> int:
    """What stands at ``path``; 0 for nothing. Raises CheckpointError where one may not look: there, Pythons differ."""
    try:
        return os.stat(path).st_mode
    except PermissionError as error:
        raise NotFoundError(f"can't read {path}: {files.reason(error)}") from None
    except (OSError, ValueError):  # a name that is too long, or can't be one
        return 0

"""The Hugging Face hub: its local cache, and the download through ``huggingface_hub``.

The cache is searched first and needs no extra: a repository's folder there holds ``refs`` (a branch's name -> a commit)
and ``snapshots`` (a commit's files). What is missing is downloaded into it by the optional extra ``hub``, which also
shows the progress bar. The environment variables are huggingface_hub's own: HF_HUB_CACHE, HF_HOME, HF_ENDPOINT,
HF_HUB_OFFLINE, HF_TOKEN.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError, NotDownloadedError, NotFoundError
from .files import first_line, reason

MAIN = "main"
WEIGHTS_FILE = "model.safetensors"  # what a checkpoint's files are called there
WEIGHTS_FILES = (WEIGHTS_FILE, "pytorch_model.bin")
_STANDARD = re.compile(r"(model|pytorch_model)(\.[\w-]+)?\.(safetensors|bin)(\.index(\.[\w-]+)?\.json)?")
CONFIG_FILE = "config.json"
PREPROCESSOR_FILE = "preprocessor_config.json"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,95}"
_REPOSITORY = re.compile(rf"{_NAME}/{_NAME}")
_DISK_ERRORS = "ENOSPC EDQUOT EFBIG EIO EROFS EACCES EPERM ENOTDIR EISDIR EMFILE ENAMETOOLONG"
_OF_THE_DISK = {getattr(errno, name) for name in _DISK_ERRORS.split() if hasattr(errno, name)}  # Windows lacks some
_YES = ("1", "true", "yes", "on")


def is_repository(text: str) -> bool:
    """Whether ``text`` reads like ``owner/name``."""
    return bool(_REPOSITORY.fullmatch(text)) and ".." not in text and "--" not in text


def weights_files(variant: str | None) -> tuple[str, ...]:
    """What weights are called there, the preferred first: each a single file, then the index of several shards.

    Raises InputError if ``variant`` (``fp16``: model.fp16.safetensors) can't be a part of a file's name.
    """
    if variant is not None and not (isinstance(variant, str) and re.fullmatch(r"[\w-]+", variant)):
        raise InputError(f"variant must be a word such as fp16, not {variant!r:.60}")
    infix = "" if variant is None else f".{variant}"
    stems = (name.rpartition(".") for name in WEIGHTS_FILES)
    return tuple(
        name for stem, _, ending in stems for name in (f"{stem}{infix}.{ending}", f"{stem}.{ending}.index{infix}.json")
    )


def is_standard(name: str) -> bool:
    """Whether a file has one of the names that weights have there, a variant's included."""
    return bool(_STANDARD.fullmatch(name))


def cache_folder() -> Path:
    """The hub's cache: HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE, HF_HOME/hub, else ~/.cache/huggingface/hub."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(variable):
            return Path(os.path.expanduser(os.environ[variable]))
    caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(os.environ.get("HF_HOME") or f"{caches}/huggingface")) / "hub"


def is_offline() -> bool:
    """Whether HF_HUB_OFFLINE forbids downloads."""
    return os.environ.get("HF_HUB_OFFLINE", "").lower() in _YES


def cached_snapshot(repository: str, revision: str = MAIN, *, cache: str | Path | None = None) -> Path | None:
    """The folder of a revision's files in the cache; None if it isn't there. Raises InputError for wrong names."""
    _check_names(repository, revision)
    root = Path(cache or cache_folder()) / f"models--{repository.replace('/', '--')}"
    commit = revision
    reference = root / "refs" / revision
    try:
        if reference.is_file():
            commit = reference.read_text(encoding="utf-8").strip()
        folder = root / "snapshots" / commit
        return folder if re.fullmatch(r"[\w.-]+", commit) and commit.strip(".") and folder.is_dir() else None
    except (OSError, ValueError):
        return None


def download(
    repository: str,
    wanted: Sequence[tuple[str, ...]],
    revision: str = MAIN,
    *,
    cache: str | Path | None = None,
    offline: bool = False,
    subfolder: str = "",
    **options: Any,
) -> Path:
    """The folder of a revision's files in the cache, after downloading those that are wanted and missing.

    ``wanted`` are groups of file names in ``subfolder``: of each group, the first that the repository has is fetched;
    of the last, it must have one. ``offline`` forbids it, as HF_HUB_OFFLINE does. ``options`` are
    ``hf_hub_download``'s: ``token``, ``force_download``. Raises NotDownloadedError without ``huggingface_hub``,
    NotFoundError if the download fails.
    """
    _check_names(repository, revision)
    cache = cache or cache_folder()
    folder = f"{subfolder}/" if subfolder else ""
    sought = " or ".join(folder + name for name in wanted[-1] if ".index." not in name)
    if offline or is_offline():
        remedy = "without local_files_only it's downloaded" if offline else "unset HF_HUB_OFFLINE to download it"
        raise NotFoundError(f"{repository} is not wholly in the cache {cache} (sought: {sought}); {remedy}")
    try:
        import huggingface_hub
    except ImportError:
        raise NotDownloadedError(
            f"{repository} is not wholly in the cache {cache}; to download it, type: pip install huggingface_hub (or "
            f"download the files by hand from https://huggingface.co/{repository}/tree/main and give their folder)"
        ) from None
    options |= {
        "revision": revision,
        "cache_dir": str(cache),
        "endpoint": os.environ.get("HF_ENDPOINT") or None,
    }
    path = None
    for group in wanted:
        path = _download_first(huggingface_hub, repository, [folder + name for name in group], revision, options)
    if path is None:
        raise NotFoundError(f"{repository} holds no {sought} at {revision!r}, so it can't be used here")
    return path.parent


def _download_first(
    hub: Any, repository: str, names: Sequence[str], revision: str, options: dict[str, Any]
) -> Path | None:
    for name in names:
        try:
            return Path(hub.hf_hub_download(repository, name, **options))
        # Whatever the library, its HTTP client or the network raise: the user can only be told.
        except Exception as error:
            kinds = {kind.__name__ for kind in type(error).__mro__}
            if "EntryNotFoundError" in kinds and "LocalEntryNotFoundError" not in kinds:
                continue
            raise NotFoundError(f"can't download {repository}: {_why(error, kinds, revision)}") from None
    return None


def _why(error: Exception, kinds: set[str], revision: str) -> str:
    if "GatedRepoError" in kinds:
        return "it's gated; accept its terms on the hub's page, then run `hf auth login`"
    if "RevisionNotFoundError" in kinds:
        return f"it has no revision {revision!r}"
    if "RepositoryNotFoundError" in kinds:
        return "the hub has no such public repository; check its name (private ones need `hf auth login`)"
    if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
        return (
            f"the cache can't be written: {reason(error)}; free some space there, or set HF_HUB_CACHE to another folder"
        )
    if "LocalEntryNotFoundError" in kinds or isinstance(error, OSError):
        return f"the hub can't be reached ({first_line(error)}); check the network, or HF_ENDPOINT"
    return first_line(error)


def _check_names(repository: str, revision: str) -> None:
    if not is_repository(repository):
        raise InputError(f"{repository[:100]!r} is not a repository; it should read like apple/mobilevit-small")
    if not all(re.fullmatch(r"[\w.-]+", part) and part.strip(".") for part in revision.split("/")):
        raise InputError(f"{revision[:100]!r} is not a revision; it should be a branch, a tag or a commit")

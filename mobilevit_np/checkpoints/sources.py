"""Where a checkpoint comes from: a file, a folder, a shipped model's name, a hub id.

What exists on the disk wins over names. A folder in the hub's layout holds model.safetensors (preferred) or
pytorch_model.bin, or shards of either with their index, config.json and preprocessor_config.json; a folder with a
single other weights file will do, and so will one from timm's training, of which the best checkpoint is taken.
The two JSON files beside a weights file count only if it has one of the hub's names: beside any other they may belong
to something else.

In the hub's cache a checkpoint is complete once its weights and its config.json are there. The weights are downloaded
last, so that a broken download is resumed.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import NoneType
from typing import Any, Literal

from ..errors import CheckpointError, InputError, MobileViTWarning, NotFoundError
from ..formats import files, foreign, hub
from ..formats.hub import CONFIG_FILE, PREPROCESSOR_FILE
from ..formats.weights_file import is_index, is_shard, shards_of
from .shipped import shipped

_WEIGHTS_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".pth.tar")
_OF_TRAINING = ("model_best.pth.tar", "last.pth.tar")  # from timm's CheckpointSaver, the preferred first
_NO_WEIGHTS = re.compile(r"(training_args|optimizer|scheduler|scaler|rng_state)(_\d+)?\.\w+|.*_optim_states\.pt")
_ADAPTER_CONFIG = "adapter_config.json"
Needs = Literal["weights", "config", "preprocessor"]
_DOWNLOADED: dict[Needs, tuple[Needs, ...]] = {  # in this order; the last must be there
    "weights": ("config", "preprocessor", "weights"),
    "config": ("config",),
    "preprocessor": ("preprocessor",),
}


@dataclass(frozen=True)
class Source:
    """The files of one checkpoint. ``name`` is what messages call it."""

    name: str
    kind: str  # "file", "folder", "shipped" or "hub"
    weights: Path | None  # None if there's only a configuration
    config: Path | None = None
    preprocessor: Path | None = None
    repository: str | None = None
    revision: str | None = None

    @property
    def files(self) -> list[Path]:
        """All of them, an index's shards included. Raises CheckpointError."""
        shards = shards_of(self.weights) if self.weights and is_index(self.weights) else []
        return [path for path in (self.weights, *shards, self.config, self.preprocessor) if path is not None]

    @contextlib.contextmanager
    def being_read(self) -> Iterator[None]:
        """A damaged download would stay in the hub's cache: an error inside says what to delete."""
        try:
            yield
        except CheckpointError as error:
            file = self.weights or self.config or self.preprocessor or Path()
            folder = next((path for path in file.parents if path.name.startswith("models--")), None)
            if self.kind != "hub" or folder is None or isinstance(error, NotFoundError):
                raise
            remedy = f"if its download went wrong, delete the folder {folder} to download it again"
            raise type(error)(f"{error}; {remedy}") from None


@dataclass(frozen=True)
class _Place:
    """Which of a repository's files are meant, and how they may be fetched."""

    needs: Needs
    subfolder: str
    variant: str | None
    revision: str
    cache: str | Path | None
    offline: bool
    options: dict[str, Any]

    @property
    def names(self) -> dict[Needs, tuple[str, ...]]:
        return {
            "weights": hub.weights_files(self.variant),
            "config": (CONFIG_FILE,),
            "preprocessor": (PREPROCESSOR_FILE,),
        }


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
    """The files of the checkpoint at ``where``; those of a hub id are downloaded if the cache lacks them.

    ``subfolder`` of the folder or repository holds them; ``variant`` is a part of the weights' name (``fp16``:
    model.fp16.safetensors). ``revision``, ``cache`` and ``token`` are the hub's; ``local_files_only`` downloads
    nothing, ``force_download`` even what's in the cache. ``needs`` is what to fetch of a hub id: with its ``weights``
    come the JSON files, its ``config`` or ``preprocessor`` comes alone. On the disk, all that's there is found, but for
    the weights beside a ``preprocessor``, and a file then is one itself, unless weights have such a name.
    Raises CheckpointError, NotFoundError, MissingExtraError, InputError.
    """
    text = _as_text(where)
    if not isinstance(revision, (str, NoneType)):
        raise InputError(f"revision must be a branch, a tag or a commit, not {revision!r:.60}")
    if not isinstance(cache, (str, os.PathLike, NoneType)):
        raise InputError(f"cache must be a path, not {cache!r:.60}")
    options = {"token": token} if token is not None else {}
    options |= {"force_download": True} if force_download else {}
    place = _Place(needs, _checked(subfolder), variant, revision or hub.MAIN, cache, local_files_only, options)
    path = Path(os.path.expanduser(text))  # pathlib's raises if there's no such user
    if mode := _mode(path):
        return _of_folder(path, path.resolve().name, "folder", place) if stat.S_ISDIR(mode) else _of_file(path, place)
    if text in (models := shipped()):
        return _of_folder(models[text], text, "shipped", place)
    if hub.is_repository(text) and not isinstance(where, Path) and not text.endswith(".json"):
        return _of_hub(text, place)
    known = f"shipped models are {', '.join(models)}; " if models else ""
    raise NotFoundError(f"there is no file or folder {text[:200]!r}; {known}a hub id reads like apple/mobilevit-small")


def _as_text(where: Any) -> str:
    """A checkpoint's path or name. Raises InputError if it can be neither."""
    try:
        text = os.fspath(where)
    except TypeError:
        raise InputError(f"a checkpoint is given as a path or a name, not as a {type(where).__name__}") from None
    if not isinstance(text, str) or not text or "\0" in text:
        raise InputError("a checkpoint is given as a path or a name; this is neither")
    return text


def _checked(subfolder: str) -> str:
    if not isinstance(subfolder, str) or "\0" in subfolder or ".." in (parts := re.split(r"[/\\]", subfolder)):
        raise InputError(f"subfolder must name a folder inside the checkpoint's, not {subfolder!r:.80}")
    return "/".join(part for part in parts if part not in ("", "."))


def _of_file(path: Path, place: _Place) -> Source:
    if place.subfolder or place.variant:
        raise InputError(f"{path} is a file: subfolder and variant choose within a folder or repository")
    standard = hub.is_standard(path.name)
    if place.needs == "preprocessor" and not standard:
        return Source(path.resolve().parent.name, "file", None, None, path)
    if path.name == CONFIG_FILE:
        return Source(path.resolve().parent.name, "file", None, path)
    if is_shard(path.name):
        raise CheckpointError(f"{path} is one shard of several; give its folder, or the .index.json beside it")
    return Source(
        path.resolve().parent.name if standard else path.name.partition(".pth.tar")[0].removesuffix(path.suffix),
        "file",
        path,
        _inside(path.parent, CONFIG_FILE) if standard else None,
        _inside(path.parent, PREPROCESSOR_FILE) if standard else None,
    )


def _of_folder(root: Path, name: str, kind: str, place: _Place) -> Source:
    folder = root / place.subfolder
    if not stat.S_ISDIR(_mode(folder)):
        raise NotFoundError(f"{root} has no folder {place.subfolder}")
    weights = None if place.needs == "preprocessor" else weights_in(folder, place.variant)
    source = Source(name, kind, weights, _inside(folder, CONFIG_FILE), _inside(folder, PREPROCESSOR_FILE))
    if weights is None and (place.needs == "weights" or (place.needs == "config" and source.config is None)):
        found = foreign.of_folder(_listed(folder)) if place.needs == "weights" else ""
        raise NotFoundError(
            f"the folder {folder} holds no {place.needs}{f' ({found})' if found else ''}; it should hold "
            f"{' or '.join(name for name in place.names[place.needs] if not is_index(Path(name)))}"
        )
    return source


def _of_hub(repository: str, place: _Place) -> Source:
    snapshot = None
    if "force_download" not in place.options:
        snapshot = hub.cached_snapshot(repository, place.revision, cache=place.cache)
    if snapshot is None or not _is_usable(snapshot / place.subfolder, repository, place):
        folder = _download(repository, [place.names[part] for part in _DOWNLOADED[place.needs]], place)
        if weights := _standard_in(folder, place.variant):
            for shard in _missing(weights):
                _download(repository, [(shard.name,)], place)
        snapshot = folder.parents[place.subfolder.count("/")] if place.subfolder else folder
    found = _of_folder(snapshot, repository, "hub", place)
    return replace(found, repository=repository, revision=place.revision)


def _download(repository: str, wanted: list[tuple[str, ...]], place: _Place) -> Path:
    return hub.download(
        repository,
        wanted,
        place.revision,
        cache=place.cache,
        offline=place.offline,
        subfolder=place.subfolder,
        **place.options,
    )


def _missing(weights: Path) -> list[Path]:
    """The shards of an index that are missing beside it."""
    return [path for path in shards_of(weights) if not _mode(path)] if is_index(weights) else []


def _is_usable(folder: Path, repository: str, place: _Place) -> bool:
    """Whether the cache has what is needed; weights will do without their config.json only if that can't be fetched."""
    if place.needs != "weights":
        return _inside(folder, place.names[place.needs][0]) is not None
    weights = weights_in(folder, place.variant) if stat.S_ISDIR(_mode(folder)) else None
    if weights is None or _missing(weights):
        return False
    if _inside(folder, CONFIG_FILE) is None and (place.offline or hub.is_offline()):
        message = f"{repository} is in the cache without its {CONFIG_FILE}, so its labels and settings may be wrong"
        remedy = "open it without local_files_only" if place.offline else "unset HF_HUB_OFFLINE"
        warnings.warn(f"{message}; {remedy} to download it", MobileViTWarning, stacklevel=4)
        return True
    return _inside(folder, CONFIG_FILE) is not None


def _standard_in(folder: Path, variant: str | None) -> Path | None:
    return next((found for name in hub.weights_files(variant) if (found := _inside(folder, name)) is not None), None)


def weights_in(folder: Path, variant: str | None = None) -> Path | None:
    """The hub's names first, in their order; else the only file that looks like weights, or a training's best.

    None if there are none. Raises CheckpointError if there are several to choose from, or an adapter's.
    """
    if (found := _standard_in(folder, variant)) is not None or variant is not None:
        return found
    listed = _listed(folder)
    if _ADAPTER_CONFIG in listed:
        raise CheckpointError(
            f"the folder {folder} holds an adapter of PEFT (LoRA or the like), not a network; in PEFT, merge it into "
            "its model (merge_and_unload()), save that, and open what it saved"
        )
    others = [folder / name for name in listed if name.endswith(_WEIGHTS_ENDINGS) and not _NO_WEIGHTS.fullmatch(name)]
    others = [path for path in others if stat.S_ISREG(_mode(path))]
    names = ", ".join(path.name for path in others[:5])
    if any(is_shard(path.name) for path in others):
        index = next((name for name in listed if is_index(Path(name))), None)
        remedy = (
            f"of {index}: give its path, or its variant" if index else "without their .index.json; download that too"
        )
        raise NotFoundError(f"the folder {folder} holds shards ({names}) {remedy}")
    if len(others) < 2:
        return others[0] if others else None
    if best := next((path for name in _OF_TRAINING for path in others if path.name == name), None):
        message = f"of the weights files in {folder} ({names}) {best.name} is opened; give another's path to choose it"
        warnings.warn(message, MobileViTWarning, stacklevel=4)
        return best
    raise CheckpointError(f"the folder {folder} holds several weights files ({names}); give the one you mean")


def _listed(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise NotFoundError(f"can't read the folder {folder}: {files.reason(error)}") from None


def _inside(folder: Path, name: str) -> Path | None:
    return folder / name if stat.S_ISREG(_mode(folder / name)) else None


def _mode(path: Path) -> int:
    """The mode of what is at ``path``; 0 for nothing. Raises NotFoundError if looking is forbidden (Pythons differ)."""
    try:
        return os.stat(path).st_mode
    except PermissionError as error:
        raise NotFoundError(f"can't read {path}: {files.reason(error)}") from None
    except (OSError, ValueError):  # among others a name that is too long, or has a zero byte
        return 0

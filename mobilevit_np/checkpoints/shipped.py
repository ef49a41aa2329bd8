"""The models that come with the package, wherever it's installed.

In a wheel they are inside the package (``mobilevit_np/weights/NAME``); in a checkout, an editable install and an
unpacked sdist beside it (``weights/NAME``). ``published.json`` lies next to them.
"""

from __future__ import annotations

from pathlib import Path

from ..formats.hub import WEIGHTS_FILE

DEFAULTS = {"classifier": "pets-xx-small", "segmenter": "pets-deeplabv3-xx-small"}
PUBLISHED_CHECKSUMS = "published.json"
_PACKAGE = Path(__file__).resolve().parent.parent


def weights_folders() -> list[Path]:
    """The folders that may hold shipped models, in the order they're searched."""
    folders = [_PACKAGE / "weights"]
    if (_PACKAGE.parent / "pyproject.toml").is_file():  # else ``weights`` beside the package is somebody else's
        folders.append(_PACKAGE.parent / "weights")
    return [folder for folder in folders if folder.is_dir()]


def shipped() -> dict[str, Path]:
    """``{name: folder}`` of the shipped models, by name."""
    found = {
        folder.name: folder
        for root in reversed(weights_folders())
        for folder in root.iterdir()
        if (folder / WEIGHTS_FILE).is_file()
    }
    return dict(sorted(found.items()))


def data_file(name: str) -> Path | None:
    """A file beside the shipped models; None if it isn't there."""
    return next((folder / name for folder in weights_folders() if (folder / name).is_file()), None)

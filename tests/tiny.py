"""Whole checkpoints small enough to be drawn for a test, photos to show them, and networks planted in their place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from fuzz.samples import tiny_config, tiny_tensors
from PIL import Image

from mobilevit_np.checkpoints import Checkpoint, open_checkpoint, save_checkpoint
from mobilevit_np.checkpoints.configurations import full_config
from mobilevit_np.engines import ENGINES, Reference

REPOSITORY = Path(__file__).resolve().parent.parent
CHELSEA = REPOSITORY / "tutorials" / "images" / "chelsea.png"
CLASSES = ("stone", "paper", "scissors", "well", "fire")
PLACES = ("background", "red", "blue")
SIDE = 64  # what the tiny networks are shown


def save_tiny(
    folder: Path,
    task: str = "classifier",
    *,
    labels: Sequence[str] | None = None,
    preprocessing: dict[str, Any] | None = None,
    fields: dict[str, Any] | None = None,
    **network: Any,
) -> Path:
    """A folder in the hub's layout with a drawn network; ``fields`` go into its config.json."""
    labels = tuple(labels or (CLASSES if task == "classifier" else PLACES))
    config = tiny_config(task, num_labels=len(labels), **network)
    save_checkpoint(
        folder,
        tiny_tensors(task, num_labels=len(labels), **network),
        {**full_config(config, task, labels), **(fields or {})},
        preprocessing or {"size": {"shortest_edge": SIDE + 8}, "crop_size": {"height": SIDE, "width": SIDE}},
    )
    return folder


def open_tiny(folder: Path, dtype: Any = np.float32) -> Checkpoint:
    """The same, opened."""
    return open_checkpoint(folder, dtype=dtype)


def photo(height: int = 48, width: int = 60, seed: int = 0) -> np.ndarray:
    """A drawn photo, (H, W, 3), that no two seeds share."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save_photo(path: Path, height: int = 48, width: int = 60, seed: int = 0) -> Path:
    """A drawn photo as a file; folders above it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo(height, width, seed)).save(path)
    return path


def hub_cache(home: Path, repository: str, **options: Any) -> Path:
    """HF_HOME's layout with a drawn checkpoint in the place of a published one."""
    root = home / "hub" / f"models--{repository.replace('/', '--')}"
    commit = "0123456789abcdef0123456789abcdef01234567"
    save_tiny(root / "snapshots" / commit, **options)
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text(commit, encoding="utf-8")
    return home


def color_network(pixel_values: np.ndarray, scope: Any, config: Any) -> np.ndarray:
    """A segmenter that sees colors: each cell's logits are its mean gray, red and blue excess, in that order.

    It expects BGR, as Hugging Face's weights do: with RGB, red and blue trade places.
    """
    B, C, H, W = pixel_values.shape
    s = config.output_stride
    cells = pixel_values.reshape(B, C, H // s, s, W // s, s).mean(axis=(3, 5))
    blue, green, red = cells[:, 0], cells[:, 1], cells[:, 2]
    return np.stack([np.full_like(green, 0.25), red - green, blue - green], axis=1)


def plant(monkeypatch: Any, task: str, function: Any, *engines: str) -> None:
    """Put ``function(pixel_values, scope, config)`` in the place of a task's network, in all engines or those named."""
    for engine in engines or tuple(ENGINES):
        usual = ENGINES.get(engine)

        def compile_for(asked: str, scope: Any, config: Any, usual: Any = usual, **options: Any) -> Any:
            if asked != task:
                return usual(asked, scope, config, **options)
            return Reference(lambda pixel_values, scope: function(pixel_values, scope, config), scope)

        monkeypatch.setitem(ENGINES, engine, compile_for)


def files() -> dict[str, bytes]:
    """Every file in the working folder and below it, with what it holds."""
    return {str(path): path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}

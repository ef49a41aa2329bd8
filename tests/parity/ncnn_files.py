"""transformers' models as ncnn files, by pnnx.

Sizes that were computed while tracing don't go through it: it puts further axes behind the shape that they're in, so
transformers' unfold becomes a reshape to five axes and its fold one to six, which ncnn has no layer for. With plain
integers, and four axes at most, both do.
"""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

PNNX = [sys.executable, str(Path(sys.executable).with_name("pnnx"))]


def unfolding(self: Any, features: torch.Tensor) -> tuple[torch.Tensor, dict[str, Any]]:
    """transformers' ``unfolding`` of one photo, in plain integers.

    (1, D, H, W) -> (P, N, D)
    """
    _, channels, height, width = map(int, features.shape)
    patch = self.patch_height
    rows, columns = -(-height // patch), -(-width // patch)
    features = _resized(features, (rows * patch, columns * patch))
    patches = features.reshape(channels * rows, patch, columns, patch).transpose(1, 2)
    patches = patches.reshape(channels, rows * columns, patch * patch).permute(2, 1, 0)
    return patches, {"channels": channels, "grid": (rows, columns), "size": (height, width)}


def folding(self: Any, patches: torch.Tensor, info: dict[str, Any]) -> torch.Tensor:
    """transformers' ``folding``, in plain integers.

    (P, N, D) -> (1, D, H, W)
    """
    patch, channels, (rows, columns) = self.patch_height, info["channels"], info["grid"]
    features = patches.permute(2, 1, 0).reshape(channels * rows, columns, patch, patch).transpose(1, 2)
    return _resized(features.reshape(1, channels, rows * patch, columns * patch), info["size"])


def _resized(features: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if tuple(map(int, features.shape[2:])) == size:
        return features
    return torch.nn.functional.interpolate(features, size=size, mode="bilinear", align_corners=False)


def rewrite(model: torch.nn.Module) -> torch.nn.Module:
    """The model with both methods of its blocks replaced."""
    for layer in model.mobilevit.encoder.layer[2:]:
        layer.unfolding = unfolding.__get__(layer)
        layer.folding = folding.__get__(layer)
    return model


class _Logits(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values).logits


def convert(model: torch.nn.Module, pixel_values: np.ndarray, folder: Path) -> Path:
    """A model traced, and converted by pnnx: the .param file in ``folder``, the .bin beside it."""
    with torch.no_grad(), warnings.catch_warnings():  # the tracer warns of each size that's made an integer
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(_Logits(model).eval(), torch.from_numpy(pixel_values.astype(np.float32)))
        traced.save(os.fspath(folder / "port.pt"))
    shape = ",".join(map(str, pixel_values.shape))
    subprocess.run([*PNNX, "port.pt", f"inputshape=[{shape}]", "fp16=0"], cwd=folder, check=True, capture_output=True)
    return folder / "port.ncnn.param"

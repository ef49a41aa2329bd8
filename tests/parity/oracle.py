"""What the live comparisons share: a PyTorch model with drawn parameters, what its hooks see, and the comparison.

The measure is the largest difference over the oracle's largest magnitude, tensor by tensor, at every activation.
"""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import drawing
import numpy as np
import torch
import transformers
from hooks import of_transformers, outputs_of

from mobilevit_np.config import NetworkConfig
from mobilevit_np.scope import Scope

LIMITS = {np.float64: 1e-12, np.float32: 1e-5}
NETWORK_FIELDS = {field.name for field in fields(NetworkConfig)}
TORCH_DTYPES = {np.float64: torch.float64, np.float32: torch.float32}
CLASSES = {
    "backbone": transformers.MobileViTModel,
    "classifier": transformers.MobileViTForImageClassification,
    "segmenter": transformers.MobileViTForSemanticSegmentation,
}


class Case:
    """One network in both worlds: a configuration, a task, drawn tensors, and transformers' model holding them."""

    def __init__(self, task: str, *, seed: int = 0, expand_output: bool = True, **values: Any) -> None:
        values.setdefault("num_labels", 7)
        self.task, self.expand_output = task, expand_output
        network = {name: value for name, value in values.items() if name in NETWORK_FIELDS}
        self.config = NetworkConfig(**network)
        options = {"expand_output": expand_output} if task == "backbone" else {}
        self.model = CLASSES[task](transformers.MobileViTConfig(**values), **options).eval()
        shapes = {name: tuple(tensor.shape) for name, tensor in self.model.state_dict().items()}
        self.tensors = drawing.draw_tensors(shapes, self.config, task, seed=seed, expand_output=expand_output)
        self.load(self.model)

    def load(self, model: torch.nn.Module) -> None:
        """Give a model all the parameters and statistics, in its own dtype."""
        tensors = {name: torch.from_numpy(array) for name, array in self.tensors.items()}
        model.load_state_dict(tensors, strict=True)

    def theirs(self, pixel_values: np.ndarray, dtype: type) -> dict[str, np.ndarray]:
        """Every activation of transformers' model, under our names."""
        model = self.model.to(TORCH_DTYPES[dtype])
        self.load(model)
        return outputs_of(model, pixel_values.astype(dtype), of_transformers)

    def ours(self, pixel_values: np.ndarray, dtype: type, *replacements: tuple[str, Any]) -> dict[str, np.ndarray]:
        """Every activation of the reference, ``replacements`` being mistakes planted on purpose."""
        scope = Scope(drawing.cast(self.tensors, dtype))
        for pattern, replacement in replacements:
            scope = scope.wrap(pattern, replacement)
        pixels = pixel_values.astype(dtype)
        return drawing.trace(pixels, scope, self.config, self.task, expand_output=self.expand_output)


def error(theirs: np.ndarray, ours: np.ndarray) -> float:
    """The largest difference over the largest magnitude. NaN anywhere makes it infinite."""
    assert theirs.shape == ours.shape, f"shapes differ: {theirs.shape} and {ours.shape}"
    assert theirs.dtype == ours.dtype, f"dtypes differ: {theirs.dtype} and {ours.dtype}"
    worst = np.abs(theirs.astype(np.float64) - ours).max() / max(np.abs(theirs).max(), np.finfo(theirs.dtype).tiny)
    return float(worst) if np.isfinite(worst) else np.inf


def assert_same(theirs: dict[str, np.ndarray], ours: dict[str, np.ndarray], limit: float) -> float:
    """Every activation, by name, to ``limit``; all of order 1. Returns the worst error."""
    assert theirs.keys() == ours.keys(), sorted(theirs.keys() ^ ours.keys())
    worst = 0.0
    for name, array in theirs.items():
        size = array.std()
        if not name.endswith("probabilities") and array.size > 8:
            assert drawing.LOWEST_STD < size < drawing.HIGHEST_STD, f"{name or 'the output'} isn't of order 1: {size}"
        difference = error(array, ours[name])
        assert difference <= limit, f"{name or 'the output'}: {difference:.3g} exceeds {limit:.0e}"
        worst = max(worst, difference)
    return worst


def compare(case: Case, pixel_values: np.ndarray, dtype: type) -> tuple[int, float]:
    """Hold every activation of both against each other: how many there are, and the worst error."""
    theirs = case.theirs(pixel_values, dtype)
    return len(theirs), assert_same(theirs, case.ours(pixel_values, dtype), LIMITS[dtype])

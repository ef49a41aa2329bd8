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
        return {name: array for name, array in hooked(model, pixel_values.astype(dtype)).items() if name is not None}

    def ours(self, pixel_values: np.ndarray, dtype: type, *replacements: tuple[str, Any]) -> dict[str, np.ndarray]:
        """Every activation of the reference, ``replacements`` being mistakes planted on purpose."""
        scope = Scope(drawing.cast(self.tensors, dtype))
        for pattern, replacement in replacements:
            scope = scope.wrap(pattern, replacement)
        pixels = pixel_values.astype(dtype)
        return drawing.trace(pixels, scope, self.config, self.task, expand_output=self.expand_output)


def hooked(model: torch.nn.Module, pixel_values: np.ndarray) -> dict[str, np.ndarray]:
    """What forward hooks on every module see, and what two methods of transformers' that are no modules return."""
    seen: dict[str, np.ndarray] = {}
    handles = []
    for name, module in model.named_modules():
        path = _our_name(name)
        if path is not None and not isinstance(module, torch.nn.ModuleList):
            handles.append(module.register_forward_hook(lambda _, __, output, path=path: _keep(seen, path, output)))
        for method in ("unfolding", "folding"):
            if hasattr(module, method):
                _watch(module, method, seen, f"{name}.{method}")
    with torch.no_grad():
        model(torch.from_numpy(pixel_values))
    for handle in handles:
        handle.remove()
    for module in model.modules():
        for method in ("unfolding", "folding"):
            module.__dict__.pop(method, None)
    return seen


def _our_name(name: str) -> str | None:
    """Dropout after the softmax shows the probabilities; every other one shows again what came before it."""
    if name.endswith("attention.attention.dropout"):
        return name.removesuffix("dropout") + "probabilities"
    return None if name.split(".")[-1] == "dropout" else name


def _watch(module: torch.nn.Module, method: str, seen: dict[str, np.ndarray], path: str) -> None:
    compute = getattr(module, method)

    def watched(*arguments):
        output = compute(*arguments)
        _keep(seen, path, output)
        return output

    setattr(module, method, watched)


def _keep(seen: dict[str, np.ndarray], path: str, output: Any) -> None:
    first = output if isinstance(output, torch.Tensor) else output[0]
    seen[path] = first.detach().numpy().copy()


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

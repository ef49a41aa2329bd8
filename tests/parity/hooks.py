"""What PyTorch's forward hooks see on a model, for the oracles: written apart from the package's own recorder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

METHODS = ("unfolding", "folding")  # transformers computes these in methods, which no hook sees


def outputs_of(
    model: torch.nn.Module,
    pixel_values: np.ndarray,
    name_of: Callable[[str, torch.nn.Module], str | None] = lambda path, module: path,
) -> dict[str, np.ndarray]:
    """Every module's output of one run, in order of execution; ``name_of`` its path is its name, None leaves it out.

    Of several outputs it's the first. The model is left as it was.
    """
    seen: dict[str, np.ndarray] = {}
    handles = []
    with _methods(model, seen):
        for path, module in model.named_modules():
            name = name_of(path, module)
            if name is not None:
                handles.append(module.register_forward_hook(lambda _, __, output, name=name: _keep(seen, name, output)))
        with torch.no_grad():
            model(torch.from_numpy(pixel_values))
        for handle in handles:
            handle.remove()
    return seen


def of_transformers(path: str, module: torch.nn.Module) -> str | None:
    """Dropout after the softmax shows the probabilities; every other one shows again what came before it."""
    if path.endswith("attention.attention.dropout"):
        return path.removesuffix("dropout") + "probabilities"
    return None if isinstance(module, (torch.nn.Dropout, torch.nn.Dropout2d, torch.nn.ModuleList)) else path


@contextmanager
def _methods(model: torch.nn.Module, seen: dict[str, np.ndarray]) -> Iterator[None]:
    before = []
    for path, module in model.named_modules():
        for method in METHODS:
            if hasattr(module, method):
                before.append((module, method, vars(module).get(method)))
                setattr(module, method, _watched(getattr(module, method), seen, f"{path}.{method}"))
    yield
    for module, method, own in before:
        delattr(module, method) if own is None else setattr(module, method, own)


def _watched(compute: Callable[..., Any], seen: dict[str, np.ndarray], name: str) -> Callable[..., Any]:
    def watched(*arguments: Any) -> Any:
        output = compute(*arguments)
        _keep(seen, name, output)
        return output

    return watched


def _keep(seen: dict[str, np.ndarray], name: str, output: Any) -> None:
    assert name not in seen, f"{name!r} was computed twice"
    first = output if isinstance(output, torch.Tensor) else output[0]
    seen[name] = first.detach().numpy().copy()

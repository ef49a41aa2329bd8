"""What the audit does with a model of each framework: run it, and give it weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mobilevit_np.golden import Golden
from mobilevit_np.golden.adapters import record_keras, record_torch
from mobilevit_np.golden.identity import split

from .filling import filled

LEAVES = {
    "kernel": "weight",
    "depthwise_kernel": "weight",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def run(model: Any, golden: Golden, tensors: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Everything that a port gives and holds, once it has the golden's weights.

    It's run as it was built first: that shows its modules in order of execution.
    """
    keras = hasattr(model, "_flatten_layers")
    activations, parameters = split(record(model, golden))
    leaves = LEAVES if keras else {}
    modules = {
        name: {leaves.get(leaf, leaf): _turned(tensor, leaf) for leaf, tensor in parameters[name].items()}
        for name in activations
        if name in parameters
    }
    variables = _keras_variables(model) if keras else model.state_dict()
    for name, found in filled(modules, golden, tensors).items():
        for leaf in parameters[name]:
            values = found.get(leaves.get(leaf, leaf))
            if values is not None and keras:
                variables[name.rpartition(".")[2], leaf].assign(_turned(values, leaf, back=True).astype(np.float32))
            elif values is not None:
                variables[f"{name}.{leaf}"].copy_(variables[f"{name}.{leaf}"].new_tensor(values))
    return record(model, golden)


def record(model: Any, golden: Golden) -> dict[str, np.ndarray]:
    """The port's activations and weights."""
    if hasattr(model, "_flatten_layers"):
        return record_keras(model, golden, channels_last=True)
    return record_torch(model, golden)


def _keras_variables(model: Any) -> dict[tuple[str, str], Any]:
    """A model's variables by their layer's name and their own."""
    return {
        (layer.name, variable.name.rpartition("/")[2].partition(":")[0]): variable
        for layer in model._flatten_layers()
        for variable in layer.variables
    }


def _turned(values: np.ndarray, leaf: str, *, back: bool = False) -> np.ndarray:
    """Keras' layout in PyTorch's: (H, W, I, O) -> (O, I, H, W), a depthwise (H, W, C, 1) -> (C, 1, H, W), and
    (I, O) -> (O, I). ``back`` is the other way.
    """
    if leaf == "depthwise_kernel" and values.ndim == 4:
        return values.transpose(2, 3, 0, 1)
    if leaf == "kernel" and values.ndim == 4:
        return values.transpose((2, 3, 1, 0) if back else (3, 2, 0, 1))
    return values.T if leaf == "kernel" else values

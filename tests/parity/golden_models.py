"""transformers' and timm's models with a golden file's weights."""

from __future__ import annotations

import numpy as np
import oracle
import timm
import torch
import transformers
from port_table import golden_and_network

from mobilevit_np.checkpoints.parameter_names import TIMM, from_hugging_face

TIMMS = {"xx_small": "mobilevit_xxs", "x_small": "mobilevit_xs", "small": "mobilevit_s"}


def hugging_face(task: str, variant: str = "xx_small") -> torch.nn.Module:
    """transformers' model for a task, with the golden's weights."""
    golden, network = golden_and_network(task, variant)
    model = oracle.CLASSES[task](transformers.MobileViTConfig(**golden.config)).eval()
    prefix = "mobilevit." if task == "backbone" else ""
    fill(model, {name.removeprefix(prefix): tensor for name, tensor in network.tensors.items()})
    return model


def ross(variant: str = "xx_small") -> torch.nn.Module:
    """timm's model, with the classifier's weights."""
    golden, network = golden_and_network("classifier", variant)
    model = timm.create_model(TIMMS[variant], num_classes=golden.config["num_labels"]).eval()
    fill(model, from_hugging_face(dict(network.tensors), TIMM))
    return model


def fill(model: torch.nn.Module, tensors: dict[str, np.ndarray]) -> None:
    """Give a model all of its weights; BatchNorm's counters have no part in it."""
    state = {name: torch.from_numpy(tensor.astype(np.float32)) for name, tensor in tensors.items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected, unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing), missing

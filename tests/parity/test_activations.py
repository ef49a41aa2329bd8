"""All activations that a configuration may name, against transformers' table: one by one, and inside the networks."""

import drawing
import numpy as np
import pytest
import torch
from oracle import LIMITS, TORCH_DTYPES, Case, compare, error
from transformers.activations import ACT2FN

from mobilevit_np.ops import ACTIVATIONS

# Every decade of size on both sides, and the range in which the functions bend.
GRID = np.concatenate([-np.logspace(2, -30, 65), [-0.0, 0.0], np.logspace(-30, 2, 65), np.linspace(-12, 12, 4801)])


def build(name: str, dtype: type) -> tuple[torch.nn.Module, list[np.ndarray]]:
    """transformers' module with drawn parameters, and these parameters as ours takes them."""
    module = ACT2FN[name].to(TORCH_DTYPES[dtype])
    shapes = {f"x.activation.{key}": tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    rng = np.random.default_rng(0)
    drawn = {key.rsplit(".", 1)[1]: drawing.draw_tensor(key, shape, rng) for key, shape in shapes.items()}
    drawn = {key: array.astype(dtype) for key, array in drawn.items()}
    module.load_state_dict({key: torch.from_numpy(array) for key, array in drawn.items()}, strict=True)
    return module, [drawn[parameter] for parameter in ACTIVATIONS[name][1]]


def test_same_names():
    assert ACTIVATIONS.keys() == ACT2FN.keys()


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("dtype", LIMITS)
def test_values(name, dtype):
    module, parameters = build(name, dtype)
    x = GRID.astype(dtype)
    with torch.no_grad():
        theirs = module(torch.from_numpy(x.copy())).numpy()
    assert error(theirs, ACTIVATIONS[name][0](x, *parameters)) <= LIMITS[dtype]


def network(name: str, task: str) -> tuple[Case, np.ndarray]:
    output_stride = 32 if task == "classifier" else 16
    case = Case(task, **drawing.CUT_DOWN, hidden_act=name, output_stride=output_stride)
    return case, drawing.draw_pixels((1, 3, 64, 48))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("task", ["classifier", "segmenter"])
@pytest.mark.parametrize("dtype", LIMITS)
def test_networks(name, task, dtype):
    compare(*network(name, task), dtype)

"""Drawn parameters with which every activation of the network is of order 1: shared by all tests, torch-free.

A network drawn carelessly dies out or blows up within fifty layers, and then a comparison of its outputs compares
noughts. Here weights keep their input's size (1/fan-in), queries and keys are drawn larger so that attention chooses,
and batch norm's running statistics are those that the drawn network shows on a drawn photo, each then moved at random:
so activations stay of order 1 whatever the activation function, and no statistic is a round number.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mobilevit_np.config import NetworkConfig
from mobilevit_np.model import NETWORKS
from mobilevit_np.scope import Scope

LOWEST_STD, HIGHEST_STD = 0.05, 20.0  # of every activation, attention probabilities aside
STEEP = ("laplace", "relu2", "xielu")  # fifty in a row magnify any difference, unless their input varies little
CUT_DOWN = {  # the smallest network with all parts: three widths that differ, every layer at its place
    "hidden_sizes": [16, 24, 32],
    "neck_hidden_sizes": [8, 8, 16, 16, 24, 24, 32],
    "expand_ratio": 2.0,
    "aspp_out_channels": 16,
}


def draw_tensors(
    shapes: Mapping[str, tuple[int, ...]],
    config: NetworkConfig,
    task: str,
    *,
    seed: int = 0,
    expand_output: bool = True,
) -> dict[str, np.ndarray]:
    """float64 tensors of these shapes, ``{name: array}`` in Hugging Face names; ``task`` as in ``run``."""
    rng = np.random.default_rng(seed)
    gain = 0.2 if config.hidden_act in STEEP else 0.5
    tensors = {name: draw_tensor(name, tuple(shape), rng, gain=gain) for name, shape in shapes.items()}
    photo = draw_pixels((2, config.num_channels, 64, 64), seed=seed + 1)

    def observe(compute, x, scope, **options):
        mean = x.mean(axis=(0, 2, 3))
        spread = np.square(x - mean[:, None, None]).mean() + 0.1 * np.square(x).mean()
        tensors[f"{scope.path}.running_mean"] = mean + 0.1 * np.sqrt(spread) * rng.normal(size=mean.shape)
        tensors[f"{scope.path}.running_var"] = spread * rng.uniform(0.5, 1.5, mean.shape)
        return compute(x, scope, **options)

    run(photo, Scope(tensors).wrap("*.normalization", observe), config, task, expand_output=expand_output)
    return tensors


def draw_tensor(name: str, shape: tuple[int, ...], rng: np.random.Generator, *, gain: float = 0.5) -> np.ndarray:
    """One tensor, by the kind that its name tells; ``gain`` is the scale of batch norm."""
    if name.endswith("num_batches_tracked"):
        return np.array(rng.integers(1, 1000), np.int64)
    if name.endswith("running_var"):
        return rng.uniform(0.5, 1.5, shape)
    if ".activation." in name or "act_fn." in name:
        return _draw_activation(name.rsplit(".", 1)[1], shape, rng)
    if len(shape) > 1:
        return rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))
    if ".normalization." in name:
        return 0.3 + 0.7 * rng.normal(size=shape) if name.endswith("bias") else gain * rng.uniform(0.8, 1.2, shape)
    return 0.1 * rng.normal(size=shape) + (1.0 if name.endswith(".weight") else 0.0)


def _draw_activation(parameter: str, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """The learned parameters of PReLU and xIELU, away from their defaults."""
    center, spread = {"weight": (0.25, 0.1), "alpha_p": (0.2, 0.2), "alpha_n": (-1.0, 0.2), "beta": (0.5, 0.05)}.get(
        parameter, (-1e-6, 0.0)
    )
    return np.asarray(center + spread * rng.normal(size=shape))


def draw_pixels(shape: tuple[int, int, int, int], *, seed: int = 0) -> np.ndarray:
    """A float64 batch of photos (B, C, H, W) in 0..1 for which smooth and fine detail are equally strong."""
    rng = np.random.default_rng(seed)
    B, C, H, W = shape
    rows, columns = np.arange(H)[:, None], np.arange(W)
    waves = [np.sin(rows * rng.uniform(0.05, 0.5) + columns * rng.uniform(0.05, 0.5) + i) for i in range(B * C)]
    return 0.3 * np.reshape(waves, shape) / 2 + 0.5 + 0.35 * (rng.random(shape) - 0.5)


def run(
    pixel_values: np.ndarray, scope: Scope, config: NetworkConfig, task: str, *, expand_output: bool = True
) -> np.ndarray:
    """What the reference computes for "backbone", "classifier" or "segmenter"; a bare model's names have no prefix."""
    options = {"expand_output": expand_output} if task == "backbone" else {}
    return NETWORKS[task](pixel_values, scope, config, **options)


def trace(
    pixel_values: np.ndarray, scope: Scope, config: NetworkConfig, task: str, *, expand_output: bool = True
) -> dict[str, np.ndarray]:
    """Every activation by its path, in order of execution."""
    seen: dict[str, np.ndarray] = {}

    def keep(path: str, output: np.ndarray) -> None:
        assert path not in seen, f"{path!r} was shown twice"
        seen[path] = output.copy()

    run(pixel_values, scope.listen(keep), config, task, expand_output=expand_output)
    return seen


def cast(tensors: Mapping[str, np.ndarray], dtype: type) -> dict[str, np.ndarray]:
    """The same tensors in ``dtype``, counters as they are."""
    return {name: array.astype(dtype) if array.dtype.kind == "f" else array for name, array in tensors.items()}

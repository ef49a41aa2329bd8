"""What a network is made of: module by module its output, parameters and multiplications.

The counts are taken from a run of the reference engine with zeros for weights, so they can't drift from the code: a
listener sees every output, and a layer's weight says the rest. For speed, convolutions only give their shape in that
run, and what follows them hands it on.

Parameters are what is learned: batch norm's scale and shift are, its running mean and variance aren't.
A multiply-accumulate (MAC) is one multiplication and its addition. As in published counts, those of convolutions,
linear layers and attention's two products are counted; normalization, activations, softmax and resizing are not.

Explained in tutorials/08-the-whole-classifier.md.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checkpoints import parameter_shapes
from ..checkpoints.parameter_names import PREFIX
from ..checkpoints.parameters import STATISTICS
from ..config import NetworkConfig
from ..errors import InputError
from ..model import NETWORKS
from ..scope import Scope

_ROW = re.compile(  # the modules that make up a network between them, each a line of the table
    r"conv_stem|conv_1x1_exp|classifier"
    r"|encoder\.layer\.\d+\.(?:layer\.\d+|transformer\.layer\.\d+|(?!transformer$)\w+)"
    r"|segmentation_head\.(?:aspp\.convs\.\d+|aspp\.project|classifier)"
)
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """One module: its path without ``mobilevit.``, its output's shape, its parameters, its multiplications."""

    module: str
    output: Shape
    parameters: int
    macs: int


@dataclass(frozen=True)
class Summary:
    """The modules in order of execution, and their sums."""

    rows: tuple[Row, ...]
    parameters: int
    macs: int


def summarize(config: NetworkConfig, task: str, size: tuple[int, int], *, expand_output: bool = True) -> Summary:
    """What the network of ``config`` is made of, for one photo of ``size`` = (H, W).

    ``task`` is ``classifier``, ``segmenter`` or ``backbone``; ``expand_output`` as in ``backbone``. No weights are
    needed. Raises InputError for an unknown task or an empty size.
    """
    if min(size) < 1:
        raise InputError(f"size must be at least 1, not {size}")
    shapes = parameter_shapes(config, task, expand_output=expand_output)
    outputs = _outputs(config, task, size, shapes, expand_output)
    weights = {name.removeprefix(PREFIX): shape for name, shape in shapes.items()}
    parameters = {name: math.prod(shape) for name, shape in weights.items() if not name.endswith(STATISTICS)}
    macs = {path: _macs(path, outputs, weights) for path in outputs}
    rows = tuple(
        Row(path, outputs[path], _below(path, parameters), _below(path, macs))
        for path in outputs
        if _ROW.fullmatch(path)
    )
    return Summary(rows, sum(row.parameters for row in rows), sum(row.macs for row in rows))


def _outputs(
    config: NetworkConfig, task: str, size: tuple[int, int], shapes: dict[str, Shape], expand_output: bool
) -> dict[str, Shape]:
    """Every module's output shape by its path, in order of execution."""
    zero = np.zeros(1, np.float32)
    outputs: dict[str, Shape] = {}
    scope = Scope({name: np.broadcast_to(zero, shape) for name, shape in shapes.items()})
    scope = scope.wrap("*.convolution", _zeros)
    for kept in ("*.normalization", "*.activation"):
        scope = scope.wrap(kept, lambda compute, x, *_: x)
    scope = scope.listen(lambda path, output: outputs.__setitem__(path.removeprefix(PREFIX), output.shape))
    photo = np.zeros((1, config.num_channels, *size), np.float32)
    options = {"expand_output": expand_output} if task == "backbone" else {}
    NETWORKS[task](photo, scope, config, **options)
    return outputs


def _zeros(compute: Any, x: np.ndarray, scope: Scope, *, stride: int = 1, **_: Any) -> np.ndarray:
    """Stands in for ``model.convolution``: (B, C, H, W) -> (B, O, ceil(H/stride), ceil(W/stride))"""
    B, _C, H, W = x.shape
    return np.zeros((B, len(scope["weight"]), -(-H // stride), -(-W // stride)), x.dtype)


def _macs(path: str, outputs: dict[str, Shape], weights: dict[str, Shape]) -> int:
    """The multiplications of a module itself, those of modules inside it left out."""
    output, weight = outputs[path], weights.get(f"{path}.weight", ())
    if path.endswith(".probabilities"):  # (B*P, h, N, N), made by one product and used in another, each over d
        width = outputs[path.removesuffix(".probabilities")][-1]
        return 2 * math.prod(output) * width // output[1]
    if len(weight) == 4:  # a convolution: each place of (B, O, H', W') uses the whole weight once, all O together
        return math.prod(output) // output[1] * math.prod(weight)
    if len(weight) == 2:  # linear: each token uses the whole weight once
        return math.prod(output) // output[-1] * math.prod(weight)
    return 0


def _below(path: str, counts: dict[str, int]) -> int:
    """The sum over the module at ``path`` and all inside it."""
    return sum(count for name, count in counts.items() if is_within(name, path))


def is_within(name: str, path: str) -> bool:
    """Whether ``name`` is the module at ``path``, or something inside it."""
    return name == path or name.startswith(f"{path}.")

"""One small golden per operator, for ports that are built bottom-up.

Operands and parameters come by formula, from ``<case>.<operand>``; the golden holds them (float32, exact) and the
result (``output``, and a layer's parts under their paths). ``config`` has the operator's name and its arguments.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import model, ops
from ..checkpoints import parameter_shapes
from ..config import NetworkConfig, plain_fields
from ..scope import Scope
from .file import OPERATOR, OUTPUT, Golden
from .formula import check_seed
from .formula import tensors as by_formula
from .measure import error
from .network import digest

Tensors = Mapping[str, np.ndarray]
SMALL = NetworkConfig(  # with widths that differ wherever they can
    hidden_sizes=[8, 12, 16],
    neck_hidden_sizes=[4, 4, 6, 8, 10, 12, 16],
    expand_ratio=2.0,
    aspp_out_channels=4,
    atrous_rates=[1, 2, 3],
    num_labels=5,
)
_L3 = "mobilevit.encoder.layer.2"


@dataclass(frozen=True)
class Case:
    """One operator on one set of shapes."""

    operator: str
    run: Callable[..., Any]  # (operands, **arguments) -> the output, or {name: tensor} with ``output`` last
    shapes: Mapping[str, tuple[int, ...]]
    arguments: dict[str, Any] = field(default_factory=dict)


def make_operator(name: str, seed: int = 0) -> Golden:
    """The golden of the case called ``name``, one of ``CASES``. Raises InputError for an impossible seed."""
    check_seed(seed)
    case = CASES[name]
    operands = by_formula(case.shapes, seed, f"{name}.")
    exact = _run(case, operands, np.float64)
    coarse = _run(case, operands, np.float32)
    return Golden(
        task=OPERATOR,
        config={"operator": case.operator, "arguments": case.arguments, "network": plain_fields(SMALL)},
        tensors={**operands, **exact},
        noise={key: error(coarse[key], value) for key, value in exact.items()},
        input={"name": f"formula, seed {seed}", "sha256": digest(operands), "prefix": f"{name}.", "seed": seed},
        name=name,
    )


def _run(case: Case, operands: Tensors, dtype: Any) -> dict[str, np.ndarray]:
    found = case.run({name: value.astype(dtype) for name, value in operands.items()}, **case.arguments)
    return found if isinstance(found, dict) else {OUTPUT: found}


# -- operations --------------------------------------------------------------------------------------------------------


def _conv2d(t: Tensors, **arguments: Any) -> np.ndarray:
    return ops.conv2d(t["x"], t["weight"], t.get("bias"), **arguments)


def _attention(t: Tensors, num_heads: int) -> dict[str, np.ndarray]:
    output, probabilities = ops.multi_head_attention(t["query"], t["key"], t["value"], num_heads)
    return {"probabilities": probabilities, OUTPUT: output}


def _convolutions() -> dict[str, Case]:
    """3x3 in every combination of stride, dilation and groups; on odd sides; 1x1, with and without bias."""
    found = {}
    for stride in (1, 2):
        for dilation in (1, 2):
            for title, groups in (("dense", 1), ("grouped", 2), ("depthwise", 4)):
                shapes = {"x": (1, 4, 6, 8), "weight": (4, 4 // groups, 3, 3)}
                found[f"conv2d_3x3_stride{stride}_dilation{dilation}_{title}"] = Case(
                    "conv2d",
                    _conv2d,
                    shapes,
                    {"stride": stride, "padding": dilation, "dilation": dilation, "groups": groups},
                )
    odd = {"x": (1, 3, 7, 9), "weight": (4, 3, 3, 3)}
    found["conv2d_3x3_stride2_odd"] = Case("conv2d", _conv2d, odd, {"stride": 2, "padding": 1})
    found["conv2d_1x1"] = Case("conv2d", _conv2d, {"x": (2, 5, 3, 4), "weight": (6, 5, 1, 1)})
    found["conv2d_1x1_bias"] = Case("conv2d", _conv2d, {"x": (2, 5, 3, 4), "weight": (6, 5, 1, 1), "bias": (6,)})
    return found


def _operations() -> dict[str, Case]:
    norm = {"x": (2, 3, 4, 5), **dict.fromkeys(("weight", "bias", "running_mean", "running_var"), (3,))}
    tokens = dict.fromkeys(("query", "key", "value"), (2, 6, 8))
    return {
        "batch_norm": Case("batch_norm", lambda t, eps: ops.batch_norm(*(t[name] for name in norm), eps=eps), norm,
                           {"eps": 1e-5}),
        "layer_norm": Case("layer_norm", lambda t, eps: ops.layer_norm(t["x"], t["weight"], t["bias"], eps=eps),
                           {"x": (2, 6, 8), "weight": (8,), "bias": (8,)}, {"eps": 1e-5}),
        "linear": Case("linear", lambda t: ops.linear(t["x"], t["weight"], t["bias"]),
                       {"x": (2, 6, 8), "weight": (10, 8), "bias": (10,)}),
        "silu": Case("silu", lambda t: ops.silu(t["x"]), {"x": (2, 3, 4, 5)}),
        "relu": Case("relu", lambda t: ops.relu(t["x"]), {"x": (2, 3, 4, 5)}),
        "gelu": Case("gelu", lambda t: ops.gelu(t["x"]), {"x": (2, 3, 4, 5)}),
        "softmax": Case("softmax", lambda t: ops.softmax(t["x"]), {"x": (2, 3, 4, 5)}),
        "attention": Case("multi_head_attention", _attention, tokens, {"num_heads": 4}),
        "unfold": Case("unfold_to_patches", lambda t, patch_size: ops.unfold_to_patches(t["x"], patch_size),
                       {"x": (2, 3, 4, 6)}, {"patch_size": 2}),
        "fold": Case("fold_from_patches",
                     lambda t, patch_size, size: ops.fold_from_patches(t["x"], patch_size, tuple(size)),
                     {"x": (8, 6, 3)}, {"patch_size": 2, "size": [4, 6]}),
        "unfold_odd": Case("unfolding", lambda t, patch_size: model.unfolding(t["x"], Scope({}), patch_size),
                           {"x": (1, 3, 5, 7)}, {"patch_size": 2}),
        "fold_odd": Case("folding",
                         lambda t, patch_size, size: model.folding(t["x"], Scope({}), patch_size, tuple(size)),
                         {"x": (4, 12, 3)}, {"patch_size": 2, "size": [5, 7]}),
        "resize_half_pixel": Case("resize_bilinear", _resize, {"x": (1, 2, 3, 5)},
                                  {"size": [7, 4], "align_corners": False}),
        "resize_align_corners": Case("resize_bilinear", _resize, {"x": (1, 2, 3, 5)},
                                     {"size": [7, 4], "align_corners": True}),
        "global_average_pool": Case("global_average_pool", lambda t: ops.global_average_pool(t["x"]),
                                    {"x": (2, 3, 4, 5)}),
    }  # fmt: skip


def _resize(t: Tensors, size: list[int], align_corners: bool) -> np.ndarray:
    return ops.resize_bilinear(t["x"], (size[0], size[1]), align_corners=align_corners)


# -- layers ------------------------------------------------------------------------------------------------------------


def _layer(
    layer: Callable[..., np.ndarray], at: str, x: tuple[int, ...], head: str = "classifier", **arguments: Any
) -> Case:
    """``layer`` with its parameters at ``at`` in the small network; its parts are kept, one level deep."""

    def run(t: Tensors, **arguments: Any) -> dict[str, np.ndarray]:
        parts: dict[str, np.ndarray] = {}

        def listen(path: str, output: np.ndarray) -> None:
            if path and "." not in path:
                parts[path] = output.copy()

        output = layer(t["x"], Scope({name: value for name, value in t.items() if name != "x"}).listen(listen),
                       *((SMALL,) if layer is not model.conv_layer else ()), **arguments)  # fmt: skip
        return {**parts, OUTPUT: output}

    shapes = parameter_shapes(SMALL, head)
    mine = {name.removeprefix(f"{at}."): shape for name, shape in shapes.items() if name.startswith(f"{at}.")}
    if layer is model.mobilevit_block:
        mine = {name: shape for name, shape in mine.items() if not name.startswith("downsampling_layer.")}
    return Case(layer.__name__, run, {"x": x, **mine}, arguments)


def _layers() -> dict[str, Case]:
    transformer = f"{_L3}.transformer.layer.0"
    return {
        "conv_layer": _layer(model.conv_layer, "mobilevit.conv_stem", (1, 3, 6, 8), act="silu", stride=2),
        "inverted_residual": _layer(
            model.inverted_residual, "mobilevit.encoder.layer.1.layer.1", (1, 6, 4, 6), out_channels=6
        ),
        "inverted_residual_stride2": _layer(
            model.inverted_residual, f"{_L3}.downsampling_layer", (1, 6, 4, 6), out_channels=8, stride=2
        ),
        "self_attention": _layer(model.self_attention, f"{transformer}.attention.attention", (4, 6, 8)),
        "transformer_layer": _layer(model.transformer_layer, transformer, (4, 6, 8)),
        "mobilevit_block": _layer(model.mobilevit_block, _L3, (1, 8, 4, 6), depth=2),
        "mobilevit_block_odd": _layer(model.mobilevit_block, _L3, (1, 8, 3, 5), depth=2),
        "aspp": _layer(model.aspp, "segmentation_head.aspp", (1, 12, 4, 6), head="segmenter"),
        "deeplabv3": _layer(model.deeplabv3, "segmentation_head", (1, 12, 4, 6), head="segmenter"),
    }


CASES: dict[str, Case] = {**_convolutions(), **_operations(), **_layers()}

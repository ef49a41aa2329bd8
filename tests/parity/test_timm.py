"""timm's three MobileViTs against the reference, with the tensors carried over by the table of names.

At every hook that computes something: timm's ``bn`` is batch norm with its activation, so its hook sees our
activation, and its ``qkv`` is our query, key and value side by side.
"""

import drawing
import numpy as np
import pytest
import timm
import torch
from hooks import outputs_of
from oracle import LIMITS, TORCH_DTYPES, assert_same, error

from mobilevit_np.checkpoints import parameter_shapes
from mobilevit_np.checkpoints.parameter_names import MODULES, PARTS, TIMM, from_hugging_face, to_hugging_face
from mobilevit_np.config import TRANSFORMER_DEPTHS, VARIANTS, NetworkConfig
from mobilevit_np.scope import Scope

MODELS = {"mobilevit_xxs": "xx_small", "mobilevit_xs": "x_small", "mobilevit_s": "small"}
SIZES = {"mobilevit_xxs": (3, 3, 97, 131), "mobilevit_xs": (1, 3, 64, 48), "mobilevit_s": (1, 3, 256, 256)}
IDLE = (torch.nn.Identity, torch.nn.Dropout, torch.nn.Flatten)  # show again what came before them
LAYER = {  # inside a transformer layer: timm's module -> ours
    "": "",
    ".norm1": ".layernorm_before",
    ".attn": ".attention",
    ".attn.proj": ".attention.output.dense",
    ".norm2": ".layernorm_after",
    ".mlp": ".output.dense",
    ".mlp.fc1": ".intermediate.dense",
    ".mlp.act": ".intermediate",
    ".mlp.fc2": ".output.dense",
}


def hooks() -> dict[str, str]:
    """timm's module -> our path of the same activation."""
    table = {"": "", "stages": "mobilevit.encoder", "head": "classifier", "head.fc": "classifier"}
    for module in MODULES:
        if module.kind == "conv_norm" and module.timm is not None:
            last = "normalization" if module.huggingface.endswith("reduce_1x1") else "activation"
            table[module.timm] = module.huggingface
            table[f"{module.timm}.conv"] = f"{module.huggingface}.convolution"
            table[f"{module.timm}.bn"] = table[f"{module.timm}.bn.act"] = f"{module.huggingface}.{last}"
        elif module.kind == "conv" and module.timm is not None:
            table[module.timm] = module.huggingface
    for stage, blocks in enumerate((1, 3, 0, 0, 0)):
        table[f"stages.{stage}"] = f"mobilevit.encoder.layer.{stage}"
        table.update({f"stages.{stage}.{i}": f"mobilevit.encoder.layer.{stage}.layer.{i}" for i in range(blocks)})
    for stage, depth in enumerate(TRANSFORMER_DEPTHS, start=2):
        theirs, ours = f"stages.{stage}.1", f"mobilevit.encoder.layer.{stage}"
        table[f"stages.{stage}.0"] = f"{ours}.downsampling_layer"
        table.update(
            {theirs: ours, f"{theirs}.transformer": f"{ours}.transformer", f"{theirs}.norm": f"{ours}.layernorm"}
        )
        for j in range(depth):
            layer = f"{ours}.transformer.layer.{j}"
            table.update({f"{theirs}.transformer.{j}{a}": f"{layer}{b}" for a, b in LAYER.items()})
            table[f"{theirs}.transformer.{j}.attn.qkv"] = f"{layer}.attention.attention.qkv"
    return table


HOOKS = hooks()


def their_trace(model: torch.nn.Module, pixel_values: np.ndarray) -> dict[str, np.ndarray]:
    """What every hook of timm's model sees, but for modules that compute nothing and the pooling in its head."""
    return outputs_of(
        model,
        pixel_values,
        lambda path, module: None if isinstance(module, IDLE) or path.startswith("head.global_pool") else path,
    )


def our_trace(pixel_values: np.ndarray, tensors: dict[str, np.ndarray], config: NetworkConfig) -> dict[str, np.ndarray]:
    seen = drawing.trace(pixel_values, Scope(tensors), config, "classifier")
    for name in [name for name in seen if name.endswith("attention.attention")]:
        seen[f"{name}.qkv"] = np.concatenate([seen[f"{name}.{part}"] for part in PARTS], axis=-1)
    return seen


def drawn(variant: str) -> tuple[NetworkConfig, dict[str, np.ndarray]]:
    config = NetworkConfig(**VARIANTS[variant])
    return config, drawing.draw_tensors(parameter_shapes(config, "classifier", counters=True), config, "classifier")


def loaded(name: str, tensors: dict[str, np.ndarray], dtype: type) -> torch.nn.Module:
    model = timm.create_model(name).eval().to(TORCH_DTYPES[dtype])
    renamed = from_hugging_face(tensors, TIMM)
    model.load_state_dict({key: torch.from_numpy(array) for key, array in renamed.items()}, strict=True)
    return model


def compare(name: str, dtype: type) -> tuple[int, float]:
    """Hold every activation of a model against ours: how many there are, and the worst error."""
    config, tensors = drawn(MODELS[name])
    pixel_values = drawing.draw_pixels(SIZES[name]).astype(dtype)
    theirs = their_trace(loaded(name, tensors, dtype), pixel_values)
    ours = our_trace(pixel_values, drawing.cast(tensors, dtype), config)
    assert {module for module in theirs if module not in HOOKS} == set()
    assert len(theirs) > 200
    return len(theirs), assert_same(theirs, {module: ours[HOOKS[module]] for module in theirs}, LIMITS[dtype])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", LIMITS)
def test_every_activation(name, dtype):
    compare(name, dtype)


def test_names_there_and_back():
    _, tensors = drawn("xx_small")
    back = to_hugging_face(from_hugging_face(tensors, TIMM), TIMM)
    assert back.keys() == tensors.keys()
    assert all(np.array_equal(back[name], tensors[name]) for name in tensors)


def test_swapped_query_and_key_are_noticed():
    config, tensors = drawn("xx_small")
    pixel_values = drawing.draw_pixels((1, 3, 32, 32))
    theirs = their_trace(loaded("mobilevit_xxs", tensors, np.float64), pixel_values)[""]
    assert error(theirs, drawing.run(pixel_values, Scope(tensors), config, "classifier")) <= LIMITS[np.float64]
    swapped = {
        name.replace(".query.", ".spare.").replace(".key.", ".query.").replace(".spare.", ".key."): array
        for name, array in tensors.items()
    }
    assert error(theirs, drawing.run(pixel_values, Scope(swapped), config, "classifier")) > 1e-3

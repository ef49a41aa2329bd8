"""timm's ``global_pool``: what its models compute by it, wherever a config.json says it. Both engines, float64, 1e-12.

The measure is the largest difference over the largest logit.
"""

import json
import warnings

import drawing
import numpy as np
import pytest
import timm
import torch
import transformers
from oracle import error
from safetensors.torch import save_file

from mobilevit_np import MobileViTForImageClassification
from mobilevit_np.checkpoints import convert, open_checkpoint, parameter_shapes
from mobilevit_np.checkpoints.parameter_names import TIMM, from_hugging_face
from mobilevit_np.config import VARIANTS, NetworkConfig
from mobilevit_np.engines import compile_network
from mobilevit_np.errors import ConfigError, MobileViTWarning
from mobilevit_np.golden import trace
from mobilevit_np.golden.network import network_of
from mobilevit_np.scope import Scope

LIMIT = 1e-12
PIXELS = drawing.draw_pixels((2, 3, 64, 48))
VARIANT_OF = {"mobilevit_xxs": "xx_small", "mobilevit_xs": "x_small", "mobilevit_s": "small"}
PREPARED = {"input_size": [3, 64, 64], "mean": [0, 0, 0], "std": [1, 1, 1]}


def their_model(architecture: str, **options):
    network = NetworkConfig(**VARIANTS[VARIANT_OF[architecture]], num_labels=options.get("num_classes", 9))
    tensors = drawing.draw_tensors(parameter_shapes(network, "classifier", counters=True), network, "classifier")
    model = timm.create_model(architecture, **{"num_classes": 9, **options}).eval().double()
    tensors = {name: tensor.astype(np.float32) for name, tensor in tensors.items()}  # timm reads a file in float32
    state = {name: torch.from_numpy(tensor) for name, tensor in from_hugging_face(tensors, TIMM).items()}
    model.load_state_dict(state, strict=True)
    return model


def run(model) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(PIXELS)).numpy()


def ours(where, engine: str) -> np.ndarray:
    checkpoint = open_checkpoint(where, dtype=np.float64)
    return compile_network(engine, "classifier", Scope(checkpoint.tensors), checkpoint.config)(PIXELS)


@pytest.fixture(scope="module")
def average() -> np.ndarray:
    return run(their_model("mobilevit_xxs"))


@pytest.mark.parametrize(
    ("architecture", "pool"),
    [(name, pool) for name in VARIANT_OF for pool in ("avg", "max", "avgmax")]
    + [("mobilevit_xxs", pool) for pool in ("fast", "fastavg", "fastmax", "fastavgmax", "MAX")],
)
def test_both_engines_and_a_trace(architecture, pool, average, tmp_path):
    model = their_model(architecture, global_pool=pool)
    theirs = run(model)
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    for engine in ("reference", "fast"):
        assert error(theirs, ours(tmp_path, engine)) <= LIMIT
    network = network_of(open_checkpoint(tmp_path, dtype=np.float64))
    assert error(theirs, trace(PIXELS, network).tensors["logits"]) <= LIMIT
    if architecture == "mobilevit_xxs" and "max" in pool.lower():
        assert error(average, theirs) > 1e-2  # ignoring it would show


@pytest.mark.parametrize("pool", ["max", "avgmax"])
@pytest.mark.parametrize("where", ["top", "model_args", "pretrained_cfg"])
def test_wherever_a_config_says_it(pool, where, tmp_path):
    model = their_model("mobilevit_xxs", global_pool=pool)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": "mobilevit_xxs", "num_classes": 9, "pretrained_cfg": dict(PREPARED)}
    (config if where == "top" else config.setdefault(where, {}))["global_pool"] = pool
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert error(run(model), ours(tmp_path, "reference")) <= LIMIT
    if where == "model_args":  # the only place that timm itself builds by
        assert error(run(timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval().double()), run(model)) == 0


def test_what_timm_builds_by_wins(tmp_path):
    model = their_model("mobilevit_xxs", global_pool="max")
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    config = {"architecture": "mobilevit_xxs", "num_classes": 9, "global_pool": "avg", "pretrained_cfg": PREPARED}
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_args": {"global_pool": "max"}}))
    theirs = run(timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval().double())
    assert error(theirs, ours(tmp_path, "reference")) <= LIMIT


@pytest.mark.parametrize("pool", ["catavgmax", ""])
def test_others_are_refused_by_name(pool, tmp_path):
    model = timm.create_model("mobilevit_xxs", num_classes=9, global_pool=pool)
    timm.models.save_for_hf(model, tmp_path, safe_serialization=True)
    with pytest.raises(ConfigError, match=f"config.json: global_pool must be one of avg, max, avgmax, not '{pool}'"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("pool", ["max", "avgmax"])
def test_it_survives_every_form(pool, tmp_path):
    """timm's, Hugging Face's, timm's again; and save_pretrained, in a config.json that transformers opens."""
    model = their_model("mobilevit_xxs", global_pool=pool)
    theirs = run(model)
    flipped = PIXELS[:, ::-1].copy()  # Hugging Face's form takes BGR
    timm.models.save_for_hf(model, tmp_path / "timm", safe_serialization=True)
    notes = convert(tmp_path / "timm", tmp_path / "hf").notes
    assert sum("transformers ignores it and always averages" in note for note in notes) == 1
    checkpoint = open_checkpoint(tmp_path / "hf", dtype=np.float64)
    bgr = compile_network("reference", "classifier", Scope(checkpoint.tensors), checkpoint.config)(flipped)
    assert error(theirs, bgr) <= LIMIT
    convert(tmp_path / "hf", tmp_path / "back", scheme="timm")
    again = timm.create_model(f"local-dir:{tmp_path / 'back'}", pretrained=True).eval().double()
    assert error(theirs, run(again)) == 0

    loaded = MobileViTForImageClassification.from_pretrained(tmp_path / "timm", dtype=np.float64)
    with pytest.warns(MobileViTWarning, match="transformers ignores it and always averages"):
        loaded.save_pretrained(tmp_path / "saved")
    saved = MobileViTForImageClassification.from_pretrained(tmp_path / "saved")
    assert saved.config.global_pool == pool
    assert error(theirs, saved(PIXELS).logits) <= LIMIT
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        average = transformers.MobileViTForImageClassification.from_pretrained(tmp_path / "saved").double().eval()
    with torch.no_grad():
        assert error(theirs, average(torch.from_numpy(PIXELS)).logits.numpy()) > 1e-2

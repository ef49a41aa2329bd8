"""The golden toolkit on real ports: transformers' and timm's models, their hooks as they come.

What tolerances rest on is asserted here: PyTorch in float32 and float64 stays within half of what is allowed, at every
activation, plainly and by replay.
"""

import numpy as np
import pytest
import timm
import torch
import transformers
from golden_ports import BY_NAME, SETTINGS, golden_and_network
from hooks import outputs_of
from oracle import CLASSES
from plants import PLANTS, torch_port

from mobilevit_np.checkpoints.parameter_names import TIMM as TIMM_SCHEME
from mobilevit_np.checkpoints.parameter_names import from_hugging_face
from mobilevit_np.config import NetworkConfig
from mobilevit_np.golden import compare, diagnose, trace
from mobilevit_np.golden.adapters import record_torch
from mobilevit_np.golden.formula import make, network_by_formula, save_weights, tensor
from mobilevit_np.golden.hook_names import TIMM, TRANSFORMERS
from mobilevit_np.golden.measure import MULTIPLE, error

WITHIN = MULTIPLE / 2
IDLE = (torch.nn.Identity, torch.nn.Dropout, torch.nn.Flatten)  # show again what came before them


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transformers_stays_within_half_of_what_is_allowed(setting, seed, dtype):
    golden, network = golden_and_network(setting, seed)
    port = torch_port(golden, network, dtype=dtype)
    for given in (None, network):
        comparison = compare(golden, port, network=given, multiple=WITHIN)
        assert comparison.ok, comparison.first_bad
        assert (comparison.how, comparison.precision) == (TRANSFORMERS, np.dtype(dtype).name)
        assert not comparison.missing
        assert not comparison.unknown


HALVES = {"float16": torch.float16, "bfloat16": torch.bfloat16}


def half_port(setting, precision, names=()):
    """What transformers' model gives in half precision, by PyTorch's own arithmetic."""
    golden, network = golden_and_network(setting)
    model = CLASSES[golden.task](transformers.MobileViTConfig(**golden.config)).eval()
    model.load_state_dict({k: torch.from_numpy(v) for k, v in network.tensors.items()}, strict=False)
    for name in names:
        PLANTS[name](model)
    return golden, network, record_torch(model.to(HALVES[precision]), golden)


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("setting", ["classifier", "segmenter"])
def test_half_precision_stays_within_five_times_what_rounding_does(setting, precision):
    """Six times are allowed."""
    golden, network, port = half_port(setting, precision)
    comparison = compare(golden, port, network=network, multiple=MULTIPLE * 5 / 6)
    assert comparison.precision == precision
    assert comparison.ok, comparison.first_bad


@pytest.mark.parametrize("precision", HALVES)
@pytest.mark.parametrize("name", ["gelu_in_feed_forward", "scale_by_width", "concat_order", "no_final_layer_norm"])
def test_mistakes_show_through_half_precision(name, precision):
    golden, network, port = half_port("classifier", precision, [name])
    assert diagnose(golden, port, network).names == (name,)


def test_batch_norm_eps_shows_through_float16():
    """By 4e-4 of a variance of 1: less than bfloat16 can tell."""
    golden, network, port = half_port("classifier", "float16", ["batch_norm_eps"])
    assert diagnose(golden, port, network).names == ("batch_norm_eps",)


def test_resizes_of_large_maps_stay_within_it_too():
    """Positions are rounded as well, the more the larger the map: 33 rows here."""
    golden, network = golden_and_network("odd")
    pixels = tensor("pixel_values", (1, 3, 264, 200))
    golden = trace(pixels, network)
    assert compare(golden, torch_port(golden, network), network=network, multiple=WITHIN).ok


@pytest.fixture(scope="module")
def ross():
    """timm's smallest MobileViT with weights by formula, a golden, and what every hook sees."""
    network = network_by_formula(
        NetworkConfig(
            hidden_sizes=[64, 80, 96], neck_hidden_sizes=[16, 16, 24, 48, 64, 80, 320], expand_ratio=2.0, num_labels=10
        ),
        "classifier",
        seed=5,
    )
    model = timm.create_model("mobilevit_xxs", num_classes=10).eval()
    state = from_hugging_face({name: t.astype(np.float32) for name, t in network.tensors.items()}, TIMM_SCHEME)
    missing, unexpected = model.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=False)
    assert not unexpected
    assert all(name.endswith("num_batches_tracked") for name in missing)
    return trace(tensor("pixel_values", (1, 3, 64, 64), 5), network), network, model


def seen(model, golden):
    """What a hook on every module of timm's sees, under timm's names."""
    pixels = golden.tensors["pixel_values"].astype(np.float32)
    return {"pixel_values": pixels, **outputs_of(model, pixels)}


def test_timms_hooks_are_known_and_right(ross):
    golden, network, model = ross
    port = seen(model, golden)
    for given in (None, network):
        comparison = compare(golden, port, network=given, multiple=WITHIN)
        assert comparison.how == TIMM
        assert comparison.ok, comparison.first_bad
        assert len(comparison.rows) > 200
    kinds = {name: type(model.get_submodule(name)) for name in comparison.unknown}
    strange = [name for name, kind in kinds.items() if kind not in IDLE and "global_pool" not in name]
    assert strange == []


@pytest.mark.parametrize("name", ["batch_norm_eps", "layer_norm_eps", "gelu_for_silu"])
def test_mistakes_in_timms_model_are_named(ross, name):
    golden, network, model = ross
    kinds = {"batch_norm_eps": torch.nn.BatchNorm2d, "layer_norm_eps": torch.nn.LayerNorm}
    if name in kinds:
        norms = [module for module in model.modules() if isinstance(module, kinds[name])]
        before = norms[0].eps
        for norm in norms:
            norm.eps = {"batch_norm_eps": 1e-3, "layer_norm_eps": 1e-6}[name]
        port = seen(model, golden)
        for norm in norms:
            norm.eps = before
    else:
        acts = [module for module in model.modules() if isinstance(module, torch.nn.SiLU)]
        for act in acts:
            act.forward = torch.nn.functional.gelu
        port = seen(model, golden)
        for act in acts:
            del act.forward
    diagnosis = diagnose(golden, port, network)
    assert diagnosis.names == (name,)
    assert not diagnosis.unexplained
    assert BY_NAME[name].remedy == diagnosis.findings[0].mistake.remedy


# -- the formula's weights in the libraries that they're named for -----------------------------------------------------


@pytest.mark.parametrize("task", ["classifier", "segmenter"])
def test_transformers_loads_the_formulas_weights_and_gives_the_golden_logits(tmp_path, task):
    save_weights(tmp_path / "w", "xx_small", task=task, seed=5)
    model, about = CLASSES[task].from_pretrained(tmp_path / "w", dtype=torch.float64, output_loading_info=True)
    assert not any(about.values()), about
    golden = make("xx_small", task=task, seed=5, size=64, depth=1)
    with torch.no_grad():
        logits = model.eval()(torch.from_numpy(golden.tensors["pixel_values"])).logits.numpy()
    assert error(logits, golden.tensors["logits"]) < 1e-12


@pytest.mark.parametrize("out", ["w", "w/model.safetensors"])
def test_timm_loads_the_formulas_weights_and_gives_the_golden_logits(tmp_path, out):
    (tmp_path / "w").mkdir()
    save_weights(tmp_path / out, "xx_small", seed=5, scheme="timm")
    if out == "w":
        model = timm.create_model(f"local-dir:{tmp_path / 'w'}", pretrained=True)
    else:
        model = timm.create_model("mobilevit_xxs", checkpoint_path=str(tmp_path / out))  # strict
    golden = make("xx_small", seed=5, size=64, depth=1)
    with torch.no_grad():
        logits = model.double().eval()(torch.from_numpy(golden.tensors["pixel_values"])).numpy()
    assert error(logits, golden.tensors["logits"]) < 1e-12

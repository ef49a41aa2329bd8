"""Each known mistake, planted in the reference as a stand-in port, is named; clean ports are called clean.

tests/parity plants them in PyTorch's model. ``python tests/golden_ports.py 20`` does 20 seeds and prints the count.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from golden_ports import BY_NAME, PREPROCESSING, SETTINGS, diagnosed, golden_and_network, pairs, port, setting_of

from mobilevit_np import model
from mobilevit_np.cli import run
from mobilevit_np.errors import InputError
from mobilevit_np.golden import compare, diagnose, planting, read_port, trace, write_golden
from mobilevit_np.golden.diagnosis import Diagnosis
from mobilevit_np.golden.formula import make, remake
from mobilevit_np.golden.network import make_pixel_values
from mobilevit_np.golden.operators import make_operator
from mobilevit_np.golden.tables import diagnosis_lines
from mobilevit_np.ops import softmax
from mobilevit_np.preprocess import PROFILES, Profile
from mobilevit_np.scope import Scope


def in_int8(weight):
    step = np.abs(weight).max((1, 2, 3), keepdims=True) / 127
    return np.rint(weight / step) * step


def assert_named(diagnosis: Diagnosis, names) -> None:
    assert set(diagnosis.names) == set(names)
    assert not diagnosis.unexplained
    assert not diagnosis.still_wrong


@pytest.mark.parametrize("name", BY_NAME)
def test_each_mistake_is_named_with_its_evidence(name):
    diagnosis = diagnosed([name], setting_of(name))
    assert_named(diagnosis, [name])
    (finding,) = diagnosis.findings
    assert finding.error_with <= finding.allowed < finding.error_without
    assert set(finding.explains) == {row.path for row in diagnosis.comparison.bad}
    text = "\n".join(diagnosis_lines(diagnosis))
    for part in (name, finding.path, BY_NAME[name].remedy, f"{finding.error_with:.1g}", BY_NAME[name].phrase):
        assert part in text


@pytest.mark.parametrize(("setting", "seed"), [*((setting, 0) for setting in SETTINGS), ("classifier", 1)])
def test_a_clean_port_is_called_clean(setting, seed):
    diagnosis = diagnosed([], setting, seed)
    assert diagnosis.clean
    assert_named(diagnosis, [])
    assert diagnosis_lines(diagnosis)[0].startswith("no mistake found: all ")


@pytest.mark.parametrize(("names", "setting"), list(pairs())[::12])
def test_of_two_mistakes_both_are_named(names, setting):
    assert_named(diagnosed(names, setting), names)


@pytest.mark.parametrize("names", [("gelu_for_silu", "batch_norm_eps"), ("concat_order", "no_final_layer_norm")])
def test_two_mistakes_behind_one_tensor_are_both_named(names):
    """A port that gives whole stages only: the two meet in one tensor, and neither explains it alone."""
    golden, network = golden_and_network()
    found = port(golden, network, [BY_NAME[name] for name in names])
    stages = {path: tensor for path, tensor in found.items() if path.count(".") == 3 or path == "pixel_values"}
    diagnosis = diagnose(golden, stages, network)
    assert_named(diagnosis, names)
    assert {other for finding in diagnosis.findings for other in finding.together_with} == set(names)


def test_layers_with_both_mistakes_need_no_third():
    """The stem tells the two apart; a stage's one tensor needs both, and any harmless third would fit as well."""
    golden, network = golden_and_network()
    found = port(golden, network, [BY_NAME["gelu_for_silu"], BY_NAME["batch_norm_eps"]])
    few = {path: tensor for path, tensor in found.items() if path.count(".") <= 3}
    diagnosis = diagnose(golden, few, network)
    assert_named(diagnosis, ["gelu_for_silu", "batch_norm_eps"])
    assert {path for finding in diagnosis.findings for path in finding.explains} >= {
        f"mobilevit.encoder.layer.{level}" for level in range(5)
    }


def without_names(found):
    return {f"StatefulPartitionedCall:{i}": tensor for i, tensor in enumerate(found.values())}


def channels_last(found):
    return {
        name: tensor.transpose(0, 2, 3, 1) if tensor.ndim == 4 and not name.endswith("probabilities") else tensor
        for name, tensor in found.items()
    }


CHANGES = {
    "without names": without_names,
    "channels last": channels_last,
    "without names, channels last": lambda found: without_names(channels_last(found)),
    "without logits": lambda found: {name: tensor for name, tensor in found.items() if name != "logits"},
    "modules only": lambda found: {n: t for n, t in found.items() if not n.endswith(("folding", "probabilities"))},
}
SOME = ("plain_reshape", "no_final_layer_norm", "layer_norm_eps", "interleaved_qkv")


@pytest.mark.parametrize(("change", "name"), list(zip(CHANGES, (*SOME, SOME[0]), strict=True)))
def test_the_verdict_is_the_same_however_the_tensors_come(name, change):
    golden, network = golden_and_network()
    found = port(golden, network, [BY_NAME[name]])
    assert_named(diagnose(golden, CHANGES[change](found), network), [name])


def test_preprocessing_is_told_by_the_stem_where_the_port_has_no_pixel_values():
    golden, network = golden_and_network()
    for name in sorted({"rgb_for_bgr", *sorted(PREPROCESSING)[::3]}):
        found = port(golden, network, [BY_NAME[name]])
        del found["pixel_values"]
        diagnosis = diagnose(golden, found, network)
        assert_named(diagnosis, [name])
        also = ("stem_channels_reversed",) if name == "rgb_for_bgr" else ()
        assert diagnosis.findings[0].also == also  # the stem sees the same in both: it's said


@pytest.mark.parametrize(
    ("size", "crop", "straight"),
    [
        (288, (256, 256), 256),
        (544, (512, 512), 512),
        (284, (256, 256), 256),
        (180, (160, 160), 160),
        (144, (128, 128), 128),
        (40, (30, 20), 20),
        (40, None, 40),
        ((40, 50), (30, 20), (40, 50)),
    ],
)
def test_the_short_side_goes_straight_to_the_crop_whatever_the_profile(size, crop, straight):
    photo = np.random.RandomState(0).randint(0, 256, (60, 70, 3)).astype(np.uint8)
    profile = Profile("a profile", size, "bilinear", crop, flip_channels=True)
    found = make_pixel_values(photo, profile, BY_NAME["no_288_step"].plant(Scope({})))
    np.testing.assert_array_equal(found, make_pixel_values(photo, replace(profile, size=straight), Scope({})))


def test_a_mistake_made_in_one_layer_only_is_named_there():
    golden, network = golden_and_network()
    ((_, replacement),) = BY_NAME["batch_norm_eps"].replacements
    scope = network.scope(np.float32).wrap("*.layer.3.fusion.normalization", replacement)
    found = {}
    network.run(
        golden.tensors["pixel_values"].astype(np.float32),
        scope.listen(lambda p, x: found.__setitem__(p or "logits", x)),
    )
    diagnosis = diagnose(golden, found, network)
    assert_named(diagnosis, ["batch_norm_eps"])
    assert diagnosis.findings[0].explains == ("mobilevit.encoder.layer.3.fusion.normalization",)


def test_what_nothing_explains_is_said_with_what_was_ruled_out():
    golden, network = golden_and_network()
    scope = network.scope(np.float32).wrap("*.layer.3.fusion.normalization", lambda f, x, s, **k: f(x, s, **k) * 1.5)
    scope = BY_NAME["no_final_layer_norm"].plant(scope)
    found = {}
    network.run(
        golden.tensors["pixel_values"].astype(np.float32),
        scope.listen(lambda p, x: found.__setitem__(p or "logits", x)),
    )
    diagnosis = diagnose(golden, found, network)
    assert diagnosis.names == ("no_final_layer_norm",)  # before it and after it: found all the same
    (unexplained,) = diagnosis.unexplained
    assert unexplained.path == "mobilevit.encoder.layer.3.fusion.normalization"
    assert set(unexplained.ruled_out) == {
        "batch_norm_eps",
        "batch_statistics",
        "variance_for_deviation",
        "eps_outside_the_root",
    }
    assert "no known mistake gives its numbers" in "\n".join(diagnosis_lines(diagnosis))


def test_a_known_mistake_stays_beside_a_variant():
    golden, network = golden_and_network()
    scope = BY_NAME["no_residual"].plant(network.scope(np.float32))
    scope = scope.wrap("*.probabilities", lambda compute, *rest, **_: softmax(compute(*rest)))
    found = {}
    pixels = golden.tensors["pixel_values"].astype(np.float32)
    network.run(pixels, scope.listen(lambda path, x: found.__setitem__(path or "logits", x.copy())))
    diagnosis = diagnose(golden, found, network)
    assert diagnosis.names == ("no_residual",)
    assert [each.hint for each in diagnosis.unexplained] == ["the softmax is taken twice"]


@pytest.mark.parametrize("to_coarse", [lambda w: w.astype(np.float16), in_int8])
def test_a_layer_whose_weight_alone_is_coarser_is_said_to_be_so(to_coarse):
    golden, network = golden_and_network()
    path = "mobilevit.encoder.layer.2.fusion.convolution"

    def coarser(compute, x, scope, **kwargs):
        return compute(x, scope.with_tensors({"weight": to_coarse(scope["weight"]).astype(x.dtype)}), **kwargs)

    found = {}
    scope = network.scope(np.float32).wrap(path, coarser)
    pixels = golden.tensors["pixel_values"].astype(np.float32)
    network.run(pixels, scope.listen(lambda path, x: found.__setitem__(path or "logits", x.copy())))
    (unexplained,) = diagnose(golden, found, network).unexplained
    assert unexplained.path == path
    assert (
        unexplained.hint == "rounding its weight, or the whole layer, to half precision or int8 would put it as far off"
    )


def test_the_layers_before_it_that_a_port_does_not_show_are_told():
    golden, network = golden_and_network()
    attention = "mobilevit.encoder.layer.2.transformer.layer.0.attention"
    hidden = [f"{attention}.attention{part}" for part in (".probabilities", "")]
    scope = network.scope(np.float32).wrap(hidden[1], lambda f, x, s, *rest: f(x, s, *rest)[:, ::-1])
    found = {}
    network.run(
        golden.tensors["pixel_values"].astype(np.float32),
        scope.listen(lambda p, x: found.__setitem__(p or "logits", x)),
    )
    for path in (*hidden, f"{attention}.output"):
        del found[path]
    (unexplained,) = (diagnosis := diagnose(golden, found, network)).unexplained
    assert unexplained.path == f"{attention}.output.dense"
    assert unexplained.unseen == tuple(hidden)  # the output's own repeats it
    lines = diagnosis_lines(diagnosis)
    assert f"   or it's wrong just before, where the port has no tensors: {', '.join(hidden)}" in lines
    found[unexplained.path] = found[unexplained.path] ** 2
    assert diagnosis_lines(diagnose(golden, found, network))[0] == (
        f"change first: look at {attention}.output.dense and what goes into it ({', '.join(hidden)}): "
        "what is wrong there has no name"
    )


@pytest.mark.parametrize(
    ("path", "change", "hint"),
    [
        ("mobilevit.conv_stem", lambda x: x[:, :, 1:], "it has 1 fewer, 31 for 32"),
        ("logits", lambda x: np.pad(x, ((0, 0), (1, 0))), "it has 1 more, 8 for 7"),
        ("mobilevit", lambda x: x.repeat(4, 2).repeat(4, 3), "it's 4 times as high and wide"),
        ("mobilevit", lambda x: x[..., :1, :1, None, None], "in no layout known here"),
    ],
)
def test_a_wrong_shape_is_unexplained(path, change, hint):
    golden, network = golden_and_network()
    found = port(golden, network)
    found[path] = change(found[path])
    diagnosis = diagnose(golden, found, network)
    assert diagnosis.unexplained[0].path == path
    assert diagnosis.unexplained[0].hint.endswith(hint)
    lines = diagnosis_lines(diagnosis)  # the port was fed the right size, and no tolerance was too wide
    assert any(line.startswith("change first: look at") for line in lines[:2])
    assert not any("too noisy" in line for line in lines)


def test_a_mistake_is_not_named_where_what_is_right_speaks_against_it():
    """The stride in the last convolution: in the middle the map is large, as with the stride in the first; but the
    first is right.
    """
    golden, network = golden_and_network()
    layer = "mobilevit.encoder.layer.2.downsampling_layer"

    def stride_last(compute, x, scope, config, out_channels, **kwargs):
        width, act = config.expanded_channels(x.shape[1]), config.hidden_act
        x = model.conv_layer(x, scope / "expand_1x1", act=act)
        x = model.conv_layer(x, scope / "conv_3x3", act=act, groups=width)
        return model.conv_layer(x, scope / "reduce_1x1", act=None, stride=2)

    found = {}
    scope = network.scope(np.float32).wrap(layer, stride_last)
    pixels = golden.tensors["pixel_values"].astype(np.float32)
    network.run(pixels, scope.listen(lambda path, x: found.__setitem__(path or "logits", x.copy())))
    diagnosis = diagnose(golden, found, network)
    assert diagnosis.names == ()
    assert diagnosis.comparison.first_bad.path == f"{layer}.conv_3x3.convolution"
    assert diagnosis_lines(diagnosis)[0].startswith("the logits are right, to ")


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (lambda x: x * 255, "rescale by 1/255"),
        (lambda x: x * 2 - 1, "brought to -1..1"),
        (lambda x: x[:, ::-1], "channels reversed"),
        (lambda x: x[:, :, ::-1], "its rows are reversed"),
    ],
)
def test_other_inputs_are_described(change, hint):
    """Without a photo, from which the catalogue's own preprocessing mistakes would be told."""
    golden, network = golden_and_network("odd")
    pixels = change(golden.tensors["pixel_values"]).astype(np.float32)
    found = port(trace(pixels, network), network)
    assert hint in diagnose(golden, found, network).unexplained[0].hint


@pytest.mark.parametrize(
    ("change", "hint"),
    [
        (
            lambda x: x * np.float32(255 / 256),
            "it's 0.996094 times the right tensor",
        ),  # short numbers, of no half precision
        (lambda x: x[..., ::-1], "its columns are reversed"),
        (
            lambda x: x + np.float32(0.4 / 255) * np.sin(np.arange(x.size, dtype=np.float32)).reshape(x.shape),
            "one of 255",
        ),
        (lambda x: x**2, "another photo"),
    ],
)
def test_other_pixel_values_are_described(change, hint):
    golden, network = golden_and_network()
    pixels = change(golden.tensors["pixel_values"].astype(np.float32)).astype(np.float32)
    assert hint in diagnose(golden, port(trace(pixels, network), network), network).unexplained[0].hint


def test_the_right_input_rounded_is_right():
    golden, network = golden_and_network()
    pixels = golden.tensors["pixel_values"].astype(np.float16).astype(np.float32)
    assert diagnose(golden, port(trace(pixels, network), network), network).clean


@pytest.mark.parametrize(
    ("step", "planted", "hint"),
    [
        ("resize", planting.resize_by("hamming"), "a resize by hamming gives them"),
        (
            "center_crop",
            lambda compute, image, scope, *size: compute(np.roll(image, 1, axis=2), scope, *size),
            "the crop starts 0 below and -1 right of where it should",
        ),
    ],
)
def test_another_filter_or_crop_is_recognized(step, planted, hint):
    golden, network = golden_and_network()
    scope = Scope({}).wrap(f"preprocessing.{step}", planted)
    pixels = make_pixel_values(golden.tensors["image"], network.profile, scope)
    assert diagnose(golden, port(trace(pixels, network), network), network).unexplained[0].hint == hint


def test_another_named_profile_is_recognized(monkeypatch):
    golden, network = golden_and_network()
    other = PROFILES["timm"].__class__("other", 80, "bicubic", (64, 64), flip_channels=False, center="torchvision")
    monkeypatch.setitem(PROFILES, "other", other)
    pixels = make_pixel_values(golden.tensors["image"], other, Scope({})).astype(np.float32)
    found = port(trace(pixels, network), network)
    assert "the profile other gives them" in diagnose(golden, found, network).unexplained[0].hint


def test_an_operator_is_not_diagnosed():
    with pytest.raises(InputError, match="only a network's golden file"):
        diagnose(make_operator("silu"), {"output": np.zeros(3)}, golden_and_network()[1])


def test_the_command_prints_the_verdict(tmp_path, capsys):
    golden = make("xx_small", size=32)
    network = remake(golden)
    path = str(write_golden(tmp_path / "golden.npz", golden))
    wrong, right = tmp_path / "wrong.npz", tmp_path / "right.npz"
    np.savez(wrong, **port(golden, network, [BY_NAME["concat_order"]]))
    np.savez(right, **port(golden, network))
    assert run(["diagnose", path, str(wrong)]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"change first: {BY_NAME['concat_order'].remedy}\n\n1. concat_order: the port concatenates")
    assert "with concat([x, r]) the reference gives the port's tensor to" in out
    diagnosis = diagnose(golden, read_port(wrong), network)
    assert f"{diagnosis}\n" == out
    assert repr(diagnosis) == "Diagnosis(clean=False, names=('concat_order',), misloaded=0, unexplained=0)"
    assert run(["compare", path, str(wrong)]) == 1
    comparison = compare(golden, read_port(wrong))
    assert f"{comparison}\n" == capsys.readouterr().out
    assert repr(comparison) == "Comparison(ok=False, 180 of 300 tensors off)"
    assert run(["diagnose", path, str(wrong), "--json"]) == 1
    about = json.loads(capsys.readouterr().out)
    assert [finding["name"] for finding in about["findings"]] == ["concat_order"]
    assert about["findings"][0]["remedy"] == BY_NAME["concat_order"].remedy
    assert run(["diagnose", path, str(right)]) == 0
    assert capsys.readouterr().out.startswith("no mistake found")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("path", ["mobilevit.conv_stem.normalization", "logits"])
def test_no_mistake_is_named_for_what_is_no_number(path, value):
    golden, network = golden_and_network()
    found = port(golden, network)
    found[path] = found[path].copy()
    found[path].flat[0] = value
    diagnosis = diagnose(golden, found, network)
    assert not diagnosis.clean
    assert diagnosis.names == ()
    assert diagnosis.unexplained[0].path == path
    assert any("it holds NaN or infinity: find the first of them" in line for line in diagnosis_lines(diagnosis))

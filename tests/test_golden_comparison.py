"""Comparison and replay: the first bad layer, each layer's own error, precision, the exit codes."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from commands import run
from golden_ports import BY_NAME, golden_and_network, port

from mobilevit_np.errors import InputError
from mobilevit_np.golden import compare, trace, write_golden
from mobilevit_np.golden.formula import make, remake
from mobilevit_np.golden.measure import measure
from mobilevit_np.golden.replay import _noise, reference_tensors
from mobilevit_np.golden.rounding import _MIN_QUANTIZED, roundings
from mobilevit_np.golden.tables import comparison_lines
from mobilevit_np.model import linear
from mobilevit_np.scope import Scope

FUSION = "mobilevit.encoder.layer.3.fusion"


def off_at(path, by=0.01):
    """A port that is right up to one layer, adds something there, and computes on with it."""
    golden, network = golden_and_network()
    return golden, network, port_with(golden, network, path, lambda f, x, here, *a, **k: f(x, here, *a, **k) + by)


def port_with(golden, network, path, replacement):
    """A port's tensors in float32, with what one layer computes replaced."""
    scope = network.scope(np.float32).wrap(path, replacement)
    found = {"pixel_values": golden.tensors["pixel_values"].astype(np.float32)}
    network.run(found["pixel_values"], scope.listen(lambda name, x: found.__setitem__(name or "logits", x.copy())))
    return found


@pytest.mark.parametrize("setting", ["classifier", "odd", "segmenter"])
@pytest.mark.parametrize(("dtype", "replayed"), [(np.float32, True), (np.float64, False)])
def test_a_right_port_is_right(setting, dtype, replayed):
    golden, network = golden_and_network(setting)
    comparison = compare(golden, port(golden, network, dtype=dtype), network=network if replayed else None)
    assert comparison.ok
    assert comparison.precision == np.dtype(dtype).name
    assert [row.path for row in comparison.rows] == [name for name in golden.tensors if name != "image"]
    assert (comparison.first_bad, comparison.last_good.path) == (None, "logits")
    assert not comparison.missing
    assert not comparison.unknown


def test_the_first_bad_layer_and_the_last_good_one():
    golden, _, found = off_at(f"{FUSION}.normalization")
    comparison = compare(golden, found)
    names = list(golden.tensors)
    assert comparison.first_bad.path == f"{FUSION}.normalization"
    assert comparison.last_good.path == names[names.index(f"{FUSION}.normalization") - 1]
    after = [row for row in comparison.rows if names.index(row.path) > names.index(FUSION)]
    assert len(after) > 50
    assert all(row.path.endswith("probabilities") for row in after if row.ok)  # error piles up; one token has 1.0


def test_replay_leaves_every_layer_its_own_error():
    golden, network, found = off_at(f"{FUSION}.normalization")
    comparison = compare(golden, found, network=network)
    assert [row.path for row in comparison.bad] == [f"{FUSION}.normalization"]
    assert comparison.bad[0].difference.max_abs == pytest.approx(0.01, rel=1e-3)


def test_replay_finds_every_wrong_layer_at_once():
    golden, network, found = off_at("*.conv_projection")
    wrong = [f"mobilevit.encoder.layer.{level}.conv_projection" for level in (2, 3, 4)]
    assert [row.path for row in compare(golden, found, network=network).bad] == wrong


def test_replay_is_the_reference_on_the_ports_own_input():
    """By hand: one convolution layer of the port's, fed what the port fed it."""
    golden, network, found = off_at(f"{FUSION}.normalization", by=3.0)
    ours = reference_tensors(network, golden, found)
    given = found[f"{FUSION}.normalization"].astype(np.float64)
    np.testing.assert_allclose(ours[f"{FUSION}.activation"], given / (1 + np.exp(-given)), rtol=1e-12)
    np.testing.assert_array_equal(ours[FUSION], found[f"{FUSION}.activation"])


@pytest.mark.parametrize("path", [f"{FUSION}.convolution", "mobilevit.encoder.layer.2", "logits", "pixel_values"])
def test_one_tensor_replayed_is_the_same_as_all(path):
    golden, network, found = off_at("*.layernorm_after")
    alone = reference_tensors(network, golden, found, target=path)
    assert list(alone) == [path]
    np.testing.assert_array_equal(alone[path], reference_tensors(network, golden, found)[path])
    assert reference_tensors(network, golden, found, target="nowhere") == {}


def test_a_mistake_that_changes_a_shape_is_not_taken_for_the_ports_own_tensor():
    golden, network, found = off_at("nothing")

    def plant(scope):
        return scope.wrap(FUSION, lambda compute, x, here, **k: compute(x, here, **k)[:, :, 1:])

    ours = reference_tensors(network, golden, found, plant=plant)
    assert set(found) - set(ours) == {FUSION}


def test_where_the_port_has_no_tensor_ours_goes_on():
    golden, network, found = off_at(f"{FUSION}.normalization")
    stages = {name: tensor for name, tensor in found.items() if name.count(".") == 3 or name == "logits"}
    comparison = compare(golden, stages, network=network)
    assert [row.path for row in comparison.bad] == ["mobilevit.encoder.layer.3"]
    assert f"{FUSION}.normalization" in comparison.missing


def test_a_wrong_shape_is_bad_and_is_not_fed():
    golden, network, found = off_at("nothing")
    found[FUSION] = found[FUSION][:, :, :, 1:]
    for comparison in (compare(golden, found), compare(golden, found, network=network)):
        assert [row.path for row in comparison.bad] == [FUSION]
        assert comparison.bad[0].difference is None
        assert json.dumps(comparison.as_json(), allow_nan=False)
        assert any(line.startswith("first bad") and "no layout" in line for line in comparison_lines(comparison))


def test_what_is_no_number_is_bad():
    golden, _, found = off_at("nothing")
    found[FUSION][0, 0, 0, 0] = np.nan
    comparison = compare(golden, found)
    assert [row.path for row in comparison.bad] == [FUSION]
    assert json.dumps(comparison.as_json(), allow_nan=False)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_float16_port_is_judged_as_one(dtype):
    golden, network, found = off_at("nothing")
    rounded = {name: tensor.astype(np.float16).astype(dtype) for name, tensor in found.items()}
    comparison = compare(golden, rounded, network=network)
    assert (comparison.precision, comparison.ok) == ("float16", True)
    assert not compare(golden, rounded, network=network, precision="float32").ok
    wrong = {name: tensor.astype(np.float16) for name, tensor in off_at(f"{FUSION}.normalization", by=1.0)[2].items()}
    assert [row.path for row in compare(golden, wrong, network=network).bad] == [f"{FUSION}.normalization"]


def test_the_multiple_allowed_is_the_users():
    golden, _, found = off_at("nothing")
    assert not compare(golden, found, multiple=0.5).ok
    with pytest.raises(InputError, match="precision"):
        compare(golden, found, precision="float8")


def test_the_table_names_place_and_values():
    golden, _, found = off_at(f"{FUSION}.normalization")
    comparison = compare(golden, found)
    lines = comparison_lines(comparison)
    difference = measure(found[f"{FUSION}.normalization"], golden.tensors[f"{FUSION}.normalization"])
    assert lines[1].startswith(f"last good  {FUSION}.convolution: error ")
    assert lines[2].startswith(f"first bad  {FUSION}.normalization: error ")
    assert f"{list(difference.worst)}: {difference.found:.6g}, should be {difference.expected:.6g}" in lines[2]
    assert sum(">>" in line for line in lines) == 12
    assert any(f"and {len(comparison.bad) - 12} more that are off" in line for line in lines)
    assert sum(">>" in line for line in comparison_lines(comparison, everything=True)) == len(comparison.bad)


CANCELLING = "mobilevit.encoder.layer.3.conv_projection.convolution"


def with_canceling_products():
    """A network with a layer whose products nearly cancel: its input is far from 0, and its kernels' sums are 0."""
    network = golden_and_network(full=True)[1]
    bias, weight = "mobilevit.encoder.layer.3.layernorm.bias", f"{CANCELLING}.weight"
    kernel = network.tensors[weight]
    changed = {bias: network.tensors[bias] + 30, weight: kernel - kernel.mean(axis=1, keepdims=True)}
    network = replace(network, tensors={**network.tensors, **changed})
    return trace(golden_and_network(full=True)[0].tensors["pixel_values"], network), network


def in_int8(x, axes):
    step = np.abs(x).max(axis=axes, keepdims=True) / 127
    return np.rint(x / step) * step


def rounded(compute, x, here, *args, **kwargs):
    there = here.with_tensors({"weight": in_int8(here["weight"], (1, 2, 3))})
    return compute(in_int8(x, (1, 2, 3)), there, *args, **kwargs)


def doubled(compute, x, here, *args, **kwargs):
    return 2 * compute(x, here, *args, **kwargs)


def zeroed(compute, x, here, *args, **kwargs):
    return 0 * compute(x, here, *args, **kwargs)


def test_int8_allows_what_rounding_a_layers_operands_does():
    """Where products nearly cancel that's more than 16 half steps of the output; a wrong layer is still wrong."""
    golden, network = with_canceling_products()
    for replacement, wrong in ((rounded, []), (doubled, [CANCELLING]), (zeroed, [CANCELLING])):
        found = port_with(golden, network, CANCELLING, replacement)
        comparison = compare(golden, found, network=network, precision="int8")
        assert [row.path for row in comparison.bad] == wrong
        row = next(row for row in comparison.rows if row.path == CANCELLING)
        assert row.difference.error > 16 / 256
    assert row.noise > 2 / 256


def test_int8_allows_no_more_for_a_weight_too_small_to_be_rounded():
    golden, network = golden_and_network(full=True)
    small = "mobilevit.encoder.layer.1.layer.0.conv_3x3.convolution"
    assert network.tensors[f"{small}.weight"].size < 1024
    comparison = compare(golden, port(golden, network), network=network, precision="int8")
    assert next(row for row in comparison.rows if row.path == small).noise == 1 / 256


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_excuses_no_layer_in_int8(value):
    golden, network = golden_and_network(full=True)
    expand = "mobilevit.encoder.layer.1.layer.1.expand_1x1.convolution"
    found = port_with(golden, network, expand, doubled)
    found["mobilevit.encoder.layer.1.layer.0"][0, 0, 0, 0] = value
    comparison = compare(golden, found, network=network, precision="int8")
    assert {"mobilevit.encoder.layer.1.layer.0", expand} <= {row.path for row in comparison.bad}
    assert all(np.isfinite(row.noise) for row in comparison.rows)


@pytest.mark.parametrize(
    ("larger", "by", "said"), [(0, 0.1, True), (3, 0.1, True), (10, 0.1, False), (1, np.inf, False)]
)
def test_a_word_on_int8_where_nearly_all_errors_are_as_it_makes_them(larger, by, said):
    """Not where one in ten is larger, nor where something is no number."""
    golden, network = golden_and_network()
    right = compare(golden, port(golden, network), network=network)
    rows = [
        replace(row, ok=False, difference=replace(row.difference, error=by if i < larger else 0.02))
        for i, row in enumerate(right.rows[:100])
    ]
    last = comparison_lines(replace(right, rows=tuple(rows)))[-1]
    assert ("int8" in last and "--precision" in last) == said


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A golden by formula (no weights needed), a right port and one with a mistake."""
    folder = tmp_path_factory.mktemp("golden")
    golden = make("xx_small", size=32)
    write_golden(folder / "golden.safetensors", golden)
    network = remake(golden)
    np.savez(folder / "right.npz", **port(golden, network))
    np.savez(folder / "wrong.npz", **port(golden, network, [BY_NAME["concat_order"]]))
    return folder


@pytest.mark.parametrize("options", [[], ["--replay"], ["--match", "names", "--multiple", "20"]])
def test_the_command_answers_by_its_exit_code(files, capsys, options):
    golden = str(files / "golden.safetensors")
    assert run(["compare", golden, str(files / "right.npz"), *options]) == 0
    assert "all 300 tensors are within" in capsys.readouterr().out
    assert run(["compare", golden, str(files / "wrong.npz"), *options, "--all"]) == 1
    assert "first bad  mobilevit.encoder.layer.2.fusion.convolution" in capsys.readouterr().out
    assert run(["compare", golden, str(files / "wrong.npz"), *options, "--json"]) == 1
    about = json.loads(capsys.readouterr().out)
    assert about["first_bad"] == "mobilevit.encoder.layer.2.fusion.convolution"
    assert len(about["tensors"]) == about["compared"] == 300


def test_the_command_says_what_it_cannot_do(files, capsys, tmp_path):
    assert run(["compare", str(files / "right.npz"), str(files / "wrong.npz")]) == 2
    assert "isn't a golden file" in capsys.readouterr().err
    golden, network = golden_and_network()
    write_golden(tmp_path / "golden.npz", golden)
    assert run(["compare", str(tmp_path / "golden.npz"), str(files / "right.npz"), "--replay"]) == 2
    assert "give them with --weights" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        run(["compare", "a", "b", "--multiple", "-1"])
    assert trace(golden.tensors["pixel_values"], network).noise


def test_the_backbone_is_a_module_like_any_other():
    """Half as much again on the last map, and all that follows rightly computed from that."""
    golden, network = golden_and_network()
    found = port(golden, network)
    found["mobilevit"] *= 1.5
    weight, bias = (network.tensors[f"classifier.{leaf}"] for leaf in ("weight", "bias"))
    found["classifier"] = found["logits"] = (found["mobilevit"].mean(axis=(2, 3)) @ weight.T + bias).astype(np.float32)
    for kept in (found, {path: found[path] for path in ("mobilevit", "classifier")}):
        assert [row.path for row in compare(golden, kept, network=network).bad] == ["mobilevit"]
    np.testing.assert_array_equal(
        reference_tensors(network, golden, found, target="classifier")["classifier"],
        reference_tensors(network, golden, found)["classifier"],
    )


def test_an_input_too_large_for_memory_is_not_replayed():
    golden, network = golden_and_network()
    tensors = {"pixel_values": np.broadcast_to(np.float32(0), (1, 3, 2048, 2048))}
    with pytest.raises(InputError, match="GB is the most here"):
        reference_tensors(network, replace(golden, tensors=tensors), {})


# -- no verdict rests on what isn't finite -----------------------------------------------------------------------------

NO_NUMBERS = [np.nan, np.inf, -np.inf]


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_no_layer_that_is_no_number_is_right_however_it_came_to_be(value):
    """A port that computes on with one: replayed, the reference gives NaN for NaN, and that's no agreement."""
    golden, network = golden_and_network()

    def broken(compute, x, here, *args, **kwargs):
        return np.where(np.arange(x.shape[-1]) == 0, x.dtype.type(value), compute(x, here, *args, **kwargs))

    with np.errstate(all="ignore"):
        found = port_with(golden, network, f"{FUSION}.activation", broken)
    undefined = {path for path, tensor in found.items() if not np.isfinite(tensor).all()}
    assert len(undefined) > 10
    for replayed in (None, network):
        comparison = compare(golden, found, network=replayed)
        assert undefined <= {row.path for row in comparison.bad}
        assert not comparison.ok
        assert not comparison.as_json()["ok"]
        assert comparison.first_bad.path == f"{FUSION}.activation"
        assert any(line.startswith("NaN or infinity, here or in the tensor") for line in comparison_lines(comparison))


@pytest.mark.parametrize("noise", NO_NUMBERS[:2])
@pytest.mark.parametrize("replayed", [False, True])
def test_a_golden_s_noise_that_is_no_number_excuses_nothing(noise, replayed):
    """Made in memory: files are refused on reading. A replay measures its own noise."""
    golden, network, found = off_at(f"{FUSION}.normalization")
    loud = replace(golden, noise=dict.fromkeys(golden.noise, noise))
    comparison = compare(loud, found, network=network if replayed else None)
    assert f"{FUSION}.normalization" in {row.path for row in comparison.bad}
    if not replayed:
        assert not any(row.ok for row in comparison.rows if row.path != "pixel_values" and row.difference.error)
        assert json.dumps(comparison.as_json(), allow_nan=False)
        assert all(row.multiple == np.inf for row in comparison.rows if row.path != "pixel_values")


def test_noise_that_overflows_in_the_replay_itself_excuses_nothing():
    """1e39 is a number in float64 and none in float32: the layer that's fed it has no noise floor."""
    golden, network = golden_and_network()
    found = {name: tensor.astype(np.float64) for name, tensor in port(golden, network).items()}
    found[f"{FUSION}.convolution"][0, 0, 0, 0] = 1e39
    found[f"{FUSION}.normalization"] *= 1.1
    comparison = compare(golden, found, network=network, precision="float32")
    rows = {row.path: row for row in comparison.rows}
    assert np.isfinite(rows[f"{FUSION}.normalization"].noise)
    assert not rows[f"{FUSION}.normalization"].ok


@pytest.mark.parametrize("noise", [0.1, 1.0, 1e30, 1e300])
@pytest.mark.parametrize("precision", ["float32", "float16", "bfloat16", "int8"])
def test_zeros_are_never_right_however_loud_the_noise(noise, precision):
    golden, network = golden_and_network()
    loud = replace(golden, noise=dict.fromkeys(golden.noise, noise))
    zeros = {name: np.zeros_like(tensor) for name, tensor in port(golden, network).items()}
    comparison = compare(loud, zeros, precision=precision)
    assert not any(row.ok for row in comparison.rows)
    assert any("too noisy for a fine verdict, so 50% is allowed" in s for s in comparison_lines(comparison))


@pytest.mark.parametrize("multiple", [0, -1, np.nan, np.inf])
def test_a_multiple_that_is_no_number_is_refused(multiple):
    golden, network = golden_and_network()
    with pytest.raises(InputError, match="multiple must be a positive number"):
        compare(golden, port(golden, network), multiple=multiple)


def test_where_nothing_could_be_compared_there_is_no_verdict():
    """A golden whose only tensors are none of this network's: replay comes by none of them."""
    golden, network = golden_and_network("odd")
    stranger = replace(golden, tensors={**golden.tensors, "elsewhere": np.ones(3)}, noise={"elsewhere": 0.0})
    with pytest.raises(InputError, match="nothing was compared"):
        compare(stranger, {"elsewhere": np.ones(3)}, network=network, mapping={"elsewhere": "elsewhere"})


@pytest.mark.parametrize("shape", [(1, 2, 6, 8), (4, 12, 5)])
def test_a_resize_s_floor_has_the_rounding_of_its_positions(shape):
    same = np.ones(shape)
    assert _noise("layer.2.fusion", same, same) == 0
    for path in ("layer.2.folding", "layer.2.unfolding"):
        assert _noise(path, same, same) == 2.0**-24 * math.sqrt(48)


@pytest.mark.parametrize(("width", "rounded"), [(_MIN_QUANTIZED - 1, False), (_MIN_QUANTIZED, True)])
def test_small_weights_stay_floats_in_int8(width, rounded):
    random = np.random.default_rng(0)
    network = SimpleNamespace(tensors={"fc.weight": random.standard_normal((1, width))})
    x, scope = random.standard_normal((2, width)), Scope(network.tensors)
    found = linear(x, roundings(network)["int8"](scope) / "fc", bias=False)
    assert np.array_equal(found, linear(x, scope / "fc", bias=False)) != rounded

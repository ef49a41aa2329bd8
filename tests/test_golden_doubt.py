"""What is off and reaches nothing: a pair that was none is given up, a layer that is one is told and no alarm."""

import numpy as np
import pytest
from golden_ports import BY_NAME, golden_and_network, port

from mobilevit_np.golden import compare, diagnose
from mobilevit_np.golden.tables import comparison_lines, diagnosis_lines

LAYER = "mobilevit.encoder.layer.3.transformer.layer.0"
KEY = f"{LAYER}.attention.attention.key"
SUM = "mobilevit.encoder.layer.1.layer.1"  # a residual sum


def without_keys_bias():
    """Softmax takes the same from every score of a row: a key's bias changes nothing but the keys."""
    golden, network = golden_and_network()
    found = port(golden, network)
    return golden, network, {**found, KEY: found[KEY] - network.tensors[f"{KEY}.bias"].astype(np.float32)}


@pytest.mark.parametrize("replayed", [None, False])
@pytest.mark.parametrize("known", [True, False])
def test_what_reaches_nothing_is_told_and_is_no_alarm(replayed, known):
    golden, network, found = without_keys_bias()
    comparison = compare(golden, found, network=network if known else None, replayed=replayed)
    assert comparison.ok
    assert [row.path for row in comparison.idle] == [KEY]
    lines = comparison_lines(comparison)
    assert lines[0].startswith("the logits are right, to ")
    assert "299 of 300 tensors are within" in lines[1]
    assert f"off, but reaching nothing that comes after: {KEY}" in lines
    assert comparison.as_json()["idle"] == [KEY]


def test_the_diagnosis_does_not_blame_it():
    golden, network, found = without_keys_bias()
    diagnosis = diagnose(golden, found, network)
    assert diagnosis.clean
    assert f"off, but reaching nothing that comes after: {KEY}" in diagnosis_lines(diagnosis)


def test_a_mistake_that_hardly_reaches_the_logits_is_one():
    """A layer norm's eps moves what comes after it by a few floors: less than is allowed, and not nothing."""
    golden, network = golden_and_network()
    comparison = compare(golden, port(golden, network, [BY_NAME["layer_norm_eps"]]), network=network)
    assert len(comparison.bad) > 5
    assert not comparison.idle


def test_a_wrong_layer_before_another_wrong_one_is_not_idle():
    golden, network = golden_and_network()
    both = [BY_NAME["gelu_for_silu"], BY_NAME["stem_channels_reversed"]]
    comparison = compare(golden, port(golden, network, both), network=network)
    assert comparison.bad[0].path == "mobilevit.conv_stem.convolution"
    assert comparison.bad[1].path == "mobilevit.conv_stem.activation"
    assert not comparison.idle


def test_what_is_no_number_is_never_idle():
    golden, network, found = without_keys_bias()
    found[KEY][0, 0, 0] = np.nan
    for comparison in (compare(golden, found), compare(golden, found, network=network)):
        assert comparison.first_bad.path == KEY


@pytest.mark.parametrize(("extra", "replayed"), [("sigmoid", None), ("shifted", False), ("noise", None)])
def test_a_sum_without_a_counterpart_is_nobodys(extra, replayed):
    """A nameless port keeps no residual sum, but other tensors of its shape where it would stand."""
    golden, network = golden_and_network()
    found = port(golden, network)
    stranger = {
        "sigmoid": 1 / (1 + np.exp(-found[SUM])),
        "shifted": np.roll(found[SUM], 1, -1),
        "noise": np.random.default_rng(0).standard_normal(found[SUM].shape).astype(np.float32),
    }[extra]
    nameless = {f"t{i}": stranger if path == SUM else x for i, (path, x) in enumerate(found.items())}
    comparison = compare(golden, nameless, network=network, replayed=replayed)
    assert comparison.ok, comparison.first_bad
    assert not comparison.idle
    assert comparison.missing == (SUM,)
    assert comparison.unknown == (f"t{list(found).index(SUM)}",)


def test_a_wrong_sum_that_has_one_stays_the_first_bad():
    golden, network = golden_and_network()
    found = port(golden, network, [BY_NAME["silu_after_reduce"]])
    right = compare(golden, found, network=network)
    nameless = compare(golden, {f"t{i}": x for i, x in enumerate(found.values())}, network=network)
    assert [row.path for row in nameless.bad] == [row.path for row in right.bad]


def test_sums_without_a_counterpart_are_not_blamed_beside_a_mistake():
    """A nameless port that keeps the sum after the attention, and leaves out the one after the feed-forward."""
    golden, network = golden_and_network()
    found = port(golden, network, [BY_NAME["no_feed_forward_residual"]])
    shown, before = {}, ""
    for path, tensor in found.items():
        if path.endswith((".attention.output", ".attention")) and "attention.attention" not in path:
            if path.endswith(".attention"):
                shown[f"{path} sum"] = found[before] + tensor
            continue
        shown[path] = tensor
        before = path if path.endswith(("unfolding", ".output")) else before
    nameless = {f"t{i}": tensor for i, tensor in enumerate(shown.values())}
    diagnosis = diagnose(golden, nameless, network)
    assert diagnosis.names == ("no_feed_forward_residual",)
    assert not diagnosis.left_over


def test_heads_that_are_merged_wrongly_in_a_step_of_its_own():
    """The heads apart are right, as they come before; the layer after reads what they were merged to."""
    golden, network = golden_and_network()
    heads, shown = network.config.num_attention_heads, {}
    for path, tensor in port(golden, network, [BY_NAME["heads_merged_by_reshape"]]).items():
        if path.endswith("attention.attention"):
            rows, tokens, width = tensor.shape
            shown[f"{path} apart"] = tensor.reshape(rows, heads, tokens, width // heads)
        shown[path] = tensor
    diagnosis = diagnose(golden, {f"t{i}": tensor for i, tensor in enumerate(shown.values())}, network)
    assert diagnosis.names == ("heads_merged_by_reshape",)
    assert not diagnosis.left_over


def test_a_step_where_the_port_has_nothing_else():
    """An activation after a bare convolution, which is the last to give its tensor: its place is the module's own."""
    golden, network = golden_and_network()
    shown = {}
    for path, tensor in port(golden, network, [BY_NAME["silu_before_unfold"]]).items():
        shown["own." + path if path.endswith("conv_1x1") else path] = tensor
        if path.endswith("conv_1x1.convolution"):
            shown[f"{path} and SiLU"] = tensor / (1 + np.exp(-tensor))
    diagnosis = diagnose(golden, shown, network)
    assert diagnosis.names == ("silu_before_unfold",)

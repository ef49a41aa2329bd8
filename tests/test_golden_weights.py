"""A port's weights and its wrong layers together: what isn't loaded comes first, and nobody is taken for it.

The ports are the reference itself in float32, under invented names, its weights recorded as the adapters do.
"""

from dataclasses import replace

import numpy as np
import pytest
from golden_ports import BY_NAME, golden_and_network, port

from mobilevit_np.golden import compare, diagnose
from mobilevit_np.golden.diagnosis import hidden
from mobilevit_np.golden.identity import parameter_name
from mobilevit_np.golden.mistakes import MISTAKES
from mobilevit_np.golden.tables import diagnosis_lines

BLOCK = "mobilevit.encoder.layer.2"
DENSE = f"{BLOCK}.transformer.layer.0.attention.output.dense"


def invented(golden, network, changed, mistakes=(), extra=lambda path, tensor: ()):
    """A port that holds ``changed`` in place of some weights, and what it gives: names by number."""
    tensors = {**network.tensors, **changed}
    found = port(golden, replace(network, tensors=tensors), [BY_NAME[name] for name in mistakes])
    names, given = {}, {}
    for path, tensor in found.items():
        names[path] = f"m{len(given)}"
        given[names[path]] = tensor
        for more in extra(path, tensor):
            given[f"m{len(given)}"] = more
    weights = {}
    for name, tensor in tensors.items():
        path, _, leaf = name.rpartition(".")
        weights[parameter_name(names.get(path, path), leaf)] = tensor.astype(np.float32)
    return {**weights, **given}


def test_a_weight_never_loaded_is_the_first_thing_to_change():
    golden, network = golden_and_network()
    fresh = np.random.default_rng(0).standard_normal(network.tensors[f"{DENSE}.weight"].shape)
    found = invented(golden, network, {f"{DENSE}.weight": fresh}, ["concat_order"])
    diagnosis = diagnose(golden, found, network)
    (misloaded,) = diagnosis.misloaded
    assert misloaded.parameters == (f"{DENSE}.weight",)
    assert misloaded.paths == (DENSE,)
    assert diagnosis.names == ("concat_order",)
    assert not diagnosis.unexplained
    lines = diagnosis_lines(diagnosis)
    assert lines[0] == f"change first: load {DENSE}.weight as it should be (the port has nothing like it)"
    assert lines[2].startswith(f"1. weights: {DENSE}.weight: the port has nothing like it")
    assert any(line.startswith("2. concat_order") for line in lines)


def test_a_weight_that_lies_transposed_is_the_first_thing_to_change():
    golden, network = golden_and_network()
    found = invented(golden, network, {f"{DENSE}.weight": network.tensors[f"{DENSE}.weight"].T})
    (misloaded,) = diagnose(golden, found, network).misloaded
    assert "is stored as i o, unlike the others" in misloaded.how
    assert misloaded.paths == (DENSE,)


@pytest.mark.parametrize(
    ("one", "other"),
    [("transformer.layer.0", "transformer.layer.1"), ("transformer.layer.0.layernorm_before", "layernorm_after")],
)
def test_weights_of_two_modules_exchanged_are_told_by_the_order_of_execution(one, other):
    golden, network = golden_and_network()
    one = f"{BLOCK}.{one}"
    other = f"{one.rpartition('.')[0]}.{other.rpartition('.')[2]}"
    changed = {}
    for a, b in ((one, other), (other, one)):
        changed |= {b + name.removeprefix(a): x for name, x in network.tensors.items() if name.startswith(f"{a}.")}
    diagnosis = diagnose(golden, invented(golden, network, changed), network)
    ways = {f"is stored where {path} belongs" for path in (one, other)}
    assert {each.how.partition(":")[0] for each in diagnosis.misloaded} == ways
    assert not diagnosis.findings
    assert not diagnosis.left_over
    assert all(row.path.startswith((one, other)) for row in diagnosis.comparison.bad)


def test_weights_as_they_were_initialized_are_not_missed():
    """All ones and all zeros are in every port: nobody can say that they weren't loaded."""
    golden, network = golden_and_network()
    tensors = {
        name: np.ones_like(t) if name.endswith("layernorm.weight") else np.zeros_like(t) if "layernorm" in name else t
        for name, t in network.tensors.items()
        if "layernorm" not in name or ".transformer." not in name
    } | {name: t for name, t in network.tensors.items() if ".transformer." in name}
    network = replace(network, tensors={name: tensors[name] for name in network.tensors})
    comparison = compare(golden, invented(golden, network, {}), network=network)
    assert comparison.identity.never_loaded == ()


def test_what_the_port_goes_on_computing_is_what_is_judged():
    """A batch norm as it's built, then the activation too many: the map before them would be right."""
    golden, network = golden_and_network()

    def steps(path, tensor):
        return (tensor * np.float32(0.999995),) if path.endswith("conv_1x1.convolution") else ()

    diagnosis = diagnose(golden, invented(golden, network, {}, ["silu_before_unfold"], steps), network)
    assert diagnosis.names == ("silu_before_unfold",)
    assert not diagnosis.unexplained


@pytest.mark.parametrize("leaf", ["key", "value"])
def test_a_module_that_holds_other_weights_is_not_taken_for_one_without(leaf):
    """Nor the other way round: a port's attention of another width has no counterpart."""
    golden, network = golden_and_network()
    path = f"{BLOCK}.transformer.layer.0.attention.attention.{leaf}"
    fresh = np.random.default_rng(1).standard_normal
    changed = {f"{path}.{each}": fresh(network.tensors[f"{path}.{each}"].shape) for each in ("weight", "bias")}
    diagnosis = diagnose(golden, invented(golden, network, changed), network)
    assert [each.paths[0] for each in diagnosis.misloaded] == [path]
    assert not diagnosis.findings
    assert not diagnosis.unexplained


@pytest.mark.parametrize("setting", ["classifier", "odd", "segmenter"])
def test_what_cannot_show_is_said_once_with_the_golden_file_that_would(setting):
    golden, network = golden_and_network(setting)
    unseen = {mistake.name for mistake in hidden(golden, network)}
    photo = {mistake.name for mistake in MISTAKES if mistake.golden == "PHOTO"}
    assert (photo <= unseen) == (setting != "classifier")
    assert ("padded_odd_maps" in unseen) == (setting != "odd")
    assert ("aspp_order" in unseen) == (setting != "segmenter")
    lines = diagnosis_lines(diagnose(golden, port(golden, network), network))
    told = [line for line in lines if line.startswith("can't be seen with this golden file: ")]
    assert len(told) == 1
    assert all(name in told[0] for name in unseen)
    if setting == "classifier":
        assert "padded_odd_maps, align_corners (trace --formula xx_small --size 112 shows them)" in told[0]


@pytest.mark.parametrize("setting", ["classifier", "odd"])
def test_what_is_hidden_is_what_changes_nothing(setting):
    """Oracle: the whole network run with each mistake by itself."""
    golden, network = golden_and_network(setting)
    right = port(golden, network)
    same = {
        mistake.name
        for mistake in MISTAKES
        if all(
            np.array_equal(x, right.get(path), equal_nan=True) for path, x in port(golden, network, [mistake]).items()
        )
    }
    assert {mistake.name for mistake in hidden(golden, network)} == same


def test_every_mistake_says_where_it_was_made_and_what_shows_it():
    for mistake in MISTAKES:
        assert mistake.source
        assert mistake.golden == "PHOTO" or mistake.golden.startswith("--formula xx_small")

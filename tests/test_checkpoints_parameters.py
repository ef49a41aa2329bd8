"""The tensors of a network: counts of the published ones, fresh parameters, checking. Live models are in parity/."""

import math
import warnings

import numpy as np
import pytest
from fuzz.samples import tiny_config, tiny_tensors

from mobilevit_np.checkpoints import check_tensors, count_parameters, init_parameters, parameter_shapes
from mobilevit_np.config import VARIANTS, NetworkConfig
from mobilevit_np.errors import CheckpointError, ConfigError, InputError, MobileViTWarning
from mobilevit_np.ops import ACTIVATIONS

PUBLISHED = {  # parameters of the paper's networks: 1000 ImageNet classes, 21 VOC classes
    ("xx_small", "classifier"): 1_272_024,
    ("x_small", "classifier"): 2_317_848,
    ("small", "classifier"): 5_578_632,
    ("xx_small", "segmenter"): 1_854_853,
    ("x_small", "segmenter"): 2_944_069,
    ("small", "segmenter"): 6_357_941,
}


@pytest.mark.parametrize(("network", "count"), PUBLISHED.items())
def test_parameter_counts_are_the_published_ones(network, count):
    variant, task = network
    config = NetworkConfig(**VARIANTS[variant], num_labels=1000 if task == "classifier" else 21)
    shapes = parameter_shapes(config, task)
    tensors = {name: np.empty(shape, np.int8) for name, shape in shapes.items()}
    assert count_parameters(tensors) == count


@pytest.mark.parametrize(("task", "keys"), [("classifier", 347), ("segmenter", 377), ("backbone", 345)])
def test_key_counts_are_those_of_transformers(task, keys):
    assert len(parameter_shapes(NetworkConfig(), task, counters=True)) == keys


def test_options_that_add_or_remove_tensors():
    def names(task="classifier", expand_output=True, **fields):
        return set(parameter_shapes(NetworkConfig(**fields), task, expand_output=expand_output))

    assert {name.split(".")[-1] for name in names() - names(qkv_bias=False)} == {"bias"}
    assert len(names() - names(qkv_bias=False)) == 27
    assert names() - names(num_labels=0) == {"classifier.weight", "classifier.bias"}
    assert len(names("backbone") - names("backbone", expand_output=False)) == 5
    assert (
        len(names(hidden_act="prelu") - names()) == 34
    )  # stem, 14 of inverted residuals, 9 of blocks, 9 feed-forwards, expansion
    assert len(names(hidden_act="xielu") - names()) == 4 * 34
    assert names("segmenter") == names("segmenter", expand_output=False)
    assert {f"mobilevit.{name}" for name in names("backbone")} == names(num_labels=0)


@pytest.mark.parametrize(("act", "leaves"), [(act, leaves) for act, (_, leaves) in ACTIVATIONS.items()])
def test_learned_parameters_have_shapes(act, leaves):
    shapes = parameter_shapes(NetworkConfig(hidden_act=act), "classifier")
    assert sum(name.startswith("mobilevit.conv_stem.activation.") for name in shapes) == len(leaves)


def test_impossible_networks_are_an_error():
    with pytest.raises(InputError, match="classifier, segmenter, backbone"):
        parameter_shapes(NetworkConfig(), "detector")
    with pytest.raises(ConfigError, match="no MobileViT is that large"):
        parameter_shapes(NetworkConfig(hidden_sizes=[1 << 20] * 3), "classifier")
    with pytest.raises(ConfigError, match="'sillu' is not a known activation"):
        parameter_shapes(NetworkConfig(hidden_act="sillu"), "classifier")


def test_drawn_parameters_depend_on_seed_and_name_only():
    first, again, other = (tiny_tensors(), tiny_tensors(), init_parameters(tiny_config(), "classifier", seed=1))
    bare = tiny_tensors("backbone")
    changed = 0
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, again[name])
        if name.startswith("mobilevit."):
            np.testing.assert_array_equal(tensor, bare[name.removeprefix("mobilevit.")])
        changed += not np.array_equal(tensor, other[name])
    assert changed == len(parameter_shapes(tiny_config(), "classifier"))


def test_drawn_parameters_are_the_same_on_every_system():
    stem = init_parameters(NetworkConfig(), "classifier", seed=0, dtype=np.float64)[
        "mobilevit.conv_stem.convolution.weight"
    ]
    np.testing.assert_allclose(stem[0, 0, 0], STEM_ROW, rtol=1e-12)


STEM_ROW = [1.194748789861452, 0.3456561108435925, -0.7464325571656109]


@pytest.mark.parametrize("act", ["silu", "prelu", "xielu"])
@pytest.mark.parametrize("task", ["classifier", "segmenter", "backbone"])
def test_drawn_parameters_fit_the_network_and_none_is_trivial(task, act):
    config = tiny_config(task, hidden_act=act)
    tensors = init_parameters(config, task, dtype=np.float64)
    assert {name: tensor.shape for name, tensor in tensors.items()} == parameter_shapes(config, task, counters=True)
    assert check_tensors(tensors, parameter_shapes(config, task)).keys() == tensors.keys()
    for name, tensor in tensors.items():
        if name.endswith("num_batches_tracked"):
            assert tensor.dtype == np.int64
            assert tensor == 0
        else:
            assert tensor.dtype == np.float64
            assert np.abs(tensor).max() > 0
            assert tensor.size < 2 or len(np.unique(tensor)) > 1, name
        if name.endswith("running_var"):
            assert tensor.min() > 0.5


def test_drawn_convolutions_have_the_size_their_fan_in_asks_for():
    drawn = init_parameters(NetworkConfig(), "classifier")
    weight = drawn["mobilevit.encoder.layer.4.fusion.convolution.weight"]
    assert weight.std() * math.sqrt(weight[0].size) == pytest.approx(1.5, rel=0.02)


SHAPES = {"a.weight": (2, 3), "a.normalization.running_mean": (2,), "mobilevit.conv_stem.x": (1,)}


def _good():
    return {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}


def test_good_tensors_come_back_as_they_are():
    tensors = {**_good(), "a.normalization.num_batches_tracked": np.array(3)}
    checked = check_tensors(tensors, SHAPES)
    assert list(checked) == list(tensors)
    assert all(checked[name] is tensor for name, tensor in tensors.items())


PROBLEMS = {
    "1 tensor missing: a.weight": {"a.weight": None},
    "1 tensor of another shape: a.weight (3, 2) instead of (2, 3)": {"a.weight": np.zeros((3, 2))},
    "1 tensor not part of the network: stranger": {"stranger": np.zeros(1)},
    "1 tensor with NaN or infinity: a.weight": {"a.weight": np.full((2, 3), np.nan)},
    "1 tensor with NaN or infinity: mobilevit.conv_stem.x": {"mobilevit.conv_stem.x": np.array([-np.inf], "f2")},
    "1 tensor of whole numbers: a.weight": {"a.weight": np.zeros((2, 3), np.int32)},
    "network: b.num_batches_tracked": {"b.num_batches_tracked": np.array(3)},
    "network: a.normalization.num_batches_tracked": {"a.normalization.num_batches_tracked": np.zeros(5, int)},
    "5 tensors not part of the network: s0, s1, s2, s3 and 1 more": {f"s{i}": np.zeros(1) for i in range(5)},
}


@pytest.mark.parametrize(("says", "changes"), PROBLEMS.items())
def test_problems_are_listed(says, changes):
    tensors = {name: tensor for name, tensor in {**_good(), **changes}.items() if tensor is not None}
    with pytest.raises(CheckpointError) as caught:
        check_tensors(tensors, SHAPES, where="x.bin")
    assert str(caught.value).startswith("x.bin doesn't fit the network: ")
    assert says in str(caught.value)


def test_all_problems_stand_in_one_line():
    with pytest.raises(CheckpointError) as caught:
        check_tensors({"a.weight": np.full((2, 3), np.nan), "b": np.zeros(1)}, SHAPES)
    message = str(caught.value)
    assert all(part in message for part in ("2 tensors missing", "not part of the network: b", "with NaN or infinity"))
    assert "\n" not in message


def test_tensors_of_another_head_are_left_out_with_one_warning():
    others = {"classifier.weight": np.zeros(1), "classifier.bias": np.zeros(1), "mobilevit.conv_1x1_exp.x": np.zeros(1)}
    with pytest.warns(
        MobileViTWarning, match=r"3 tensors belong to another head \(classifier, conv_1x1_exp\)"
    ) as caught:
        checked = check_tensors({**_good(), **others}, SHAPES)
    assert len(caught) == 1
    assert list(checked) == list(SHAPES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_tensors(_good(), SHAPES)

"""Names of Hugging Face, timm and ml-cvnets: the counts of the published files, round trips, recognition.

Whole sets of names are compared with live models in parity/; here with a few copied from the published files.
"""

import numpy as np
import pytest
from fuzz.samples import tiny_config, tiny_tensors

from mobilevit_np.checkpoints import parameter_names as names
from mobilevit_np.checkpoints.parameters import parameter_shapes
from mobilevit_np.checkpoints.wrappers import find_network
from mobilevit_np.config import NetworkConfig
from mobilevit_np.errors import CheckpointError

COUNTS = {"classifier": (347, 311), "segmenter": (377, 341), "backbone": (345, 309)}


def _prefixed(tensors):
    return names.to_hugging_face(tensors, names.HUGGING_FACE)


@pytest.mark.parametrize(("task", "counts"), COUNTS.items())
def test_counts_of_the_published_files(task, counts):
    tensors = _prefixed(tiny_tensors(task))
    assert len(tensors) == counts[0]
    assert len(names.from_hugging_face(tensors, names.ML_CVNETS)) == counts[1]
    if task != "segmenter":
        assert len(names.from_hugging_face(tensors, names.TIMM)) == counts[1]


@pytest.mark.parametrize(
    ("task", "scheme"),
    [(task, scheme) for task in COUNTS for scheme in names.SCHEMES if (task, scheme) != ("segmenter", names.TIMM)],
)
@pytest.mark.parametrize("qkv_bias", [True, False])
def test_round_trips_are_exact(task, scheme, qkv_bias):
    tensors = _prefixed(tiny_tensors(task, qkv_bias=qkv_bias))
    there = names.from_hugging_face(tensors, scheme)
    assert find_network(there).scheme == scheme
    back = names.to_hugging_face(there, scheme)
    assert set(back) == set(tensors)
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert back[name].shape == tensor.shape
        assert back[name].tobytes() == tensor.tobytes()


TRANSLATIONS = [  # (Hugging Face, timm, ml-cvnets), copied from the files
    ("mobilevit.conv_stem.convolution.weight", "stem.conv.weight", "conv_1.block.conv.weight"),
    ("mobilevit.conv_stem.normalization.running_var", "stem.bn.running_var", "conv_1.block.norm.running_var"),
    (
        "mobilevit.encoder.layer.1.layer.2.conv_3x3.convolution.weight",
        "stages.1.2.conv2_kxk.conv.weight",
        "layer_2.2.block.conv_3x3.block.conv.weight",
    ),
    (
        "mobilevit.encoder.layer.3.downsampling_layer.reduce_1x1.normalization.bias",
        "stages.3.0.conv3_1x1.bn.bias",
        "layer_4.0.block.red_1x1.block.norm.bias",
    ),
    (
        "mobilevit.encoder.layer.2.conv_1x1.convolution.weight",
        "stages.2.1.conv_1x1.weight",
        "layer_3.1.local_rep.conv_1x1.block.conv.weight",
    ),
    (
        "mobilevit.encoder.layer.4.transformer.layer.2.attention.output.dense.weight",
        "stages.4.1.transformer.2.attn.proj.weight",
        "layer_5.1.global_rep.2.pre_norm_mha.1.out_proj.weight",
    ),
    (
        "mobilevit.encoder.layer.4.transformer.layer.2.output.dense.weight",
        "stages.4.1.transformer.2.mlp.fc2.weight",
        "layer_5.1.global_rep.2.pre_norm_ffn.4.weight",
    ),
    ("mobilevit.encoder.layer.3.layernorm.bias", "stages.3.1.norm.bias", "layer_4.1.global_rep.4.bias"),
    (
        "mobilevit.encoder.layer.2.fusion.convolution.weight",
        "stages.2.1.conv_fusion.conv.weight",
        "layer_3.1.fusion.block.conv.weight",
    ),
    ("mobilevit.conv_1x1_exp.normalization.weight", "final_conv.bn.weight", "conv_1x1_exp.block.norm.weight"),
    ("classifier.weight", "head.fc.weight", "classifier.fc.weight"),
    (
        "segmentation_head.aspp.convs.4.conv_1x1.convolution.weight",
        None,
        "seg_head.aspp.aspp_layer.convs.4.aspp_pool.conv_1x1.block.conv.weight",
    ),
    (
        "segmentation_head.classifier.convolution.bias",
        None,
        "seg_head.classifier.classifier.block.conv.bias",
    ),
]


@pytest.mark.parametrize("row", TRANSLATIONS)
def test_single_names(row):
    for scheme, name in zip(names.SCHEMES, row, strict=True):
        if name is not None:
            assert names.hugging_face_names(name, scheme) == (row[0],)
            assert names.scheme_name(row[0], scheme) == name


def test_every_name_of_the_network_is_in_the_table_and_no_other():
    table = set(names.TO_HUGGING_FACE[names.HUGGING_FACE])
    network = NetworkConfig()
    needed = {
        *parameter_shapes(network, "classifier", counters=True),
        *parameter_shapes(network, "segmenter", counters=True),
    }
    assert table == needed


@pytest.mark.parametrize(
    ("scheme", "name"),
    [
        (names.TIMM, "stages.2.1.transformer.0.attn.qkv.weight"),
        (names.ML_CVNETS, "layer_3.1.global_rep.0.pre_norm_mha.1.qkv_proj.weight"),
    ],
)
def test_rows_of_the_fused_tensor_are_query_key_value(scheme, name):
    found = names.to_hugging_face({name: np.arange(18.0).reshape(9, 2)}, scheme)
    root = "mobilevit.encoder.layer.2.transformer.layer.0.attention.attention"
    assert list(found) == [f"{root}.{part}.weight" for part in ("query", "key", "value")]
    np.testing.assert_array_equal(found[f"{root}.key.weight"], [[6, 7], [8, 9], [10, 11]])
    shuffled = dict(reversed(found.items()))
    np.testing.assert_array_equal(names.from_hugging_face(shuffled, scheme)[name], np.arange(18.0).reshape(9, 2))


def test_fused_tensors_that_can_not_be_split_or_joined():
    name = "stages.2.1.transformer.0.attn.qkv.weight"
    for tensor in (np.zeros((8, 2)), np.zeros(())):
        with pytest.raises(CheckpointError, match="three equal parts"):
            names.to_hugging_face({name: tensor}, names.TIMM)
    parts = names.to_hugging_face({name: np.zeros((9, 2))}, names.TIMM)
    first = next(iter(parts))
    for other in ({**parts, first: np.zeros((2, 2))}, {first: parts[first]}, {**parts, first: np.zeros((3, 2), "f4")}):
        with pytest.raises(CheckpointError, match="don't fit together"):
            names.from_hugging_face(other, names.TIMM)


def test_two_tensors_of_one_name_are_an_error():
    tensors = {"conv_1.block.conv.weight": np.zeros(1), "encoder.conv_1.block.conv.weight": np.zeros(1)}
    with pytest.raises(CheckpointError, match="two of its tensors"):
        names.to_hugging_face(tensors, names.ML_CVNETS)


def test_schemes_without_a_place_say_so():
    with pytest.raises(CheckpointError, match="timm has no place"):
        names.from_hugging_face(_prefixed(tiny_tensors("segmenter")), names.TIMM)
    with pytest.raises(CheckpointError, match="activation"):
        names.from_hugging_face(_prefixed(tiny_tensors(hidden_act="prelu")), names.ML_CVNETS)


def test_the_stem_is_flipped_on_its_input_axis():
    stem = np.arange(16 * 3 * 9.0).reshape(16, 3, 3, 3)
    flipped = names.flip_stem({names.STEM: stem, "other": stem})
    np.testing.assert_array_equal(flipped[names.STEM][:, 0], stem[:, 2])
    np.testing.assert_array_equal(flipped[names.STEM][:, 1], stem[:, 1])
    assert flipped["other"] is stem
    np.testing.assert_array_equal(names.flip_stem(flipped)[names.STEM], stem)
    with pytest.raises(CheckpointError, match="stem"):
        names.flip_stem({"other": stem})


@pytest.mark.parametrize("task", COUNTS)
def test_hugging_faces_names_are_recognized(task):
    assert find_network(parameter_shapes(tiny_config(task), task)).scheme == names.HUGGING_FACE


SECOND_FAMILY = ["seg_head.aux_head.0.block.conv.weight", "seg_head.classifier.block.conv.weight"]
RELATIVES = [
    *((name, "ml-cvnets 0.2 or newer") for name in SECOND_FAMILY),
    ("mobilevitv2.encoder.layer.0.layer.0.expand_1x1.convolution.weight", "MobileViT v2"),
    ("stages.2.1.transformer.0.attn.qkv_proj.weight", "MobileViT v2"),
    ("layer_3.1.global_rep.0.pre_norm_attn.1.qkv_proj.block.conv.weight", "MobileViT v2"),
    ("stages.0.0.conv2_kxk.attn.fc1.weight", "SE-MobileViT"),
]


@pytest.mark.parametrize(("name", "says"), RELATIVES)
def test_relatives_are_refused_by_name(name, says):
    for stem in ([], ["encoder.conv_1.block.conv.weight"], ["stem.conv.weight"]):
        with pytest.raises(CheckpointError, match=says):
            find_network([*stem, name])


@pytest.mark.parametrize("found", [[], ["a"], ["conv1.weight", "layer1.0.bn1.weight", "fc.weight", "x", "y", "z"]])
def test_other_networks_are_an_error(found):
    with pytest.raises(CheckpointError, match="aren't a MobileViT's weights") as caught:
        find_network(found)
    assert "\n" not in str(caught.value)

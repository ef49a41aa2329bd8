"""A port's tensors under our names and in our layout: tables of names, a map, alignment, NHWC and its relatives."""

import json
from dataclasses import replace

import drawing
import numpy as np
import pytest
from golden_ports import BY_NAME, golden_and_network, port
from hypothesis import given
from hypothesis import strategies as st

from mobilevit_np.errors import CheckpointError, InputError
from mobilevit_np.golden import compare, layouts, read_port, trace
from mobilevit_np.golden.alignment import align, likeness
from mobilevit_np.golden.hook_names import ML_CVNETS, TIMM, TRANSFORMERS
from mobilevit_np.golden.matching import NAMELESS, match, natural, read_map
from mobilevit_np.golden.tables import comparison_lines, remarks

# timm's module -> the activation it shows, chosen by hand from its forward functions
TIMM_SEES = {
    "stem.conv": "mobilevit.conv_stem.convolution",
    "stem.bn.drop": "mobilevit.conv_stem.normalization",
    "stem.bn": "mobilevit.conv_stem.activation",
    "stages.0.0.conv3_1x1.bn": "mobilevit.encoder.layer.0.layer.0.reduce_1x1.normalization",
    "stages.1.2": "mobilevit.encoder.layer.1.layer.2",
    "stages.2.0.conv2_kxk.conv": "mobilevit.encoder.layer.2.downsampling_layer.conv_3x3.convolution",
    "stages.2.1.conv_1x1": "mobilevit.encoder.layer.2.conv_1x1.convolution",
    "stages.3.1.transformer.3.norm1": "mobilevit.encoder.layer.3.transformer.layer.3.layernorm_before",
    "stages.3.1.transformer.3.attn.proj": "mobilevit.encoder.layer.3.transformer.layer.3.attention.output.dense",
    "stages.3.1.transformer.3.mlp.fc1": "mobilevit.encoder.layer.3.transformer.layer.3.intermediate.dense",
    "stages.3.1.transformer.3": "mobilevit.encoder.layer.3.transformer.layer.3",
    "stages.4.1.norm": "mobilevit.encoder.layer.4.layernorm",
    "stages.4.1.conv_fusion.bn.act": "mobilevit.encoder.layer.4.fusion.activation",
    "stages.4": "mobilevit.encoder.layer.4",
    "final_conv": "mobilevit.conv_1x1_exp",
    "head.fc": "classifier",
    "": "logits",
}
# ml-cvnets', of a segmenter, in the same way
ML_CVNETS_SEES = {
    "encoder.conv_1.block.conv": "mobilevit.conv_stem.convolution",
    "encoder.conv_1.block.act": "mobilevit.conv_stem.activation",
    "encoder.conv_1": "mobilevit.conv_stem",
    "encoder.layer_1.0.block.red_1x1.block.norm": "mobilevit.encoder.layer.0.layer.0.reduce_1x1.normalization",
    "encoder.layer_2.2": "mobilevit.encoder.layer.1.layer.2",
    "encoder.layer_3.0": "mobilevit.encoder.layer.2.downsampling_layer",
    "encoder.layer_3.1.local_rep": "mobilevit.encoder.layer.2.conv_1x1.convolution",
    "encoder.layer_4.1.global_rep.3.pre_norm_mha.0": "mobilevit.encoder.layer.3.transformer.layer.3.layernorm_before",
    "encoder.layer_4.1.global_rep.3.pre_norm_mha.1.softmax": "mobilevit.encoder.layer.3.transformer.layer.3.attention."
    "attention.probabilities",
    "encoder.layer_4.1.global_rep.3.pre_norm_mha.2": "mobilevit.encoder.layer.3.transformer.layer.3.attention",
    "encoder.layer_4.1.global_rep.3.pre_norm_ffn.1": "mobilevit.encoder.layer.3.transformer.layer.3.intermediate.dense",
    "encoder.layer_4.1.global_rep.3.pre_norm_ffn": "mobilevit.encoder.layer.3.transformer.layer.3.output.dense",
    "encoder.layer_4.1.global_rep.3": "mobilevit.encoder.layer.3.transformer.layer.3",
    "encoder.layer_5.1.global_rep.3": "mobilevit.encoder.layer.4.layernorm",
    "encoder.layer_5.1.fusion.block.norm": "mobilevit.encoder.layer.4.fusion.normalization",
    "encoder.layer_5": "mobilevit.encoder.layer.4",
    "seg_head.aspp.aspp_layer.convs.2.block.conv": "segmentation_head.aspp.convs.2.convolution",
    "seg_head.aspp.aspp_layer.convs.4.aspp_pool.conv_1x1": "segmentation_head.aspp.convs.4.conv_1x1",
    "seg_head.classifier.classifier": "segmentation_head.classifier",
}
QKV = "stages.4.1.transformer.2.attn.qkv"


def timm_port():
    found = port(*golden_and_network())
    renamed = {theirs: found[ours] for theirs, ours in TIMM_SEES.items()}
    attention = "mobilevit.encoder.layer.4.transformer.layer.2.attention.attention"
    renamed[QKV] = np.concatenate([found[f"{attention}.{part}"] for part in ("query", "key", "value")], axis=-1)
    return renamed, attention


def assert_found(matching, expected):
    """Each of our paths has the tensor that it has in the stand-in port."""
    found = port(*golden_and_network())
    assert set(matching.found) == set(expected)
    for path in expected:
        np.testing.assert_array_equal(matching.found[path].tensor, found[path])
    assert list(matching.found) == [path for path in golden_and_network()[0].tensors if path in expected]


def test_transformers_hooks_have_our_names_and_dropout_shows_the_probabilities():
    golden, network = golden_and_network()
    found = port(golden, network)
    theirs = {name.replace("probabilities", "dropout"): tensor for name, tensor in found.items()}
    theirs[""] = theirs.pop("logits")
    matching = match(golden, theirs)
    assert matching.how == TRANSFORMERS
    assert_found(matching, set(found))


def test_a_bare_models_hooks_lack_the_prefix():
    golden, network = golden_and_network()
    found = {name.removeprefix("mobilevit."): t for name, t in port(golden, network).items() if name != "mobilevit"}
    assert_found(match(golden, found), set(golden.tensors) - {"image", "mobilevit"})


@pytest.mark.parametrize("prefix", ["", "mobilevit."])
def test_the_whole_of_a_bare_model_is_the_last_map(prefix):
    golden, network = golden_and_network()
    paths = {f"{prefix}{path}": f"mobilevit.{path}" for path in ("conv_stem", "encoder.layer.0", "encoder")}
    found = port(golden, network)
    theirs = {name: found[path] for name, path in paths.items()}
    whole = "logits" if prefix else "mobilevit"  # with the prefix, some of a classifier's
    assert_found(match(golden, {**theirs, "": found[whole]}), {*paths.values(), whole})
    assert_found(match(golden, {**theirs, "logits": found["logits"]}), {*paths.values(), "logits"})


def test_timm_hooks_fused_and_split():
    golden, _ = golden_and_network()
    theirs, attention = timm_port()
    matching = match(golden, theirs)
    assert matching.how == TIMM
    assert_found(matching, {*TIMM_SEES.values(), *(f"{attention}.{part}" for part in ("query", "key", "value"))})
    assert match(golden, {**theirs, QKV: theirs[QKV][..., :-1]}).misshapen[f"{attention}.key"][0] == QKV


def test_ml_cvnets_hooks_fused_and_enlarged():
    golden, network = golden_and_network("segmenter")
    found = port(golden, network)
    theirs = {name: found[path] for name, path in ML_CVNETS_SEES.items()}
    attention = "mobilevit.encoder.layer.3.transformer.layer.3.attention.attention"
    parts = [found[f"{attention}.{part}"] for part in ("query", "key", "value")]
    theirs["encoder.layer_4.1.global_rep.3.pre_norm_mha.1.qkv_proj"] = np.concatenate(parts, axis=-1)
    matching = match(golden, {**theirs, "": np.zeros((1, 7, 64, 128))})
    assert matching.how == ML_CVNETS
    assert set(matching.found) == {*ML_CVNETS_SEES.values(), *(f"{attention}.{p}" for p in ("query", "key", "value"))}
    for path, matched in matching.found.items():
        np.testing.assert_array_equal(matched.tensor, found[path])
    assert (matching.unknown, matching.misshapen) == (("",), {})


@pytest.mark.parametrize("mistake", [None, "concat_order"])
def test_a_classifier_of_ml_cvnets_is_judged_by_its_names(mistake):
    golden, network = golden_and_network()
    found = port(golden, network, [BY_NAME[mistake]] if mistake else [])
    seen = {name.removeprefix("encoder."): path for name, path in ML_CVNETS_SEES.items()}
    theirs = {name: found[path] for name, path in seen.items() if path in found} | {"": found["logits"]}
    comparison = compare(golden, theirs, network=network)
    assert comparison.how == ML_CVNETS
    assert comparison.ok == (mistake is None)
    if mistake:  # made in L3's fusion first, and seen in L4's last layer of the transformer
        assert comparison.first_bad.path == ML_CVNETS_SEES["encoder.layer_4.1.global_rep.3.pre_norm_mha.0"]


@pytest.mark.parametrize(("share", "trusted"), [(0.6, True), (0.3, False)])
def test_names_are_trusted_where_half_of_them_are_known(share, trusted):
    golden, network = golden_and_network()
    found = port(golden, network)
    theirs = {name if i < share * len(found) else f"t{i}": x for i, (name, x) in enumerate(found.items())}
    assert (match(golden, theirs).how == TRANSFORMERS) == trusted


def test_a_layout_is_elected_by_the_tensors_that_it_alone_fits():
    both = ("b c h w", ["b c h w", "b h w c"])
    assert layouts.vote([both, both, ("b c h w", ["b h w c"])]) == {"b c h w": "b h w c"}


def test_a_map_gives_names_and_parts():
    golden, _ = golden_and_network()
    theirs, attention = timm_port()
    mapping = {"a": "classifier", "b": [f"{attention}.{part}" for part in ("query", "key", "value")], "c": ""}
    renamed = {"a": theirs["head.fc"], "b": theirs[QKV], "c": theirs["head.fc"]}
    matching = match(golden, renamed, mapping=mapping)
    assert_found(matching, {"classifier", *mapping["b"]})
    assert matching.unknown == ("c",)


@pytest.mark.parametrize("replayed", [False, True])
def test_a_map_may_name_tensors_that_the_port_lacks(replayed):
    """They're left out and said, in the remarks and to programs; so is what's mapped to nothing."""
    golden, network = golden_and_network()
    mapping = {"fc": "classifier", "head_not_dumped": "logits", "nor_this": ["mobilevit"], "none": []}
    given = {"fc": port(golden, network)["classifier"], "none": np.zeros(3)}
    comparison = compare(golden, given, mapping=mapping, network=network if replayed else None)
    assert [(row.path, row.ok) for row in comparison.rows] == [("classifier", True)]
    assert "2 of the map's names are not in the port: head_not_dumped, nor_this" in remarks(comparison)
    assert "1 of the port's tensors match nothing: none" in remarks(comparison)
    long = replace(comparison, unknown=(f"{'model/' * 50}{'a' * 100}",))
    assert f"1 of the port's tensors match nothing: ...{'a' * 100}" in remarks(long)
    assert comparison.as_json()["absent"] == ["head_not_dumped", "nor_this"]
    with pytest.raises(InputError, match=r"none of the port's 1 tensors .* give a JSON map of names that both have"):
        match(golden, {"none": np.zeros(3)}, mapping={"head_not_dumped": "logits"})


def test_a_map_adds_to_the_names_that_are_known():
    golden, network = golden_and_network()
    theirs = port(golden, network)
    odd = "mobilevit.encoder.layer.2.fusion"
    theirs["their_fusion"] = theirs.pop(odd)
    matching = match(golden, theirs, mapping={"their_fusion": odd})
    assert matching.found[odd].name == "their_fusion"
    assert_found(matching, set(golden.tensors) - {"image"})


def test_a_path_that_no_network_has_is_an_error_and_one_that_this_file_left_out_is_none():
    golden, network = golden_and_network()
    few = trace(golden.tensors["pixel_values"], network, only="*.fusion")
    theirs = {"a": few.tensors["mobilevit.encoder.layer.2.fusion"]}
    mapping = {"a": "mobilevit.encoder.layer.2.fusion", "b": "mobilevit.encoder.layer.2.layernorm"}
    assert list(match(few, theirs, mapping=mapping).found) == ["mobilevit.encoder.layer.2.fusion"]
    with pytest.raises(InputError, match=r"layer.2.fusoin.* did you mean mobilevit.encoder.layer.2.fusion\?"):
        match(few, theirs, mapping={"a": "mobilevit.encoder.layer.2.fusoin"})


@pytest.mark.parametrize("last", [False, True])
def test_tensors_of_another_input_size_are_named_as_that(last):
    golden, network = golden_and_network()
    other = trace(drawing.draw_pixels((1, 3, 96, 128)).astype(np.float32), network)
    theirs = {path: x.transpose(0, 2, 3, 1) if last and x.ndim == 4 else x for path, x in other.tensors.items()}
    for found in (theirs, {path: x for path, x in theirs.items() if path != "pixel_values"}):
        comparison = compare(golden, found)
        assert comparison.other_size == (96, 128)
        assert "an input 96 high and 128 wide, unlike the golden file's" in comparison_lines(comparison)[0]
    assert compare(golden, port(golden, network)).other_size is None


def test_nameless_tensors_are_found_by_order_shape_and_content():
    golden, network = golden_and_network()
    found = port(golden, network)
    matching = match(golden, {f"StatefulPartitionedCall:{i}": tensor for i, tensor in enumerate(found.values())})
    assert matching.how == NAMELESS
    assert_found(matching, set(found))
    few = {name: tensor for i, (name, tensor) in enumerate(found.items()) if i % 3 == 0}
    few = {"extra": np.zeros((5, 5), np.float32), **few, "more": np.ones(3, np.float32)}
    matching = match(golden, {f"t{i}": tensor for i, tensor in enumerate(few.values())})
    assert set(matching.unknown) == {"t0", f"t{len(few) - 1}"}
    for path, matched in matching.found.items():  # equal tensors can't be told apart, but nothing else is mistaken
        np.testing.assert_array_equal(matched.tensor, found[path])


def test_alignment_never_crosses_and_prefers_likeness():
    rng = np.random.default_rng(0)
    ours = [rng.normal(size=6) for _ in range(5)]
    theirs = [ours[0], rng.normal(size=6), ours[2], ours[3] + 0.01, rng.normal(size=6)]
    fits = {(i, j) for i in range(5) for j in range(5)}
    assert align([[x] for x in ours], 5, lambda i, j: (theirs[j], True) if (i, j) in fits else None) == {
        i: i for i in range(5)
    }
    reversed_order = align([[x] for x in ours], 5, lambda i, j: (ours[4 - j], True))
    assert list(reversed_order.values()) == sorted(reversed_order.values())
    assert align([[x] for x in ours], 5, lambda i, j: None) == {}
    assert likeness(ours[0], ours[0]) == 1 > likeness(ours[1], ours[0]) > likeness(-9 * ours[0], ours[0])
    assert likeness(np.full(6, np.nan), ours[0]) == 0


def _axes(layout):
    """One letter for each axis: pixels have rows and columns within a patch, and patches within a map."""
    whole = {"p": "ij", "n": "uv", "1": ""}
    return [axis for letter in layout.replace("(", "").replace(")", "").split() for axis in whole.get(letter, letter)]


@given(st.data(), st.sampled_from([(kind, layout) for kind, known in layouts.LAYOUTS.items() for layout in known]))
def test_every_layout_is_brought_back(data, kind_and_layout):
    kind, layout = kind_and_layout
    letters, wanted = _axes(kind), _axes(layout)
    lengths = {axis: data.draw(st.integers(1, 4)) if axis in wanted else 1 for axis in letters}
    ours = np.arange(np.prod(list(lengths.values()))).reshape(layouts.shape_in(kind, lengths))
    atoms = ours.reshape([lengths[axis] for axis in letters])
    rest = [axis for axis in letters if axis not in wanted]
    theirs = np.einsum(atoms, [letters.index(a) for a in letters], [letters.index(a) for a in wanted + rest])
    theirs = theirs.reshape(layouts.shape_in(layout, lengths))
    np.testing.assert_array_equal(layouts.arrange(theirs, layout, kind, lengths), ours)


def test_an_ambiguous_layout_follows_the_file():
    votes = layouts.vote([("b c h w", ["b h w c"]), ("b c h w", ["b h w c", "b c h w"])])
    assert votes == {"b c h w": "b h w c"}
    assert layouts.choose("b c h w", ["b c h w", "b h w c"], votes) == "b h w c"
    assert layouts.choose("b c h w", ["b c h w", "b h w c"], {}) == "b c h w"
    assert layouts.choose("b c h w", ["c h w", "h w c"], votes) == "h w c"
    assert layouts.choose("b c h w", ["c h w", "h w c"], {}) == "c h w"
    assert layouts.choose("b c h w", ["h w c", "c h w"], {"b c h w": "b c h w"}) == "c h w"


@pytest.mark.parametrize(
    "change",
    [
        lambda path, x: x.transpose(0, 2, 3, 1) if layouts.kind_of(path, x) == layouts.MAP else x,
        lambda path, x: x[0] if x.ndim in (2, 4) and not path.endswith("probabilities") else x,
        lambda path, x: x[0].transpose(1, 2, 0) if layouts.kind_of(path, x) == layouts.MAP else x,
        lambda path, x: x.reshape(1, 4, *x.shape[1:]) if layouts.kind_of(path, x) == layouts.TOKENS else x,
        lambda path, x: x.reshape(*x.shape[:2], -1) if layouts.kind_of(path, x) == layouts.MAP else x,
    ],
)
def test_a_port_in_another_layout_is_found(change):
    golden, network = golden_and_network()
    found = port(golden, network)
    matching = match(golden, {path: change(path, tensor) for path, tensor in found.items()})
    assert not matching.misshapen
    assert_found(matching, set(found))


def test_a_shape_that_fits_no_layout_is_said():
    golden, network = golden_and_network()
    found = port(golden, network)
    matching = match(golden, {**found, "mobilevit.conv_stem": found["mobilevit.conv_stem"][:, :, 1:]})
    ((path, (name, tensor)),) = matching.misshapen.items()
    assert (path, name, tensor.shape) == ("mobilevit.conv_stem", "mobilevit.conv_stem", (1, 8, 31, 32))
    assert "mobilevit.conv_stem" not in matching.found


def test_nothing_to_match_is_an_error():
    golden, _ = golden_and_network()
    with pytest.raises(InputError, match="none of the port's 1 tensors"):
        match(golden, {"a": np.zeros((2, 2))})
    with pytest.raises(InputError, match="one of auto, names, weights, order"):
        match(golden, {"a": np.zeros((2, 2))}, by="magic")


def test_files_keep_their_order(tmp_path):
    from safetensors.numpy import save_file

    tensors = {f"layer_{i}": np.full(3, i, np.float32) for i in (10, 2, 1)}
    for name in ("port.npz", "PORT.NPZ"):
        with open(tmp_path / name, "wb") as file:
            np.savez(file, **tensors)
        assert list(read_port(tmp_path / name)) == ["layer_10", "layer_2", "layer_1"]
    save_file(tensors, tmp_path / "port.safetensors")
    assert list(read_port(tmp_path / "port.safetensors")) == ["layer_1", "layer_2", "layer_10"]
    save_file(tensors, tmp_path / "listed.safetensors", {"order": json.dumps(list(tensors))})
    assert list(read_port(tmp_path / "listed.safetensors")) == list(tensors)
    for wrong in ("[", '["layer_1"]', "3"):
        save_file(tensors, tmp_path / "wrong.safetensors", {"order": wrong})
        with pytest.raises(CheckpointError, match="order"):
            read_port(tmp_path / "wrong.safetensors")
    assert sorted(["a10b", "a2", "a", "b1"], key=natural) == ["a", "a2", "a10b", "b1"]


def test_a_map_is_checked(tmp_path):
    (tmp_path / "map.json").write_text('{"a": "b", "c": ["d"]}')
    assert read_map(tmp_path / "map.json") == {"a": "b", "c": ["d"]}
    (tmp_path / "map.json").write_text('{"a": 3}')
    with pytest.raises(InputError, match="maps 'a'"):
        read_map(tmp_path / "map.json")


@pytest.mark.parametrize("layout", ["(b p) u v (k e)", "b (u i) (v j) (k e)", "b (k e) (u i) (v j)"])
def test_tokens_that_still_lie_in_their_map(layout):
    """A port needn't unfold at all to compute what is done to each token by itself."""
    golden, network = golden_and_network("odd")
    found, path = port(golden, network), "mobilevit.encoder.layer.2.transformer.layer.0.layernorm_before"
    _, _, height, width = golden.tensors["mobilevit.encoder.layer.2.conv_1x1"].shape
    tokens = found[path].reshape(2, 2, -(-height // 2), -(-width // 2), -1)  # i j u v c
    order = {"(b p) u v (k e)": "ijuvc", "b (u i) (v j) (k e)": "uivjc", "b (k e) (u i) (v j)": "cuivj"}[layout]
    theirs = tokens.transpose(["ijuvc".index(axis) for axis in order])
    shapes = {"ijuvc": (4, *theirs.shape[2:4], -1), "uivjc": (1, theirs.shape[0] * 2, theirs.shape[2] * 2, -1)}
    found[path] = theirs.reshape(shapes.get(order, (1, theirs.shape[0], theirs.shape[1] * 2, theirs.shape[3] * 2)))
    compared = compare(golden, found, network=network)
    assert compared.ok
    assert path in [row.path for row in compared.rows]

"""The network found among all that a file holds: wrappers, several networks, heads, and what is none."""

import warnings

import numpy as np
import pytest
from fuzz.samples import safetensors_file, tiny_tensors, torch_file

from mobilevit_np.checkpoints import open_checkpoint
from mobilevit_np.checkpoints import parameter_names as names
from mobilevit_np.checkpoints.wrappers import find_network
from mobilevit_np.errors import CheckpointError, MobileViTWarning

BARE = tiny_tensors("backbone")
HF, SEGMENTER = tiny_tensors(), tiny_tensors("segmenter")
TIMM, CVNETS = (names.from_hugging_face(HF, scheme) for scheme in (names.TIMM, names.ML_CVNETS))
CVNETS_SEGMENTER = names.from_hugging_face(SEGMENTER, names.ML_CVNETS)
TIMM_BARE = {name: tensor for name, tensor in TIMM.items() if not name.startswith("head.")}
FEATURES = {name.replace("stages.", "stages_"): tensor for name, tensor in TIMM_BARE.items()}
LINEAR = {"weight": HF["classifier.weight"], "bias": HF["classifier.bias"]}
ONE = np.ones(3, np.float32)
OPTIMIZER = {"state": {0: {"exp_avg": ONE, "step": np.array(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
LIGHTNING = {
    "epoch": 3, "pytorch-lightning_version": "2.5", "loops": {"fit_loop": {"state_dict": {}}},
    "callbacks": {"ModelCheckpoint": {"best_model_score": np.array(0.5)}}, "optimizer_states": [OPTIMIZER],
}  # fmt: skip


def under(prefix, tensors):
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def moved(tensors):
    return {name: np.asarray(tensor + 1) for name, tensor in tensors.items()}


def flat(tree, path=()):
    """The same as safetensors can hold it: names with dots."""
    found = {}
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, np.ndarray):
            found[".".join([*path, str(key)])] = value
        elif isinstance(value, (dict, list)):
            found |= flat(value, (*path, str(key)))
    return found


def opened(tree, tmp_path, ending=".safetensors", **options):
    """(the checkpoint, the one line it was warned with, or nothing)."""
    path = tmp_path / f"w{ending}"
    path.write_bytes(safetensors_file(flat(tree)) if ending == ".safetensors" else torch_file(tree))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        checkpoint = open_checkpoint(path, **options)
    assert all("\n" not in str(each.message) and each.category is MobileViTWarning for each in caught)
    assert len(caught) < 2
    return checkpoint, "".join(str(each.message) for each in caught).removeprefix(f"{path}: ")


WRAPPED = {  # what a file holds: (its tree, the tensors it should give, where they stand, what is said)
    "as they are": (HF, HF, "", ""),
    "DataParallel": (under("module", TIMM), HF, "", ""),
    "torch.compile of it": ({"model": under("_orig_mod.module", CVNETS)}, HF, "model", ""),
    "a compiled part": ({n.replace("mobilevit.", "mobilevit._orig_mod."): t for n, t in HF.items()}, HF, "", ""),
    "a compiled layer": (
        {n.replace("encoder.layer.3.", "encoder.layer.3._orig_mod."): t for n, t in BARE.items()}, BARE, "", ""
    ),
    "Lightning": (
        {**LIGHTNING, "state_dict": {**under("model", HF), "criterion.weight": ONE, "train_acc.tp": ONE}}, HF,
        "state_dict.model", "left out: callbacks (1 tensor), optimizer_states (2 tensors), state_dict.criterion "
        "(1 tensor), state_dict.train_acc (1 tensor)",
    ),
    "a wrapper's wrapper": (under("model.model", SEGMENTER), SEGMENTER, "model.model", ""),
    "a segmenter's": (under("net", CVNETS_SEGMENTER), SEGMENTER, "net", ""),
    "a bare one": (under("backbone", BARE), BARE, "backbone", ""),
    "called mobilevit by its owner": (under("mobilevit", HF), HF, "mobilevit", ""),
    "timm without classes": (TIMM_BARE, BARE, "", ""),
    "timm's features_only": (under("encoder.model", FEATURES), BARE, "encoder.model", ""),
    "a loss beside it": ({**HF, "criterion.weight": ONE}, HF, "", "left out: criterion (1 tensor)"),
    "a training's": ({"model": HF, "optimizer": OPTIMIZER, "epoch": 3}, HF, "model", "left out: optimizer (2 tensors)"),
    "swa_utils.AveragedModel": ({"n_averaged": np.array(7), **under("module", HF)}, HF, "", ""),
    "a list of models": ({"models": [TIMM]}, HF, "models.0", ""),
    "a linear head beside it": (
        {**under("backbone", BARE), **under("head", LINEAR)}, HF, "backbone", "head is taken for its classifier"
    ),
    "one in a Sequential": (
        {**under("net.backbone", TIMM_BARE), **under("net.fc.1", LINEAR), "metric.total": ONE}, HF, "net.backbone",
        "net.fc is taken for its classifier; left out: metric (1 tensor)",
    ),
    "one in the place of its own": (
        {**{n: t for n, t in HF.items() if "classifier" not in n}, **under("classifier.1", LINEAR)}, HF, "",
        "classifier is taken for its classifier",
    ),
    "timm's replaced": ({**TIMM_BARE, **under("head", LINEAR)}, HF, "", "head is taken for its classifier"),
    "a second head beside its own": ({**HF, **under("aux_head", LINEAR)}, HF, "", "left out: aux_head (2 tensors)"),
    "a projection": ({**BARE, "proj.weight": ONE}, BARE, "", "left out: proj (1 tensor)"),
}  # fmt: skip


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
@pytest.mark.parametrize(("tree", "tensors", "chosen", "says"), WRAPPED.values(), ids=WRAPPED.keys())
def test_the_network_in_a_file(tree, tensors, chosen, says, ending, tmp_path):
    checkpoint, said = opened(tree, tmp_path, ending)
    assert (checkpoint.provenance.chosen, said) == (chosen, says)
    assert set(checkpoint.tensors) == set(tensors)
    assert all(np.array_equal(checkpoint.tensors[name], tensor) for name, tensor in tensors.items())


SEVERAL = {  # a tree of two networks, their prefixes, and whether the second is opened by itself
    "a distillation": ({**under("student", TIMM), **under("teacher", moved(TIMM))}, "student", "teacher", False),
    "two of a kind": ({"model": HF, "net": moved(HF)}, "model", "net", False),
    "timm's average": (
        {"state_dict": HF, "state_dict_ema": under("module", moved(HF))}, "state_dict", "state_dict_ema", True
    ),
    "ml-cvnets' average": (
        {"model_state_dict": CVNETS, "ema_state_dict": moved(CVNETS)}, "model_state_dict", "ema_state_dict", True
    ),
    "another": (
        {"model": {"state_dict": HF}, "ema": {"state_dict": moved(HF), "decay": 0.9}}, "model.state_dict",
        "ema.state_dict", True,
    ),
    "Lightning's": (
        {"state_dict": {**under("model", HF), **under("ema_model", moved(HF))}}, "state_dict.model",
        "state_dict.ema_model", True,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tree", "first", "second", "averaged"), SEVERAL.values(), ids=SEVERAL.keys())
def test_of_two_networks_one_is_chosen(tree, first, second, averaged, tmp_path):
    stem = "mobilevit.conv_stem.convolution.weight"
    if averaged:
        checkpoint, said = opened(tree, tmp_path)
        count = checkpoint.provenance.keys
        assert checkpoint.provenance.chosen == second
        assert said == f"left out: {first} ({count} tensors, a network that its prefix would choose)"
        assert opened(tree, tmp_path, use_ema=False)[0].provenance.chosen == first
    else:
        with pytest.raises(CheckpointError, match=rf"2 networks, under '{first}\.', '{second}\.'; choose one"):
            opened(tree, tmp_path)
    for prefix, value in ((first, HF[stem]), (f"{second}.", HF[stem] + 1)):
        np.testing.assert_array_equal(opened(tree, tmp_path, prefix=prefix)[0].tensors[stem], value)
    both = rf"'{min(first, second)}\.', '{max(first, second)}\.'"
    with pytest.raises(CheckpointError, match=f"there is no network under 'nobody'; it holds 2 networks, under {both}"):
        opened(tree, tmp_path, prefix="nobody")


def test_a_network_without_a_prefix_is_said_to_have_none(tiny_classifier):
    with pytest.raises(CheckpointError, match=r"no network under 'nobody'; it holds 1 network, under no prefix$"):
        open_checkpoint(tiny_classifier, prefix="nobody")


LAYERS = {f"{i}.{leaf}": ONE for i in (0, 2) for leaf in ("weight", "bias")}
NOT_OURS = {  # names, and what is said of them
    "an MLP head": ({**TIMM_BARE, **under("head.fc", LAYERS)}, r"of several layers \(head\.fc\.0, head\.fc\.2\)"),
    "in the classifier's place": (
        {**{n: t for n, t in HF.items() if "classifier" not in n}, **under("classifier", LAYERS)},
        r"of several layers \(classifier\.0, classifier\.2\), and this library only knows .*MobileViTModel",
    ),
    "beside it": ({**under("backbone", BARE), **under("head", LAYERS)}, r"of several layers \(head\.0"),
    "a normalization before it": (
        {**under("backbone", BARE), "bn.running_mean": ONE, **under("fc", LINEAR)}, r"of several layers \(bn, fc\)"
    ),
    "two tasks'": ({**BARE, "age_head.weight": ONE, "age_head.bias": ONE, "sex_head.weight": ONE}, "age_head, sex_h"),
    "ml-cvnets' detector": (
        {**{f"encoder.{n}": t for n, t in CVNETS.items() if "classifier" not in n},
         "ssd_heads.0.loc_cls_layer.block.conv.weight": ONE, "extra_layers.os_64.0.block.conv.weight": ONE},
        "an SSD detector",
    ),
    "a detector": ({**under("backbone", TIMM_BARE), "bbox_head.cls.weight": ONE}, "comes with a detector"),
    "a U-Net": (
        {**under("encoder.model", FEATURES), "decoder.blocks.0.conv1.weight": ONE, "segmentation_head.0.weight": ONE},
        "another segmenter",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("tree", "says"), NOT_OURS.values(), ids=NOT_OURS.keys())
def test_a_head_that_is_not_this_networks(tree, says, tmp_path):
    with pytest.raises(CheckpointError, match=says) as caught:
        opened(tree, tmp_path)
    assert "config.json" not in str(caught.value)
    bare, said = opened(tree, tmp_path, task="backbone")  # which the line says
    assert said.startswith("left out: ")
    assert np.array_equal(bare.tensors["conv_stem.convolution.weight"], BARE["conv_stem.convolution.weight"])


STRANGERS = {  # names of tensors, and what is said of them
    "LoRA": (["base_model.model.mobilevit.encoder.layer.2.q.lora_A.weight"], "a LoRA adapter.*merge"),
    "LoRA in its model": ([*under("base_model.model", HF), "base_model.model.q.base_layer.weight"], "PEFT.*merge"),
    "pruned": ([*TIMM, "stages.0.0.conv1_1x1.conv.weight_mask"], "pruned"),
    "quantized": ([*HF, "mobilevit.encoder.layer.2.x.weight.quant_map"], "bitsandbytes"),
    "MobileViT v2": (["mobilevitv2.conv_stem.convolution.weight"], "MobileViT v2"),
    "timm's v2": (["stem.conv.weight", "stages.2.1.transformer.0.attn.qkv_proj.weight"], "MobileViT v2"),
    "a RegNet": (["stem.conv.weight", "s1.b1.conv1.conv.weight", "head.fc.weight"], "another network"),
    "mmpretrain": (
        ["backbone.stem.conv.weight", "backbone.layers.0.0.expand_conv.conv.weight", "head.fc.weight"],
        "another port's names .mmpretrain",
    ),
    "mobilevit-pytorch": (["conv1.0.weight", "mv2.0.conv.0.weight", "mvit.0.conv1.0.weight"], "mobilevit-pytorch"),
    "vit-pytorch": (["conv1.0.weight", "trunk.0.0.conv1.0.weight", "to_logits.2.weight"], "vit-pytorch"),
    "Keras": (["stem_conv/kernel:0"], "Keras"),
    "Flax": (["params.stem.kernel"], "Keras or Flax"),
    "a ResNet": (["conv1.weight", "layer1.0.conv1.weight", "fc.weight"], "aren't a MobileViT's weights: 3 tensors"),
    "an optimizer": (["state.0.exp_avg", "state.0.step"], "an optimizer's state"),
    "a shard": ([name for name in HF if "stem" not in name], "without its stem"),
    "nothing but a stem": (["mobilevit.conv_stem.convolution.weight"], "lacks"),
}


@pytest.mark.parametrize(("found", "says"), STRANGERS.values(), ids=STRANGERS.keys())
def test_strangers_are_told_what_they_are(found, says):
    with pytest.raises(CheckpointError, match=says) as caught:
        find_network(found)
    assert "\n" not in str(caught.value)
    assert "config.json" not in str(caught.value)


def test_a_hundred_parts_are_said_in_one_line(tmp_path):
    _, said = opened({**BARE, **{f"part{i:03}.weight": ONE for i in range(100)}}, tmp_path)
    assert said.endswith("part005 (1 tensor), 94 more")

"""``open_checkpoint``: every scheme, format, task and place; labels, channel order, preprocessing, what goes wrong."""

import errno
import json
import os
import warnings

import numpy as np
import pytest
from fuzz.samples import legacy_torch_file, safetensors_file, tiny_config, tiny_tensors, torch_file

from mobilevit_np import MobileViTConfig
from mobilevit_np.checkpoints import Checkpoint, config_fields, info, open_checkpoint, save_checkpoint
from mobilevit_np.checkpoints import parameter_names as names
from mobilevit_np.checkpoints.configurations import full_config
from mobilevit_np.config import VARIANTS, NetworkConfig
from mobilevit_np.errors import CheckpointError, ConfigError, InputError, MobileViTError, MobileViTWarning
from mobilevit_np.labels import VOC_LABELS, imagenet_labels


def write(path, tensors, **options):
    path.write_bytes(safetensors_file(tensors, **options) if path.suffix == ".safetensors" else torch_file(tensors))
    return path


def prefixed(tensors):
    return names.to_hugging_face(tensors, names.HUGGING_FACE)


def folder_of(tmp_path, task="classifier", labels=None, preprocessing=None, config=None, **fields):
    """A folder in the hub's layout with a tiny network."""
    network = tiny_config(task, **fields)
    config = full_config(network, task, labels or ()) if config is None else config
    save_checkpoint(tmp_path / "model", tiny_tensors(task, **fields), config, preprocessing)
    return tmp_path / "model"


KINDS = [
    (scheme, task, ending)
    for scheme in names.SCHEMES
    for task, endings in {
        "classifier": [".safetensors", ".bin"],
        "segmenter": [".safetensors", ".pt"],
        "backbone": [".safetensors", ".pth"],
    }.items()
    for ending in endings
    if (task, scheme) != ("segmenter", names.TIMM)  # timm has none
]


@pytest.mark.parametrize(("scheme", "task", "ending"), KINDS)
def test_a_file_of_every_kind(scheme, task, ending, tmp_path):
    tensors = tiny_tensors(task)
    if scheme != names.HUGGING_FACE:
        tensors = names.from_hugging_face(prefixed(tensors), scheme)
    path = write(tmp_path / f"weights{ending}", tensors)
    checkpoint = open_checkpoint(path)
    assert isinstance(checkpoint, Checkpoint)
    assert (checkpoint.name, checkpoint.task, checkpoint.variant) == ("weights", task, None)
    assert checkpoint.channel_order == ("RGB" if scheme == names.TIMM else "BGR")
    assert checkpoint.profile.flip_channels == (scheme != names.TIMM)
    assert checkpoint.config.output_stride == (16 if task == "segmenter" else 32)
    assert checkpoint.dtype == np.float32
    assert checkpoint.provenance.scheme == scheme
    assert checkpoint.provenance.dtype == "F32"
    assert checkpoint.provenance.keys == len(tensors)
    assert "convention" in checkpoint.notes[0]
    expected = tiny_tensors(task)
    assert set(checkpoint.tensors) == set(expected)
    for name, tensor in expected.items():  # timm's stay RGB: only names are mapped
        np.testing.assert_array_equal(checkpoint.tensors[name], tensor)


@pytest.mark.parametrize(
    ("scheme", "task", "profile"),
    [
        ("huggingface", "classifier", "huggingface-classifier"),
        ("huggingface", "segmenter", "huggingface-segmenter"),
        ("ml-cvnets", "classifier", "ml-cvnets-classifier"),
        ("ml-cvnets", "segmenter", "ml-cvnets-segmenter"),
        ("timm", "classifier", "timm"),
    ],
)
def test_without_settings_photos_are_prepared_as_the_scheme_was_trained(scheme, task, profile, tmp_path):
    path = write(tmp_path / "w.safetensors", names.from_hugging_face(tiny_tensors(task), scheme))
    assert open_checkpoint(path).profile.name == profile


def test_a_folder_in_the_hubs_layout(tmp_path):
    settings = {"crop_size": 64, "size": 72, "do_flip_channels": True, "resample": 2, "do_center_crop": True}
    folder = folder_of(tmp_path, "segmenter", ("a", "b", "c"), settings, output_stride=8, atrous_rates=[1, 2, 3])
    checkpoint = open_checkpoint(str(folder))
    assert (checkpoint.name, checkpoint.labels, checkpoint.notes) == ("model", ("a", "b", "c"), ())
    assert checkpoint.config == tiny_config("segmenter", output_stride=8, atrous_rates=[1, 2, 3])
    assert (checkpoint.preprocessing, checkpoint.channel_order) == (settings, "BGR")
    assert (checkpoint.profile.size, checkpoint.profile.crop) == (72, (64, 64))
    assert checkpoint.config_fields["id2label"] == {"0": "a", "1": "b", "2": "c"}
    assert checkpoint.config_fields["architectures"] == ["MobileViTForSemanticSegmentation"]
    assert open_checkpoint(folder / "model.safetensors").config == checkpoint.config  # the files beside it count


def test_safetensors_are_preferred_to_pickles(tmp_path):
    folder = folder_of(tmp_path)
    (folder / "pytorch_model.bin").write_bytes(b"junk")
    assert open_checkpoint(folder).provenance.format == "safetensors"
    (folder / "model.safetensors").unlink()
    write(folder / "pytorch_model.bin", tiny_tensors())
    assert open_checkpoint(folder).provenance.format == "torch"


def test_files_beside_a_file_of_another_name_do_not_count(tmp_path):
    folder = folder_of(tmp_path, labels=tuple("abcde"))
    (folder / "model.safetensors").rename(folder / "mine.safetensors")
    assert open_checkpoint(folder / "mine.safetensors").labels == tuple("01234")
    assert open_checkpoint(folder).labels == tuple("abcde")


def test_a_folder_with_several_weights_says_so(tmp_path):
    for name in ("a.pt", "b.pt"):
        write(tmp_path / name, tiny_tensors())
    with pytest.raises(CheckpointError, match=r"several weights files \(a\.pt, b\.pt\)"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize(
    ("task", "count", "labels"), [("classifier", 1000, imagenet_labels()), ("segmenter", 21, VOC_LABELS)]
)
def test_labels_of_the_published_data_sets_where_the_count_fits(task, count, labels, tmp_path):
    path = write(tmp_path / "w.safetensors", tiny_tensors(task, num_labels=count))
    assert open_checkpoint(path).labels == labels
    own = tuple(f"mine {i}" for i in range(count))
    folder = folder_of(tmp_path, task, own, num_labels=count)
    assert open_checkpoint(folder).labels == own  # a config's win


def test_labels_are_numbers_where_nothing_fits(tmp_path):
    assert open_checkpoint(write(tmp_path / "a.pt", tiny_tensors(num_labels=21))).labels == tuple(map(str, range(21)))
    assert open_checkpoint(write(tmp_path / "b.pt", tiny_tensors("segmenter"))).labels == ("0", "1", "2")
    assert open_checkpoint(write(tmp_path / "c.pt", tiny_tensors("backbone"))).labels == ()


def test_a_backbone_has_no_labels_whatever_its_config_says(tmp_path):
    """transformers' MobileViTModel saves the two of its configuration, which no head stands behind."""
    folder = folder_of(tmp_path, "backbone", ("LABEL_0", "LABEL_1"))
    assert open_checkpoint(folder).labels == ()
    assert open_checkpoint(folder).config_fields["id2label"] == {"0": "LABEL_0", "1": "LABEL_1"}  # kept as found
    assert (info(folder)["classes"], info(folder)["labels"]) == (None, [])


TIMM_CONFIG = {  # as in timm/mobilevit_xxs.cvnets_in1k
    "architecture": "mobilevit_xxs",
    "num_classes": 7,
    "num_features": 320,
    "global_pool": "avg",
    "pretrained_cfg": {
        "tag": "cvnets_in1k",
        "custom_load": False,
        "input_size": [3, 256, 256],
        "fixed_input_size": False,
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "crop_mode": "center",
        "mean": [0.0, 0.0, 0.0],
        "std": [1.0, 1.0, 1.0],
        "num_classes": 7,
        "pool_size": [8, 8],
        "first_conv": "stem.conv",
        "classifier": "head.fc",
    },
}


def timm_folder(tmp_path, **changes):
    network = NetworkConfig(**VARIANTS["xx_small"], num_labels=7)
    from mobilevit_np.checkpoints import init_parameters

    write(tmp_path / "model.safetensors", names.from_hugging_face(init_parameters(network, "classifier"), names.TIMM))
    (tmp_path / "config.json").write_text(json.dumps({**TIMM_CONFIG, **changes}))
    return tmp_path


def test_timms_folder(tmp_path):
    folder = timm_folder(tmp_path, label_names=list("abcdefg"), label_descriptions={"b": "bee", "a": "ant"})
    checkpoint = open_checkpoint(folder)
    assert (checkpoint.variant, checkpoint.task, checkpoint.channel_order) == ("xx_small", "classifier", "RGB")
    assert checkpoint.labels == ("ant", "bee", *"cdefg")
    profile = checkpoint.profile
    assert (profile.size, profile.crop, profile.resample) == (284, (256, 256), "bicubic")
    assert not profile.flip_channels
    assert checkpoint.config_fields["model_type"] == "mobilevit"
    assert checkpoint.config_fields["hidden_sizes"] == [64, 80, 96]


def test_timms_older_form_without_pretrained_cfg(tmp_path):
    folder = timm_folder(tmp_path)
    flat = {"architecture": "mobilevit_xxs", **TIMM_CONFIG["pretrained_cfg"]}
    (folder / "config.json").write_text(json.dumps(flat))
    assert open_checkpoint(folder).profile.size == 284


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"global_pool": "catavgmax"}, "global_pool must be one of avg, max, avgmax, not 'catavgmax'"),
        ({"global_pool": ""}, "not ''"),
        ({"global_pool": 3}, "not 3"),
        ({"global_pool": "avg", "model_args": {"global_pool": "fastcatavgmax"}}, "not 'catavgmax'"),
        ({"model_args": {"act_layer": "relu"}}, "timm built this network with act_layer='relu', which isn't supported"),
        ({"model_args": {"output_stride": 16}}, "output_stride=16"),
        ({"model_args": ["max"]}, "model_args must be an object"),
    ],
)
def test_what_timm_builds_and_we_do_not_is_refused(changes, says, tmp_path):
    with pytest.raises(ConfigError, match=rf"{tmp_path}/config\.json: .*{says}"):
        open_checkpoint(timm_folder(tmp_path, **changes))


def test_timms_pooling_is_kept(tmp_path):
    usual = {"num_classes": 7, "in_chans": 3, "output_stride": 32, "act_layer": None}
    checkpoint = open_checkpoint(timm_folder(tmp_path, model_args={**usual, "global_pool": "fastmax"}))
    assert checkpoint.config.global_pool == checkpoint.config_fields["global_pool"] == "max"
    assert "global_pool" not in open_checkpoint(timm_folder(tmp_path)).config_fields  # transformers knows no other
    assert MobileViTConfig.from_pretrained(timm_folder(tmp_path, global_pool="avgmax")).global_pool == "avgmax"
    (tmp_path / "mine.json").write_text(json.dumps({**TIMM_CONFIG, "global_pool": "max"}))
    assert MobileViTConfig.from_json_file(tmp_path / "mine.json").global_pool == "max"
    (tmp_path / "mine.json").write_text(json.dumps({"num_classes": 7}))
    with pytest.raises(CheckpointError, match="names no architecture"):
        MobileViTConfig.from_json_file(tmp_path / "mine.json")


def test_channel_order_is_the_processors_where_it_says(tmp_path):
    for key in ("do_flip_channel_order", "do_flip_channels"):
        for flip, order in ((True, "BGR"), (False, "RGB"), (1, "BGR"), (0, "RGB")):
            folder = folder_of(tmp_path, preprocessing={key: flip})
            checkpoint = open_checkpoint(folder)
            assert checkpoint.channel_order == order
            assert checkpoint.profile.flip_channels == flip


def test_half_precision_is_widened_unless_asked_for(tmp_path):
    tensors = tiny_tensors()
    for stored in ("F16", "BF16"):
        formats = {name: stored for name, tensor in tensors.items() if tensor.dtype.kind == "f"}
        path = write(tmp_path / f"{stored}.safetensors", tensors, stored_as=formats)
        checkpoint = open_checkpoint(path)
        assert (checkpoint.dtype, checkpoint.provenance.dtype) == (np.float32, stored)
        assert {t.dtype.name for t in checkpoint.tensors.values()} == {"float32", "int64"}
        assert checkpoint.stored_as["classifier.weight"] == stored
        assert checkpoint.stored_as["mobilevit.conv_stem.normalization.num_batches_tracked"] == "I64"
    assert open_checkpoint(tmp_path / "F16.safetensors", dtype="float16").dtype == np.float16
    assert open_checkpoint(path, dtype=np.float64).dtype == np.float64


def test_mixed_precision_becomes_the_widest(tmp_path):
    tensors = tiny_tensors()
    tensors["classifier.weight"] = tensors["classifier.weight"].astype(np.float64)
    checkpoint = open_checkpoint(write(tmp_path / "a.pt", tensors))
    assert {tensor.dtype.name for tensor in checkpoint.tensors.values()} == {"float64", "int64"}


@pytest.mark.parametrize("dtype", ["int32", "nonsense", complex, "longdouble"])
def test_dtypes_that_are_none_for_weights(dtype, tmp_path):
    with pytest.raises(InputError, match="dtype must be float32, float64 or float16, not "):
        open_checkpoint(write(tmp_path / "a.pt", tiny_tensors()), dtype=dtype)


@pytest.mark.parametrize("task", ["classifier", "segmenter"])
def test_a_bare_model_from_a_heads_file(task, tmp_path):
    path = write(tmp_path / "w.safetensors", tiny_tensors(task))
    with pytest.warns(MobileViTWarning, match="belong to another head"):
        bare = open_checkpoint(path, task="backbone")
    assert bare.task == "backbone"
    assert bare.expand_output == (task == "classifier")
    np.testing.assert_array_equal(
        bare.tensors["conv_stem.convolution.weight"], tiny_tensors()["mobilevit.conv_stem.convolution.weight"]
    )
    assert not any(name.startswith(("mobilevit.", "classifier", "segmentation_head")) for name in bare.tensors)


@pytest.mark.parametrize("task", ["classifier", "segmenter"])
def test_a_bare_models_file_has_no_head(task, tmp_path):
    path = write(tmp_path / "w.safetensors", tiny_tensors("backbone"))
    with pytest.raises(CheckpointError, match="missing"):
        open_checkpoint(path, task=task)


def test_a_bare_model_without_expansion(tmp_path):
    tensors = {name: tensor for name, tensor in tiny_tensors("backbone").items() if not name.startswith("conv_1x1_exp")}
    assert not open_checkpoint(write(tmp_path / "w.pt", tensors)).expand_output


def test_a_classifier_whose_head_is_the_identity(tmp_path):
    folder = folder_of(
        tmp_path, num_labels=0, config={**full_config(tiny_config(num_labels=0), "classifier", ()), "id2label": {}}
    )
    checkpoint = open_checkpoint(folder)
    assert (checkpoint.task, checkpoint.labels, checkpoint.config.num_labels) == ("classifier", (), 0)


def test_a_segmenter_file_that_still_has_the_expansion(tmp_path):
    tensors = {**tiny_tensors("segmenter"), **{n: t for n, t in tiny_tensors().items() if "conv_1x1_exp" in n}}
    with pytest.warns(MobileViTWarning, match="conv_1x1_exp"):
        assert open_checkpoint(write(tmp_path / "w.pt", tensors)).task == "segmenter"


def test_the_second_ml_cvnets_family_is_refused_by_name(tmp_path):
    wide = names.from_hugging_face(tiny_tensors("segmenter", aspp_out_channels=512), names.ML_CVNETS)
    auxiliary = {**names.from_hugging_face(tiny_tensors("segmenter"), names.ML_CVNETS)}
    auxiliary["seg_head.aux_head.0.block.conv.weight"] = np.zeros((128, 8, 3, 3), np.float32)
    for tensors in (wide, auxiliary):
        with pytest.raises(CheckpointError, match=r"ml-cvnets 0\.2 or newer"):
            open_checkpoint(write(tmp_path / "w.pt", tensors))


CONFIG = full_config(tiny_config(), "classifier", tuple("abcde"))
BAD_CONFIGS = {
    "another model": {**CONFIG, "model_type": "mobilevitv2"},
    "another timm model": {"architecture": "mobilevitv2_100", "num_classes": 5},
    "a timm model of other widths": {"architecture": "mobilevit_s", "num_classes": 5},
    "a pretrained_cfg that is none": {"architecture": "mobilevit_s", "pretrained_cfg": 3},
    "other widths": {**CONFIG, "hidden_sizes": [16, 8, 8]},
    "widths that are none": {**CONFIG, "hidden_sizes": "wide"},
    "widths of the whole address space": {**CONFIG, "hidden_sizes": [1 << 60] * 3},
    "large widths": {**CONFIG, "hidden_sizes": [1 << 20] * 3},
    "labels for other classes": {**CONFIG, "id2label": {"0": "a"}},
    "labels that skip": {**CONFIG, "id2label": {"0": "a", "2": "b"}},
    "labels that are a list": {**CONFIG, "id2label": ["a"]},
    "labels without numbers": {**CONFIG, "id2label": {"a": "b"}},
    "a stride": {**CONFIG, "output_stride": 7},
    "a list for a number": {**CONFIG, "mlp_ratio": [2.0]},
    "a truth for a number": {**CONFIG, "num_attention_heads": True},
    "infinity": {**CONFIG, "expand_ratio": float("inf")},
    "no number": {**CONFIG, "layer_norm_eps": float("nan")},
    "an unknown architecture list": {**CONFIG, "architectures": [["x"]], "hidden_sizes": None, "mlp_ratio": 9},
}


@pytest.mark.parametrize("config", BAD_CONFIGS.values(), ids=BAD_CONFIGS.keys())
def test_configurations_that_do_not_fit(config, tmp_path):
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        open_checkpoint(folder_of(tmp_path, config=config))
    assert "\n" not in str(caught.value)


def test_no_more_classes_are_named_than_the_weights_have(monkeypatch, tmp_path):
    """A config may claim a million: naming them takes seconds."""
    monkeypatch.setattr("mobilevit_np.checkpoints.configurations.labels_for", lambda *_, **__: pytest.fail("named"))
    config = {name: value for name, value in CONFIG.items() if name not in ("id2label", "label2id")}
    with pytest.raises(CheckpointError, match=r"classifier\.weight"):
        open_checkpoint(folder_of(tmp_path, config={**config, "num_labels": 1 << 20}))


@pytest.mark.parametrize(
    "change",
    [{"patch_size": 0}, {"id2label": {"0": "a", "2": "b"}}, {"hidden_sizes": [1 << 20] * 3}, {"hidden_act": "sillu"}],
)
def test_an_impossible_config_is_named_with_its_file(change, tmp_path):
    with pytest.raises(ConfigError) as caught:
        open_checkpoint(folder_of(tmp_path, config={**CONFIG, **change}))
    assert str(caught.value).startswith(f"{tmp_path}/model/config.json: ")


def test_so_is_an_impossible_preprocessor_config(tmp_path):
    checkpoint = open_checkpoint(folder_of(tmp_path, preprocessing={"size": "wide"}))
    with pytest.raises(ConfigError) as caught:
        _ = checkpoint.profile
    assert str(caught.value).startswith(f"{tmp_path}/model/preprocessor_config.json: ")


def test_a_config_that_leaves_out_what_is_usual(tmp_path):
    # transformers writes only what differs from its defaults; num_labels isn't among it when there are 1000 names.
    config = {name: value for name, value in CONFIG.items() if name not in ("id2label", "label2id", "output_stride")}
    checkpoint = open_checkpoint(folder_of(tmp_path, config=config))
    assert (checkpoint.config.num_labels, checkpoint.labels, checkpoint.config.output_stride) == (5, tuple("01234"), 32)


def test_old_and_unknown_fields_of_a_config_are_kept(tmp_path):
    folder = folder_of(tmp_path, config={**CONFIG, "hidden_dropout_prob": 0.05, "torch_dtype": "float32", "mine": [1]})
    fields = open_checkpoint(folder).config_fields
    assert (fields["hidden_dropout_prob"], fields["mine"]) == (0.05, [1])
    assert "torch_dtype" not in fields  # the tensors may come in another


def test_config_fields(tmp_path):
    folder = folder_of(tmp_path, config=CONFIG)
    assert config_fields(folder) == config_fields(folder / "config.json") == CONFIG
    inferred = config_fields(write(tmp_path / "w.pt", tiny_tensors()))
    assert inferred["hidden_sizes"] == [8, 8, 8]
    (tmp_path / "timm").mkdir()
    folder = timm_folder(tmp_path / "timm")
    assert config_fields(folder / "config.json")["neck_hidden_sizes"] == VARIANTS["xx_small"]["neck_hidden_sizes"]
    with pytest.raises(CheckpointError, match=r"config\.json: .* mobilevitv2"):
        config_fields(folder_of(tmp_path, config=BAD_CONFIGS["another model"]))


def test_info(tmp_path):
    folder = folder_of(tmp_path, labels=tuple("abcde"))
    facts = info(folder)
    assert json.loads(json.dumps(facts)) == facts
    expected = {
        "name": "model", "format": "safetensors", "names": "huggingface", "task": "classifier", "variant": None,
        "classes": 5, "labels": list("abcde"), "tensors": 347, "dtype": "F32", "channel_order": "BGR",
        "output_stride": 32, "chosen": None, "notes": [],
    }  # fmt: skip
    assert {key: facts[key] for key in expected} == expected
    assert facts["bytes"] == os.path.getsize(folder / "model.safetensors")
    import hashlib

    assert facts["sha256"] == hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.parametrize("where", ["nothing-here", "a/b/c", "", "x" * 5000, "zero\0byte", 3, None, b"bytes"])
def test_places_that_are_none(where, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MobileViTError) as caught:
        open_checkpoint(where)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


def test_an_empty_folder_and_one_with_a_config_alone(tmp_path):
    with pytest.raises(CheckpointError, match="holds no weights"):
        open_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no weights"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("name", ["model.safetensors", "weights.pt", "config.json"])
def test_a_folder_that_one_may_not_look_into(name, tmp_path, monkeypatch):
    """Its names can be listed, and no more (chmod 600). Simulated: no permission stops the administrator."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / name).write_bytes(b"{}")
    real = os.stat

    def stat(path, *arguments, **options):
        if os.path.dirname(os.fspath(path)) == str(folder):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, "stat", stat)
    for where in (folder, folder / name):
        with pytest.raises(CheckpointError, match=rf"can't read {folder}/\S+: permission denied"):
            open_checkpoint(where)


def test_an_unknown_task_is_an_error(tmp_path):
    with pytest.raises(InputError, match="task"):
        open_checkpoint(write(tmp_path / "a.pt", tiny_tensors()), task="detector")


def test_opening_warns_of_nothing_by_itself(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        open_checkpoint(folder_of(tmp_path))


def test_a_variant_and_a_subfolder(tmp_path):
    folder = folder_of(tmp_path / "repository", labels=tuple("abcde"))
    tensors = {name: tensor + 1 for name, tensor in tiny_tensors().items()}
    write(folder / "model.fp16.safetensors", tensors)
    for where, options in ((folder, {}), (folder.parent, {"subfolder": "model"})):
        for variant, value in ((None, 0), ("fp16", 1)):
            checkpoint = open_checkpoint(where, variant=variant, **options)
            assert checkpoint.labels == tuple("abcde")
            np.testing.assert_array_equal(
                checkpoint.tensors["classifier.bias"], tiny_tensors()["classifier.bias"] + value
            )
    assert open_checkpoint(folder / "model.fp16.safetensors").labels == tuple("abcde")
    (folder / "model.safetensors").unlink()
    assert open_checkpoint(folder).provenance.path.name == "model.fp16.safetensors"  # the only one
    with pytest.raises(CheckpointError, match=r"holds no weights; it should hold model\.bf16\.safetensors or"):
        open_checkpoint(folder, variant="bf16")
    with pytest.raises(CheckpointError, match="has no folder other"):
        open_checkpoint(folder, subfolder="other")
    with pytest.raises(InputError, match="subfolder and variant choose within a folder"):
        open_checkpoint(folder / "model.fp16.safetensors", variant="fp16")


def test_a_folder_that_timms_training_wrote(tmp_path):
    names_of = ["checkpoint-8.pth.tar", "checkpoint-9.pth.tar", "last.pth.tar", "model_best.pth.tar"]
    timm = names.from_hugging_face(tiny_tensors(), names.TIMM)
    for value, name in enumerate(names_of):
        state = {**timm, "head.fc.bias": timm["head.fc.bias"] + value}
        write(tmp_path / name, {"epoch": 9, "arch": "mobilevit_xxs", "state_dict": state, "args": {"lr": 0.1}})
    for best, value in (("model_best", 3), ("last", 2)):
        with pytest.warns(MobileViTWarning, match=rf"{best}\.pth\.tar is opened; give another's path"):
            checkpoint = open_checkpoint(tmp_path)
        assert checkpoint.channel_order == "RGB"
        np.testing.assert_array_equal(checkpoint.tensors["classifier.bias"], timm["head.fc.bias"] + value)
        (tmp_path / f"{best}.pth.tar").unlink()
    with pytest.raises(CheckpointError, match=r"several weights files \(checkpoint-8\.pth\.tar, checkpoint-9"):
        open_checkpoint(tmp_path)
    assert open_checkpoint(tmp_path / names_of[0]).name == "checkpoint-8"


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (["adapter_config.json", "adapter_model.safetensors"], r"an adapter of PEFT \(LoRA or the like\).*merge"),
        (
            ["model.onnx"],
            r"no weights \(model\.onnx is an ONNX model, which can't be read here\); it should hold model\.",
        ),
        (["tf_model.h5", "notes.txt"], "tf_model.h5 is Keras' weights"),
        (["flax_model.msgpack"], "Flax's weights"),
        (["saved_model.pb"], "a TensorFlow graph"),
        (["Manifest.json"], "a Core ML package"),
    ],
)
def test_a_folder_of_something_else_is_told_what_it_is(files, says, tmp_path):
    for name in files:
        (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=says):
        open_checkpoint(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=says):
        open_checkpoint(tmp_path)


def test_the_format_from_before_1_6(tmp_path):
    (tmp_path / "w.pth").write_bytes(legacy_torch_file({"state_dict": tiny_tensors()}))
    checkpoint = open_checkpoint(tmp_path / "w.pth")
    assert all(np.array_equal(checkpoint.tensors[name], tensor) for name, tensor in tiny_tensors().items())
    data = (tmp_path / "w.pth").read_bytes()
    for spoiled in (data[:-5], data[:-100_000], data[: len(data) // 20]):
        (tmp_path / "w.pth").write_bytes(spoiled)
        with pytest.raises(CheckpointError, match=r"w\.pth: .*(cut off|damaged)"):
            open_checkpoint(tmp_path / "w.pth")

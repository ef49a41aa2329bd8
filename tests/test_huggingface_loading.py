"""What the loaders and savers do with transformers' keywords: each obeyed, taken in silence, or refused by name."""

import json
import shutil

import drawing
import numpy as np
import pytest
from tiny import hub_cache, save_tiny

from mobilevit_np.checkpoints import init_parameters
from mobilevit_np.errors import CheckpointError, InputError, MobileViTWarning
from mobilevit_np.huggingface import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForSemanticSegmentation,
    MobileViTConfig,
    MobileViTForImageClassification,
    MobileViTForSemanticSegmentation,
    MobileViTImageProcessor,
    MobileViTModel,
    TFMobileViTForImageClassification,
)
from mobilevit_np.huggingface.keywords import IDLE, REFUSED, SAVING

X = drawing.draw_pixels((1, 3, 32, 32)).astype(np.float32)
LOADERS = (AutoConfig, AutoImageProcessor, AutoModelForImageClassification, TFMobileViTForImageClassification)
Classify = MobileViTForImageClassification


def made(kind=Classify, **values):
    return kind(MobileViTConfig(**{**drawing.CUT_DOWN, "num_labels": 5, **values}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny")


# Taken in silence, and refused


def said(thing):
    return (thing.config if hasattr(thing, "config") else thing).to_dict()


@pytest.mark.parametrize("load", LOADERS)
def test_what_changes_nothing_is_taken_in_silence(load, folder):
    plain, given = load.from_pretrained(folder), load.from_pretrained(folder, **dict.fromkeys(IDLE, True))
    assert said(given) == said(plain)
    nothing = dict.fromkeys(REFUSED, None) | {"load_in_8bit": False, "from_tf": False, "token": None, "revision": None}
    assert said(load.from_pretrained(folder, **nothing)) == said(plain)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("load", LOADERS)
def test_what_can_not_be_had_is_refused_by_name(load, name, folder):
    with pytest.raises(InputError, match=f"from_pretrained can't do {name}="):
        load.from_pretrained(folder, **{name: {"bits": 8}})


class Torch:
    """A dtype of torch's, by its text."""

    def __str__(self):
        return "torch.bfloat16"


@pytest.mark.parametrize("dtype", ["bfloat16", "torch.bfloat16", Torch()])
def test_bfloat16_is_refused(dtype, folder):
    for name in ("dtype", "torch_dtype"):
        with pytest.raises(InputError, match="no bfloat16; give float32"):
            Classify.from_pretrained(folder, **{name: dtype})
    with pytest.raises(InputError, match="no bfloat16"):
        Classify.from_pretrained(folder).to(dtype if isinstance(dtype, Torch) else "torch.bfloat16")


def test_an_unknown_keyword_of_a_model_is_an_error(folder):
    with pytest.raises(InputError, match="from_pretrained takes no banana; it takes config"):
        Classify.from_pretrained(folder, banana=1)
    with pytest.raises(InputError, match="not both"):
        Classify.from_pretrained(folder, config=made().config, num_labels=3)


@pytest.mark.parametrize("load", [AutoConfig, AutoImageProcessor])
def test_an_unknown_keyword_of_the_others_is_no_setting(load, folder, tmp_path):
    known = {"output_hidden_states": True} if load is AutoConfig else {"do_resize": False}
    one = load.from_pretrained(folder, banana=1, **known)
    other, unused = load.from_pretrained(folder, banana=1, return_unused_kwargs=True, use_fast=True, **known)
    assert unused == {"banana": 1}
    assert one.to_dict() == other.to_dict()
    assert next(iter(known.values())) == getattr(one, next(iter(known)))
    one.save_pretrained(tmp_path)
    assert (
        not {"banana", "use_fast", "return_unused_kwargs"}
        & json.loads(next(tmp_path.iterdir()).read_text(encoding="utf-8")).keys()
    )


def test_the_dictionaries_come_with_what_is_left(folder):
    values, rest = MobileViTConfig.get_config_dict(folder, banana=1, revision="main", num_labels=3)
    assert values["model_type"] == "mobilevit"
    assert rest == {"banana": 1, "num_labels": 3}
    settings, rest = MobileViTImageProcessor.get_image_processor_dict(folder, banana=1, subfolder="")
    assert settings["size"] == {"shortest_edge": 72}
    assert rest == {"banana": 1}


# Where the files are


@pytest.mark.parametrize("load", LOADERS)
def test_subfolder(load, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "model" / "inner")
    expected = said(load.from_pretrained(folder))
    for where, subfolder in ((tmp_path, "model/inner"), (tmp_path / "model", "inner"), (str(tmp_path), "model/inner")):
        assert said(load.from_pretrained(where, subfolder=subfolder)) == expected
    with pytest.raises(OSError, match="outer"):
        load.from_pretrained(tmp_path / "model", subfolder="outer")


@pytest.mark.parametrize("load", LOADERS)
def test_the_hub_s_keywords(load, folder, tmp_path, monkeypatch):
    cache = hub_cache(tmp_path, "owner/name") / "hub"
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "elsewhere"))
    expected = said(load.from_pretrained(folder))
    given = {"cache_dir": cache, "local_files_only": True, "token": "hf_x", "revision": "main", "force_download": False}
    assert said(load.from_pretrained("owner/name", **given)) == expected
    assert said(load.from_pretrained("owner/name", **{**given, "use_auth_token": "hf_x", "token": None})) == expected
    for wrong in ({"revision": "v9"}, {"cache_dir": tmp_path / "elsewhere"}):
        with pytest.raises(OSError, match="owner/name"):
            load.from_pretrained("owner/name", **{**given, **wrong})


def test_variant(folder, tmp_path):
    model = made()
    model.save_pretrained(tmp_path, variant="fp16")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.fp16.safetensors"]
    again = Classify.from_pretrained(tmp_path, variant="fp16")
    np.testing.assert_array_equal(again(X).logits, model(X).logits)
    with pytest.raises(InputError, match="variant"):
        model.save_pretrained(tmp_path, variant="../fp16")


# What the file holds otherwise


@pytest.mark.parametrize("given", [{"num_labels": 3}, {"id2label": {0: "a", 1: "b", 2: "c"}}])
def test_a_head_of_other_classes(given, folder):
    with pytest.raises(CheckpointError, match=r"of another shape: classifier\.weight .*; ignore_mismatched_sizes=True"):
        Classify.from_pretrained(folder, **given)

    def load(seed):
        with pytest.warns(MobileViTWarning, match="newly initialized, because the shapes did not match: ") as warned:
            model, info = Classify.from_pretrained(
                folder, ignore_mismatched_sizes=True, output_loading_info=True, seed=seed, **given
            )
        assert len(warned) == 1
        assert r"classifier.weight ((5, 16) there, (3, 16) here)" in str(warned[0].message)
        assert "\n" not in str(warned[0].message)
        assert info["mismatched_keys"] == [("classifier.weight", (5, 16), (3, 16)), ("classifier.bias", (5,), (3,))]
        assert info["missing_keys"] == info["unexpected_keys"] == info["error_msgs"] == []
        return model

    kept = Classify.from_pretrained(folder).state_dict()
    for seed in (0, 1):
        model = load(seed)
        assert model.num_labels == len(model.config.label2id) == model(X).logits.shape[1] == 3
        drawn = init_parameters(model.config, "classifier", seed)
        for name, tensor in model.state_dict().items():
            np.testing.assert_array_equal(tensor, (drawn if name.startswith("classifier") else kept)[name])


@pytest.mark.parametrize(
    ("held", "wanted", "missing"),
    [
        (MobileViTModel, AutoModelForImageClassification, ["classifier.weight", "classifier.bias"]),
        (MobileViTModel, AutoModelForSemanticSegmentation, None),
        (MobileViTForSemanticSegmentation, AutoModelForImageClassification, None),
        (Classify, AutoModelForSemanticSegmentation, None),
    ],
)
@pytest.mark.parametrize("ignore", [False, True])
def test_a_head_that_is_missing(held, wanted, missing, ignore, tmp_path):
    model = made(held)
    model.save_pretrained(tmp_path)
    with pytest.warns(MobileViTWarning) as warned:
        loaded, info = wanted.from_pretrained(
            tmp_path, num_labels=3, output_loading_info=True, ignore_mismatched_sizes=ignore
        )
    assert "newly initialized, because they aren't there: " in str(warned[-1].message)
    assert loaded(X).logits.shape[1] == 3
    if missing:
        assert info["missing_keys"] == missing
    assert info["missing_keys"]
    assert not {name.removeprefix("mobilevit.") for name in info["missing_keys"]} & {*model.base_model.state_dict()}
    theirs = model.base_model(X, output_hidden_states=True).hidden_states[-1]
    np.testing.assert_array_equal(loaded(X, output_hidden_states=True).hidden_states[-1], theirs)


def test_a_damaged_head_or_body_is_an_error():
    model = made()
    for name in (
        "classifier.bias",
        "mobilevit.conv_1x1_exp.convolution.weight",
        "mobilevit.conv_stem.normalization.bias",
    ):
        tensors = {each: tensor for each, tensor in model.state_dict().items() if each != name}
        for ignore in (False, True):
            with pytest.raises(CheckpointError, match=name):
                Classify.from_pretrained(None, config=model.config, state_dict=tensors, ignore_mismatched_sizes=ignore)


def test_what_a_bare_model_leaves_out_is_told(folder):
    with pytest.warns(MobileViTWarning, match="belong to another head"):
        _, info = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert sorted(info["unexpected_keys"]) == ["classifier.bias", "classifier.weight"]
    assert info["missing_keys"] == []


# The configuration and the tensors from elsewhere


def test_config_may_be_another_folder(folder, tmp_path):
    config = MobileViTConfig.from_pretrained(folder, output_hidden_states=True)
    config.save_pretrained(tmp_path)
    for where in (tmp_path, str(tmp_path), tmp_path / "config.json"):
        model = Classify.from_pretrained(folder, config=where, problem_type="regression")
        assert model.config.problem_type == "regression"
        assert len(model(X).hidden_states) == 5


def test_a_state_dict_in_the_place_of_a_file(folder):
    model = made()
    for where, given in ((None, {"config": model.config}), (folder, {"config": model.config})):
        again = Classify.from_pretrained(where, state_dict=model.state_dict(), **given)
        np.testing.assert_array_equal(again(X).logits, model(X).logits)
    bare = MobileViTModel.from_pretrained(None, config=model.config, state_dict=model.base_model.state_dict())
    np.testing.assert_array_equal(bare(X).pooler_output, model.base_model(X).pooler_output)


def test_a_state_dict_of_the_folder_s_own_network(folder):
    bias = Classify.from_pretrained(folder).state_dict()["classifier.bias"]
    tensors = {**Classify.from_pretrained(folder).state_dict(), "classifier.bias": 2 * bias}
    again = Classify.from_pretrained(folder, state_dict=tensors, dtype="float64").state_dict()["classifier.bias"]
    np.testing.assert_array_equal(again, 2 * bias)
    assert again.dtype == np.float64


def test_a_state_dict_alone_says_too_little():
    with pytest.raises(InputError, match="give its config, too"):
        Classify.from_pretrained(None, state_dict=made().state_dict())
    with pytest.raises(InputError, match="a path or a name"):
        Classify.from_pretrained(None)


# Saving

SAVERS = {"config": lambda: MobileViTConfig(), "processor": lambda: MobileViTImageProcessor(), "model": made}


@pytest.mark.parametrize("kind", SAVERS)
def test_saving_takes_what_changes_nothing_and_refuses_the_rest(kind, tmp_path):
    thing = SAVERS[kind]()
    silent = {name: True for name, reason in SAVING.items() if reason is None}
    thing.save_pretrained(tmp_path / "a", push_to_hub=False, **silent)
    thing.save_pretrained(tmp_path / "b")
    for path in (tmp_path / "b").iterdir():
        assert path.read_bytes() == (tmp_path / "a" / path.name).read_bytes()
    for name, match in (
        ("push_to_hub", "can't do push_to_hub=True: nothing is uploaded"),
        ("banana", "takes no banana"),
    ):
        with pytest.raises(InputError, match=match):
            thing.save_pretrained(tmp_path / "c", **{name: True})
    assert not (tmp_path / "c").exists()


def test_what_only_a_model_s_saving_takes(tmp_path):
    model, other = made(), made(hidden_act="relu")
    model.save_pretrained(tmp_path / "a", is_main_process=False)
    assert not (tmp_path / "a").exists()
    with pytest.raises(InputError, match="written as safetensors"):
        model.save_pretrained(tmp_path / "a", safe_serialization=False)
    tensors = {name: -tensor for name, tensor in other.state_dict().items() if not name.endswith("running_var")}
    model.save_pretrained(tmp_path / "a", state_dict={**other.state_dict(), **tensors}, max_shard_size="1MB")
    np.testing.assert_array_equal(
        Classify.from_pretrained(tmp_path / "a").state_dict()["classifier.bias"], tensors["classifier.bias"]
    )
    with pytest.raises(CheckpointError, match=r"it lacks mobilevit\.conv_stem"):
        model.save_pretrained(tmp_path / "b", state_dict={"classifier.weight": tensors["classifier.weight"]})


def test_where_it_was_opened_is_known_and_not_saved(folder, tmp_path):
    model = Classify.from_pretrained(folder)
    assert model.name_or_path == str(folder)
    model.save_pretrained(tmp_path)
    assert str(folder) not in (tmp_path / "config.json").read_text(encoding="utf-8")

"""``MobileViTConfig``: fields, defaults and labels as on transformers' page, files, and what it refuses."""

import json

import pytest
from tiny import hub_cache

from mobilevit_np.config import NetworkConfig
from mobilevit_np.errors import CheckpointError, ConfigError, MobileViTError, OutputError
from mobilevit_np.huggingface import AutoImageProcessor, MobileViTConfig, MobileViTImageProcessor

PAGE = {  # every field of the page (4.34) with its default
    "num_channels": 3,
    "image_size": 256,
    "patch_size": 2,
    "hidden_sizes": [144, 192, 240],
    "neck_hidden_sizes": [16, 32, 64, 96, 128, 160, 640],
    "num_attention_heads": 4,
    "mlp_ratio": 2.0,
    "expand_ratio": 4.0,
    "hidden_act": "silu",
    "conv_kernel_size": 3,
    "output_stride": 32,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.0,
    "classifier_dropout_prob": 0.1,
    "initializer_range": 0.02,
    "layer_norm_eps": 1e-5,
    "qkv_bias": True,
    "aspp_out_channels": 256,
    "atrous_rates": [6, 12, 18],
    "aspp_dropout_prob": 0.1,
    "semantic_loss_ignore_index": 255,
}
# As transformers writes it: 4.x with its torch_dtype, 5.x with dtype and without the labels where there are two.
WRITTEN_BY_4 = {
    **PAGE,
    "architectures": ["MobileViTForImageClassification"],
    "id2label": {"0": "cat", "1": "dog", "2": "fox"},
    "label2id": {"cat": 0, "dog": 1, "fox": 2},
    "model_type": "mobilevit",
    "torch_dtype": "float32",
    "transformers_version": "4.34.0",
}
WRITTEN_BY_5 = {**PAGE, "dtype": "float32", "model_type": "mobilevit", "transformers_version": "5.0.0"}


def test_every_field_of_the_page_has_its_default():
    config = MobileViTConfig()
    for name, value in PAGE.items():
        assert getattr(config, name) == value, name
    assert isinstance(config, NetworkConfig)
    assert (config.output_hidden_states, config.return_dict, config.use_return_dict) == (False, True, True)
    assert config.problem_type is None


def test_two_configurations_share_no_list():
    MobileViTConfig().hidden_sizes.append(1)
    assert MobileViTConfig().hidden_sizes == [144, 192, 240]


def test_labels_go_together():
    config = MobileViTConfig()
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
    assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1}
    config.num_labels = 3
    assert config.id2label == {0: "LABEL_0", 1: "LABEL_1", 2: "LABEL_2"}
    assert config.label2id["LABEL_2"] == 2
    config.id2label = {0: "cat"}
    assert config.num_labels == 1
    config.num_labels = 1
    assert config.id2label == {0: "cat"}  # the number was right: the names stay


def test_labels_given():
    config = MobileViTConfig(id2label={"0": "cat", "1": "dog"})
    assert config.id2label == {0: "cat", 1: "dog"}
    assert config.label2id == {"cat": 0, "dog": 1}
    assert MobileViTConfig(id2label={0: "cat"}, label2id={"Katze": 0}).label2id == {"Katze": 0}
    assert MobileViTConfig(num_labels=0).id2label == {}
    assert MobileViTConfig.from_dict({"id2label": {"0": "cat"}}, num_labels=4).num_labels == 4


def test_unknown_fields_are_kept():
    config = MobileViTConfig(house_number=7, torch_dtype="float16")
    assert config.house_number == 7
    assert MobileViTConfig.from_dict(config.to_dict()).to_dict()["torch_dtype"] == "float16"


def test_values_by_position_are_in_the_page_s_order():
    values = [*PAGE.values()]
    values[1:3] = [192, 4]
    config = MobileViTConfig(*values, num_labels=3)
    assert {name: getattr(config, name) for name in PAGE} == {**PAGE, "image_size": 192, "patch_size": 4}
    assert config.num_labels == 3
    assert MobileViTConfig(1, 64, hidden_act="relu").num_channels == 1
    with pytest.raises(ConfigError, match="21 values by position, not 22"):
        MobileViTConfig(*values, 1)
    with pytest.raises(ConfigError, match="image_size: given by position and by name"):
        MobileViTConfig(3, 256, image_size=128)


def test_a_json_file_may_have_any_name(tmp_path):
    path = tmp_path / "anything.json"
    path.write_text(json.dumps(WRITTEN_BY_4))
    for config in (MobileViTConfig.from_json_file(path), MobileViTConfig.from_pretrained(str(path))):
        assert config.id2label == {0: "cat", 1: "dog", 2: "fox"}
    assert MobileViTConfig.from_pretrained(path, patch_size=4).patch_size == 4
    path.write_text('{"architecture": "mobilevit_xs", "num_classes": 7}')  # timm's form
    assert MobileViTConfig.from_json_file(path).hidden_sizes == [96, 120, 144]
    assert MobileViTConfig.from_json_file(path).num_labels == 7
    path.write_text('{"model_type": "vit"}')
    with pytest.raises(ConfigError, match="vit"):
        MobileViTConfig.from_json_file(path)
    with pytest.raises(CheckpointError, match=r"nowhere\.json"):
        MobileViTConfig.from_pretrained(tmp_path / "nowhere.json")
    folder = tmp_path / "folder.json"
    MobileViTConfig(num_labels=3).save_pretrained(folder)
    assert MobileViTConfig.from_pretrained(folder).num_labels == 3


@pytest.fixture
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    "load",
    [MobileViTConfig.from_pretrained, MobileViTImageProcessor.from_pretrained, AutoImageProcessor.from_pretrained],
)
def test_a_loader_s_keywords_are_no_settings(load, tmp_path):
    home = hub_cache(tmp_path, "owner/name")
    (tmp_path / "hub" / "models--owner--name" / "refs" / "v2").write_text("0123456789abcdef0123456789abcdef01234567")
    cache = home / "hub"
    plain = load("owner/name", cache_dir=cache).to_dict()
    again = load("owner/name", cache_dir=str(cache), revision="v2", use_fast=True, trust_remote_code=False).to_dict()
    assert again == plain
    assert not {"revision", "cache_dir", "use_fast", "trust_remote_code"} & plain.keys()
    (next((cache / "models--owner--name" / "snapshots").iterdir()) / "model.safetensors").unlink()
    assert load("owner/name", cache_dir=cache).to_dict() == plain  # the json files alone will do
    with pytest.raises(MobileViTError, match="owner/name"):
        load("owner/name", cache_dir=cache, revision="v3")


@pytest.mark.parametrize("written", [WRITTEN_BY_4, WRITTEN_BY_5, {"model_type": "mobilevit"}, {}])
def test_files_are_read(written, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(written))
    for where in (tmp_path, str(tmp_path), tmp_path / "config.json"):
        config = MobileViTConfig.from_pretrained(where)
        for name, value in written.items():
            if name != "id2label":
                assert getattr(config, name) == value, name
    assert config.num_labels == len(written.get("id2label", "ab"))


def test_round_trip(tmp_path):
    config = MobileViTConfig(hidden_sizes=(8, 16, 24), id2label={0: "cat", 1: "dog", 2: "fox"}, house_number=7)
    config.save_pretrained(tmp_path / "new" / "folder")
    again = MobileViTConfig.from_pretrained(tmp_path / "new" / "folder")
    assert again.to_json_string() == config.to_json_string()
    assert MobileViTConfig.from_json_file(tmp_path / "new" / "folder" / "config.json") == again
    assert MobileViTConfig.from_dict(config.to_dict()) == config
    assert config != MobileViTConfig()
    assert "house_number" in repr(config)


def test_overrides(tmp_path):
    MobileViTConfig(num_labels=3).save_pretrained(tmp_path)
    config = MobileViTConfig.from_pretrained(tmp_path, output_hidden_states=True, num_labels=5)
    assert config.output_hidden_states
    assert config.num_labels == 5


def test_the_dictionary_is_its_own():
    config = MobileViTConfig()
    config.to_dict()["hidden_sizes"].append(1)
    assert config.hidden_sizes == [144, 192, 240]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hidden_sizes": [1, 2]}, "hidden_sizes"),
        ({"output_stride": 4}, "output_stride"),
        ({"num_labels": -1}, "num_labels"),
        ({"num_labels": 10**12}, "num_labels"),
        ({"num_labels": "many"}, "num_labels"),
        ({"num_labels": True}, "num_labels"),
        ({"id2label": ["cat"]}, "id2label"),
        ({"id2label": {"cat": 0}}, "id2label"),
        ({"label2id": ["cat"]}, "label2id"),
        ({"problem_type": "guessing"}, "problem_type"),
        ({"problem_type": "single_label_classification", "num_labels": 1}, "regression"),
        ({"return_dict": "yes"}, "return_dict"),
        ({"output_hidden_states": 1}, "output_hidden_states"),
        ({"semantic_loss_ignore_index": None}, "semantic_loss_ignore_index"),
        ({"to_dict": 1}, "to_dict"),
        ({"__class__": 1}, "__class__"),
        ({"use_return_dict": False}, "use_return_dict"),
    ],
)
def test_impossible_values(values, message):
    with pytest.raises(ConfigError, match=message) as caught:
        MobileViTConfig(**values)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("id2label", [5, "cat", ["cat"]])
def test_impossible_labels_are_named_beside_their_number(id2label):
    with pytest.raises(ConfigError, match="id2label must map"):
        MobileViTConfig.from_dict({"id2label": id2label}, num_labels=3)


def test_values_set_later_are_checked_by_validate():
    config = MobileViTConfig()
    config.id2label = None
    with pytest.raises(ConfigError, match="id2label"):
        config.validate()


def test_another_model_s_configuration_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    with pytest.raises((CheckpointError, ConfigError), match="vit"):
        MobileViTConfig.from_pretrained(tmp_path)
    with pytest.raises(ConfigError, match="mobilevitv2"):
        MobileViTConfig.from_dict({"model_type": "mobilevitv2"})


def test_what_json_cant_hold_is_an_error_and_leaves_the_file(tmp_path):
    config = MobileViTConfig()
    config.save_pretrained(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    config.secret = object()
    with pytest.raises(ConfigError, match="JSON"):
        config.save_pretrained(tmp_path)
    assert (tmp_path / "config.json").read_bytes() == before


def test_no_folder_to_write_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        MobileViTConfig().save_pretrained(tmp_path / "file")

"""What strangers bring and ask for: a training's arguments, odd folders, keywords that say nothing or contradict."""

import copy
import io
import json
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
from fuzz.samples import safetensors_file, tiny_tensors, torch_file
from PIL import Image
from tiny import CLASSES, photo, save_photo, save_tiny

from mobilevit_np import (
    MobileViTConfig,
    MobileViTForImageClassification,
    MobileViTForSemanticSegmentation,
    MobileViTImageProcessor,
)
from mobilevit_np.checkpoints import open_checkpoint
from mobilevit_np.checkpoints import parameter_names as names
from mobilevit_np.errors import CheckpointError, ConfigError, ImageError, InputError, MobileViTError, NotFoundError
from mobilevit_np.huggingface import BatchFeature, pipeline
from mobilevit_np.ops import resize_bilinear
from mobilevit_np.preprocess import decode

HF = tiny_tensors()
TIMM = names.from_hugging_face(HF, names.TIMM)
ARGUMENTS = {
    "model": "mobilevit_s",
    "gp": None,
    "model_kwargs": {},
    "img_size": None,
    "mean": None,
    "interpolation": "",
}
PHOTO = photo()


def trained(tmp_path, **arguments):
    path = tmp_path / "last.pth.tar"
    path.write_bytes(torch_file({"state_dict": TIMM, "arch": "mobilevit_s", "args": {**ARGUMENTS, **arguments}}))
    return path


@pytest.mark.parametrize("pool", [None, "avg", "max", "avgmax", "fastmax"])
def test_timms_training_says_how_it_pooled(pool, tmp_path):
    checkpoint = open_checkpoint(trained(tmp_path, gp=pool))
    assert checkpoint.config.global_pool == (pool or "avg").removeprefix("fast")
    assert (checkpoint.channel_order, checkpoint.profile.crop, checkpoint.profile.mean) == ("RGB", (256, 256), None)


def test_timms_training_says_how_photos_were_prepared(tmp_path):
    half = [0.5, 0.5, 0.5]
    given = {"img_size": 320, "crop_pct": 0.8, "mean": half, "std": half, "interpolation": "bilinear"}
    profile = open_checkpoint(trained(tmp_path, **given)).profile
    assert (profile.size, profile.crop, profile.resample) == (400, (320, 320), "bilinear")
    assert profile.mean == profile.std == tuple(half)


@pytest.mark.parametrize("given", [{"gp": "catavgmax"}, {"model_kwargs": {"output_stride": 16}}, {"model_kwargs": [1]}])
def test_what_timms_training_did_otherwise_is_refused(given, tmp_path):
    with pytest.raises(ConfigError, match=r"last\.pth\.tar"):
        open_checkpoint(trained(tmp_path, **given))


def test_anothers_arguments_are_left_alone(tmp_path):
    path = tmp_path / "w.pt"
    path.write_bytes(torch_file({"model": TIMM, "args": {"model": "mobilevit_s", "mean": "no"}}))
    assert open_checkpoint(path).config.global_pool == "avg"


@pytest.mark.parametrize("prefix", ["", "timm_model."])
def test_what_transformers_saves_of_timms_models(prefix, tmp_path):
    config = {
        "model_type": "timm_wrapper", "architectures": ["TimmWrapperForImageClassification"], "num_classes": 5,
        "label_names": list("abcde"), "model_args": None, "problem_type": "multi_label_classification",
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    file = safetensors_file({prefix + name: tensor for name, tensor in TIMM.items()})
    (tmp_path / "model.safetensors").write_bytes(file)
    checkpoint = open_checkpoint(tmp_path)
    assert (checkpoint.channel_order, checkpoint.labels) == ("RGB", tuple("abcde"))
    assert checkpoint.problem_type == MobileViTConfig.from_pretrained(tmp_path).problem_type == config["problem_type"]
    with pytest.raises(NotFoundError, match="make a MobileViTImageProcessor"):
        MobileViTImageProcessor.from_pretrained(tmp_path)


FOLDERS = {  # its files beside config.json: what is said
    "a shard alone": (["model-00001-of-00002.safetensors"], "holds shards .* without their .index.json"),
    "a variant's shards": (
        ["model.fp16-00001-of-00002.safetensors", "model.safetensors.index.fp16.json"], "index.fp16.json: .* variant",
    ),
    "a training's": (["training_args.bin", "optimizer.pt", "checkpoint-5/model.safetensors"], "checkpoint-5: give"),
}  # fmt: skip


@pytest.mark.parametrize(("files", "says"), FOLDERS.values(), ids=FOLDERS.keys())
def test_folders_without_weights_say_where_they_are(files, says, tmp_path):
    for name in ("config.json", *files):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"{}" if name.endswith("json") else safetensors_file(HF))
    with pytest.raises(NotFoundError, match=says):
        open_checkpoint(tmp_path)


def test_a_trainings_other_files_are_no_weights(tmp_path):
    for name in ("last.ckpt", "optimizer.bin", "scheduler.pt", "rng_state_0.pth", "zero_rank_0_optim_states.pt"):
        (tmp_path / name).write_bytes(safetensors_file(HF) if name == "last.ckpt" else b"")
    assert open_checkpoint(tmp_path).provenance.path.name == "last.ckpt"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\n\n <!DOCTYPE html>", "a web page"), (b"\xef\xbb\xbf<html>", "a web page"),
        (b"\x08\x01\x12\xa3\x9f\x08\x12\x06", "TensorFlow SavedModel"), (b"\x20\0\0\0ORTM\0\0", "ONNX Runtime"),
        (b"Entry not found", "download it again"),
    ],
)  # fmt: skip
def test_what_lies_under_a_weights_name(data, says, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(data)
    with pytest.raises(CheckpointError, match=says):
        open_checkpoint(tmp_path)


def test_a_prefix_is_text(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(safetensors_file(HF))
    with pytest.raises(InputError, match="prefix must be the text"):
        open_checkpoint(tmp_path, prefix=3)


# -- transformers' scripts ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_tiny(tmp_path_factory.mktemp("weights") / "classifier")


@pytest.fixture(scope="module")
def classify(folder):
    return pipeline(model=folder)


@pytest.mark.parametrize("given", [{"num_labels": None}, {"id2label": None}, {"id2label": None, "label2id": None}])
def test_labels_that_ask_for_nothing(given, folder):
    assert list(MobileViTConfig.from_pretrained(folder, **given).id2label.values()) == list(CLASSES)


def test_labels_that_contradict_each_other(folder):
    with pytest.raises(ConfigError, match="num_labels=4 and an id2label of 3"):
        MobileViTConfig.from_pretrained(folder, num_labels=4, id2label={0: "a", 1: "b", 2: "c"})
    found = MobileViTConfig.from_pretrained(folder, num_labels=2, label2id={"no": 0, "yes": 1})
    assert (len(found.id2label), found.label2id) == (2, {"no": 0, "yes": 1})


def test_a_state_dict_is_copied_and_pickled():
    model = MobileViTForImageClassification(MobileViTConfig(**tiny_fields()))
    best = copy.deepcopy(model.state_dict())
    for taken in (best, pickle.loads(pickle.dumps(model.state_dict()))):
        assert list(taken) == list(model.state_dict())
        model.load_state_dict(taken)
    model.state_dict().clear()
    assert model.state_dict().keys() == best.keys()


def tiny_fields():
    return {"hidden_sizes": [8] * 3, "neck_hidden_sizes": [8] * 6 + [16], "expand_ratio": 1.0}


@pytest.mark.parametrize("kind", [MobileViTForImageClassification, MobileViTForSemanticSegmentation])
def test_what_a_model_is_called_with(kind):
    model, pixels = kind(MobileViTConfig(**tiny_fields(), aspp_out_channels=8)), np.zeros((1, 3, 64, 64), np.float32)
    with pytest.raises(InputError, match="takes no interpolate_pos_encoding; it takes pixel_values"):
        model(pixels, interpolate_pos_encoding=True)
    with pytest.raises(InputError, match=r"model\(\*\*inputs\)"):
        model(BatchFeature({"pixel_values": pixels}))
    with pytest.raises(InputError, match="save_directory"):
        model.save_pretrained(None)


def test_anothers_configuration(folder):
    class Theirs:
        def to_dict(self):
            return json.loads((folder / "config.json").read_text(encoding="utf-8"))

    assert MobileViTForImageClassification.from_pretrained(folder, config=Theirs()).num_labels == len(CLASSES)
    with pytest.raises(InputError, match="from_dict takes what another's to_dict"):
        MobileViTForImageClassification(Theirs())


class DataSet:
    """As PyTorch's: a length and numbered items, no iterator."""

    def __len__(self):
        return 2

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError
        return PHOTO


def test_several_photos_get_several_answers(classify, tmp_path):
    one, path = classify(PHOTO), save_photo(tmp_path / "a.png")
    for several in (np.stack([PHOTO, PHOTO]), [PHOTO, PHOTO], DataSet(), iter([PHOTO, PHOTO])):
        assert list(classify(several)) == [one, one]
    with open(path, "rb") as file:
        assert classify(file) == classify(io.BytesIO(path.read_bytes())) == one
    with pytest.raises(ImageError, match="type dict is not a photo"):
        classify({"image": PHOTO})


@pytest.mark.parametrize("top_k", [0, -1, 2.5, "3", True])
def test_top_k_is_a_number_from_1_on(top_k, classify, folder):
    with pytest.raises(InputError, match="top_k must be a whole number of at least 1"):
        classify(PHOTO, top_k=top_k)


def test_what_a_pipeline_is_not_told_is_as_usual(tmp_path):
    classify = pipeline(model=save_tiny(tmp_path, labels=list("abcdefg")), top_k=3)
    assert len(classify(PHOTO, top_k=None)) == 3
    assert len(pipeline(model=tmp_path, top_k=None)(PHOTO)) == 5  # transformers' own default
    assert classify(PHOTO, function_to_apply="Softmax") == classify(PHOTO, function_to_apply=None) == classify(PHOTO)


def test_a_models_keywords_win(folder):
    assert pipeline(model=folder, model_kwargs={"torch_dtype": "float64"}).model.dtype == np.float64
    assert pipeline(model=folder, revision="a", model_kwargs={"revision": "b"}).model.num_labels == len(CLASSES)


@dataclass
class SizeDict:
    """As transformers 5 has it."""

    height: int | None = None
    width: int | None = None
    shortest_edge: int | None = None


@pytest.mark.parametrize("size", [{"shortest_edge": 64}, {"height": 64, "width": 48}])
def test_a_size_of_transformers_5(size):
    assert MobileViTImageProcessor(size=SizeDict(**size)).size == size


def test_a_processor_takes_open_files(tmp_path):
    processor, path = MobileViTImageProcessor(), save_photo(tmp_path / "a.png")
    wanted = processor(Image.open(path)).pixel_values[0]
    with open(path, "rb") as file:
        found = processor([file, io.BytesIO(path.read_bytes())]).pixel_values
    assert all(np.array_equal(each, wanted) for each in found)


@pytest.mark.parametrize("sizes", [None, [(9, 7), (5, 6)]])
def test_segmentation_scores(sizes):
    logits = np.random.default_rng(0).normal(size=(2, 3, 4, 4)).astype(np.float32)
    processor, outputs = MobileViTImageProcessor(), BatchFeature({"logits": logits})
    maps = processor.post_process_semantic_segmentation(outputs, sizes)
    found = processor.post_process_semantic_segmentation(outputs, sizes, return_segmentation_scores=True)
    for one, own, map_, size in zip(found, logits, maps, sizes or [(4, 4)] * 2, strict=True):
        np.testing.assert_array_equal(one.segmentation_scores, resize_bilinear(own[None], size)[0])
        np.testing.assert_array_equal(one.segmentation, map_)


@pytest.mark.parametrize("photo", ["data:image/png;base64," + "A" * 9000, "A" * 9000])
def test_a_photo_given_as_text_is_not_repeated_whole(photo):
    with pytest.raises(MobileViTError) as caught:
        decode(photo)
    assert len(str(caught.value)) < 700

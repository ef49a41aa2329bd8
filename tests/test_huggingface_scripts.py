"""What scripts written for transformers ask for beside a call: tensors, names, pipelines.

tests/parity/test_scripts.py runs one against both libraries.
"""

import copy
import dataclasses
import enum
import json
import sys
from types import ModuleType, SimpleNamespace

import drawing
import numpy as np
import pytest
from PIL import Image
from tiny import CLASSES, PLACES, photo, save_photo, save_tiny

import mobilevit_np
from mobilevit_np import ops
from mobilevit_np.errors import (
    CheckpointError,
    ConfigError,
    ImageError,
    InputError,
    MissingExtraError,
    MobileViTError,
    MobileViTWarning,
)
from mobilevit_np.huggingface import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForImageClassification,
    AutoModelForSemanticSegmentation,
    BatchFeature,
    MobileViTConfig,
    MobileViTForImageClassification,
    MobileViTForSemanticSegmentation,
    MobileViTImageProcessor,
    MobileViTModel,
    pipeline,
)
from mobilevit_np.huggingface.outputs import ImageClassifierOutput, ModelOutput
from mobilevit_np.huggingface.tensors import FRAMEWORKS

X = drawing.draw_pixels((2, 3, 32, 32)).astype(np.float32)
PHOTO = photo()
PROCESSOR = MobileViTImageProcessor(size=24, crop_size=20)
AUTO = {
    MobileViTModel: AutoModel,
    MobileViTForImageClassification: AutoModelForImageClassification,
    MobileViTForSemanticSegmentation: AutoModelForSemanticSegmentation,
}


def made(kind=MobileViTForImageClassification, engine="reference", dtype=np.float32, **values):
    return kind(MobileViTConfig(**{**drawing.CUT_DOWN, "num_labels": 5, **values}), engine=engine, dtype=dtype)


# Other frameworks' tensors


class Tensor:
    """What a framework's tensor looks like from here: PyTorch's may need a gradient, be bfloat16, or lie elsewhere."""

    def __init__(self, array, dtype="torch.float32", grad=False, device="cpu"):
        self.array, self.dtype, self.grad, self.device = array, dtype, grad, device

    def __array__(self, dtype=None, copy=None):
        if self.grad or self.device != "cpu" or self.dtype == "torch.bfloat16":
            raise TypeError(f"can't convert {self.device} {self.dtype} tensor; use Tensor.cpu()")
        return np.array(self.array, dtype)

    def detach(self):
        return Tensor(self.array, self.dtype, False, self.device)

    def float(self):
        return Tensor(self.array, "torch.float32", self.grad, self.device)


@pytest.mark.parametrize("kind", FRAMEWORKS)
def test_return_tensors_are_the_framework_s_where_it_is_installed(kind, monkeypatch):
    module, function, _ = FRAMEWORKS[kind]
    stand_in = ModuleType(module)
    setattr(stand_in, function, Tensor)
    monkeypatch.setitem(sys.modules, module.partition(".")[0], ModuleType("parent"))
    monkeypatch.setitem(sys.modules, module, stand_in)
    features = PROCESSOR([PHOTO, PHOTO], PHOTO[..., 0], return_tensors=kind)
    expected = PROCESSOR([PHOTO, PHOTO], PHOTO[..., 0], return_tensors="np")
    for name in ("pixel_values", "labels"):
        assert isinstance(features[name], Tensor)
        np.testing.assert_array_equal(features[name].array, expected[name])
        assert features[name].array.dtype == expected[name].dtype
        assert features[name].array.flags.writeable
    model = made()
    np.testing.assert_array_equal(
        model(**PROCESSOR(PHOTO, return_tensors=kind)).logits, model(**PROCESSOR(PHOTO, return_tensors="np")).logits
    )


@pytest.mark.parametrize("kind", FRAMEWORKS)
def test_without_the_framework_one_line_says_what_to_install(kind, monkeypatch):
    package = FRAMEWORKS[kind].module.partition(".")[0]
    for name in (package, FRAMEWORKS[kind].module):
        monkeypatch.setitem(sys.modules, name, None)

    class Kind(str, enum.Enum):
        HERE = kind

    for given in (kind, Kind.HERE):
        with pytest.raises(MissingExtraError, match=f"pip install {package}, or use") as caught:
            PROCESSOR(PHOTO, return_tensors=given)
    assert "\n" not in str(caught.value)
    assert PROCESSOR(PHOTO, return_tensors="np").pixel_values.shape == (1, 3, 20, 20)


def test_models_take_tensors_as_they_come():
    model = made()
    expected, labels = model(X, labels=np.array([1, 2])), Tensor(np.array([1, 2]), "torch.int64")
    for given in (Tensor(X), Tensor(X, grad=True), [list(each) for each in X]):
        output = model(given, labels=labels)
        np.testing.assert_array_equal(output.logits, expected.logits)
        assert output.loss == expected.loss
    coarse = (X.view(np.uint32) & 0xFFFF0000).view(np.float32)  # what bfloat16 holds
    np.testing.assert_array_equal(model(Tensor(coarse, "torch.bfloat16", grad=True)).logits, model(coarse).logits)
    with pytest.raises(InputError, match=r"pixel_values can't be taken as an array: .* use Tensor\.cpu\(\)"):
        model(Tensor(X, device="cuda:0"))


def test_post_processing_takes_tensors_that_need_a_gradient():
    logits = np.random.default_rng(0).normal(size=(1, 3, 4, 5)).astype(np.float32)
    (found,) = PROCESSOR.post_process_semantic_segmentation(SimpleNamespace(logits=Tensor(logits, grad=True)))
    np.testing.assert_array_equal(found, logits[0].argmax(axis=0))


# hidden_act as a function


def softsign(x):
    return x / (1 + np.abs(x))


@pytest.mark.parametrize("kind", AUTO)
@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_hidden_act_may_be_a_function(kind, engine, monkeypatch):
    monkeypatch.setitem(ops.ACTIVATIONS, "softsign", (softsign, ()))
    named = made(kind, hidden_act="softsign", dtype=np.float64)(X)[0]
    given = made(kind, engine, hidden_act=softsign, dtype=np.float64)(X)[0]
    np.testing.assert_allclose(given, named, rtol=0, atol=1e-12)


@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.parametrize("function", [np.tanh, lambda x: np.tanh(x.astype(np.float64))])
def test_a_function_that_widens_gives_the_network_s_dtype(function, engine):
    given = made(engine=engine, hidden_act=function)(X).logits
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, made(hidden_act="tanh")(X).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "says"),
    [
        (lambda x: x.sum(), "must return floats of its input's shape"),
        (lambda x: x[..., :1], "must return floats of its input's shape"),
        (lambda x: x > 0, "not bool of shape"),
        (lambda x: x.tolist(), "not a list"),
        (lambda x: 1 / 0, "can't take a NumPy array: division by zero"),
        (int, "the function int, can't take"),
    ],
)
def test_a_function_that_is_no_activation(function, says):
    for engine in ("reference", "fast"):
        with pytest.raises(InputError, match=says):
            made(hidden_act=function, engine=engine)(X)


def test_a_function_can_not_be_saved(tmp_path):
    model = made(hidden_act=softsign)
    for save in (model.save_pretrained, model.config.save_pretrained, model.config.to_json_file):
        with pytest.raises(ConfigError, match="hidden_act is the function softsign, which no config"):
            save(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
    assert "softsign" in repr(model.config)
    assert copy.deepcopy(model.config).hidden_act is softsign
    with pytest.raises(ConfigError, match="hidden_act must be an activation's name, or a function, not 7"):
        MobileViTConfig(hidden_act=7)


# Models


@pytest.mark.parametrize(("kind", "auto"), AUTO.items())
def test_auto_models(kind, auto, tmp_path):
    model = made(kind)
    model.save_pretrained(tmp_path)
    for again in (auto.from_pretrained(tmp_path), auto.from_config(model.config)):
        assert type(again) is kind
        np.testing.assert_array_equal(again(X)[0], model(X)[0])
    with pytest.raises(InputError, match="from_pretrained opens"):
        auto()
    assert isinstance(AutoConfig.from_pretrained(tmp_path), MobileViTConfig)
    assert AutoConfig.for_model("mobilevit", num_labels=3).num_labels == 3
    with pytest.raises(ConfigError, match="vit"):
        AutoConfig.for_model("vit")


@pytest.mark.parametrize("kind", AUTO)
def test_what_scripts_ask_of_a_module(kind):
    model = made(kind)
    expected = model(X)[0]
    np.testing.assert_array_equal(model.forward(X)[0], expected)
    for same in (model.eval(), model.train(False), model.to("cpu"), model.to(model.device), model.cpu(), model.to()):
        assert same is model
    assert (model.device, model.device.type, model.training) == ("cpu", "cpu", False)
    with pytest.raises(InputError, match="nothing learns here"):
        model.train()
    for place in ("cuda", "cuda:0", "mps", 0, SimpleNamespace(type="cuda")):
        with pytest.raises(InputError, match="NumPy computes on the CPU"):
            model.to(place)
    assert isinstance(model(X, return_dict=None, output_attentions=None, output_hidden_states=None), ModelOutput)
    assert model.main_input_name == "pixel_values"


@pytest.mark.parametrize("kind", AUTO)
def test_parameters_are_what_training_would_change(kind):
    model = made(kind)
    named = dict(model.named_parameters())
    assert named.keys() == {n for n in model.state_dict() if not n.endswith(("_mean", "_var", "_tracked"))}
    assert sum(p.numel() for p in model.parameters()) == model.num_parameters() == model.num_parameters(True)
    assert model.num_parameters(only_trainable=True, exclude_embeddings=True) == sum(p.size for p in named.values())
    first = next(model.parameters())
    assert (first.dtype, first.requires_grad) == (np.float32, True)
    with pytest.raises(ValueError, match="read-only"):
        first[...] = 0


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_dtypes_change_on_request_and_stay_a_model(engine):
    model, double = made(engine=engine), made(engine=engine, dtype=np.float64)
    single = model(X).logits
    assert model.to(np.float64) is model
    assert model.dtype == model(X).logits.dtype == np.float64
    np.testing.assert_allclose(model(X).logits, single, atol=1e-5)
    for to, dtype in ((model.half, "float16"), (model.float, "float32"), (model.double, "float64")):
        assert to().dtype == dtype
    assert double.to(dtype="torch.float32").to(None, dtype=None).dtype == np.float32
    with pytest.raises(InputError, match="dtype must be"):
        model.to(int)


@pytest.mark.parametrize("kind", AUTO)
def test_base_model_shares_the_tensors(kind):
    model = made(kind)
    bare, all_of_them = model.base_model, model.state_dict()
    assert type(bare) is MobileViTModel
    assert bare is model.base_model is bare.base_model is getattr(model, "mobilevit", bare)
    for name, tensor in bare.state_dict().items():
        assert np.shares_memory(tensor, all_of_them[name if bare is model else f"mobilevit.{name}"])
    if bare is not model:
        states = bare(X, output_hidden_states=True).hidden_states
        np.testing.assert_array_equal(states[4], model(X, output_hidden_states=True).hidden_states[4])
        assert model.to(np.float64).base_model.dtype == np.float64


@pytest.mark.parametrize("engine", ["reference", "fast"])
def test_load_state_dict(engine):
    model, other = made(engine=engine), MobileViTForImageClassification(made().config, seed=1, engine=engine)
    assert np.abs(model(X).logits - other(X).logits).max() > 1e-3
    tensors = {name: Tensor(tensor, grad=True) for name, tensor in other.state_dict().items()}
    assert model.load_state_dict(tensors) == ([], [])
    np.testing.assert_array_equal(model(X).logits, other(X).logits)
    doubled = {"classifier.bias": 2 * other.state_dict()["classifier.bias"].astype(np.float64), "banana": np.ones(1)}
    with pytest.raises(CheckpointError, match=r"it lacks mobilevit.*; the model has no place for banana; strict=False"):
        model.load_state_dict(doubled)
    with pytest.raises(InputError, match="state_dict must hold tensors by name, not be a str"):
        model.load_state_dict("model.safetensors")
    keys = model.load_state_dict(doubled, strict=False)
    assert keys.unexpected_keys == ["banana"]
    assert "classifier.weight" in keys.missing_keys
    assert model.state_dict()["classifier.bias"].dtype == np.float32
    np.testing.assert_array_equal(model.state_dict()["classifier.bias"], 2 * other.state_dict()["classifier.bias"])
    with pytest.raises(CheckpointError, match="of another shape"):
        model.load_state_dict({"classifier.bias": np.ones(3)}, strict=False)
    np.testing.assert_array_equal(model.state_dict()["classifier.bias"], 2 * other.state_dict()["classifier.bias"])


# Outputs


@dataclasses.dataclass
class Own(ModelOutput):
    """A script's own output."""

    a: float
    b: float | None = None
    c: float | None = None


def test_outputs_are_dataclasses_with_a_positional_constructor():
    output = ImageClassifierOutput(None, X, ("states",))
    assert [field.name for field in dataclasses.fields(output)] == ["loss", "logits", "hidden_states", "attentions"]
    assert dataclasses.is_dataclass(output)
    assert output.logits is output[0] is X
    assert dataclasses.replace(output, loss=3)[0] == 3
    assert dataclasses.asdict(output)["hidden_states"] == ("states",)
    for wrong in (lambda: ImageClassifierOutput(1, 2, 3, 4, 5), lambda: ImageClassifierOutput(1, loss=2)):
        with pytest.raises(InputError, match="each once"):
            wrong()


@pytest.mark.parametrize(
    "one", [Own(30, None, 10), Own(a=30, c=10), Own({"a": 30, "c": 10}), Own([("a", 30), ("c", 10)])]
)
def test_outputs_of_one_s_own(one):
    assert (one.a, one["a"], one[0], one.b, one.c, list(one), one[:2]) == (30, 30, 30, None, 10, ["a", "c"], (30, 10))
    one.b = 7
    one["c"] = None
    assert one.to_tuple() == (30, 7)


def test_fields_are_set_one_by_one():
    one = Own(a=(30, 30))
    assert one.a == (30, 30)
    for change in (lambda: one.pop("a"), lambda: one.update(a=1), lambda: one.setdefault("a"), lambda: one.clear()):
        with pytest.raises(InputError, match="one by one"):
            change()
    with pytest.raises(InputError, match="one by one"):
        del one["a"]
    with pytest.raises(InputError, match="no field 10"):
        Own([("a", 30), (10, 10)])
    with pytest.raises(KeyError):
        one["b"]


# Configurations


def test_configurations_as_json(tmp_path):
    config = MobileViTConfig(num_labels=3, hidden_act="relu", house_number=7, name_or_path="x", return_dict=None)
    usual = MobileViTConfig().to_diff_dict()
    assert not {"id2label", "return_dict", "output_attentions", "problem_type", "architectures"} & usual.keys()
    assert usual.keys() >= {"hidden_sizes", "model_type", "semantic_loss_ignore_index"}
    assert config.to_diff_dict().keys() - usual.keys() == {"id2label", "label2id", "house_number", "return_dict"}
    for diff in (True, False):
        config.to_json_file(tmp_path / "any.json", use_diff=diff)
        assert (tmp_path / "any.json").read_text() == config.to_json_string(use_diff=diff)
        again = MobileViTConfig.from_json_file(tmp_path / "any.json")
        assert again.to_diff_dict() == config.to_diff_dict()
    assert json.loads(config.to_json_string(use_diff=False))["output_attentions"] is False


def test_configurations_are_updated():
    config = MobileViTConfig()
    config.update({"num_labels": 3, "hidden_act": "relu", "house_number": 7, "name_or_path": "somewhere"})
    assert (config.num_labels, config.hidden_act, config.house_number) == (3, "relu", 7)
    assert config.name_or_path == "somewhere"
    assert "somewhere" not in config.to_json_string()
    with pytest.raises(ConfigError, match="taken"):
        config.update({"to_dict": 1})
    assert MobileViTConfig(output_attentions=None, output_hidden_states=None).output_attentions is None
    labels = MobileViTConfig.from_dict(config.to_dict(), id2label={0: "a", 1: "b", 2: "c"}).label2id
    assert labels == {"a": 0, "b": 1, "c": 2}


# Processors


def test_processors_as_json(tmp_path):
    text = PROCESSOR.to_json_string()
    assert json.loads(text)["size"] == {"shortest_edge": 24}
    PROCESSOR.to_json_file(tmp_path / "any.json")
    assert MobileViTImageProcessor.from_json_file(tmp_path / "any.json").to_dict() == PROCESSOR.to_dict()
    assert PROCESSOR.save_pretrained(tmp_path) == [str(tmp_path / "preprocessor_config.json")]
    assert (tmp_path / "preprocessor_config.json").read_text() == text
    with pytest.raises(ConfigError, match="JSON"):
        MobileViTImageProcessor(thing=object()).to_json_string()
    assert PROCESSOR.model_input_names == ["pixel_values"]


IDLE = {"image_mean": [0.5, 0.5, 0.5], "image_std": 1, "do_normalize": False, "do_pad": None}


def test_what_other_processors_take_changes_nothing_and_is_kept(tmp_path):
    expected = PROCESSOR(PHOTO).pixel_values[0]
    np.testing.assert_array_equal(PROCESSOR(PHOTO, **IDLE, device="cpu").pixel_values[0], expected)
    processor = MobileViTImageProcessor(**IDLE, size=24, crop_size=20)
    np.testing.assert_array_equal(processor(PHOTO).pixel_values[0], expected)
    processor.save_pretrained(tmp_path)
    again = AutoImageProcessor.from_pretrained(tmp_path, image_std=2)
    assert (again.image_mean, again.image_std, again.do_normalize, again.do_pad) == ([0.5, 0.5, 0.5], 2, False, None)
    for name in ("do_normalize", "do_pad"):
        for call in (lambda given: MobileViTImageProcessor(**given), lambda given: PROCESSOR(PHOTO, **given)):
            with pytest.warns(MobileViTWarning, match=f"{name} is kept but not done"):
                call({name: True})


def test_an_unknown_keyword_of_a_call_is_named():
    for call in (PROCESSOR, PROCESSOR.preprocess):
        with pytest.raises(InputError, match="preprocess takes no banana, pear"):
            call(PHOTO, pear=1, banana=1)
    assert not hasattr(PROCESSOR, "banana")


def test_each_step_alone():
    first = PHOTO.transpose(2, 0, 1)
    for image, back in ((PHOTO, lambda x: x), (first, lambda x: x.transpose(1, 2, 0))):
        assert back(PROCESSOR.resize(image, {"shortest_edge": 24})).shape == (24, 30, 3)
        np.testing.assert_array_equal(
            back(PROCESSOR.center_crop(image, {"height": 8, "width": 10})), PHOTO[20:28, 25:35]
        )
        np.testing.assert_array_equal(back(PROCESSOR.rescale(image, 2)), PHOTO * np.float32(2))
        np.testing.assert_array_equal(back(PROCESSOR.flip_channel_order(image)), PHOTO[..., ::-1])
    assert PROCESSOR.center_crop(PHOTO, 8, data_format="channels_first").shape == (3, 8, 8)


def test_features_are_moved_and_converted():
    features = BatchFeature({"pixel_values": [X[0], X[1]], "labels": [np.array([1]), np.array([2])]}, tensor_type="np")
    assert features.data == dict(features)
    assert type(features.data) is dict
    assert features.to("cpu").to("cpu", np.float64) is features
    assert (features.pixel_values.dtype, features.labels.dtype) == (np.float64, np.int64)
    assert features.to(dtype="torch.float16").pixel_values.dtype == np.float16
    with pytest.raises(InputError, match="NumPy computes on the CPU"):
        features.to("cuda")
    lists = BatchFeature({"pixel_values": [X[0]], "note": "x"})
    assert lists.to(np.float64).pixel_values[0].dtype == np.float64
    assert lists.note == "x"
    with pytest.raises(InputError, match="return_tensors='banana'"):
        BatchFeature({"pixel_values": [X[0]]}, tensor_type="banana")


# Pipelines


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    home = tmp_path_factory.mktemp("weights")
    return {task: save_tiny(home / task, task) for task in ("classifier", "segmenter")}


def test_a_pipeline_classifies(folders):
    classify = pipeline("image-classification", model=str(folders["classifier"]), top_k=3)
    model = AutoModelForImageClassification.from_pretrained(folders["classifier"])
    processor = AutoImageProcessor.from_pretrained(folders["classifier"])
    scores = ops.softmax(model(**processor(PHOTO, return_tensors="np")).logits)[0]
    order = np.argsort(-scores)
    answer = classify(PHOTO)
    assert [each["label"] for each in answer] == [CLASSES[i] for i in order[:3]]
    np.testing.assert_allclose([each["score"] for each in answer], scores[order[:3]], rtol=1e-6)
    assert all(type(each["score"]) is float for each in answer)
    again = pipeline(model=model, image_processor=processor, device=-1)
    assert again(PHOTO, top_k=3) == pipeline(model=model)(PHOTO, top_k=3) == answer
    assert (again.model, again.image_processor, again.task) == (model, processor, "image-classification")


def test_what_a_pipeline_takes(folders, tmp_path):
    classify, path = pipeline(model=folders["classifier"]), save_photo(tmp_path / "a.png")
    answer = classify(images=PHOTO)
    for image in (str(path), path, Image.fromarray(PHOTO), path.read_bytes()):
        assert classify(image) == answer
    assert classify([PHOTO], batch_size=2) == list(classify(iter([PHOTO]))) == [answer]


def test_what_a_pipeline_is_asked_for(folders):
    classify = pipeline(model=folders["classifier"], function_to_apply="none")
    assert [len(classify(PHOTO, top_k=k)) for k in (1, 99, None)] == [1, 5, 5]
    assert sum(each["score"] for each in classify(PHOTO)) != pytest.approx(1)
    assert sum(each["score"] for each in classify(PHOTO, function_to_apply="softmax")) == pytest.approx(1)


@pytest.mark.parametrize(("problem", "labels"), [("regression", 3), ("multi_label_classification", 3), (None, 1)])
def test_a_pipeline_obeys_problem_type(problem, labels):
    model = made(problem_type=problem, num_labels=labels)
    answer = pipeline("image-classification", model=model, image_processor=PROCESSOR)(PHOTO)
    logits = np.sort(model(**PROCESSOR(PHOTO, return_tensors="np")).logits[0])[::-1].astype(np.float64)
    expected = logits if problem == "regression" else 1 / (1 + np.exp(-logits))
    np.testing.assert_allclose([each["score"] for each in answer], expected, rtol=1e-5)


def test_a_pipeline_segments(folders):
    segment = pipeline("image-segmentation", model=folders["segmenter"])
    answer = segment(Image.fromarray(PHOTO), threshold=0.5)
    masks = np.stack([np.asarray(each["mask"]) for each in answer])
    assert masks.shape[1:] == PHOTO.shape[:2]
    assert set(np.unique(masks)) <= {0, 255}
    assert (masks.astype(int).sum(axis=0) == 255).all()  # each pixel has one class
    assert {each["label"] for each in answer} <= {*PLACES}
    assert all(each["score"] is None and each["mask"].mode == "L" for each in answer)
    assert len(segment([PHOTO, PHOTO])) == 2
    with pytest.raises(InputError, match="only semantic"):
        segment(PHOTO, subtask="panoptic")


def test_a_pipeline_s_mistakes(folders):
    classify = pipeline(model=folders["classifier"])
    for wrong, match in (
        (lambda: pipeline("image-banana", model=folders["classifier"]), "'image-banana' here; there are image-c"),
        (lambda: pipeline(), "give a task"),
        (lambda: pipeline("image-classification", model=made()), "give its image_processor"),
        (lambda: pipeline("image-segmentation", model=made(), image_processor=PROCESSOR), "takes a MobileViTForSem"),
        (lambda: pipeline("image-classification", model=folders["classifier"], device=0), "on the CPU"),
        (lambda: pipeline("image-classification", model=folders["classifier"], banana=1), "takes no banana; it takes"),
        (lambda: classify(PHOTO, banana=1), "takes no banana; it takes function_to_apply, top_k"),
        (lambda: classify(PHOTO, function_to_apply="banana"), "one of softmax, sigmoid, none"),
        (lambda: classify(), "there is no photo"),
        (lambda: classify("https://example.org/cat.jpg"), "is an address"),
    ):
        with pytest.raises(MobileViTError, match=match):
            wrong()
    with pytest.raises(ImageError):
        classify("missing.png")


def test_the_names_are_there_for_the_import_line():
    for name in ("AutoConfig", "AutoModel", "AutoModelForImageClassification", "AutoModelForSemanticSegmentation"):
        assert getattr(mobilevit_np, name).__name__ == name
    assert mobilevit_np.pipeline is pipeline

"""The three models and their outputs: calls, losses, files, errors. The numbers' oracle is the reference they call;
the reference's own are in test_reference_transformers.py and tests/parity."""

import copy
import json
import pickle
import threading

import drawing
import numpy as np
import pytest
from tiny import plant

from mobilevit_np import ops
from mobilevit_np.checkpoints import init_parameters
from mobilevit_np.config import VARIANTS
from mobilevit_np.errors import CheckpointError, ConfigError, InputError, MobileViTError, MobileViTWarning, OutputError
from mobilevit_np.huggingface import (
    MobileViTConfig,
    MobileViTForImageClassification,
    MobileViTForSemanticSegmentation,
    MobileViTImageProcessor,
    MobileViTModel,
)
from mobilevit_np.huggingface.outputs import ImageClassifierOutput
from mobilevit_np.model import NETWORKS
from mobilevit_np.scope import Scope

CLASSES = {
    "backbone": MobileViTModel,
    "classifier": MobileViTForImageClassification,
    "segmenter": MobileViTForSemanticSegmentation,
}


def small(task="classifier", *, seed=0, dtype=np.float64, expand_output=None, engine="reference", **values):
    options = {"engine": engine} if expand_output is None else {"engine": engine, "expand_output": expand_output}
    config = MobileViTConfig(**{**drawing.CUT_DOWN, "num_labels": 5, **values})
    return CLASSES[task](config, seed=seed, dtype=dtype, **options)


def pixels(batch=2, height=32, width=48, channels=3):
    return drawing.draw_pixels((batch, channels, height, width))


class Foreign:
    """An array of another library's."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return np.array(self.array, dtype=dtype)


# Outputs


def test_outputs_by_attribute_key_and_position():
    output = ImageClassifierOutput(attentions=(3,), logits=1)
    assert (output.logits, output["logits"], output[0], output[-1]) == (1, 1, 1, (3,))
    assert output.loss is None
    assert output.hidden_states is None
    assert list(output) == list(output.keys()) == ["logits", "attentions"]
    assert output.to_tuple() == (1, (3,)) == output[:]
    assert output[:1] == (1,)
    assert "loss" not in output
    assert len(output) == 2
    assert {**output} == {"logits": 1, "attentions": (3,)}


def test_outputs_keep_the_order_of_their_fields():
    output = ImageClassifierOutput(logits=1)
    output.loss = 2
    output["hidden_states"] = ()
    assert output.to_tuple() == (2, 1, ())
    output.loss = None
    assert list(output) == ["logits", "hidden_states"]


def test_outputs_have_no_other_fields():
    output = ImageClassifierOutput(logits=1)
    with pytest.raises(AttributeError, match="losses"):
        _ = output.losses
    with pytest.raises(InputError, match="losses"):
        output.losses = 1
    with pytest.raises(InputError, match="x"):
        ImageClassifierOutput(x=1)
    with pytest.raises(KeyError):
        output["loss"]
    with pytest.raises(IndexError):
        output[1]


def test_outputs_are_copied_and_pickled():
    output = ImageClassifierOutput(logits=np.ones(2), loss=1)
    for again in (copy.copy(output), copy.deepcopy(output), pickle.loads(pickle.dumps(output))):
        assert type(again) is ImageClassifierOutput
        assert again.loss == 1
        assert again.to_tuple()[1].tolist() == [1, 1]


# Calls


@pytest.mark.parametrize("variant", VARIANTS)
def test_parameter_counts_of_the_published_sizes(variant):
    counts = {"xx_small": (1_272_024, 1_854_853), "x_small": (2_317_848, 2_944_069), "small": (5_578_632, 6_357_941)}
    classifier = MobileViTForImageClassification(MobileViTConfig(**VARIANTS[variant], num_labels=1000))
    segmenter = MobileViTForSemanticSegmentation(MobileViTConfig(**VARIANTS[variant], num_labels=21))
    assert (classifier.num_parameters(), segmenter.num_parameters()) == counts[variant]


def test_a_model_from_a_configuration_alone_is_drawn_from_its_seed():
    x = pixels()
    first, again, other = small(), small(), small(seed=1)
    np.testing.assert_array_equal(first(x).logits, again(x).logits)
    assert np.abs(first(x).logits - other(x).logits).max() > 0.1
    assert small(dtype=np.float32).dtype == np.float32


def test_the_answers_are_the_reference_s():
    x = pixels()
    model = small("classifier")
    maps = {}
    scope = model.scope.listen(maps.__setitem__, "mobilevit.encoder.layer.?")
    logits = NETWORKS["classifier"](x, scope, model.config)
    output = model(x, output_hidden_states=True)
    np.testing.assert_array_equal(output.logits, logits)
    assert len(output.hidden_states) == len(maps) == 5
    assert all(np.array_equal(a, b) for a, b in zip(output.hidden_states, maps.values(), strict=True))
    model = small("segmenter", output_stride=16)
    np.testing.assert_array_equal(model(x).logits, NETWORKS["segmenter"](x, model.scope, model.config))
    for expand_output in (True, False):
        model = small("backbone", expand_output=expand_output)
        last = NETWORKS["backbone"](x, model.scope, model.config, expand_output=expand_output)
        output = model(x)
        np.testing.assert_array_equal(output.last_hidden_state, last)
        if expand_output:
            np.testing.assert_array_equal(output.pooler_output, last.mean(axis=(2, 3)))
        else:
            assert output.pooler_output is None


@pytest.mark.parametrize("task", CLASSES)
def test_attentions(task):
    attentions = small(task, num_attention_heads=8)(pixels(2, 64, 96), output_attentions=True).attentions
    tokens = [(4 * 6)] * 2 + [(2 * 3)] * 4 + [(1 * 2)] * 3
    assert [a.shape for a in attentions] == [(2 * 4, 8, n, n) for n in tokens]
    for probabilities in attentions:
        np.testing.assert_allclose(probabilities.sum(axis=-1), 1, atol=1e-12)


def test_the_configuration_says_what_a_call_returns_by_default():
    model = small(output_hidden_states=True, output_attentions=True, return_dict=False)
    logits, hidden_states, attentions = model(pixels())
    assert (len(hidden_states), len(attentions)) == (5, 9)
    output = model(pixels(), output_hidden_states=False, output_attentions=False, return_dict=True)
    assert list(output) == ["logits"]
    np.testing.assert_array_equal(output.logits, logits)


def test_pixel_values_come_in_any_array_and_are_cast():
    model = small(dtype=np.float32)
    x = pixels().astype(np.float32)
    expected = model(x).logits
    assert expected.dtype == np.float32
    for given in (x.astype(np.float64), Foreign(x), memoryview(x), x.tolist(), x[:, :, ::-1][:, :, ::-1]):
        np.testing.assert_array_equal(model(given).logits, expected)
    half = x.astype(np.float16)
    np.testing.assert_array_equal(model(half).logits, model(half.astype(np.float32)).logits)


def test_one_table_names_the_engines_of_models_and_pipelines(monkeypatch):
    def doubled(x, scope, config):
        return 2 * NETWORKS["classifier"](x, scope, config)

    plant(monkeypatch, "classifier", doubled, "doubled")
    x = pixels()
    np.testing.assert_array_equal(small(engine="doubled")(x).logits, 2 * small()(x).logits)


def test_trace_shows_every_activation_and_copies():
    model = small("segmenter")
    x = pixels()
    seen = model.trace(x)
    assert list(seen)[-1] == ""
    np.testing.assert_array_equal(seen[""], model(x).logits)
    assert {"mobilevit.conv_stem", "mobilevit.encoder.layer.4.folding", "segmentation_head.aspp"} <= seen.keys()
    seen["mobilevit.conv_stem"][:] = 0
    assert model.trace(x)["mobilevit.conv_stem"].any()


def test_nothing_changes_a_model():
    model = small()
    x = pixels()
    before, kept = x.copy(), {name: tensor.copy() for name, tensor in model.state_dict().items()}
    model(x, labels=np.array([1, 2]), output_attentions=True)
    np.testing.assert_array_equal(x, before)
    assert all(np.array_equal(kept[name], tensor) for name, tensor in model.state_dict().items())
    assert model.config.problem_type is None
    with pytest.raises(ValueError, match="read-only"):
        model.state_dict()["classifier.bias"][0] = 1
    model.state_dict()["classifier.bias"] = np.zeros(5)  # of the caller's dictionary
    assert model.state_dict()["classifier.bias"].any()
    assert model.eval() is model
    assert "parameters" in repr(model)
    assert model.num_labels == 5


def test_tensors_given_stay_the_caller_s():
    tensors = init_parameters(MobileViTConfig(**drawing.CUT_DOWN), "classifier")
    MobileViTForImageClassification(MobileViTConfig(**drawing.CUT_DOWN), tensors=tensors)
    tensors["classifier.bias"][0] = 1  # still writable


def test_threads_share_a_model():
    model, photos = small(), [pixels() + i / 10 for i in range(4)]
    expected = [model(x, output_attentions=True) for x in photos]
    answers: list = [None] * 4

    def ask(i):
        for _ in range(5):
            answers[i] = model(photos[i], output_attentions=True)

    threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for answer, one in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer.logits, one.logits, rtol=0, atol=1e-12)  # threads may share out a sum anew
        for a, b in zip(answer.attentions, one.attentions, strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


def test_a_classifier_without_labels_answers_with_its_features():
    model = small(num_labels=0)
    assert model(pixels()).logits.shape == (2, drawing.CUT_DOWN["neck_hidden_sizes"][6])


# Losses


def test_the_rule_that_chooses_the_loss():
    x = pixels()
    several, one = small(num_labels=4), small(num_labels=1)
    logits, value = several(x).logits, one(x).logits[:, 0]
    yes = np.array([[1, 0, 0, 1], [0, 1, 0, 0]])
    cases = [
        (several, np.array([3, 0]), ops.cross_entropy(logits, np.array([3, 0]))),
        (several, np.array([3, 0], np.int32), ops.cross_entropy(logits, np.array([3, 0]))),
        (several, np.array([[3], [0]]), ops.cross_entropy(logits, np.array([3, 0]))),
        (several, yes.astype(float), ops.binary_cross_entropy_with_logits(logits, yes)),
        (several, yes.astype(np.uint8), ops.binary_cross_entropy_with_logits(logits, yes)),
        (several, yes.astype(bool), ops.binary_cross_entropy_with_logits(logits, yes)),
        (one, np.array([0.5, 2.0]), ops.mean_squared_error(value, np.array([0.5, 2.0]))),
        (one, np.array([[1], [2]]), ops.mean_squared_error(value, np.array([1, 2]))),
    ]
    for model, labels, expected in cases:
        output = model(x, labels=labels)
        assert output.loss == expected
        assert output[0] is output.loss
        np.testing.assert_array_equal(output[1], model(x).logits)


def test_problem_type_overrides_the_rule():
    x, labels = pixels(), np.array([[1, 0, 0, 1], [0, 1, 0, 0]])
    logits = small(num_labels=4)(x).logits
    for problem, expected in (
        ("regression", ops.mean_squared_error(logits, labels)),
        ("multi_label_classification", ops.binary_cross_entropy_with_logits(logits, labels)),
    ):
        assert small(num_labels=4, problem_type=problem)(x, labels=labels).loss == expected
    one_byte = small(num_labels=4, problem_type="single_label_classification")(x, labels=np.array([3, 0], np.uint8))
    assert one_byte.loss == ops.cross_entropy(logits, np.array([3, 0]))


@pytest.mark.parametrize("ignored", [255, 0])
def test_segmentation_loss(ignored):
    model = small("segmenter", semantic_loss_ignore_index=ignored)
    x, labels = pixels(), np.random.default_rng(0).integers(0, 5, (2, 32, 48), dtype=np.uint8)
    output = model(x, labels=labels)
    assert output.loss == ops.semantic_segmentation_loss(output.logits, labels, ignore_index=ignored)
    assert np.isnan(model(x, labels=np.full((2, 32, 48), ignored)).loss)


# Errors: each in one line, of the one family, and a ValueError as in transformers


@pytest.mark.parametrize("task", CLASSES)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "You have to specify pixel_values"),
        ({"pixel_values": np.ones((1, 4, 32, 32))}, "4 channels on axis 1"),
        ({"pixel_values": np.ones((1, 32, 32, 3))}, "channels come first"),
        ({"pixel_values": np.ones((3, 32, 32))}, "must be a batch"),
        ({"pixel_values": np.ones((1, 3, 32, 32), np.uint8)}, "preprocess the image first"),
        ({"pixel_values": np.ones((0, 3, 32, 32))}, "hold no pixels"),
        ({"pixel_values": np.ones((1, 3, 32, 32), complex)}, "numbers"),
        ({"pixel_values": "cat.png"}, "numbers"),
        ({"pixel_values": object()}, "numbers"),
        ({"pixel_values": [[1.0], [1.0, 2.0]]}, "array"),
    ],
)
def test_wrong_calls(task, given, message):
    with pytest.raises(MobileViTError, match=message) as caught:
        small(task)(**given)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("task", "num_labels", "labels", "message"),
    [
        ("classifier", 5, np.array([1, 2, 3]), "labels of shape"),
        ("classifier", 5, np.array([1, 5]), "outside"),
        ("classifier", 5, np.array([1.0, 2.0]), "multi-label"),
        ("classifier", 1, np.array([1.0, 2.0, 3.0]), "regression"),
        ("classifier", 5, "cat", "numbers"),
        ("segmenter", 1, np.zeros((2, 32, 48), np.int64), "greater than one"),
        ("segmenter", 5, np.zeros((2, 32, 48)), "whole numbers"),
        ("segmenter", 5, np.zeros((3, 32, 48), np.int64), "labels of shape"),
        ("segmenter", 5, np.zeros((2, 1, 32, 48), np.int64), "must be"),
        ("segmenter", 5, np.zeros(2, np.int64), "must be"),
        ("segmenter", 5, np.full((2, 32, 48), 7), "outside"),
    ],
)
def test_wrong_labels(task, num_labels, labels, message):
    with pytest.raises(InputError, match=message):
        small(task, num_labels=num_labels)(pixels(), labels=labels)


def test_wrong_configurations():
    with pytest.raises(InputError, match="MobileViTConfig"):
        MobileViTModel("apple/mobilevit-small")
    config = MobileViTConfig(**drawing.CUT_DOWN)
    config.output_stride = 5
    with pytest.raises(ConfigError, match="output_stride"):
        MobileViTModel(config)
    with pytest.raises(ConfigError, match="sillu"):
        MobileViTModel(MobileViTConfig(hidden_act="sillu"))


@pytest.mark.parametrize("task", CLASSES)
@pytest.mark.parametrize("dtype", ["banana", int, None, complex, np.longdouble, 7])
def test_wrong_dtypes(task, dtype):
    with pytest.raises(InputError, match="dtype must be float32, float64 or float16, not"):
        small(task, dtype=dtype)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (ImageClassifierOutput(logits=np.zeros((2, 5))), r"\(B, K, H, W\), not float64 of shape \(2, 5\)"),
        (ImageClassifierOutput(logits=np.zeros((0, 5, 2, 2))), "of shape"),
        (ImageClassifierOutput(logits=[[1], [1, 2]]), "as an array"),
        (ImageClassifierOutput(logits="cat"), "are numbers"),
        (ImageClassifierOutput(), "are numbers"),
        (np.zeros((1, 5, 2, 2)), "a ndarray has no logits"),
    ],
)
def test_what_is_no_segmenter_s_output_cant_be_post_processed(outputs, message):
    with pytest.raises(InputError, match=message):
        MobileViTImageProcessor().post_process_semantic_segmentation(outputs)
    with pytest.raises(InputError, match=message):
        MobileViTImageProcessor().post_process_semantic_segmentation(outputs, [(4, 4)])


def test_target_sizes_are_a_list():
    outputs = ImageClassifierOutput(logits=np.zeros((1, 5, 2, 2)))
    with pytest.raises(InputError, match="target_sizes"):
        MobileViTImageProcessor().post_process_semantic_segmentation(outputs, 4)


# Files


@pytest.mark.parametrize("task", CLASSES)
def test_saved_and_opened_again(task, tmp_path):
    model = small(task, dtype=np.float64, hidden_act="prelu", house_number=7, torch_dtype="float16")
    x = pixels()
    model.save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["dtype"] == "float64"
    assert "torch_dtype" not in written
    again = CLASSES[task].from_pretrained(tmp_path)
    assert again.dtype == np.float64
    np.testing.assert_array_equal(again(x)[0], model(x)[0])
    assert again.config.house_number == 7
    assert again.config.architectures == [CLASSES[task].__name__]
    narrow = CLASSES[task].from_pretrained(str(tmp_path), dtype="float32")
    assert narrow.dtype == narrow(x)[0].dtype == np.float32
    np.testing.assert_allclose(narrow(x)[0], model(x)[0], rtol=0, atol=1e-4)


class TorchLike:
    """A dtype of torch's, by its text."""

    def __str__(self):
        return "torch.float32"


def test_torch_dtype_is_the_older_name_of_dtype(tmp_path):
    small(dtype=np.float64).save_pretrained(tmp_path)
    load = MobileViTForImageClassification.from_pretrained
    for given in (np.float32, "float32", "torch.float32", TorchLike()):
        assert load(tmp_path, torch_dtype=given).dtype == load(tmp_path, dtype=given).dtype == np.float32
    assert load(tmp_path, torch_dtype="auto").dtype == load(tmp_path, dtype="auto").dtype == np.float64
    assert "torch_dtype" not in vars(load(tmp_path, torch_dtype="float32").config)
    with pytest.raises(InputError, match="older name"):
        load(tmp_path, dtype="float32", torch_dtype="float64")
    with pytest.raises(MobileViTError, match="banana"):
        load(tmp_path, torch_dtype="banana")


@pytest.mark.parametrize("given", [{}, {"dtype": "auto"}, {"torch_dtype": "auto"}])
def test_a_file_of_float16_is_widened_to_float32(tmp_path, given):
    small(dtype=np.float16).save_pretrained(tmp_path)
    load = MobileViTForImageClassification.from_pretrained
    assert load(tmp_path, dtype="float16").dtype == np.float16
    assert load(tmp_path, **given).dtype == np.float32
    assert "float16 and bfloat16 widened to float32" in load.__doc__


def test_a_bare_model_opens_a_classifier_s_file(tmp_path):
    model, x = small("classifier"), pixels()
    model.save_pretrained(tmp_path)
    for expand_output in (None, True, False):
        with pytest.warns(MobileViTWarning, match="belong to another head"):
            bare = MobileViTModel.from_pretrained(tmp_path, expand_output=expand_output)
        assert bare.expand_output == (expand_output is not False)
        name = "mobilevit.conv_1x1_exp" if bare.expand_output else "mobilevit.encoder"
        np.testing.assert_array_equal(bare(x).last_hidden_state, model.trace(x)[name])


def test_a_bare_model_opens_a_segmenter_s_file_without_expansion(tmp_path):
    small("segmenter").save_pretrained(tmp_path)
    with pytest.warns(MobileViTWarning, match="belong to another head"):
        assert not MobileViTModel.from_pretrained(tmp_path).expand_output
    with pytest.raises(CheckpointError, match="conv_1x1_exp"):
        MobileViTModel.from_pretrained(tmp_path, expand_output=True)


def test_from_pretrained_takes_fields_of_the_configuration(tmp_path):
    small("classifier").save_pretrained(tmp_path)
    model = MobileViTForImageClassification.from_pretrained(tmp_path, output_hidden_states=True)
    assert len(model(pixels()).hidden_states) == 5
    again = MobileViTForImageClassification.from_pretrained(tmp_path, config=model.config)
    assert again.config is model.config
    with pytest.raises(InputError, match="not both"):
        MobileViTForImageClassification.from_pretrained(tmp_path, config=model.config, output_hidden_states=True)
    with pytest.raises(CheckpointError, match="shape"):
        MobileViTForImageClassification.from_pretrained(tmp_path, num_labels=9)
    with pytest.raises(MobileViTError):
        MobileViTForImageClassification.from_pretrained(tmp_path / "nowhere")


def test_tensors_that_dont_fit_are_an_error():
    config = MobileViTConfig(**drawing.CUT_DOWN)
    with pytest.raises(CheckpointError, match="missing"):
        MobileViTForImageClassification(config, tensors={})


def test_a_file_in_the_folder_s_place_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        small().save_pretrained(tmp_path / "file")


def test_a_scope_with_a_mistake_changes_the_answer():
    model, x = small(), pixels()
    broken = model.scope.wrap(
        "*.reduce_1x1", lambda compute, x, scope, **options: ops.silu(compute(x, scope, **options))
    )
    assert isinstance(broken, Scope)
    assert np.abs(NETWORKS["classifier"](x, broken, model.config) - model(x).logits).max() > 1e-3

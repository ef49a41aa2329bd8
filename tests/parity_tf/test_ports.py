"""TensorFlow's models and TFLite files, live: recorded, matched by name, and found to be right.

float32 stays within half of what is allowed, layer by layer, and so does int8 by its own measure. Mistakes made in the
Keras model are named, there and in the TFLite files made from it, quantized ones too.
"""

import re
import sys

import checked_page
import numpy as np
import ports
import pytest
import tensorflow_models as models
from port_table import HEADER, SIZES, golden_and_network, line, recorded_names

from mobilevit_np.errors import MissingExtraError
from mobilevit_np.golden import compare, diagnose, read_port
from mobilevit_np.golden.adapters import record_keras, record_tflite, write_port
from mobilevit_np.golden.hook_names import GRAPH, TRANSFORMERS
from mobilevit_np.golden.identity import split
from mobilevit_np.golden.measure import MULTIPLE
from mobilevit_np.golden.tables import comparison_lines

WITHIN = MULTIPLE / 2
COUNTED = re.compile(r"(zero_padding2d|dropout|tf_mobile_vi_t\w*?)(_\d+)?(?=[/.;]|$)")  # Keras counts what has no name
NUMBER = re.compile(r"[\d,]+")
LITE = ports.LITE["float32"]


@pytest.fixture(scope="module", params=ports.PORTS, ids=" ".join)
def port(request):
    return ports.record(*request.param)


def test_a_real_port_is_right_at_every_layer(port):
    golden, network = golden_and_network(port.task)
    comparison = compare(golden, port.tensors, network=network, precision=port.precision, multiple=WITHIN)
    assert comparison.ok, comparison.first_bad
    assert comparison.how == (TRANSFORMERS if port.title == ports.KERAS else GRAPH)
    assert comparison.precision == (port.precision or "float32")
    assert len(comparison.rows) > 180
    by_weights = compare(golden, port.tensors, network=network, by="weights", precision=port.precision)
    assert by_weights.ok, by_weights.first_bad
    assert len(by_weights.rows) > 0.9 * len(comparison.rows)
    assert not by_weights.identity.misplaced
    assert not by_weights.identity.never_loaded
    assert comparison.layouts["b c h w"] == "b h w c"


def test_real_ports_still_have_the_names_that_the_plain_tests_know(port):
    if port.task != "backbone":
        kind = "keras" if port.title == ports.KERAS else "tflite"
        known = recorded_names()[f"{kind}/{port.task}/xx_small"]
        activations, weights = split(port.tensors)
        assert len(weights) > 80
        assert [COUNTED.sub(r"\1", name) for name in activations] == [COUNTED.sub(r"\1", name) for name in known]


def test_a_quantized_port_that_does_not_say_so_gets_a_word():
    golden, network = golden_and_network("classifier")
    comparison = compare(golden, ports.record(ports.LITE["int8"], "classifier").tensors, network=network)
    assert not comparison.ok
    assert comparison.precision == "float32"
    assert re.search(r"\bint8 makes; .* --precision$", comparison_lines(comparison)[-1])


def test_the_page_says_what_is_so(tmp_path):
    """Its blocks run, and each answer's first line is the one shown but for numbers. Its conversion is ours."""
    variables = {}
    answers = list(checked_page.run(checked_page.TFLITE, tmp_path, variables))
    assert len(answers) == 3
    for shown, now in answers:
        assert NUMBER.sub("#", shown.splitlines()[0]) == NUMBER.sub("#", now.splitlines()[0])
    assert answers[2][1].startswith("change first: set the batch norms' epsilon")
    assert "\n1. batch_norm_eps" in answers[2][1]
    set_batch_norm_eps(variables["model"], 1e-5)
    model = variables["model"]
    ours = models.convert(models.save(model, model.config.image_size), quantized=True)
    theirs = (tmp_path / "model.tflite").read_bytes()
    assert len(ours) == len(theirs)
    assert sum(a != b for a, b in zip(ours, theirs, strict=True)) <= 1  # a SavedModel or a Keras model, says the file


def set_batch_norm_eps(model, epsilon):
    for layer in model._flatten_layers():
        if type(layer).__name__ == "BatchNormalization":
            layer.epsilon = epsilon


def test_a_mistake_made_in_keras_is_named():
    """Keras' own epsilon, which is the commonest mistake of TensorFlow ports."""
    golden, network = golden_and_network("classifier")
    model = models.new_model("classifier")
    set_batch_norm_eps(model, 1e-3)
    diagnosis = diagnose(golden, record_keras(model, golden), network)
    assert diagnosis.names == ("batch_norm_eps",)
    assert not diagnosis.unexplained


@pytest.fixture(scope="module")
def exchanged():
    """A SavedModel whose fusions take the block's own features first: both halves of their kernels are exchanged."""
    model = models.new_model("classifier")
    for variable in model.weights:
        if variable.name.endswith("/fusion/convolution/kernel:0"):
            variable.assign(np.concatenate(np.split(variable.numpy(), 2, axis=2)[::-1], axis=2))
    return models.save(model, SIZES["classifier"])


@pytest.mark.parametrize("kind", ports.LITE)
def test_a_mistake_in_a_tflite_file_is_named(exchanged, kind, tmp_path):
    golden, network = golden_and_network("classifier")
    path = tmp_path / "model.tflite"
    path.write_bytes(models.convert(exchanged, quantized=kind == "int8"))
    found = read_port(write_port(tmp_path / "port.safetensors", record_tflite(path, golden)))
    comparison = compare(golden, found, network=network, precision=kind)
    places = [f"mobilevit.encoder.layer.{i}.fusion.normalization" for i in (2, 3, 4)]
    assert [row.path for row in comparison.bad] == places
    diagnosis = diagnose(golden, found, network, precision=kind)
    assert not diagnosis.unexplained
    assert not diagnosis.findings  # the concatenation is as it should be: the weights aren't
    assert [path for each in diagnosis.misloaded for path in each.paths] == places
    assert all("has its inputs in another order" in each.how for each in diagnosis.misloaded)


def test_a_keras_model_is_left_as_it_was():
    golden, _ = golden_and_network("backbone")
    model = models.model_of("backbone")
    before = record_keras(model, golden)
    for layer in model._flatten_layers():
        assert not {"call", "unfolding", "folding"} & set(vars(layer))
    assert all(np.array_equal(array, before[name]) for name, array in record_keras(model, golden).items())


def test_a_keras_model_of_ones_own_that_takes_channels_last():
    keras = models.tf.keras
    model = keras.Sequential([keras.layers.Conv2D(4, 1, name="one"), keras.layers.Conv2D(2, 3, name="two")])
    pixels = np.random.default_rng(0).random((1, 3, 6, 8), np.float32)
    found = record_keras(model, pixels, channels_last=True)
    assert {name: array.shape for name, array in found.items()} == {
        "parameters/one/kernel": (1, 1, 3, 4),
        "parameters/one/bias": (4,),
        "parameters/two/kernel": (3, 3, 4, 2),
        "parameters/two/bias": (2,),
        "pixel_values": (1, 3, 6, 8),
        "one": (1, 6, 8, 4),
        "two": (1, 4, 6, 2),
        "logits": (1, 4, 6, 2),
    }


def test_wholly_quantized_tensors_come_back_as_numbers():
    keras = models.tf.keras
    pixels = np.random.default_rng(0).random((1, 3, 8, 8), np.float32)
    model = keras.Sequential([keras.layers.Input((8, 8, 3), 1), keras.layers.Conv2D(4, 3, name="one")])
    right = record_keras(model, pixels, channels_last=True)["one"]
    converter = models.tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [models.tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: [[pixels.transpose(0, 2, 3, 1)]]
    converter.target_spec.supported_ops = [models.tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = models.tf.int8
    found = record_tflite(bytes(converter.convert()), pixels)
    output = list(found.values())[-1]
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, right, atol=np.abs(right).max() / 32)


def test_litert_sees_the_same(monkeypatch):
    golden, network = golden_and_network("backbone")
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    found = record_tflite(ports.tflite("backbone", "float32"), golden)
    assert list(found) == list(ports.record(LITE, "backbone").tensors)
    assert compare(golden, found, network=network, multiple=WITHIN).ok
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingExtraError, match="ai-edge-litert"):
        record_tflite(b"", golden)


def test_the_table_of_the_readme(capsys):
    lines = [line(ports.record(*each)) for each in ports.PORTS]
    with capsys.disabled():
        print("", *HEADER, *lines, sep="\n")
    assert all("| none | right" in each for each in lines)

"""The adapters without their frameworks: tables of names against what real ports call their tensors, fused and split
entries, inputs and files. The live ports are in tests/parity and tests/parity_tf.
"""

import functools
import json
import re
import sys
from types import SimpleNamespace

import numpy as np
import port_table
import pytest
from golden_ports import BY_NAME, golden_and_network, port

from mobilevit_np.checkpoints import parameter_shapes
from mobilevit_np.config import VARIANTS, NetworkConfig
from mobilevit_np.errors import InputError, MissingExtraError, OutputError
from mobilevit_np.golden import compare, read_port
from mobilevit_np.golden.adapters import (
    record_executorch,
    record_exported,
    record_keras,
    record_mnn,
    record_ncnn,
    record_onnx,
    record_openvino,
    record_tflite,
    record_torch,
    record_tract,
    tflite,
    write_port,
)
from mobilevit_np.golden.adapters.collecting import fed, first_of, input_of
from mobilevit_np.golden.adapters.ncnn import _layer, _parameters
from mobilevit_np.golden.adapters.tflite import _quantized, _real
from mobilevit_np.golden.formula import make
from mobilevit_np.golden.graph_names import graph_choices
from mobilevit_np.golden.hook_names import GRAPH, TIMM, TRANSFORMERS, table
from mobilevit_np.golden.matching import match
from mobilevit_np.golden.measure import MULTIPLE, allowed, floor
from mobilevit_np.golden.operators import make_operator
from mobilevit_np.golden.tables import comparison_lines

LAYER = "mobilevit.encoder.layer"
KERAS = "tf_mobile_vi_t_for_image_classification/mobilevit"
# What values of real graphs are, chosen by hand from the forward functions (None: nobody's)
ONNX_SEES = {
    "/mobilevit/conv_stem/convolution/Conv_output_0": "mobilevit.conv_stem.normalization",  # folded into one
    "/mobilevit/conv_stem/activation/Sigmoid_output_0": None,
    "/mobilevit/conv_stem/activation/Mul_output_0": "mobilevit.conv_stem.activation",
    "/mobilevit/encoder/layer.1/layer.1/Add_output_0": f"{LAYER}.1.layer.1",
    "/mobilevit/encoder/layer.2/conv_1x1/convolution/Conv_output_0": f"{LAYER}.2.conv_1x1.convolution",
    "/mobilevit/encoder/layer.2/Reshape_1_output_0": None,
    "/mobilevit/encoder/layer.2/Reshape_2_output_0": f"{LAYER}.2.unfolding",
    "/mobilevit/encoder/layer.2/transformer/layer.0/attention/attention/query/MatMul_output_0": None,
    "/mobilevit/encoder/layer.2/transformer/layer.0/attention/attention/query/Add_output_0": (
        f"{LAYER}.2.transformer.layer.0.attention.attention.query"
    ),
    "/mobilevit/encoder/layer.2/transformer/layer.0/attention/attention/Softmax_output_0": (
        f"{LAYER}.2.transformer.layer.0.attention.attention.probabilities"
    ),
    "/mobilevit/encoder/layer.2/transformer/layer.0/attention/attention/Reshape_3_output_0": (
        f"{LAYER}.2.transformer.layer.0.attention.attention"
    ),
    "/mobilevit/encoder/layer.2/transformer/layer.0/Add_output_0": None,  # before the feed-forward: no module's
    "/mobilevit/encoder/layer.2/transformer/layer.0/output/Add_output_0": f"{LAYER}.2.transformer.layer.0.output",
    "/mobilevit/encoder/layer.2/layernorm/LayerNormalization_output_0": f"{LAYER}.2.layernorm",
    "/mobilevit/encoder/layer.2/Reshape_5_output_0": f"{LAYER}.2.folding",
    "logits": "logits",
}
TFLITE_SEES = {
    f"{KERAS}/conv_stem/zero_padding2d/Pad": None,
    f"{KERAS}/conv_stem/normalization/FusedBatchNormV3;{KERAS}/conv_stem/convolution/Conv2D": (
        "mobilevit.conv_stem.normalization"
    ),
    f"{KERAS}/conv_stem/Sigmoid": None,
    f"{KERAS}/conv_stem/mul_1": "mobilevit.conv_stem.activation",
    f"{KERAS}/encoder/layer.1/layer.1/add": f"{LAYER}.1.layer.1",
    f"{KERAS}/encoder/layer.2/conv_1x1/convolution/Conv2D": f"{LAYER}.2.conv_1x1.convolution",
    f"{KERAS}/encoder/layer.2/Reshape_2": f"{LAYER}.2.unfolding",
    f"{KERAS}/encoder/layer.2/transformer/layer.0/layernorm_before/batchnorm/mul_1": None,
    f"{KERAS}/encoder/layer.2/transformer/layer.0/layernorm_before/batchnorm/add_1": (
        f"{LAYER}.2.transformer.layer.0.layernorm_before"
    ),
    f"{KERAS}/encoder/layer.2/transformer/layer.0/attention/attention/key/Tensordot": None,
    f"{KERAS}/encoder/layer.2/transformer/layer.0/attention/attention/key/BiasAdd": (
        f"{LAYER}.2.transformer.layer.0.attention.attention.key"
    ),
    f"{KERAS}/encoder/layer.2/transformer/layer.0/intermediate/mul_1": (
        f"{LAYER}.2.transformer.layer.0.intermediate.intermediate_act_fn"
    ),
    f"{KERAS}/encoder/layer.2/Reshape_5": None,
    f"{KERAS}/encoder/layer.2/transpose_5": f"{LAYER}.2.folding",
    "StatefulPartitionedCall:0": "logits",
}


@pytest.mark.parametrize("sees", [ONNX_SEES, TFLITE_SEES], ids=["onnx", "tflite"])
@pytest.mark.parametrize("channels_last", [False, True])
def test_fused_and_split_values_are_told_apart(sees, channels_last):
    """What is nobody's holds another's numbers: were it matched, the comparison would be wrong."""
    golden, network = golden_and_network()
    found = port(golden, network)
    tensors = {name: found[path] if path else np.float32(9) + found["logits"] for name, path in sees.items()}
    if channels_last:
        tensors = {n: t.transpose(0, 2, 3, 1) if t.ndim == 4 and "oftmax" not in n else t for n, t in tensors.items()}
    matching = match(golden, tensors)
    assert matching.how == GRAPH
    assert {path: matched.name for path, matched in matching.found.items()} == {p: n for n, p in sees.items() if p}
    assert list(matching.unknown) == [name for name, path in sees.items() if path is None]
    assert compare(golden, tensors, network=network).ok


def test_batch_norm_that_stands_apart_is_not_taken_for_folded():
    conv, norm = "/mobilevit/conv_stem/convolution/Conv_output_0", "/mobilevit/conv_stem/normalization/"
    paths = ["mobilevit.conv_stem.convolution", "mobilevit.conv_stem.normalization"]
    both = graph_choices([conv, f"{norm}BatchNormalization_output_0"], paths)
    assert both == {conv: (paths[0],), f"{norm}BatchNormalization_output_0": (paths[1],)}
    assert graph_choices([conv], paths) == {conv: (paths[1],)}
    assert graph_choices([conv], paths[:1]) == {conv: (paths[0],)}


def test_tensorflows_dilated_convolution_is_in_pieces():
    head = "m/segmentation_head/aspp/convs.1"
    names = [
        f"{head}/convolution/Conv2D",
        f"{head}/convolution/Conv2D/BatchToSpaceND",
        f"{head}/normalization/FusedBatchNormV3",  # only its product; the sum is fused with the activation
        f"{head}/Relu;{head}/normalization/FusedBatchNormV3",
    ]
    ours = "segmentation_head.aspp.convs.1"
    choices = graph_choices(names, [f"{ours}.{part}" for part in ("convolution", "normalization", "activation")])
    assert choices == {names[1]: (f"{ours}.convolution",), names[3]: (f"{ours}.activation",)}


@functools.cache
def paths_of(task, variant):
    """The paths in a golden file, which are no more than names here."""
    return ("pixel_values", *make(variant, task=task, size=32).activations)


def expected(kind, task, variant):
    """Our paths that a port of that kind must show: by rules on paths, which know nothing of the tables."""
    paths = {*paths_of(task, variant)}
    if kind == "transformers":
        return paths
    if kind == "timm":  # has no unfolding, no probabilities (fused) and none of the wrappers inside a layer
        return {p for p in paths if re.search(r"(convolution|activation|dense|norm\w*|\.query|\.key|\.value|t_fn)$", p)}
    if kind == "keras":  # activations are no layers
        return {p for p in paths if not re.search(r"(\.activation|_act_fn)$", p)}
    folded = {p.replace("normalization", "convolution") for p in paths if p.endswith(".normalization")}
    inner = r"(query|key|value|dense|_fn|probabilities|layernorm\w*|folding)$"
    outer = r"(normalization|convolution|activation|global_pool)$"
    wanted = {p for p in paths if re.search(inner, p) or re.search(outer, p)} - folded
    wanted |= {p for p in paths if re.search(r"(attention\.attention|transformer\.layer\.\d\.output|convs\.4)$", p)}
    wanted |= {"logits", f"{LAYER}.1.layer.1", f"{LAYER}.1.layer.2"}
    wanted |= {f"{LAYER}.0.layer.0"} if variant == "xx_small" else set()  # as many channels go in as come out
    if kind == "onnx":
        wanted.discard("segmentation_head.classifier.convolution")  # is the graph's output, and called so
    if kind == "tflite":  # in the head ReLU is fused too, and dilated convolutions stay apart from their batch norm
        wanted = {p for p in wanted if not re.fullmatch(r"segmentation_head.*normalization", p)}
        wanted |= {f"segmentation_head.aspp.convs.{i}.convolution" for i in (1, 2, 3)} & paths
    return wanted


@pytest.mark.parametrize("key", port_table.recorded_names())
def test_the_tables_know_all_that_real_ports_show(key):
    kind, task, variant = key.split("/")
    names = port_table.recorded_names()[key]
    how, entries = table(names, paths_of(task, variant))
    assert how == {"transformers": TRANSFORMERS, "keras": TRANSFORMERS, "timm": TIMM}.get(kind, GRAPH)
    known = {path for entry in entries.values() for path in (entry.parts or entry.choice)}
    wanted = expected(kind.split()[0], task, variant)
    assert wanted - known == set()
    if how == GRAPH:  # where a value of another operation could be taken for the output
        assert known == wanted | {"pixel_values"}


def test_every_port_and_size_was_recorded():
    kinds = {"transformers", "onnx traced", "onnx exported", "keras", "tflite"}
    networks = {"classifier/xx_small", "classifier/x_small", "classifier/small", "segmenter/xx_small"}
    wanted = {f"{kind}/{network}" for kind in kinds for network in networks}
    assert set(port_table.recorded_names()) == wanted | {f"timm/classifier/{variant}" for variant in VARIANTS}


def test_the_networks_of_the_table_are_what_they_say():
    golden, network = port_table.golden_and_network("backbone")
    assert set(network.tensors) == {
        f"mobilevit.{n}" for n in parameter_shapes(NetworkConfig(**golden.config), "backbone")
    }
    found = {name: tensor.astype(np.float32) for name, tensor in golden.tensors.items()}
    text = port_table.line(port_table.Port("a port", "backbone", found))
    assert text.startswith("| a port | backbone | 298 of 298 | ")
    assert text.endswith("| none | right |")
    found["mobilevit"] = found["mobilevit"][:, ::-1]
    assert "| mobilevit | WRONG |" in port_table.line(port_table.Port("a port", "backbone", found))


class Layer:
    """As much of a Keras layer as the recorder needs."""

    def __init__(self, name, *layers, weights=()):
        self.name, self.layers = name, layers
        self.weights = [*weights, *(each for layer in layers for each in layer.weights)]

    def __call__(self, x):
        return self.call(x)

    def call(self, x):
        for layer in self.layers:
            x = layer(x)
        return {"first": (x + 1, None), "second": x} if self.name == "model" else x + 1

    def _flatten_layers(self, recursive, include_self):
        yield from [self] if include_self else []
        for layer in self.layers:
            yield from layer._flatten_layers(True, True) if recursive else [layer]


class Dropout(Layer):
    """Gives what it gets."""

    def call(self, x):
        return x


class Weight(np.ndarray):
    """An array with a name."""


def weight(name, *numbers):
    made = np.array(numbers, np.float32).view(Weight)
    made.name = name
    return made


def test_keras_weights_are_their_layers_own():
    shared = Layer("dense", weights=[weight("model/inner/dense/kernel:0", 1, 2), weight("bias", 3)])
    inner = Layer("inner", shared, shared, weights=[weight("scale", 4)])
    found = record_keras(Layer("model", inner, weights=[weight("gain", 5)]), np.zeros((1, 3, 2, 4), np.float32))
    assert {name: array.tolist() for name, array in found.items() if name.startswith("parameters/")} == {
        "parameters/inner.dense/kernel": [1, 2],
        "parameters/inner.dense/bias": [3],
        "parameters/inner/scale": [4],
        "parameters/logits/gain": [5],
    }
    assert [float(found[name].flat[0]) for name in ("inner.dense", "inner.dense#2")] == [1, 2]


def test_keras_layers_are_named_by_the_way_to_them():
    attention = Layer("attention", Layer("attention", Layer("query"), Dropout("dropout_3")), Dropout("dropout_4"))
    model = Layer("model", Layer("stem"), attention)
    pixels = np.zeros((1, 3, 2, 4), np.float32)
    found = record_keras(model, pixels)
    numbers = {name: float(array.flat[0]) for name, array in found.items()}
    assert numbers == {
        "pixel_values": 0,
        "stem": 1,
        "attention.attention.query": 2,
        "attention.attention.dropout_3": 2,
        "attention.attention": 3,
        "attention": 4,
        "logits": 5,
    }
    assert "call" not in vars(attention)
    assert record_keras(model, pixels, channels_last=True)["stem"].shape == (1, 2, 4, 3)


@pytest.mark.parametrize(("head", "outputs"), [((), []), ((Layer("classifier"),), ["classifier", "logits"])])
def test_a_keras_model_without_a_head_gives_no_logits(head, outputs):
    """transformers' has one layer, and gives once more what that does."""
    model = Layer("model", Layer("mobilevit", Layer("conv_stem")), *head)
    found = record_keras(model, np.zeros((1, 3, 2, 4), np.float32))
    assert list(found) == ["pixel_values", "mobilevit.conv_stem", "mobilevit", *outputs]
    assert found["mobilevit"].flat[0] == 2


def test_a_failing_layer_leaves_the_model_as_it_was():
    model = Layer("model", Layer("stem"))
    model.layers[0].call = lambda x: x / None
    own = model.layers[0].call
    with pytest.raises(TypeError):
        record_keras(model, np.zeros((1, 3, 2, 4), np.float32))
    assert model.layers[0].call is own
    assert "call" not in vars(model)


def test_weights_are_read_from_an_ncnn_file():
    lines = (
        "Convolution conv 1 1 a b 0=2 1=1 5=1 6=6",
        "InnerProduct linear 1 1 b c 0=2 1=0 2=4",
        "LayerNorm norm 1 1 c d 0=2 2=1",
        "Reshape turned 1 1 d out0 0=-1",
    )
    layers = [_layer(line.split()) for line in lines]
    numbers = np.arange(16, dtype=np.float32)
    half = (0x01306B47).to_bytes(4, "little") + numbers[8:12].astype(np.float16).tobytes()
    data = bytes(4) + numbers[:8].tobytes() + half + numbers[12:].tobytes()
    found = _parameters(layers, data)
    assert {name: array.shape for name, array in found.items()} == {
        "parameters/conv/weight": (2, 3, 1, 1),
        "parameters/conv/bias": (2,),
        "parameters/linear/weight": (2, 2),
        "parameters/norm/weight": (2,),
        "parameters/norm/bias": (2,),
    }
    np.testing.assert_array_equal(np.concatenate([array.ravel() for array in found.values()]), numbers)
    for other in (data + bytes(4), data[:-4], b"\x01" + data[1:]):  # other layers', cut off, quantized
        assert _parameters(layers, other) == {}


def test_inputs():
    golden, _ = golden_and_network()
    assert input_of(golden).dtype == np.float32
    assert input_of(golden, np.float64).dtype == np.float64
    for wrong in (np.zeros((3, 4, 4)), np.zeros((1, 3, 4, 4), np.uint8), "golden.safetensors"):
        with pytest.raises(InputError, match="give a golden"):
            input_of(wrong)
    with pytest.raises(InputError, match="operator's golden"):
        input_of(make_operator("layer_norm"))
    pixels = np.zeros((1, 3, 4, 6), np.float32)
    assert fed(pixels, [1, 3, 4, 6]).shape == fed(pixels, ["batch", 3, "h", "w"]).shape == (1, 3, 4, 6)
    assert fed(pixels, np.array([-1, 4, 6, 3])).shape == (1, 4, 6, 3)
    assert fed(pixels, []) is pixels  # nothing is known of it
    for shape in ([1, 3, 8, 8], np.array([-1, 8, 8, 3], np.int32), [1, 3]):
        with pytest.raises(InputError, match="for its size"):
            fed(pixels, shape)
    assert first_of(({"a": [1, 2]}, 3)) == 1
    assert first_of(()) == ()


def test_a_quantized_input_and_what_comes_out():
    detail = {"dtype": np.int8, "quantization": (0.5, -3)}
    values = np.array([0.0, 1.0, 100.0, -100.0], np.float32)
    steps = _quantized(values, detail)
    np.testing.assert_array_equal(steps, np.array([-3, -1, 127, -128], np.int8))
    np.testing.assert_array_equal(_real(steps, detail), np.array([0, 1, 65, -62.5], np.float32))
    assert _quantized(values, {"dtype": np.float32, "quantization": (0.0, 0)}) is not None


def test_a_file_keeps_the_order_of_execution(tmp_path):
    tensors = {name: np.full((2, 3), i, np.float32).T for i, name in enumerate(("b_10", "b_2", "a"))}
    path = write_port(tmp_path / "port.safetensors", tensors)
    back = read_port(path)
    assert list(back) == list(tensors)
    assert all(np.array_equal(back[name], tensors[name]) for name in tensors)
    assert json.dumps(list(tensors)).encode().replace(b'"', b'\\"') in path.read_bytes()
    with pytest.raises(OutputError, match=r"\.safetensors, not \.npz"):
        write_port(tmp_path / "port.npz", tensors)


@pytest.mark.parametrize(
    ("record", "hidden", "says"),
    [
        (record_torch, ("torch",), "pip install torch"),
        (record_exported, ("torch",), "pip install torch"),
        (record_executorch, ("executorch.exir",), "pip install executorch"),
        (record_onnx, ("onnxruntime",), "pip install onnx onnxruntime"),
        (record_openvino, ("openvino",), "pip install openvino"),
        (record_ncnn, ("ncnn",), "pip install ncnn"),
        (record_mnn, ("MNN",), "pip install MNN"),
        (record_tract, ("tract",), "pip install onnx tract"),
        (record_tflite, ("tensorflow", "ai_edge_litert.interpreter"), r"pip install tensorflow \(or ai-edge-litert\)"),
    ],
)
def test_a_missing_framework_is_named(monkeypatch, record, hidden, says):
    for name in hidden:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingExtraError, match=says):
        record(b"", golden_and_network()[0])


@pytest.mark.parametrize(("model", "name"), [(b"no model", "what was given"), ("port.tflite", "port.tflite")])
def test_a_tflite_file_that_can_not_be_read_is_said(monkeypatch, model, name):
    def interpreter(**options):
        raise ValueError("The model is not a valid Flatbuffer buffer")  # LiteRT's words

    monkeypatch.setattr(tflite, "_lite", lambda: (interpreter, SimpleNamespace(BUILTIN_WITHOUT_DEFAULT_DELEGATES=0)))
    with pytest.raises(InputError, match=f"^{name} can't be read as a TFLite file: The model is not a valid"):
        record_tflite(model, golden_and_network()[0])


def test_int8_is_held_to_one_rounding_wherever_it_is():
    assert floor(1e-7, "int8") == floor(4e-7, "int8") == 2.0**-8
    assert floor(1e-2, "int8") == 1e-2  # where float32 itself is worse
    assert allowed(floor(1e-7, "int8")) == MULTIPLE / 256


@pytest.mark.parametrize(
    ("by", "layers", "word"),
    [
        (4e-4, (".convolution",), "float16 or int8"),
        (4e-4, (".query", ".key", ".value", ".dense"), "float16 or int8"),  # ncnn's default
        (2e-2, (".convolution",), "int8"),
        (0.5, (".convolution",), None),
        (4e-4, (".intermediate.dense",), None),
    ],
)
def test_rounded_numbers_that_do_not_show_it_get_a_word(by, layers, word):
    """Every layer's output of a kind is off by so much of its largest value, in one place."""
    golden, network = golden_and_network()
    found = port(golden, network)
    for name in [name for name in found if name.endswith(layers)]:
        found[name] = found[name].copy()
        found[name].flat[7] += by * np.abs(found[name]).max()
    comparison = compare(golden, found, network=network)
    assert (comparison.ok, comparison.precision) == (False, "float32")
    last = comparison_lines(comparison)[-1]
    assert f"{word} makes" in last if word else "--precision" not in last
    assert "--precision" not in comparison_lines(compare(golden, found))[-1]
    if word:
        assert compare(golden, found, network=network, precision=word.split()[-1]).ok


@pytest.mark.parametrize("name", ["batch_norm_eps", "layer_norm_eps", "gelu_in_feed_forward"])
def test_a_mistake_in_some_layers_gets_no_word_on_precision(name):
    """A coarser precision would change every product."""
    golden, network = golden_and_network()
    comparison = compare(golden, port(golden, network, [BY_NAME[name]]), network=network)
    assert not comparison.ok
    assert not any("--precision" in line for line in comparison_lines(comparison))

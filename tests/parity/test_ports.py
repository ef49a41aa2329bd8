"""The adapters on live ports: PyTorch's hooks and ONNX Runtime are recorded, matched by name, and found to be right.

Errors stay within half of what is allowed, layer by layer; and a mistake made in the exported graph itself is named.
"""

import functools
import os
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import checked_page
import ncnn_files
import numpy as np
import onnx
import ports
import pytest
import torch
from port_table import golden_and_network, line, recorded_names

from mobilevit_np.errors import InputError, MissingExtraError
from mobilevit_np.golden import compare, diagnose, read_port
from mobilevit_np.golden.adapters import (
    mnn,
    record_executorch,
    record_exported,
    record_mnn,
    record_ncnn,
    record_onnx,
    record_openvino,
    record_torch,
    write_port,
)
from mobilevit_np.golden.hook_names import GRAPH, TIMM, TRANSFORMERS
from mobilevit_np.golden.identity import split
from mobilevit_np.golden.measure import MULTIPLE

WITHIN = MULTIPLE / 2
TABLES = {ports.HF: TRANSFORMERS, ports.ROSS: TIMM}
RECORDED = {
    ports.HF: "transformers",
    ports.ROSS: "timm",
    **{f"{ports.RUNTIME}, {way}": f"onnx {way}" for way in ports.WAYS},
}


@pytest.fixture(scope="module", params=ports.PORTS, ids=" ".join)
def port(request):
    return ports.record(*request.param)


def test_a_real_port_is_right_at_every_layer(port):
    golden, network = golden_and_network(port.task)
    comparison = compare(golden, port.tensors, network=network, multiple=WITHIN)
    assert comparison.ok, comparison.first_bad
    assert comparison.how == TABLES.get(port.title, GRAPH)
    assert comparison.precision == "float32"
    assert len(comparison.rows) > 180
    by_weights = compare(golden, port.tensors, network=network, by="weights")
    assert by_weights.ok, by_weights.first_bad
    assert len(by_weights.rows) == len(comparison.rows)
    assert not by_weights.identity.misplaced
    assert not by_weights.identity.never_loaded
    assert compare(golden, port.tensors).ok
    assert line(port).endswith("| none | right |")


def test_real_ports_still_have_the_names_that_the_plain_tests_know(port):
    if port.task != "backbone":
        assert list(split(port.tensors)[0]) == recorded_names()[f"{RECORDED[port.title]}/{port.task}/xx_small"]


@pytest.mark.parametrize(("title", "task"), ports.BACKENDS, ids=map(" ".join, ports.BACKENDS))
def test_a_backend_is_right_at_every_layer_it_shows(title, task):
    port = ports.record(title, task)
    golden, network = golden_and_network(task)
    comparison = compare(golden, port.tensors, network=network, precision=port.precision, multiple=WITHIN)
    assert comparison.ok, comparison.first_bad
    assert len(comparison.rows) > 170
    assert (comparison.identity is None) == (title == ports.MNN)  # whose weights can't be read
    if comparison.identity:
        assert not comparison.identity.misplaced
        assert not comparison.identity.never_loaded
    assert comparison.answer.ok


def test_openvino_takes_files_and_says_what_it_cannot_take(tmp_path):
    golden, network = golden_and_network("classifier")
    path = tmp_path / "model.onnx"
    path.write_bytes(ports.onnx_file("classifier", "exported"))
    found = record_openvino(path, golden, precision="f32")
    comparison = compare(golden, found, network=network)
    assert comparison.ok, comparison.first_bad
    assert len(comparison.rows) > 170  # nothing in such a file has a module's name: by weights
    with pytest.raises(InputError, match="for its size"):
        record_openvino(path, np.zeros((1, 3, 64, 64), np.float32))
    with pytest.raises(InputError, match=r"can't read nowhere\.xml"):
        record_openvino("nowhere.xml", golden)
    with pytest.raises(InputError, match="isn't a file that OpenVINO reads"):
        record_openvino(__file__, golden)
    with pytest.raises(InputError, match="not a bytes"):
        record_openvino(b"", golden)


def test_a_program_is_run_as_it_is_and_as_executorch_lowers_it(monkeypatch):
    """Here with PyTorch in ExecuTorch's place: it's run for the table, on a graph that gives each of its values."""
    golden, _ = golden_and_network("classifier")
    found = record_exported(ports.exported("classifier"), golden)

    class Lowered:
        def __init__(self, program):
            self.buffer = program

        def to_executorch(self):
            return self

    loaded = SimpleNamespace(load_method=lambda name: SimpleNamespace(execute=lambda given: program.module()(*given)))
    program = None

    def load(buffer):
        nonlocal program
        program = buffer
        return loaded

    runtime = SimpleNamespace(Runtime=SimpleNamespace(get=lambda: SimpleNamespace(load_program=load)))
    monkeypatch.setitem(sys.modules, "executorch.exir", SimpleNamespace(to_edge_transform_and_lower=Lowered))
    monkeypatch.setitem(sys.modules, "executorch.runtime", runtime)
    lowered = record_executorch(ports.exported("classifier"), golden)
    assert list(lowered) == list(found)
    assert all(np.array_equal(lowered[name], found[name]) for name in found)
    for record in (record_exported, record_executorch):
        with pytest.raises(InputError, match="for its size"):
            record(ports.exported("classifier"), np.zeros((1, 3, 64, 64), np.float32))


def _with_rows_and_columns_exchanged(self, patches, info):
    """``ncnn_files.folding`` of even sides, with a transposition too many."""
    channels, (rows, columns), patch = info["channels"], info["grid"], self.patch_height
    features = patches.permute(2, 1, 0).reshape(channels * rows, columns, patch, patch).permute(0, 3, 1, 2)
    return ncnn_files._resized(features.reshape(1, channels, rows * patch, columns * patch), info["size"])


def test_ncnn_says_which_layer_it_lacks_and_a_wrong_rewrite_of_the_fold_is_named(tmp_path):
    golden, network = golden_and_network("classifier")
    pixels = golden.tensors["pixel_values"]
    with pytest.raises(InputError, match=r"no layer Tensor\.reshape \(3 here"):
        record_ncnn(ncnn_files.convert(ports.hugging_face("classifier"), pixels, tmp_path), golden)
    model = ncnn_files.rewrite(ports.hugging_face("classifier"))
    for layer in model.mobilevit.encoder.layer[2:]:
        layer.folding = functools.partial(_with_rows_and_columns_exchanged, layer)
    found = record_ncnn(ncnn_files.convert(model, pixels, tmp_path), golden, half=False)
    comparison = compare(golden, found, network=network)
    assert comparison.first_bad.path == "mobilevit.encoder.layer.2.folding"
    assert comparison.first_bad.name.startswith("reshape_")


def test_the_page_on_ncnn_says_what_is_so(tmp_path, monkeypatch):
    """Its blocks run, and each answer's first line is the one shown but for numbers."""
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    answers = list(checked_page.run(checked_page.NCNN, tmp_path, {}))
    assert len(answers) == 5
    for texts in answers:
        shown, now = (re.sub(r"[\d,]+", "#", text.splitlines()[0]) for text in texts)
        assert shown == now
    assert "the map is cut into runs of pixels, not into patches, in the fold alone" in answers[-1][1]


def test_what_is_no_ncnn_file_is_said(tmp_path):
    pixels = np.zeros((1, 3, 8, 8), np.float32)
    with pytest.raises(InputError, match=r"can't read nowhere\.param"):
        record_ncnn("nowhere.param", pixels)
    with pytest.raises(InputError, match=r"isn't a \.param file"):
        record_ncnn(__file__, pixels)


def test_mnn_keeps_the_name_of_a_layer_for_its_activation_which_is_not_recorded(tmp_path, monkeypatch):
    golden, network = golden_and_network("classifier")
    path = ports.mnn_file(ports.onnx_file("classifier", "traced"), tmp_path)
    dense = "mobilevit.encoder.layer.2.transformer.layer.0.intermediate.dense"
    misnamed = f"/{dense.replace('.', '/').replace('layer/', 'layer.')}/Add_output_0"
    found = record_mnn(path, golden)
    assert misnamed not in found
    np.testing.assert_allclose(
        found[f"{misnamed}__matmul_converted"].ravel(), golden.tensors[dense].ravel(), rtol=0, atol=1e-4
    )
    assert compare(golden, found, network=network).ok
    monkeypatch.setattr(mnn, "_NOT_COMPUTED", ("Input", "Const"))
    activated = golden.tensors[dense.replace("dense", "intermediate_act_fn")].ravel()
    np.testing.assert_allclose(record_mnn(path, golden)[misnamed].ravel(), activated, rtol=0, atol=1e-4)


def test_mnn_takes_files_and_says_what_it_cannot_take(tmp_path):
    golden, network = golden_and_network("classifier")
    path = ports.mnn_file(ports.onnx_file("classifier", "exported"), tmp_path)
    comparison = compare(golden, record_mnn(str(path), golden), network=network)  # no module's name, no weights
    assert comparison.ok, comparison.first_bad
    assert len(comparison.rows) > 160
    with pytest.raises(InputError, match="for its size"):
        record_mnn(path, np.zeros((1, 3, 64, 64), np.float32))
    with pytest.raises(InputError, match=r"can't read nowhere\.mnn"):
        record_mnn("nowhere.mnn", golden)
    with pytest.raises(InputError, match="isn't a file that MNN reads"):
        record_mnn(__file__, golden)


@pytest.mark.parametrize("through_mnn", [False, True])
def test_a_mistake_made_in_an_onnx_file_is_named(tmp_path, through_mnn):
    """Both inputs of every concatenation before a fusion are exchanged, in the file."""
    golden, network = golden_and_network("classifier")
    model = onnx.load_from_string(ports.onnx_file("classifier", "traced"))
    fused = {node.input[0] for node in model.graph.node if node.output[0].endswith("fusion/convolution/Conv_output_0")}
    for node in model.graph.node:
        if node.output[0] in fused:
            exchanged = list(node.input)[::-1]
            del node.input[:]
            node.input.extend(exchanged)
    assert len(fused) == 3
    wrong = model.SerializeToString()
    found = record_mnn(ports.mnn_file(wrong, tmp_path), golden) if through_mnn else record_onnx(wrong, golden)
    comparison = compare(golden, found, network=network)
    places = [f"mobilevit.encoder.layer.{i}.fusion.normalization" for i in (2, 3, 4)]
    assert [row.path for row in comparison.bad] == places
    diagnosis = diagnose(golden, found, network)
    assert diagnosis.names == ("concat_order",)
    assert not diagnosis.unexplained


def test_a_file_goes_through_disk(tmp_path):
    golden, network = golden_and_network("classifier")
    path = tmp_path / "model.onnx"
    path.write_bytes(ports.onnx_file("classifier", "exported"))
    found = record_onnx(path, golden)
    back = read_port(write_port(tmp_path / "port.safetensors", found))
    assert list(back) == list(found)
    assert compare(golden, back, network=network).ok
    assert list(record_onnx(str(path), golden.tensors["pixel_values"])) == list(found)


def test_an_onnx_graph_that_takes_channels_last():
    pixels = np.random.default_rng(0).random((1, 3, 4, 6), np.float32)
    given = onnx.helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, [1, 4, 6, 3])
    made = onnx.helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, None)
    nodes = [onnx.helper.make_node("Relu", ["image"], ["kept"]), onnx.helper.make_node("Shape", ["kept"], ["sizes"])]
    nodes.append(onnx.helper.make_node("Neg", ["kept"], ["out"]))
    graph = onnx.helper.make_graph(nodes, "small", [given], [made])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    found = record_onnx(model.SerializeToString(), pixels)
    assert list(found) == ["pixel_values", "kept", "out"]  # sizes are no activation, and there are no weights
    np.testing.assert_array_equal(found["out"], -pixels.transpose(0, 2, 3, 1))


def test_a_bare_model_has_a_last_map_and_no_logits():
    """Held against a classifier's golden, all that it has is right."""
    golden, network = golden_and_network("classifier")
    found = record_torch(ports.hugging_face("classifier").mobilevit, golden)
    assert ("mobilevit" in found, "logits" in found) == (True, False)
    for given in (found, {"" if name == "mobilevit" else name: tensor for name, tensor in found.items()}):
        comparison = compare(golden, given, network=network)
        assert comparison.ok, comparison.first_bad
        assert comparison.rows[-1].path == "mobilevit"
        assert set(comparison.missing) == {"classifier", "logits"}


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_hooks_take_the_models_own_precision(dtype):
    golden, network = golden_and_network("classifier")
    found = record_torch(ports.hugging_face("classifier").to(dtype), golden)
    comparison = compare(golden, found, network=network)
    assert comparison.precision == str(dtype).removeprefix("torch.")
    assert comparison.ok, comparison.first_bad


def test_a_model_is_left_as_it_was():
    model = ports.hugging_face("classifier")
    block = model.mobilevit.encoder.layer[2]
    own = block.folding
    block.folding = lambda *arguments: own(*arguments)
    kept, before = block.folding, record_torch(model, golden_and_network("classifier")[0])
    assert block.folding is kept
    assert "unfolding" not in vars(block)
    assert not any(module._forward_hooks for module in model.modules())
    again = record_torch(model, golden_and_network("classifier")[0])
    assert all(np.array_equal(again[name], before[name]) for name in before)


def test_what_cannot_be_recorded_is_said(monkeypatch):
    model = ports.hugging_face("classifier")
    with pytest.raises(InputError, match=r"model\.eval"):
        record_torch(model.train(), golden_and_network("classifier")[0])
    with pytest.raises(InputError, match="pixel values"):
        record_torch(model.eval(), np.zeros((3, 8, 8), np.float32))
    pixels = np.zeros((1, 3, 8, 8), np.float32)
    with pytest.raises(InputError, match=r"can't read nowhere\.onnx"):
        record_onnx("nowhere.onnx", pixels)
    for name, junk in ((__file__, __file__), ("what was given", b"junk")):
        with pytest.raises(InputError, match=f"{re.escape(name)} isn't an ONNX file"):
            record_onnx(junk, pixels)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match="pip install onnx onnxruntime"):
        record_onnx(b"", golden_and_network("classifier")[0])

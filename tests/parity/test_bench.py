"""The peers of ``python -m tests.bench``, run for real. The race itself checks their answers; no time is looked at."""

import json

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
import torch
from bench import contenders, networks, whole_command
from bench.__main__ import run
from bench.cells import Cell
from bench.contenders import CONTENDERS, PEERS
from tiny import CHELSEA

CALL = ["--variants", "xx_small", "--size", "64", "--rounds", "1", "--threads", "1", "--json"]


QUICK = [name for name in PEERS if not CONTENDERS[name].compiles]


@pytest.mark.parametrize(
    ("peers", "task", "batches"),
    [
        (QUICK, "classifier", ("1", "2")),
        (QUICK, "segmenter", ("1",)),
        (["torch-compile"], "classifier", ("1",)),  # which takes minutes
    ],
)
def test_every_peer_gives_the_right_answers(capsys, peers, task, batches):
    code = run([*CALL, "--peers", *peers, "--engines", "fast", "reference", "--task", task, "--batch", *batches])
    said = capsys.readouterr()
    assert code == 0, said.err
    report = json.loads(said.out)
    assert report["left_out"] == {}
    assert len(report["cells"]) == len(batches)
    for cell in report["cells"]:
        assert [each["name"] for each in cell["contenders"]] == ["fast", "reference", *peers]
        for each in cell["contenders"]:
            assert each["rounds"] == 1
            assert (each["compile_seconds"] is not None) == (each["name"] == "torch-compile")
            assert each["worst_error"] <= networks.TOLERANCE
            if each["name"] in PEERS:
                assert each["worst_error"] > 0  # it's other code, and no copy of the expected answer
    versions = report["versions"]
    if peers == QUICK:
        assert versions["torch"].startswith(f"torch {torch.__version__}, transformers 5")
        assert versions["onnx-reference"] == f"onnx {onnx.__version__}"
        assert openvino.__version__.startswith(f"{versions['openvino'].removeprefix('openvino ')}-")


@pytest.mark.parametrize("name", QUICK)
def test_a_peer_with_other_weights_is_told_apart(tmp_path, monkeypatch, name):
    """The shift of one BatchNorm, deep inside, is off by a hundredth."""
    cell = Cell("xx_small", "classifier", 1, 64)
    expected = networks.expecting(cell)(0)
    drawn = Cell.tensors

    def other_tensors(self):
        tensors = drawn(self)
        tensors["mobilevit.encoder.layer.3.fusion.normalization.bias"][0] += 0.01
        return tensors

    monkeypatch.setattr(Cell, "tensors", other_tensors)
    model = None
    if CONTENDERS[name].reads_onnx:
        contenders.export([cell], str(tmp_path))
        model = contenders.onnx_file(cell, str(tmp_path))
    runner = CONTENDERS[name].load(cell, 1, model)
    answer = runner.answer(runner.call(runner.draw(0)))
    assert 5 * networks.TOLERANCE < np.abs(answer - expected).max() / np.abs(expected).max() < 0.1


def test_channels_last_is_channels_last_and_torch_is_not():
    cell = Cell("xx_small", "classifier", 2)
    last, first = (CONTENDERS[name].load(cell, 1, None).draw(0) for name in ("torch-channels-last", "torch"))
    assert last.is_contiguous(memory_format=torch.channels_last)
    assert not last.is_contiguous()
    assert first.is_contiguous()


def test_the_exported_network_knows_its_shapes(tmp_path):
    """ONNX Runtime computes none when it runs: what the exporter left of them is folded as it loads."""
    cell = Cell("xx_small", "classifier", 2, 64)
    contenders.export([cell], str(tmp_path))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3  # it warns that such a file is for this machine alone
    onnxruntime.InferenceSession(contenders.onnx_file(cell, str(tmp_path)), options, providers=["CPUExecutionProvider"])
    graph = onnx.load(options.optimized_model_filepath).graph
    (given,), (answer,) = graph.input, graph.output
    assert [axis.dim_value for axis in given.type.tensor_type.shape.dim] == [2, 3, 64, 64]
    assert [axis.dim_value for axis in answer.type.tensor_type.shape.dim] == [2, 1000]
    assert not {"Shape", "If", "Loop", "Ceil"} & {node.op_type for node in graph.node}


def test_the_whole_command_beside_transformers(capsys):
    assert run(["--whole-command", str(CHELSEA), "--rounds", "1", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    ours, theirs = report["whole_command"]
    assert (ours["name"], theirs["name"]) == ("mobilevit-np classify", "transformers")
    assert 0 < theirs["worst_error"] < whole_command.TOLERANCE

"""``summary``: its totals are the published counts, its rows add up, and each follows from the weights' shapes.

Oracles: published counts (MACs to the million, or to ten where there are thousands), ``count_parameters`` of a drawn
network, the shapes of a real run, and multiplications counted by hand.
"""

import json

import numpy as np
import pytest
from commands import run
from drawing import CUT_DOWN
from tiny import save_tiny

from mobilevit_np.checkpoints import count_parameters, init_parameters, open_checkpoint
from mobilevit_np.cli import build_parser
from mobilevit_np.config import VARIANTS, NetworkConfig
from mobilevit_np.errors import InputError
from mobilevit_np.explain.summary import summarize
from mobilevit_np.model import NETWORKS
from mobilevit_np.scope import Scope

PUBLISHED = {  # parameters, MACs in millions: ImageNet's 1000 classes at 256x256, VOC's 21 at 512x512 and stride 16
    ("xx_small", "classifier"): (1_272_024, 407),
    ("x_small", "classifier"): (2_317_848, 1_026),
    ("small", "classifier"): (5_578_632, 2_001),
    ("xx_small", "segmenter"): (1_854_853, 3_950),
    ("x_small", "segmenter"): (2_944_069, 7_380),
    ("small", "segmenter"): (6_357_941, 13_690),
}


def network(variant: str, task: str) -> tuple[NetworkConfig, tuple[int, int]]:
    classifier = task == "classifier"
    config = NetworkConfig(
        **VARIANTS[variant], num_labels=1000 if classifier else 21, output_stride=32 if classifier else 16
    )
    return config, (256, 256) if classifier else (512, 512)


@pytest.mark.parametrize(("variant", "task"), PUBLISHED)
def test_totals_are_the_published_counts(variant, task):
    summary = summarize(network(variant, task)[0], task, network(variant, task)[1])
    parameters, millions = PUBLISHED[variant, task]
    assert summary.parameters == parameters
    assert summary.macs / 1e6 == pytest.approx(millions, abs=0.5 if millions < 3000 else 5)


@pytest.mark.parametrize(("task", "stride"), [("classifier", 32), ("segmenter", 16), ("segmenter", 8)])
def test_shapes_are_those_of_a_real_run(task, stride):
    config = NetworkConfig(**CUT_DOWN, num_labels=5, output_stride=stride)
    seen = {}
    scope = Scope(init_parameters(config, task)).listen(lambda path, output: seen.__setitem__(path, output.shape))
    NETWORKS[task](np.zeros((1, 3, 70, 101), np.float32), scope, config)
    rows = summarize(config, task, (70, 101)).rows
    assert len(rows) > 30
    for row in rows:
        assert row.output == seen[row.module if row.module in seen else f"mobilevit.{row.module}"]


@pytest.mark.parametrize("task", ["classifier", "segmenter", "backbone"])
@pytest.mark.parametrize("fields", [{}, {"hidden_act": "prelu", "qkv_bias": False, "conv_kernel_size": 5}])
def test_rows_add_up_and_leave_nothing_out(task, fields):
    config = NetworkConfig(**{**VARIANTS["xx_small"], **fields}, num_labels=7, output_stride=16)
    summary = summarize(config, task, (64, 96))
    assert summary.parameters == sum(row.parameters for row in summary.rows)
    assert summary.macs == sum(row.macs for row in summary.rows)
    assert summary.parameters == count_parameters(init_parameters(config, task))
    assert len({row.module for row in summary.rows}) == len(summary.rows)


def test_rows_by_hand():
    """On a photo of 64x96: the stem, a depthwise layer's place, one transformer layer, and what has no weights."""
    config = NetworkConfig(**VARIANTS["xx_small"])
    rows = {row.module: row for row in summarize(config, "classifier", (64, 96)).rows}
    assert rows["conv_stem"].output == (1, 16, 32, 48)
    assert rows["conv_stem"].parameters == 16 * 3 * 9 + 2 * 16
    assert rows["conv_stem"].macs == 32 * 48 * 16 * 3 * 9
    pixels = 32 * 48
    assert rows["encoder.layer.0.layer.0"].macs == pixels * (16 * 32 + 32 * 9 + 32 * 16)
    D, F, P, N = 64, 128, 4, 4 * 6  # an eighth of the photo, in patches of 2x2
    layer = rows["encoder.layer.2.transformer.layer.0"]
    assert layer.output == (P, N, D)
    assert layer.macs == P * N * (4 * D * D + 2 * D * F) + 2 * P * N * N * D
    assert layer.parameters == 4 * (D * D + D) + 2 * D * F + F + D + 4 * D
    assert (rows["encoder.layer.2.unfolding"].parameters, rows["encoder.layer.2.unfolding"].macs) == (0, 0)
    assert rows["classifier"].macs == 320 * 1000


def test_a_backbone_without_its_expansion_has_none():
    config = NetworkConfig(**VARIANTS["xx_small"])
    modules = [row.module for row in summarize(config, "backbone", (32, 32), expand_output=False).rows]
    assert "conv_1x1_exp" not in modules
    assert modules[-1] == "encoder.layer.4.fusion"


def test_impossible_calls_are_named():
    with pytest.raises(InputError, match="size must be at least 1"):
        summarize(NetworkConfig(), "classifier", (0, 5))
    with pytest.raises(InputError, match="task must be one of"):
        summarize(NetworkConfig(), "detector", (32, 32))


def test_the_table(capsys, tiny_classifier):
    assert run(["summary", "--weights", str(tiny_classifier), "--size", "48"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("(classifier, one photo of 48x48)")
    assert lines[1].split() == ["module", "output", "parameters", "MACs"]
    assert lines.pop().startswith("parameters: all that is learned, batch norm's scale and shift too; not its running ")
    total = lines[-1].split()
    assert total[0] == "total"
    assert int(total[1].replace(",", "")) == count_parameters(open_checkpoint(tiny_classifier).tensors)
    for column in (-1, -2):
        numbers = [int(line.split()[column].replace(",", "")) for line in lines[2:]]
        assert sum(numbers[:-1]) == numbers[-1]
    assert len({len(line) for line in lines[1:]}) == 1  # columns are straight


def test_json(capsys, tiny_segmenter):
    assert run(["summary", "--weights", str(tiny_segmenter), "--json", "--size", "64"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["task"], record["size"]) == ("segmenter", [64, 64])
    assert record["parameters"] == sum(module["parameters"] for module in record["modules"])
    assert record["macs"] == sum(module["macs"] for module in record["modules"])
    assert record["modules"][0]["module"] == "conv_stem"


def test_without_options_the_shipped_classifier_at_its_own_size(capsys):
    assert run(["summary", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    checkpoint = open_checkpoint("pets-xx-small")
    assert record["name"] == checkpoint.name
    assert record["size"] == np.broadcast_to(checkpoint.config.image_size, 2).tolist()


def test_a_config_with_height_and_width(capsys, tmp_path):
    assert run(["summary", "--json", "--weights", str(save_tiny(tmp_path / "w", image_size=[64, 96]))]) == 0
    assert json.loads(capsys.readouterr().out)["size"] == [64, 96]


@pytest.mark.parametrize("size", [[256], {"height": 256, "width": 256}, 256.0, "256"])
def test_a_config_whose_image_size_is_none_is_one_line(capsys, tmp_path, size):
    folder = save_tiny(tmp_path / "w", fields={"image_size": size})
    assert run(["summary", "--weights", str(folder)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith(f"mobilevit-np: {folder}/config.json: image_size must be a whole number from 1 to ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("size", ["0", "-3", "1_0", "wide"])
def test_sizes_that_cannot_be_are_typing_mistakes(capsys, size):
    with pytest.raises(SystemExit) as left:
        run(["summary", "--size", size])
    assert left.value.code == 2
    assert f"argument --size: '{size}' isn't a whole number from 1 up" in capsys.readouterr().err


def test_a_size_that_is_too_large_is_refused(capsys, tiny_classifier):
    assert run(["summary", "--weights", str(tiny_classifier), "--size", "100000"]) == 2
    assert capsys.readouterr().err.startswith("mobilevit-np: ")


def test_examples_in_the_help_are_understood(capsys):
    with pytest.raises(SystemExit):
        run(["summary", "--help"])
    examples = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  mobilevit-np summary")]
    assert len(examples) == 4
    for line in examples:
        build_parser().parse_args(line.split()[1:])

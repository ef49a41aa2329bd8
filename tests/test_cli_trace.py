"""``trace`` in its three forms, the formula's weights as checkpoints, and what contradicts itself.

The files themselves are in test_golden_formula, places where none may go in test_cli_results.
"""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import run
from PIL import Image

from mobilevit_np.checkpoints import open_checkpoint
from mobilevit_np.checkpoints.parameter_names import SCHEMES
from mobilevit_np.golden import network_of, read_golden
from mobilevit_np.golden.file import write_golden
from mobilevit_np.golden.formula import config_of, make, network_by_formula, remake
from mobilevit_np.golden.operators import CASES, make_operator


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def golden():
    return make("xx_small", seed=5, size=32, depth=4)


def files():
    return sorted(str(path) for path in Path().rglob("*"))


# -- the three forms ---------------------------------------------------------------------------------------------------


def test_of_a_photo(here, tiny_classifier, capsys):
    Image.fromarray(np.full((90, 80, 3), 200, np.uint8)).save("cat.png")
    assert run(["trace", "cat.png", "--weights", str(tiny_classifier), "--depth", "1", "-o", "g.npz"]) == 0
    assert "wrote" in capsys.readouterr().out
    assert list(read_golden("g.npz").tensors) == ["image", "pixel_values", "mobilevit", "classifier", "logits"]


def test_of_every_operator(here, capsys):
    """With a seed of one's own; the files are the library's, to the byte."""
    assert run(["trace", "--operators", "a/b", "--seed", "3"]) == 0
    assert capsys.readouterr().out == f"wrote {len(CASES)} golden files to a/b\n"
    assert {path.name for path in Path("a/b").iterdir()} == {f"{name}.safetensors" for name in CASES}
    for name in ("aspp", "conv2d_1x1_bias"):
        expected = write_golden(f"{name}.safetensors", make_operator(name, 3)).read_bytes()
        assert Path("a/b", f"{name}.safetensors").read_bytes() == expected
    assert read_golden("a/b/gelu.safetensors").input["seed"] == 3
    assert run(["trace", "--operators", "first"]) == 0
    assert read_golden("first/gelu.safetensors").input["seed"] == 0


def test_by_formula_the_help_tells_the_defaults(here, monkeypatch, golden):
    asked = []
    monkeypatch.setattr(
        "mobilevit_np.golden.formula.make", lambda *given, **more: asked.append((given, more)) or golden
    )
    assert run(["trace", "--formula", "small", "-o", "g.npz"]) == 0
    assert run(["trace", "--formula", "x_small", "-o", "g.npz", "--task", "segmenter", "--seed", "9", "--size", "64",
                "--dtype", "float32", "--only", "mobilevit*", "--depth", "2"]) == 0  # fmt: skip
    defaults = {"task": "classifier", "seed": 0, "size": 256, "dtype": "float64", "only": None, "depth": None}
    given = {"task": "segmenter", "seed": 9, "size": 64, "dtype": "float32", "only": "mobilevit*", "depth": 2}
    assert asked == [(("small",), defaults), (("x_small",), given)]


# -- the formula's weights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("out", ["w", "w.safetensors"])
@pytest.mark.parametrize(
    ("task", "scheme"), [("classifier", scheme) for scheme in SCHEMES] + [("segmenter", "huggingface"),
                                                                        ("segmenter", "ml-cvnets")]
)  # fmt: skip
def test_the_weights_come_back_the_same_under_every_schemes_names(here, task, scheme, out):
    """Names and form change; the golden file's sha256 is that of the numbers, the stem's channels as they were."""
    options = ["--task", task, "--seed", "5", "--weights-out", out, "--names", scheme]
    assert run(["trace", "--formula", "xx_small", *options]) == 0
    expected = network_by_formula(config_of("xx_small", task), task, 5)
    checkpoint = open_checkpoint(out)
    network = network_of(checkpoint)
    assert network.weights["sha256"] == expected.weights["sha256"]
    assert (checkpoint.provenance.scheme, checkpoint.provenance.dtype, checkpoint.task) == (scheme, "F32", task)
    assert checkpoint.variant == "xx_small"
    assert network.config.output_stride == expected.config.output_stride
    assert files() == ([out] if out.endswith("s") else [out, f"{out}/config.json", f"{out}/model.safetensors"])


def test_a_golden_file_and_its_weights_at_once(here, capsys, golden):
    """Weights under timm's names are those the golden file asks for."""
    options = ["--seed", "5", "--size", "32", "--depth", "4", "-o", "g.safetensors"]
    assert run(["trace", "--formula", "xx_small", *options, "--weights-out", "w/", "--names", "timm"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["wrote"] * 3
    alone = write_golden("alone.safetensors", golden).read_bytes()
    assert Path("g.safetensors").read_bytes() == alone
    assert remake(read_golden("g.safetensors"), "w").weights == golden.weights
    assert json.loads(Path("w/config.json").read_text())["architecture"] == "mobilevit_xxs"
    np.savez("port.npz", logits=golden.tensors["logits"].astype(np.float32))
    assert run(["compare", "g.safetensors", "port.npz", "--replay", "--weights", "w"]) == 0


def test_hugging_faces_names_are_what_is_written_where_none_are_asked_for(here):
    assert run(["trace", "--formula", "xx_small", "--weights-out", "w"]) == 0
    assert open_checkpoint("w").provenance.scheme == "huggingface"
    config = json.loads(Path("w/config.json").read_text())
    assert config["architectures"] == ["MobileViTForImageClassification"]
    assert len(config["id2label"]) == 1000


def test_other_weights_settings_go_from_the_folder(here):
    """They say how photos are prepared for weights that are no longer there."""
    Path("w").mkdir()
    Path("w/preprocessor_config.json").write_text('{"do_flip_channel_order": false}')
    assert run(["trace", "--formula", "xx_small", "--weights-out", "w"]) == 0
    assert files() == ["w", "w/config.json", "w/model.safetensors"]
    assert open_checkpoint("w").channel_order == "BGR"


# -- what contradicts itself -------------------------------------------------------------------------------------------

FORMULA = ["--formula", "xx_small"]
IMAGE_TAKES = "IMAGE|TENSOR, which takes -o, --weights, --prefix, --profile, --dtype, --only, --depth"
FORMULA_TAKES = "--formula, which takes -o, --dtype, --only, --depth, --task, --seed, --size, --weights-out, --names"
ONE_THING = "trace one thing at a time, IMAGE|TENSOR, --formula, --operators; asked for: "
BOTH = "is written, and there is none; give both"
REFUSALS = [
    ([], f"{ONE_THING}none of them"),
    (["-o", "g.npz"], f"{ONE_THING}none of them"),
    (["cat.png", *FORMULA, "-o", "g.npz"], f"{ONE_THING}IMAGE|TENSOR and --formula"),
    (["cat.png", "--operators", "d"], f"{ONE_THING}IMAGE|TENSOR and --operators"),
    ([*FORMULA, "--operators", "d"], f"{ONE_THING}--formula and --operators"),
    (["cat.png"], "say where the result goes: -o"),
    (FORMULA, "say where the result goes: -o or --weights-out"),
    (["cat.png", "-o", "g.npz", "--task", "segmenter"], f"--task doesn't go with {IMAGE_TAKES}"),
    (["cat.png", "-o", "g.npz", "--seed", "0"], f"--seed doesn't go with {IMAGE_TAKES}"),
    (["cat.png", "-o", "g.npz", "--size", "64"], f"--size doesn't go with {IMAGE_TAKES}"),
    (["cat.png", "-o", "g.npz", "--weights-out", "w"], f"--weights-out doesn't go with {IMAGE_TAKES}"),
    (["cat.png", "-o", "g.npz", "--names", "timm"], f"--names doesn't go with {IMAGE_TAKES}"),
    ([*FORMULA, "-o", "g.npz", "--weights", "w"], f"--weights doesn't go with {FORMULA_TAKES}"),
    ([*FORMULA, "-o", "g.npz", "--profile", "timm"], f"--profile doesn't go with {FORMULA_TAKES}"),
    *(
        (["--operators", "d", flag, value], f"{flag} doesn't go with --operators, which takes --seed")
        for flag, value in (
            ("-o", "g.npz"), ("--weights", "w"), ("--profile", "timm"), ("--dtype", "float64"), ("--only", "x"),
            ("--depth", "4"), ("--task", "classifier"), ("--size", "256"), ("--weights-out", "w"), ("--names", "timm"),
        )
    ),
    *(
        ([*FORMULA, "--weights-out", "w", flag, value], f"{flag} says how -o {BOTH}")
        for flag, value in (("--dtype", "float64"), ("--only", "x"), ("--depth", "4"), ("--size", "256"))
    ),
    ([*FORMULA, "-o", "g.npz", "--names", "timm"], f"--names says how --weights-out {BOTH}"),
    (
        [*FORMULA, "--task", "segmenter", "--weights-out", "w", "--names", "timm"],
        "timm has no segmenter of this kind, and so no names for it; --names huggingface or ml-cvnets",
    ),
    (["--operators", "d", "--seed", "-1"], "seed must be in 0..2^32-1, not -1"),
    ([*FORMULA, "-o", "g.npz", "--seed", "4294967296"], "seed must be in 0..2^32-1, not 4294967296"),
    ([*FORMULA, "--weights-out", "w", "--seed", "-1"], "seed must be in 0..2^32-1, not -1"),
    ([*FORMULA, "-o", "g.npz", "--size", "5000", "--weights-out", "w"], "size must be in 1..4096, not 5000"),
    (
        [*FORMULA, "--weights-out", "w.bin"],
        "weights are written as .safetensors, or into a folder, not as .bin: w.bin",
    ),
    ([*FORMULA, "--weights-out", "no/w.safetensors"], "can't write no/w.safetensors: there is no folder no"),
    (
        [*FORMULA, "--weights-out", "cat.png"],
        "can't write cat.png: weights go into a folder or a .safetensors file, and it is neither",
    ),
    *(
        (
            [*FORMULA, "-o", golden, "--weights-out", weights],
            f"the weights and the golden file would both be {golden}; give one another name",
        )
        for golden, weights in (
            ("g.safetensors", "./g.safetensors"), ("there/model.safetensors", "there"),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), REFUSALS, ids=lambda value: " ".join(value)[:60])
def test_contradictions_are_refused_in_one_line_and_nothing_is_written(here, capsys, arguments, words):
    Path("cat.png").write_bytes(b"never read")
    Path("there").mkdir()
    assert run(["trace", *arguments]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"mobilevit-np: {words}\n")
    assert files() == ["cat.png", "there"]


@pytest.mark.parametrize("arguments", [["golden", "make"], ["trace", "--formula", "tiny", "-o", "g.npz"]])
def test_what_there_is_not_is_a_typing_mistake(capsys, arguments):
    with pytest.raises(SystemExit) as left:
        run(arguments)
    assert left.value.code == 2
    assert "invalid choice" in capsys.readouterr().err

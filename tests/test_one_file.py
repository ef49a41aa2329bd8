"""The network in one file: short, alone, the reference's bits, and the command line's words for a photo."""

from __future__ import annotations

import ast
import importlib.util
import re
import runpy
import shutil
import subprocess
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from commands import run
from PIL import Image
from tiny import CHELSEA, REPOSITORY, photo, save_tiny

from mobilevit_np import Scope
from mobilevit_np.checkpoints import Checkpoint, open_checkpoint
from mobilevit_np.checkpoints.shipped import DEFAULTS, shipped
from mobilevit_np.engines import compile_network
from mobilevit_np.pipelines import Classifier, Segmenter

ONE_FILE = REPOSITORY / "tutorials" / "mobilevit_in_one_file.py"
PIPELINES = {"classifier": Classifier, "segmenter": Segmenter}
COMMANDS = {"classifier": "classify", "segmenter": "segment"}
WITHOUT_PACKAGE = "import runpy, sys; sys.modules['mobilevit_np'] = None; del sys.argv[0]; " + (
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
UPRIGHT = 6  # EXIF: the camera was held on its side


@pytest.fixture(scope="module")
def one_file() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mobilevit_in_one_file", ONE_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def refused(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> str:
    """What the file says as it ends without an answer."""
    monkeypatch.setattr(sys, "argv", [str(ONE_FILE), *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(ONE_FILE), run_name="__main__")
    return end.value.code


def both(one_file: ModuleType, checkpoint: Checkpoint, pixel_values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The one file's logits, and the reference's."""
    config = SimpleNamespace(**vars(checkpoint.config))
    p = one_file.tree(checkpoint.tensors, pixel_values.dtype)
    found = getattr(one_file, checkpoint.task)(pixel_values, p, config)
    network = compile_network("reference", checkpoint.task, Scope(checkpoint.tensors), checkpoint.config)
    return found, network(pixel_values)


def assert_same_bits(found: np.ndarray, expected: np.ndarray) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes(), f"differ by {np.abs(found - expected).max()}"


def test_it_is_short_and_stands_alone():
    text = ONE_FILE.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= 300
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }
    assert imported - set(sys.stdlib_module_names) == {"numpy", "PIL", "safetensors"}
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert all(node.end_lineno - node.lineno < 30 for node in functions)
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert {node.name for node in functions} <= used, "a function that nothing uses"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(64, 128), (45, 63)], ids=["whole patches", "stretched"])
@pytest.mark.parametrize("task", DEFAULTS)
def test_its_logits_are_the_reference_s_bit_for_bit(one_file, task, size, dtype):
    checkpoint = open_checkpoint(shipped()[DEFAULTS[task]], dtype=dtype)
    assert_same_bits(*both(one_file, checkpoint, np.random.default_rng(0).random((2, 3, *size)).astype(dtype)))


@pytest.mark.parametrize(
    "options",
    [
        {"output_stride": 32},
        {"output_stride": 8},
        {"qkv_bias": False, "patch_size": 4},
        {"hidden_act": "relu", "atrous_rates": [2, 3, 5], "layer_norm_eps": 1e-3},
    ],
)
@pytest.mark.parametrize("task", DEFAULTS)
def test_other_networks_too(tmp_path, one_file, task, options):
    checkpoint = open_checkpoint(save_tiny(tmp_path / "tiny", task, **options), dtype=np.float32)
    assert_same_bits(*both(one_file, checkpoint, np.random.default_rng(1).random((1, 3, 72, 100), dtype=np.float32)))


def test_it_runs_where_the_package_is_nowhere_in_sight(tmp_path):
    where = shipped()[DEFAULTS["classifier"]]
    alone = shutil.copy(ONE_FILE, tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_PACKAGE, alone, str(where), str(CHELSEA)],
        capture_output=True, text=True, encoding="utf-8", timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("%  ") == 5


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("task", DEFAULTS)
def test_it_takes_pixel_values_in_their_own_dtype(tmp_path, capsys, one_file, task, dtype):
    folder = save_tiny(tmp_path / "tiny", task)
    pixel_values = np.random.default_rng(2).random((2, 3, 64, 64)).astype(dtype)
    np.save(tmp_path / "input.npy", pixel_values)
    one_file.main(str(folder / "model.safetensors"), str(tmp_path / "input.npy"), str(tmp_path / "logits.npy"))
    assert capsys.readouterr().out.count("%  ") in range(1, 6)
    found, expected = both(one_file, open_checkpoint(folder, dtype=dtype), pixel_values)
    assert_same_bits(np.load(tmp_path / "logits.npy"), expected)
    assert_same_bits(found, expected)


def portrait(path):
    """Lies on its side in the file."""
    exif = Image.Exif()
    exif[0x0112] = UPRIGHT
    Image.open(CHELSEA).convert("RGB").save(path, exif=exif)


def transparent(path):
    """A cat that fades to the right, over nothing."""
    image = Image.open(CHELSEA).convert("RGB")
    image.putalpha(Image.linear_gradient("L").rotate(90).resize(image.size))
    image.save(path)


PHOTOS = {
    "chelsea.png": lambda path: Image.open(CHELSEA).save(path),
    "portrait.jpg": portrait,
    "transparent.png": transparent,
    "palette.gif": lambda path: Image.open(CHELSEA).convert("P").save(path),
    "cmyk.jpg": lambda path: Image.open(CHELSEA).convert("CMYK").save(path),
    "wide.png": lambda path: Image.open(CHELSEA).crop((0, 60, 401, 261)).save(path),
    "small gray.png": lambda path: Image.fromarray(photo(19, 31)[..., 0]).save(path),
}


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """A drawn classifier of few weights, for photos of 64 x 64."""
    settings = {"do_center_crop": True, "do_flip_channel_order": True, "resample": 2, "rescale_factor": 1 / 255}
    sizes = {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}}
    return save_tiny(tmp_path_factory.mktemp("weights") / "few", preprocessing={**sizes, **settings})


@pytest.mark.parametrize(
    ("task", "name"),
    [*(("classifier", name) for name in PHOTOS), *(("segmenter", name) for name in ("portrait.jpg", "wide.png"))],
)
def test_of_a_photo_it_says_what_the_command_says(tmp_path, capsys, one_file, few, task, name):
    path, logits = tmp_path / name, tmp_path / "logits.npy"
    PHOTOS[name](path)
    weights = shipped()[DEFAULTS[task]] if task == "segmenter" or name == CHELSEA.name else few
    output = ["-o", str(tmp_path / "overlay.png")] if task == "segmenter" else []
    assert run([COMMANDS[task], str(path), "--weights", str(weights), *output]) == 0
    asked = re.findall(r"^  (\S.*?) +(\d+\.\d%)", capsys.readouterr().out, re.MULTILINE)
    one_file.main(str(weights), str(path), str(logits))
    said = [tuple(line.strip().split("  ")) for line in capsys.readouterr().out.splitlines()]
    assert said == [(percentage, label) for label, percentage in asked] != []
    assert_same_bits(np.load(logits)[0], PIPELINES[task].from_pretrained(weights, engine="reference")(path).logits)


def test_a_photo_in_rgb_for_weights_that_take_it(tmp_path, one_file):
    sides = {"size": {"shortest_edge": 51}, "crop_size": {"height": 32, "width": 40}}
    settings = {**sides, "do_flip_channel_order": False, "resample": 3, "rescale_factor": 1 / 127}
    folder = save_tiny(tmp_path / "tiny", preprocessing={"do_center_crop": True, **settings})
    one_file.main(str(folder), str(CHELSEA), str(tmp_path / "logits.npy"))
    expected = Classifier.from_pretrained(folder, engine="reference")(CHELSEA).logits
    assert_same_bits(np.load(tmp_path / "logits.npy")[0], expected)


@pytest.mark.parametrize("arguments", [[], ["--help"], ["a", "b", "c", "d"]])
def test_it_says_how_it_is_used(monkeypatch, arguments):
    assert "mobilevit_in_one_file.py weights/" in refused(monkeypatch, *arguments)


def test_what_it_cannot_take_is_one_line(monkeypatch, tmp_path):
    weights = {task: shipped()[name] for task, name in DEFAULTS.items()}
    (tmp_path / "text.jpg").write_text("no photo", encoding="utf-8")
    Image.fromarray(photo(32, 96)).save(tmp_path / "long.png")
    for folder, name, problem in [
        (weights["classifier"], "text.jpg", "text.jpg"),
        (weights["classifier"], "missing.jpg", "missing.jpg"),
        (tmp_path, "long.png", "config.json"),
        (weights["segmenter"], "long.png", "longer than 2:1"),
    ]:
        said = refused(monkeypatch, folder, tmp_path / name)
        assert problem in said
        assert "\n" not in said

"""The network in one file: made from the library as it stands, short, and the reference engine to the last bit."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest
from tiny import REPOSITORY, save_tiny

from mobilevit_np import Scope
from mobilevit_np.checkpoints import open_checkpoint
from mobilevit_np.checkpoints.shipped import DEFAULTS, shipped_folder
from mobilevit_np.engines import compile_network

ONE_FILE = REPOSITORY / "tutorials" / "mobilevit_in_one_file.py"


def maker() -> ModuleType:
    """tutorials/make_one_file.py as a module."""
    spec = importlib.util.spec_from_file_location("make_one_file", ONE_FILE.with_name("make_one_file.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


def run(*arguments, code: int = 0) -> str:
    """What the file prints; run as a user would, with the package nowhere in sight."""
    done = subprocess.run(
        [sys.executable, "-P" if sys.version_info >= (3, 11) else "-s", str(ONE_FILE), *map(str, arguments)],
        capture_output=True, text=True, encoding="utf-8", timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def reference(folder, pixel_values):
    checkpoint = open_checkpoint(folder, dtype=np.float32)
    network = compile_network("reference", checkpoint.task, Scope(checkpoint.tensors), checkpoint.config)
    return checkpoint, network(pixel_values)[0]


def test_it_is_made_from_the_library_as_it_stands():
    assert maker().make() == ONE_FILE.read_text(encoding="utf-8"), "python tutorials/make_one_file.py"


def test_it_is_short_and_stands_alone():
    text = ONE_FILE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    assert max(map(len, text.splitlines())) <= 120
    assert "make_one_file.py" in ast.get_docstring(ast.parse(text))
    imported = {
        name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }
    assert imported - set(sys.stdlib_module_names) == {"numpy", "safetensors"}
    functions = [node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef)]
    assert all(node.end_lineno - node.lineno < 50 for node in functions)
    called = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    assert {node.name for node in functions} <= called, "a function that nothing uses"


@pytest.mark.parametrize("task", DEFAULTS)
@pytest.mark.parametrize("size", [(128, 128), (90, 126)], ids=["whole patches", "stretched"])
def test_its_logits_are_the_reference_s_bit_for_bit(tmp_path, task, size):
    folder = shipped_folder(DEFAULTS[task])
    pixel_values = np.random.default_rng(0).random((2, 3, *size), dtype=np.float32)
    np.save(tmp_path / "input.npy", pixel_values)
    run(folder / "model.safetensors", tmp_path / "input.npy", tmp_path / "logits.npy")
    _, expected = reference(folder, pixel_values)
    found = np.load(tmp_path / "logits.npy")
    assert found.dtype == expected.dtype == np.float32
    assert found.shape == expected.shape
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("options", [{"output_stride": 32}, {"output_stride": 8}, {"qkv_bias": False, "patch_size": 4}])
def test_other_networks_too(tmp_path, options):
    folder = save_tiny(tmp_path / "tiny", "segmenter", **options)
    pixel_values = np.random.default_rng(1).random((1, 3, 72, 96), dtype=np.float32)
    np.save(tmp_path / "input.npy", pixel_values)
    run(folder / "model.safetensors", tmp_path / "input.npy", tmp_path / "logits.npy")
    assert np.array_equal(np.load(tmp_path / "logits.npy"), reference(folder, pixel_values)[1])


@pytest.mark.parametrize("task", DEFAULTS)
def test_it_names_what_a_photo_shows(tmp_path, task):
    """A photo of uint8 is turned to BGR and scaled; the labels are those of config.json, the likeliest first."""
    folder = shipped_folder(DEFAULTS[task])
    photo = np.random.default_rng(2).integers(0, 256, (96, 128, 3), dtype=np.uint8)
    np.save(tmp_path / "photo.npy", photo)
    said = run(folder / "model.safetensors", tmp_path / "photo.npy").splitlines()
    pixel_values = (photo.transpose(2, 0, 1)[None, ::-1] / 255).astype(np.float32)
    checkpoint, logits = reference(folder, pixel_values)
    if task == "classifier":
        exponentials = np.exp(logits[0].astype(np.float64))
        scores = exponentials / exponentials.sum()
    else:
        scores = np.array([(logits[0].argmax(0) == k).mean() for k in range(logits.shape[1])])
    order = np.argsort(-scores, kind="stable")[:5]
    assert [line.split("%  ")[1] for line in said] == [checkpoint.labels[i] for i in order]
    assert [float(line.split("%")[0]) for line in said] == pytest.approx([100 * scores[i] for i in order], abs=0.051)


@pytest.mark.parametrize("task", DEFAULTS)
def test_without_a_photo_it_looks_at_a_gradient(task):
    said = run(shipped_folder(DEFAULTS[task]) / "model.safetensors")
    assert len(said.splitlines()) in (3, 5)
    assert all("%  " in line for line in said.splitlines())


@pytest.mark.parametrize("arguments", [[], ["--help"], ["a", "b", "c", "d"]])
def test_it_says_how_it_is_used(arguments):
    assert "mobilevit_in_one_file.py weights/" in run(*arguments, code=1)


def test_what_changed_in_the_library_is_noticed(monkeypatch, tmp_path):
    """An edit that the maker doesn't know of stops it; one that it carries over changes the file."""
    module = maker()
    for path in module.SOURCE.glob("*/*.py"):
        if path.parent.name in ("ops", "layers", "reference"):
            (tmp_path / path.parent.name).mkdir(exist_ok=True)
            (tmp_path / path.parent.name / path.name).write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "config.py").write_text((module.SOURCE / "config.py").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.setattr(module, "SOURCE", tmp_path)
    unchanged = module.make()

    def edit(file, old, new):
        text = (tmp_path / file).read_text(encoding="utf-8")
        assert old in text
        (tmp_path / file).write_text(text.replace(old, new), encoding="utf-8")

    edit("ops/normalization.py", "centred *= weight", "centred *= 2 * weight")
    assert module.make() == unchanged.replace("centred *= weight", "centred *= 2 * weight")
    edit("layers/mobilevit_block.py", "size = (x.shape[2], x.shape[3])", "size = x.shape[2:]")
    with pytest.raises(SystemExit, match="look at CHANGES"):
        module.make()

"""``--prefix``: one of two networks in a file, wherever weights are given. And weights that take gray photos."""

import json

import numpy as np
import pytest
from commands import run
from fuzz.samples import safetensors_file
from safetensors.numpy import load_file
from tiny import save_photo, save_tiny

COMMANDS = {  # W is the checkpoint
    "classify": "classify a.png --weights W --json",
    "segment": "segment a.png -o b.png --weights W",
    "explain": "explain a.png -o page.html --weights W",
    "summary": "summary --weights W --size 64",
    "trace": "trace a.png --weights W -o golden.npz",
    "compare": "compare golden.npz golden.npz --replay --weights W",
    "diagnose": "diagnose golden.npz golden.npz --weights W",
    "info": "weights info W --json",
    "convert": "weights convert W out.safetensors",
    "quantize": "weights quantize W int8.safetensors --photos a.png",
}


def arguments(command, *more):
    return [*COMMANDS[command].replace("W", "w").split(), *more]


def checkpoint(task, **network):
    """The folder ``w``, and what its network's tensors are."""
    save_tiny("w", task, **network)
    return load_file("w/model.safetensors")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_empty_name_is_no_checkpoint_and_not_the_shipped_one(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_photo(tmp_path / "a.png")
    if "golden.npz" in COMMANDS[command]:
        save_tiny(tmp_path / "w")
        assert run(arguments("trace")) == 0
        capsys.readouterr()
    assert run(["" if word == "W" else word for word in COMMANDS[command].split()]) == 2
    assert capsys.readouterr().err == "mobilevit-np: a checkpoint is given as a path or a name; this is neither\n"


@pytest.mark.parametrize("command", COMMANDS)
def test_of_two_networks_one_is_chosen(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_photo(tmp_path / "a.png")
    tensors = checkpoint("segmenter" if command == "segment" else "classifier")
    if "golden.npz" in COMMANDS[command]:
        assert run(arguments("trace")) == 0
    moved = {name: tensor + 1 if name.endswith(".bias") else tensor for name, tensor in tensors.items()}
    both = {f"{who}.{name}": tensor for who, all_ in (("student", tensors), ("teacher", moved))
            for name, tensor in all_.items()}  # fmt: skip
    (tmp_path / "w/model.safetensors").write_bytes(safetensors_file(both))
    capsys.readouterr()
    assert run(arguments(command)) == 2
    assert "under 'student.', 'teacher.'; choose one by its prefix (--prefix" in capsys.readouterr().err
    assert run(arguments(command, "--prefix", "student")) == 0
    said = capsys.readouterr()
    assert "left out: teacher" in said.err
    if command == "info":
        assert json.loads(said.out)["chosen"] == "student"
    if command == "convert":
        written = load_file("out.safetensors")
        assert all(np.array_equal(written[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("command", ["classify", "segment", "explain", "trace", "quantize"])
def test_weights_that_take_gray_photos(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_photo(tmp_path / "a.png")
    checkpoint("segmenter" if command == "segment" else "classifier", num_channels=1)
    assert run(arguments(command)) == 0
    assert capsys.readouterr().err == ""

"""Where results may go: never into the place of what they're made from, and what can't be written is said first."""

import shutil
from pathlib import Path

import pytest
from commands import run
from tiny import files, hub_cache, save_photo

from mobilevit_np import golden
from mobilevit_np.checkpoints import shipped
from mobilevit_np.errors import OutputError
from mobilevit_np.golden import write_golden
from mobilevit_np.golden.operators import make_operator

REFUSED = "is the checkpoint's file; write the result somewhere else"


@pytest.fixture
def here(tmp_path, monkeypatch, tiny_classifier):
    """A working folder with a photo and the folder ``w``; ``mine``, a shipped model's name, is the default's too."""
    monkeypatch.chdir(tmp_path)
    save_photo(Path("cat.png"))
    shutil.copytree(tiny_classifier, "w")
    shutil.copytree(tiny_classifier, "weights/mine")
    monkeypatch.setattr(shipped, "weights_folders", lambda: [tmp_path / "weights"])
    monkeypatch.setitem(shipped.DEFAULTS, "classifier", "mine")
    monkeypatch.setenv("HF_HOME", str(hub_cache(tmp_path / "home", "apple/mobilevit-small")))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


SNAPSHOT = "home/hub/models--apple--mobilevit-small/snapshots/0123456789abcdef0123456789abcdef01234567"
PLACES = [
    (["--weights", "w"], "w/model.safetensors"),
    (["--weights", "w/model.safetensors"], "w/../w/model.safetensors"),
    (["--weights", "mine"], "weights/mine/model.safetensors"),
    ([], "weights/mine/model.safetensors"),
    (["--weights", "apple/mobilevit-small"], f"{SNAPSHOT}/model.safetensors"),
]


@pytest.mark.parametrize(("weights", "target"), PLACES)
@pytest.mark.parametrize("command", ["trace", "explain"])
def test_the_weights_are_never_replaced(here, capsys, command, weights, target):
    before = files()
    assert run([command, "cat.png", *weights, "-o", target]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"mobilevit-np: {target} {REFUSED}\n")
    assert files() == before


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json"])
def test_nor_are_the_files_that_belong_to_them(here, capsys, name):
    before = files()
    assert run(["explain", "cat.png", "--weights", "w", "-o", f"w/{name}"]) == 2
    assert capsys.readouterr().err == f"mobilevit-np: w/{name} {REFUSED}\n"
    assert files() == before


@pytest.mark.parametrize("replay", [[], ["--replay"]])
def test_compare_replaces_none_either(here, capsys, replay):
    write_golden("g.npz", make_operator("gelu"))
    before = files()
    arguments = ["compare", "g.npz", "g.npz", "--weights", "w", "--html", "w/model.safetensors", *replay]
    assert run(arguments) == 2
    assert capsys.readouterr().err == f"mobilevit-np: w/model.safetensors {REFUSED}\n"
    assert files() == before


@pytest.mark.parametrize("command", [["trace", "cat.png"], ["trace", "--formula", "xx_small"]])
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("golden.pt", "can't write golden.pt: a golden file ends in .safetensors or .npz, not .pt"),
        ("golden", "can't write golden: a golden file ends in .safetensors or .npz, not nothing"),
        ("nowhere/golden.npz", "can't write nowhere/golden.npz: there is no folder nowhere"),
        ("w", "can't write w: it is a folder; give the golden file a name in it, such as golden.safetensors"),
    ],
)
def test_a_place_for_no_golden_file_is_refused_before_the_run(here, capsys, monkeypatch, command, target, words):
    monkeypatch.setattr(golden, "trace", None)  # calling it would be an error of another kind
    monkeypatch.setattr("mobilevit_np.golden.formula.make", None)
    assert run([*command, "-o", target]) == 2
    assert capsys.readouterr().err == f"mobilevit-np: {words}\n"


@pytest.mark.parametrize("name", ["golden.pt", "golden"])
def test_the_library_says_the_same_of_a_suffix(here, capsys, name):
    run(["trace", "cat.png", "-o", name])
    with pytest.raises(OutputError) as caught:
        write_golden(name, make_operator("gelu"))
    assert capsys.readouterr().err == f"mobilevit-np: {caught.value}\n"


@pytest.mark.parametrize("name", ["a.npz", "w/golden.safetensors", "cat.npz"])
def test_a_golden_file_that_is_there_is_replaced(here, capsys, name):
    """It was made of nothing that's used now, and lies in the checkpoint's folder at most."""
    Path(name).write_bytes(b"old")
    assert run(["trace", "cat.png", "--weights", "w", "--depth", "1", "-o", name]) == 0
    assert Path(name).read_bytes() != b"old"

"""``weights list | info | convert | verify``: what they say, and their exit codes."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import run
from fuzz.samples import tiny_tensors, torch_file
from safetensors.numpy import load_file
from tiny import CLASSES, hub_cache, save_tiny

from mobilevit_np.checkpoints import init_parameters, published, save_checkpoint
from mobilevit_np.checkpoints.configurations import full_config
from mobilevit_np.config import VARIANTS, NetworkConfig


@pytest.fixture
def weights(capsys, tmp_path, monkeypatch):
    """Run the command in an empty folder: (exit code, lines of stdout, lines of stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code = run(["weights", *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err.splitlines()

    return call


def test_list(weights):
    code, out, err = weights("list")
    assert (code, err) == (0, [])
    assert out[0] == "shipped (used unless --weights names another)"
    repositories = [line.strip() for line in out[out.index(next(x for x in out if x.startswith("published"))) + 1 :]]
    assert repositories[:3] == ["apple/mobilevit-small", "apple/mobilevit-x-small", "apple/mobilevit-xx-small"]
    assert "timm/mobilevit_s.cvnets_in1k" in repositories
    assert len(set(repositories)) == len(repositories)
    record = json.loads(weights("list", "--json")[1][0])
    assert record["published"] == repositories
    assert list(record["shipped"]) == [line.split()[0] for line in out[1 : len(record["shipped"]) + 1]]


def test_info(weights, tiny_classifier):
    code, out, err = weights("info", tiny_classifier)
    assert (code, err) == (0, [])
    facts = {line[:14].strip(): line[15:] for line in out}
    data = (tiny_classifier / "model.safetensors").read_bytes()
    numbers = [t for name, t in load_file(tiny_classifier / "model.safetensors").items()
               if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))]  # fmt: skip
    assert facts["name"] == "tiny-classifier"
    assert (facts["format"], facts["names"], facts["task"]) == ("safetensors", "huggingface", "classifier")
    assert (facts["classes"], facts["dtype"], facts["channel order"]) == ("5", "F32", "BGR")
    assert facts["labels"] == ", ".join(CLASSES)
    assert facts["parameters"] == f"{sum(t.size for t in numbers):,}"
    assert facts["sha256"] == hashlib.sha256(data).hexdigest()
    assert facts["bytes"] == f"{len(data):,}"
    record = json.loads(weights("info", tiny_classifier, "--json")[1][0])
    assert record["labels"] == list(CLASSES)
    assert record["sha256"] == facts["sha256"]


def test_info_of_a_bare_torch_file_says_what_is_convention(weights):
    Path("training.pt").write_bytes(torch_file({"epoch": 3, "model_ema": tiny_tensors()}))
    code, out, _ = weights("info", "training.pt")
    assert code == 0
    text = "\n".join(out)
    assert "torch" in text
    assert "model_ema" in text
    assert "taken by convention" in text


def test_convert_and_back(weights, tmp_path):
    network = NetworkConfig(**VARIANTS["xx_small"], num_labels=5)
    save_checkpoint("first", init_parameters(network, "classifier"), full_config(network, "classifier", CLASSES))
    code, out, err = weights("convert", "first", "timm", "--names", "timm")
    assert (code, err) == (0, [])
    assert "wrote timm/model.safetensors" in "\n".join(out).replace(f"{tmp_path}/", "")
    assert any("stem's input axis was reversed: the weights took BGR, now RGB" in line for line in out)
    assert weights("info", "timm")[1][3].split() == ["names", "timm"]
    code, out, _ = weights("convert", "timm", "last.safetensors", "--json")
    assert code == 0
    assert [Path(path).name for path in json.loads(out[0])["written"]] == ["last.safetensors"]
    first, last = load_file("first/model.safetensors"), load_file("last.safetensors")
    shared = [name for name in first if not name.endswith("num_batches_tracked")]
    assert shared
    for name in shared:
        np.testing.assert_array_equal(first[name], last[name])


def test_convert_to_another_dtype(weights, tiny_classifier):
    assert weights("convert", tiny_classifier, "half", "--dtype", "float16")[0] == 0
    assert {t.dtype for t in load_file("half/model.safetensors").values()} <= {np.dtype("float16"), np.dtype("int64")}
    assert json.loads(weights("info", "half", "--json")[1][0])["dtype"] == "F16"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["info", "nowhere"], "there is no file or folder 'nowhere'"),
        (["info", "notes.safetensors"], "notes.safetensors"),
        (["convert", "nowhere", "x"], "there is no file or folder"),
        (["convert", "W", "x", "--names", "timm"], "timm only knows the widths of"),
        (["convert", "W", "missing/x.safetensors"], "missing/x.safetensors: no such file"),
        (["convert", "W", "notes.safetensors/folder"], "can't make the folder"),
        (["verify", "nowhere"], "there is no file or folder"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(weights, tiny_classifier, arguments, words):
    Path("notes.safetensors").write_text("no tensors")
    code, out, err = weights(*(tiny_classifier if a == "W" else a for a in arguments))
    assert (code, out, len(err)) == (2, [], 1)
    assert err[0].startswith("mobilevit-np: ")
    assert words in err[0]
    assert [path.name for path in Path().iterdir()] == ["notes.safetensors"]


def test_verify_a_file_of_no_published_name(weights, tiny_classifier):
    code, out, err = weights("verify", tiny_classifier)
    assert (code, err) == (0, [])
    assert out[0].startswith("unknown: ")
    assert out[1] == f"sha256 {hashlib.sha256((tiny_classifier / 'model.safetensors').read_bytes()).hexdigest()}"


@pytest.fixture
def published_file():
    Path("mobilevit-small").mkdir()
    path = Path("mobilevit-small/pytorch_model.bin")
    path.write_bytes(torch_file(tiny_tensors()))
    return path


def test_verify_a_file_that_differs_warns_and_gives_1(weights, published_file):
    code, out, err = weights("verify", published_file)
    assert (code, out, len(err)) == (1, [], 1)
    assert err[0].startswith("mobilevit-np: warning: mobilevit-small/pytorch_model.bin differs from every published ")
    code, out, err = weights("verify", published_file, "--json")
    assert (code, err) == (1, [])
    assert json.loads(out[0])["status"] == "mismatch"
    published_file.rename("pytorch_model.bin")
    assert weights("verify", "pytorch_model.bin")[0] == 0
    assert weights("verify", "pytorch_model.bin", "--repository", "apple/mobilevit-small")[0] == 1


def test_verify_a_file_that_is_the_published_one(weights, published_file, monkeypatch):
    entry = {
        "repository": "apple/mobilevit-small",
        "file": "pytorch_model.bin",
        "sha256": hashlib.sha256(published_file.read_bytes()).hexdigest(),
    }
    monkeypatch.setattr(published, "published_checksums", lambda: [entry])
    code, out, _ = weights("verify", published_file)
    assert code == 0
    assert out[0] == "match: mobilevit-small/pytorch_model.bin is apple/mobilevit-small's pytorch_model.bin"


def test_hub_ids_are_looked_up_in_the_cache_and_else_say_what_to_type(weights, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(hub_cache(tmp_path / "home", "apple/mobilevit-small")))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert weights("info", "apple/mobilevit-small")[1][0].split() == ["name", "apple/mobilevit-small"]
    code, _, err = weights("info", "apple/mobilevit-x-small")
    assert (code, len(err)) == (2, 1)
    assert "type: pip install" in err[0]


def test_hostile_labels_stay_on_their_line(weights, tmp_path):
    save_tiny(tmp_path / "w", labels=("two\nlines", "\x1b[31m", "c", "d", "e"))
    code, out, _ = weights("info", "w")
    assert code == 0
    assert all(line.isprintable() for line in out)

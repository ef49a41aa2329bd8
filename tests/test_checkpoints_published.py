"""The table of published checksums, and the models that come with the package."""

import hashlib
import json

import pytest
from fuzz.samples import tiny_config, tiny_tensors

from mobilevit_np.checkpoints import open_checkpoint, save_checkpoint, verify
from mobilevit_np.checkpoints import published as published_module
from mobilevit_np.checkpoints import shipped as shipped_module
from mobilevit_np.checkpoints.configurations import full_config
from mobilevit_np.errors import CheckpointError


def test_the_table():
    entries = published_module.published_checksums()
    assert len(entries) == 12
    assert len({entry["sha256"] for entry in entries}) == 12
    for entry in entries:
        assert len(bytes.fromhex(entry["sha256"])) == 32
        assert entry["repository"].split("/")[0] in ("apple", "timm")
        assert entry["file"] in ("pytorch_model.bin", "model.safetensors")


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table of one file, ``right``, published as apple/m's pytorch_model.bin."""
    (tmp_path / "weights").mkdir()
    entry = {"repository": "apple/m", "file": "pytorch_model.bin", "sha256": hashlib.sha256(b"right").hexdigest()}
    (tmp_path / "weights/published.json").write_text(json.dumps({"files": [entry]}))
    monkeypatch.setattr(shipped_module, "weights_folders", lambda: [tmp_path / "weights"])
    return tmp_path


def _put(folder, content, name="pytorch_model.bin"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize(
    ("place", "content", "status"),
    [
        ("anywhere", b"right", "match"),
        ("m", b"right", "match"),
        ("m", b"wrong", "mismatch"),
        ("anywhere", b"wrong", "unknown"),
        ("cache/models--apple--m/snapshots/c0ffee", b"wrong", "mismatch"),
        ("cache/models--timm--m/snapshots/c0ffee", b"wrong", "unknown"),
    ],
)
def test_match_mismatch_unknown(place, content, status, table):
    found = verify(_put(table / place, content))
    assert found.status == status
    assert found.sha256 == hashlib.sha256(content).hexdigest()
    assert bool(found.published) == (status != "unknown")
    assert "\n" not in found.message


def test_a_repository_can_be_named(table):
    path = _put(table / "anywhere", b"wrong")
    assert verify(path, repository="apple/m").status == "mismatch"
    assert verify(_put(table / "m", b"wrong", "model.safetensors")).status == "unknown"  # another file's checksum
    assert verify(table / "m").status == "unknown"


def test_what_can_not_be_verified(table):
    with pytest.raises(CheckpointError):
        verify(table / "missing")
    (table / "weights/published.json").unlink()
    with pytest.raises(CheckpointError, match="missing from this installation"):
        verify(_put(table / "m", b"right"))


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package's folder with a model inside it, as a wheel has, and one beside it, as a checkout has."""
    for root, name in (
        ("package/weights", "inside"),
        ("package/weights", "both"),
        ("weights", "both"),
        ("weights", "beside"),
    ):
        labels = tuple(f"{root} {i}" for i in range(5))
        save_checkpoint(tmp_path / root / name, tiny_tensors(), full_config(tiny_config(), "classifier", labels))
    (tmp_path / "weights/recipe").mkdir()
    monkeypatch.setattr(shipped_module, "_PACKAGE", tmp_path / "package")
    return tmp_path


def test_a_wheel_finds_its_models_inside(installed):
    assert list(shipped_module.shipped()) == ["both", "inside"]  # the weights beside are somebody else's
    assert open_checkpoint("inside").labels[0] == "package/weights 0"


def test_a_checkout_finds_them_beside(installed):
    (installed / "pyproject.toml").write_text("")
    assert list(shipped_module.shipped()) == ["beside", "both", "inside"]
    checkpoint = open_checkpoint("beside")
    assert (checkpoint.name, checkpoint.provenance.source.kind, checkpoint.labels[0]) == (
        "beside",
        "shipped",
        "weights 0",
    )
    assert open_checkpoint("both").labels[0] == "package/weights 0"
    with pytest.raises(CheckpointError, match="beside, both, inside"):
        open_checkpoint("outside")
    assert shipped_module.shipped()["both"] == installed / "package/weights/both"


def test_every_shipped_model_opens():
    for name, folder in shipped_module.shipped().items():
        checkpoint = open_checkpoint(name)
        assert checkpoint.name == name
        assert checkpoint.provenance.path.parent == folder
        assert len(checkpoint.labels) == checkpoint.config.num_labels

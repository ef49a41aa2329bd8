"""What isn't there raises an OSError, as scripts written for transformers expect, and stays of the one family."""

import pickle

import pytest
from tiny import save_tiny

from mobilevit_np import huggingface as hf
from mobilevit_np.checkpoints import open_checkpoint, processor_settings
from mobilevit_np.errors import MissingExtraError, MissingImageError, MobileViTError, NotDownloadedError, NotFoundError
from mobilevit_np.formats import files, hub
from mobilevit_np.preprocess import decode


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """An empty folder, one with a config.json alone, one of a network alone; and a hub that can't be reached."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    (tmp_path / "empty").mkdir()
    hf.MobileViTConfig().save_pretrained(tmp_path / "config-only")
    (save_tiny(tmp_path / "no-processor") / "preprocessor_config.json").unlink()
    return tmp_path


LOADERS = (
    open_checkpoint,
    processor_settings,
    hf.MobileViTConfig.from_pretrained,
    hf.MobileViTImageProcessor.from_pretrained,
    hf.MobileViTForImageClassification.from_pretrained,
)


@pytest.mark.parametrize("load", LOADERS, ids=lambda load: load.__qualname__)
@pytest.mark.parametrize("where", ["nowhere", "empty", "owner/name"])
def test_nothing_there(load, where, folders):
    path = where if "/" in where else folders / where
    with pytest.raises(OSError, match=where) as caught:
        load(path)
    assert isinstance(caught.value, MobileViTError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("load", "where"),
    [
        (open_checkpoint, "config-only"),
        (processor_settings, "no-processor"),
        (files.read_bytes, "nowhere"),
        (hf.MobileViTConfig.from_json_file, "nowhere.json"),
    ],
)
def test_a_part_that_isnt_there(load, where, folders):
    with pytest.raises(NotFoundError, match=where):
        load(folders / where)


def test_a_photo_that_isnt_there():
    for where in ("nowhere.png", ""):
        with pytest.raises(OSError, match="no such file") as caught:
            decode(where)
        assert isinstance(caught.value, MissingImageError)


def test_a_download_without_the_extra_is_both(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match="pip install huggingface_hub") as caught:
        hub.download("owner/name", [("config.json",)], cache=tmp_path)
    assert isinstance(caught.value, OSError)


@pytest.mark.parametrize("kind", [NotFoundError, MissingImageError, NotDownloadedError])
def test_they_come_back_from_another_process(kind):
    again = pickle.loads(pickle.dumps(kind("it isn't there")))
    assert (type(again), str(again)) == (kind, "it isn't there")

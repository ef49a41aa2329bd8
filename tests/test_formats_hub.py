"""The hub's cache and download, with a stand-in for huggingface_hub. The real one, against a server, is in parity/."""

import errno
import os
import sys
import types
from pathlib import Path

import pytest
from tiny import save_tiny

from mobilevit_np.checkpoints import config_fields, open_checkpoint, processor_settings
from mobilevit_np.checkpoints.sources import locate
from mobilevit_np.errors import CheckpointError, InputError, MissingExtraError, MobileViTWarning, NotFoundError
from mobilevit_np.formats import hub
from mobilevit_np.preprocess.settings import DEFAULTS

VARIABLES = ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME", "HF_HUB_OFFLINE", "HF_ENDPOINT")


@pytest.fixture(autouse=True)
def _no_hub(monkeypatch, tmp_path):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def _put(cache, repository, files, commit="c0ffee", revision="main"):
    root = cache / f"models--{repository.replace('/', '--')}"
    (root / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
    for name in files:
        path = root / "snapshots" / commit / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(files[name] if isinstance(files, dict) else b"x")
    reference = root / "refs" / revision
    reference.parent.mkdir(parents=True, exist_ok=True)
    reference.write_text(commit)
    return root / "snapshots" / commit


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({}, ".cache/huggingface/hub"),
        ({"XDG_CACHE_HOME": "xdg"}, "xdg/huggingface/hub"),
        ({"XDG_CACHE_HOME": "xdg", "HF_HOME": "home"}, "home/hub"),
        ({"HF_HOME": "home", "HUGGINGFACE_HUB_CACHE": "old"}, "old"),
        ({"HF_HOME": "home", "HUGGINGFACE_HUB_CACHE": "old", "HF_HUB_CACHE": "new"}, "new"),
    ],
)
def test_the_cache_is_where_the_variables_say(variables, place, tmp_path, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, str(tmp_path / value))
    assert hub.cache_folder() == tmp_path / place
    folder = _put(tmp_path / place, "apple/mobilevit-small", ["pytorch_model.bin", "config.json"])
    source = locate("apple/mobilevit-small")
    assert (source.weights, source.config, source.preprocessor) == (
        folder / "pytorch_model.bin",
        folder / "config.json",
        None,
    )
    assert (source.kind, source.name, source.revision) == ("hub", "apple/mobilevit-small", "main")


def test_safetensors_are_preferred(tmp_path):
    folder = _put(
        tmp_path, "apple/m", ["pytorch_model.bin", "model.safetensors", "config.json", "preprocessor_config.json"]
    )
    source = locate("apple/m", cache=tmp_path)
    assert (source.weights, source.preprocessor) == (folder / "model.safetensors", folder / "preprocessor_config.json")


def test_revisions(tmp_path):
    main = _put(tmp_path, "apple/m", ["model.safetensors"])
    other = _put(tmp_path, "apple/m", ["model.safetensors"], commit="beef", revision="refs/pr/2")
    assert hub.cached_snapshot("apple/m", cache=tmp_path) == main
    assert hub.cached_snapshot("apple/m", "refs/pr/2", cache=tmp_path) == other
    assert hub.cached_snapshot("apple/m", "beef", cache=tmp_path) == other
    assert hub.cached_snapshot("apple/m", "nothing", cache=tmp_path) is None


@pytest.mark.parametrize("commit", ["../../../..", "..", "", "a/b", "x\0y", "/"])
def test_a_reference_that_leads_out_is_none(commit, tmp_path):
    root = _put(tmp_path, "apple/m", ["model.safetensors"]).parent.parent
    (root / "refs" / "main").write_text(commit)
    assert hub.cached_snapshot("apple/m", cache=tmp_path) is None


@pytest.mark.parametrize("revision", ["../main", "..", "", "a//b", "a\0b", "/etc/passwd", "a b"])
def test_odd_revisions_are_an_error(revision, tmp_path):
    with pytest.raises(InputError, match="revision"):
        hub.cached_snapshot("apple/m", revision, cache=tmp_path)


@pytest.mark.parametrize(
    "name", ["a", "a/b/c", "../b", "a/..", "/b", "a/", "a b/c", "a--b/c", "a/b\n", "a" * 97 + "/b"]
)
def test_what_is_no_repository(name):
    assert not hub.is_repository(name)


def test_without_the_extra_the_error_says_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtraError, match="type: pip install huggingface_hub") as caught:
        locate("apple/mobilevit-small", cache="elsewhere")
    assert "apple/mobilevit-small is not wholly in the cache elsewhere; " in str(caught.value)
    assert "https://huggingface.co/apple/mobilevit-small" in str(caught.value)
    assert "\n" not in str(caught.value)


class _Error(Exception):
    pass


def _errors(*names):
    found = _Error
    for name in names:
        found = type(name, (found,), {})
    return found("it\nfailed")


@pytest.fixture
def server(monkeypatch, tmp_path):
    """A stand-in for huggingface_hub: ``files`` are what the repository holds, ``error`` what it raises instead."""
    state = types.SimpleNamespace(files={"pytorch_model.bin"}, error=None, calls=[])

    def download(repository, name, *, revision, cache_dir, endpoint, **options):
        state.calls.append((repository, name, revision, endpoint, *options.items()))
        if state.error:
            raise state.error
        if name not in state.files:
            raise _errors("EntryNotFoundError", "RemoteEntryNotFoundError")
        data = state.files[name] if isinstance(state.files, dict) else b"x"
        return str(_put(tmp_path, repository, {name: data}, revision=revision) / name)

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(hf_hub_download=download))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    return state


def test_what_the_cache_lacks_is_downloaded(server, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://mirror")
    server.files = {"pytorch_model.bin", "config.json"}
    source = locate("apple/m", revision="v1")
    assert (source.weights.name, source.config.name, source.preprocessor) == ("pytorch_model.bin", "config.json", None)
    names = ["config.json", "preprocessor_config.json", "model.safetensors", "model.safetensors.index.json"]
    names.append("pytorch_model.bin")  # the weights last
    assert server.calls == [("apple/m", name, "v1", "http://mirror") for name in names]
    locate("apple/m", revision="v1")
    assert len(server.calls) == 5  # the second time it's all in the cache


INDEX = b'{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}'
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]


def test_shards_are_downloaded_and_what_a_broken_off_download_lacks(server, tmp_path, monkeypatch):
    whole = {"config.json": b"{}", "model.safetensors.index.json": INDEX, **dict.fromkeys(SHARDS, b"x")}
    server.files = whole
    source = locate("apple/m")
    assert source.weights.name == "model.safetensors.index.json"
    assert [path.name for path in source.files[1:3]] == SHARDS
    assert [call[1] for call in server.calls[-2:]] == SHARDS
    asked = len(server.calls)
    assert locate("apple/m") == source
    assert len(server.calls) == asked
    (source.weights.parent / SHARDS[1]).unlink()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match=r"not wholly in the cache .*unset HF_HUB_OFFLINE"):
        locate("apple/m")
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert locate("apple/m").files[2].is_file()
    server.files = {name: data for name, data in whole.items() if name != SHARDS[1]}
    with pytest.raises(CheckpointError, match=f"apple/other holds no {SHARDS[1]}"):
        locate("apple/other")


def test_what_is_asked_for_is_what_is_fetched(server):
    server.files = {"sub/dir/config.json": b"{}", "sub/dir/model.fp16.safetensors": b"x"}
    wanted = {"subfolder": "sub/dir/", "variant": "fp16", "token": "secret", "force_download": True}
    for _ in range(2):  # whatever the cache has
        source = locate("apple/m", **wanted)
        assert [path.name for path in source.files] == ["model.fp16.safetensors", "config.json"]
        calls, server.calls = server.calls, []
        names = ["sub/dir/config.json", "sub/dir/preprocessor_config.json", "sub/dir/model.fp16.safetensors"]
        assert [call[1] for call in calls] == names
        assert {call[4:] for call in calls} == {(("token", "secret"), ("force_download", True))}
    assert locate("apple/m", subfolder="sub/dir", variant="fp16", local_files_only=True) == source
    with pytest.raises(CheckpointError, match=r"sub/dir/model\.bf16\.safetensors.*local_files_only"):
        locate("apple/m", subfolder="sub/dir", variant="bf16", local_files_only=True)
    assert server.calls == []


@pytest.mark.parametrize("wanted", [{"subfolder": "../x"}, {"subfolder": 3}, {"variant": "a/b"}, {"variant": ""}])
def test_places_that_lead_elsewhere(wanted, tmp_path):
    with pytest.raises(InputError, match=next(iter(wanted))):
        locate(tmp_path, **wanted)


def test_a_repository_without_weights(server):
    server.files = {"config.json"}
    with pytest.raises(CheckpointError, match=r"no model\.safetensors or pytorch_model\.bin"):
        locate("apple/m")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (_errors("RepositoryNotFoundError"), "no such public repository"),
        (_errors("RepositoryNotFoundError", "GatedRepoError"), "gated"),
        (_errors("RevisionNotFoundError"), "no revision 'main'"),
        (_errors("EntryNotFoundError", "LocalEntryNotFoundError"), "can't be reached"),
        (ConnectionError("refused"), "can't be reached"),
        (ValueError("something\nelse"), "something"),
    ],
)
def test_downloads_that_fail_are_an_error_of_one_line(error, says, server):
    server.error = error
    with pytest.raises(CheckpointError, match=says) as caught:
        locate("apple/m")
    assert "\n" not in str(caught.value)


def test_offline_nothing_is_asked(server, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE"):
        locate("apple/m")
    assert server.calls == []


def test_weights_in_the_cache_without_their_config_are_completed(server, tmp_path):
    server.files = {"pytorch_model.bin", "config.json", "preprocessor_config.json"}
    folder = _put(tmp_path, "apple/m", ["pytorch_model.bin"])
    source = locate("apple/m")
    assert (source.config, source.preprocessor) == (folder / "config.json", folder / "preprocessor_config.json")


def test_offline_they_are_taken_with_a_warning(server, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    folder = _put(tmp_path, "apple/m", ["pytorch_model.bin"])
    with pytest.warns(MobileViTWarning, match=r"without its config\.json"):
        source = locate("apple/m")
    assert (source.weights, source.config, server.calls) == (folder / "pytorch_model.bin", None, [])


@pytest.mark.parametrize(("needs", "name"), [("config", "config.json"), ("preprocessor", "preprocessor_config.json")])
def test_one_json_file_is_had_without_the_weights(needs, name, server, tmp_path):
    server.files = {"pytorch_model.bin", "config.json", "preprocessor_config.json"}
    for _ in range(2):  # the second time it's in the cache
        source = locate("apple/m", needs=needs)
        assert getattr(source, needs).name == name
        assert [call[1] for call in server.calls] == [name]
    assert locate("apple/m").weights.name == "pytorch_model.bin"
    server.files = set()
    with pytest.raises(CheckpointError, match=f"holds no {name}"):
        locate("apple/n", needs=needs)


def test_the_configuration_of_a_hub_id_is_had_without_the_weights(server, tmp_path):
    folder = _put(tmp_path, "apple/m", [])
    (folder / "config.json").write_text('{"model_type": "mobilevit"}')
    assert config_fields("apple/m") == {"model_type": "mobilevit"}
    assert server.calls == []


def test_a_folder_with_nothing_but_a_processor(tmp_path):
    (tmp_path / "preprocessor_config.json").write_bytes(b"x")
    assert locate(tmp_path, needs="preprocessor").preprocessor == tmp_path / "preprocessor_config.json"
    with pytest.raises(CheckpointError, match="holds no weights"):
        locate(tmp_path)


def test_a_folder_of_the_same_name_wins(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.makedirs("apple/m")
    (tmp_path / "apple/m/weights.pt").write_bytes(b"x")
    source = locate("apple/m")
    assert (source.kind, source.weights.name) == ("folder", "weights.pt")
    assert server.calls == []


@pytest.mark.parametrize("spoiled", ["model.safetensors", "config.json", "preprocessor_config.json"])
def test_what_is_damaged_in_the_cache_says_what_to_delete(spoiled, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = save_tiny(tmp_path / "made", preprocessing=dict(DEFAULTS))
    data = {name: (folder / name).read_bytes() for name in os.listdir(folder)}
    assert spoiled in data
    page = b"<html>sign in to this network</html>" if spoiled.endswith("json") else data[spoiled][:-100]
    _put(tmp_path / "hub", "some/model", {**data, spoiled: page})
    readers = {"config.json": config_fields, "preprocessor_config.json": processor_settings}
    for read in {open_checkpoint, readers.get(spoiled, open_checkpoint)}:
        with pytest.raises(CheckpointError) as caught:
            read("some/model", local_files_only=True)
        assert f"delete the folder {tmp_path}/hub/models--some--model to download it again" in str(caught.value)
        (folder / spoiled).write_bytes(page)
        with pytest.raises(CheckpointError) as caught:
            read(folder)
        assert "delete" not in str(caught.value)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_full_disk_is_not_called_the_network(number, server):
    server.error = OSError(number, os.strerror(number), "blobs/x")
    with pytest.raises(
        NotFoundError, match=f"the cache can't be written: {os.strerror(number).lower()}; free some space"
    ):
        locate("some/model")


@pytest.mark.parametrize(
    "place",
    [{"revision": 3}, {"revision": []}, {"revision": Path("main")}, {"cache": 3}, {"variant": 3}, {"subfolder": 3}],
)
def test_places_that_are_no_names(place):
    with pytest.raises(InputError):
        locate("some/model", **place)

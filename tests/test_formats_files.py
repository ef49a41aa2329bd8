"""Files read whole, and written whole or not at all: full disks, folders without permission, Ctrl-C."""

import errno
import os
import signal
import stat
import threading
import tracemalloc

import pytest

from mobilevit_np.errors import CheckpointError, ConfigError, OutputError
from mobilevit_np.formats import files


def test_what_was_written_is_read(tmp_path):
    path = files.write_file(tmp_path / "a.bin", b"123")
    assert path.read_bytes() == files.read_bytes(path) == b"123"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_a_file_gets_the_usual_permissions_and_keeps_those_it_had(tmp_path):
    umask = os.umask(0o022)
    try:
        path = files.write_file(tmp_path / "a.bin", b"1")
        assert stat.S_IMODE(path.stat().st_mode) == 0o644
        path.chmod(0o600)
        files.write_file(path, b"2")
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        os.umask(umask)


def test_a_link_stays_and_what_it_leads_to_is_replaced(tmp_path):
    (tmp_path / "real").write_bytes(b"1")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    files.write_file(tmp_path / "link", b"2")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"2"


def test_a_pipe_is_written_to_and_not_replaced(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    files.write_file(pipe, b"123")
    reader.join()
    assert read == [b"123"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_longest_name_is_written(tmp_path):
    files.write_file(tmp_path / ("x" * 255), b"1")  # a temporary name made of it would be too long
    assert os.listdir(tmp_path) == ["x" * 255]


def _fail_at(monkeypatch, function, error, after=0):
    """Let ``os.function`` raise ``error`` at its call number ``after``."""
    real, calls = getattr(os, function), []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) > after:
            raise error
        return real(*arguments)

    monkeypatch.setattr(os, function, failing)


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_what_was_there(function, error, tmp_path, monkeypatch):
    (tmp_path / "old").write_bytes(b"old")
    _fail_at(monkeypatch, function, error)
    with pytest.raises((OutputError, KeyboardInterrupt)) as caught:
        files.write_file(tmp_path / "old", b"new")
    if isinstance(error, OSError):
        assert str(caught.value).endswith("old: no space left on device")
    assert os.listdir(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


def test_of_several_files_none_is_in_place_before_all_are_on_the_disk(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")
    _fail_at(monkeypatch, "fsync", OSError(errno.ENOSPC, "No space left on device"), after=1)
    with pytest.raises(OutputError, match="b: no space"):
        files.write_files({tmp_path / "a": b"new", tmp_path / "b": b"new"})
    assert os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_what_is_removed_goes_only_once_all_is_in_place(function, tmp_path, monkeypatch):
    (tmp_path / "stale").write_bytes(b"old")
    with monkeypatch.context() as patch:
        _fail_at(patch, function, OSError(errno.ENOSPC, "No space left on device"))
        with pytest.raises(OutputError):
            files.write_files({tmp_path / "a": b"new"}, remove=[tmp_path / "stale"])
    assert os.listdir(tmp_path) == ["stale"]
    files.write_files({tmp_path / "a": b"new"}, remove=[tmp_path / "stale", tmp_path / "never there"])
    assert os.listdir(tmp_path) == ["a"]


def test_ctrl_c_between_two_files_waits_for_the_second(tmp_path, monkeypatch):
    """A new config.json beside old weights would be neither checkpoint."""
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").write_bytes(b"old")
    real = os.replace

    def replace(*arguments):
        real(*arguments)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(os, "replace", replace)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # the tests may run with it switched off
    try:
        with pytest.raises(KeyboardInterrupt):
            files.write_files({tmp_path / "a": b"new", tmp_path / "b": b"new"})
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"new", "b": b"new"}


def test_another_thread_writes_as_well(tmp_path):
    """Only the main thread may touch signals."""
    thread = threading.Thread(target=files.write_file, args=(tmp_path / "a", b"new"))
    thread.start()
    thread.join()
    assert (tmp_path / "a").read_bytes() == b"new"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_an_error_of_one_line():
    with pytest.raises(OutputError, match="can't write /dev/full: no space left on device"):
        files.write_file("/dev/full", b"x" * 100_000)


@pytest.mark.parametrize("path", ["missing/a", "file/a", "folder", "zero\0byte", "x" * 300])
def test_places_that_can_not_be_written_to(path, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError) as caught:
        files.write_file(tmp_path / path, b"1")
    assert "\n" not in str(caught.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]
    assert os.listdir(tmp_path / "folder") == []


def test_a_folder_without_permission(tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("builtins.open", refuse)  # the tests may run as root, whom no permission stops
    with pytest.raises(OutputError, match="permission denied"):
        files.write_file(tmp_path / "a", b"1")


def test_folders_are_made(tmp_path):
    files.write_files({tmp_path / "a/b/c": b"1"}, folders=[tmp_path / "a/b"])
    assert (tmp_path / "a/b/c").read_bytes() == b"1"
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="can't make the folder"):
        files.write_files({tmp_path / "file/b/c": b"1"}, folders=[tmp_path / "file/b"])


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_folders_made_for_what_failed_go_again(error, tmp_path, monkeypatch):
    (tmp_path / "old/mine").mkdir(parents=True)
    impossible = [tmp_path / "new/deep", tmp_path / "old/deep/deeper", tmp_path / ("x" * 300)]
    with pytest.raises(OutputError, match="file name too long"):
        files.write_files({}, folders=impossible)
    _fail_at(monkeypatch, "fsync", error)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        files.write_files({tmp_path / "new/deep/a": b"1"}, folders=[tmp_path / "new/deep", tmp_path / "old/mine"])
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == ["old", "old/mine"]


def test_a_second_signal_waits_until_all_is_cleared_away(tmp_path, monkeypatch):
    real = os.unlink

    def unlink(*arguments, **options):
        os.kill(os.getpid(), signal.SIGINT)  # the one who pressed Ctrl-C presses it again
        real(*arguments, **options)

    _fail_at(monkeypatch, "fsync", KeyboardInterrupt(), after=1)
    monkeypatch.setattr(os, "unlink", unlink)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            files.write_files({tmp_path / "new/a": b"1", tmp_path / "new/b": b"2"}, folders=[tmp_path / "new"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == []


def test_reading_what_is_no_file(tmp_path):
    (tmp_path / "large").write_bytes(bytes(11))
    for path in ("missing", ".", "zero\0byte", "x" * 300):
        with pytest.raises(CheckpointError, match="can't read"):
            files.read_bytes(tmp_path / path)
    with pytest.raises(CheckpointError, match="11 bytes"):
        files.read_bytes(tmp_path / "large", limit=10)
    with pytest.raises(CheckpointError, match="regular file"):
        files.read_bytes("/dev/zero")


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    said = []

    def read():
        try:
            files.read_bytes(tmp_path / "pipe")
        except CheckpointError as error:
            said.append(str(error))

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(timeout=20)
    assert said == [f"{tmp_path}/pipe is not a regular file; copy it to one"]


@pytest.mark.parametrize("text", [b"{", b"\xff", b"[" * 100_000, b'{"a": %s}' % (b"9" * 10_000), b"[]", b"3", b""])
def test_json_that_is_none(text, tmp_path):
    (tmp_path / "config.json").write_bytes(text)
    with pytest.raises(CheckpointError, match=r"config\.json") as caught:
        files.read_json(tmp_path / "config.json")
    assert "\n" not in str(caught.value)


def test_a_read_asks_for_what_the_file_holds(tmp_path):
    (tmp_path / "small").write_bytes(bytes(1000))
    tracemalloc.start()
    try:
        assert len(files.read_bytes(tmp_path / "small")) == 1000
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


def test_a_sparse_file_is_refused_by_its_size(tmp_path):
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(files.MAX_BYTES + 1)
    with pytest.raises(CheckpointError, match="holds 1,073,741,825 bytes, more than"):
        files.read_bytes(tmp_path / "sparse")


def test_what_json_can_t_hold_is_no_settings_file():
    assert files.json_text({"b": 1, "a": 2}, sort_keys=True) == '{\n  "a": 2,\n  "b": 1\n}\n'
    nested: list = []
    for _ in range(10**5):
        nested = [nested]
    for value in (files, {1, 2}, nested):
        with pytest.raises(ConfigError, match="can't be written as JSON"):
            files.json_text({"a": value})


def test_json_that_could_not_be_written_again_is_refused():
    nested = '{"a":' * files.MAX_NESTED + "{}" + "}" * files.MAX_NESTED
    assert list(files.parse_json(nested, "x")) == ["a"]
    with pytest.raises(CheckpointError, match="x is nested more than 32 deep"):
        files.parse_json('{"a":[' + nested + "]}", "x")
    assert files.parse_json(r'{"a": "\ud83d\ude00 \\ud800"}', "x") == {"a": "\U0001f600 \\ud800"}
    for half in (r'{"a": "\ud800"}', r'{"\uDFFF": 1}'):
        with pytest.raises(CheckpointError, match="x is not JSON"):
            files.parse_json(half, "x")
    with pytest.raises(CheckpointError, match="bytes of JSON"):
        files.parse_json(b" " * (files.MAX_JSON_BYTES + 1), "x")

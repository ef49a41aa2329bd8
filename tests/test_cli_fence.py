"""What the machine refuses, what asks a process to end, and what must not be overwritten: one line, and nothing lost.

Where it can be the failure is the system's own (limits, signals, pipes); each starts from a good command.
"""

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from commands import HANG_WRITING, done, process, run
from fuzz.samples import TINY, tiny_config, tiny_tensors
from PIL import Image
from tiny import REPOSITORY, files, plant, save_tiny

import mobilevit_np
from mobilevit_np.cli.inputs import expand
from mobilevit_np.engines import compile_network
from mobilevit_np.errors import MAX_LENGTH, ConfigError, MobileViTWarning
from mobilevit_np.fence import fenced
from mobilevit_np.scope import Scope

# -- the fence ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (
            MemoryError("Unable to allocate 9 TiB"),
            "there isn't enough memory for this (Unable to allocate 9 TiB); free",
        ),
        (RecursionError("maximum recursion depth exceeded"), "this is nested too deeply"),
        (PermissionError(13, "Permission denied", "x.json"), "[Errno 13] Permission denied: 'x.json'"),
        (FileNotFoundError(2, "No such file or directory"), "the working folder is gone"),
        (KeyboardInterrupt(), "interrupted; what was written is whole"),
    ],
)
def test_what_reaches_the_top_is_one_line(error, line, capsys):
    def command():
        raise error

    assert fenced(command) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"mobilevit-np: {line}")
    assert said.count("\n") == 1


def test_ctrl_c_while_a_class_is_made_is_one_line_too(capsys):
    class Field:
        def __set_name__(self, owner, name):
            raise KeyboardInterrupt

    assert fenced(lambda: type("Config", (), {"field": Field()})) == 2
    assert capsys.readouterr().err == "mobilevit-np: interrupted; what was written is whole\n"


def test_a_runtime_error_is_a_defect_of_ours():
    def command():
        raise RuntimeError("not thought of")

    with pytest.raises(RuntimeError, match="not thought of"):
        fenced(command)


def test_an_import_that_fails_names_what_failed_first_and_a_defect_of_ours_stays_one(capsys):
    def numpy_fails():
        try:
            raise ImportError("libfoo.so: failed to map segment from shared object")
        except ImportError as error:
            raise ImportError("IMPORTANT:\n\nplease read this advice\n") from error

    assert fenced(numpy_fails) == 2
    said = capsys.readouterr().err
    assert (
        said
        == "mobilevit-np: a part that's needed can't be loaded: libfoo.so: failed to map segment from shared object\n"
    )
    with pytest.raises(ImportError):
        fenced(lambda: __import__("mobilevit_np.nowhere"))


def test_one_photo_s_lack_of_memory_leaves_the_others(here, tiny_segmenter, capsys, monkeypatch):
    calls = []

    def network(pixel_values, scope, config):
        calls.append(1)
        if len(calls) == 2:
            raise MemoryError("Unable to allocate 1 TiB")
        return np.ones((1, 3, pixel_values.shape[2] // 16, pixel_values.shape[3] // 16), np.float32)

    plant(monkeypatch, "segmenter", network)
    assert run(["segment", "a.png", "b.png", "c.png", "-o", "o/", "--weights", str(tiny_segmenter)]) == 1
    assert capsys.readouterr().err.startswith("mobilevit-np: b.png: there isn't enough memory for this (Unable")
    assert sorted(os.listdir("o")) == ["a-overlay.png", "c-overlay.png"]


def test_without_room_for_threads_photos_are_prepared_by_the_one_there_is(here, tiny_classifier, capsys, monkeypatch):
    arguments = ["classify", "a.png", "b.png", "c.png", "--threads", "1", "--weights", str(tiny_classifier)]
    assert run(arguments) == 0
    usual = capsys.readouterr().out

    def start(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("threading.Thread.start", start)
    assert run(arguments) == 0
    assert capsys.readouterr().out == usual
    arguments[5] = "2"
    assert run(arguments) == 2
    assert capsys.readouterr().err.count("no room for another thread: --threads 1 needs none") == 3


@pytest.mark.skipif(sys.platform != "linux", reason="other systems don't hold a process to its address space")
@pytest.mark.parametrize("megabytes", [260, 500])
def test_with_little_memory_there_is_an_answer_or_a_line(here, tiny_classifier, megabytes):
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({megabytes} * 10**6,) * 2)"
    code, _, err = done("classify", "a.png", "--weights", tiny_classifier, prelude=limit)
    assert (err.count("\n"), code) in ((0, 0), (1, 1), (1, 2))
    assert "Traceback" not in err


# -- messages ----------------------------------------------------------------------------------------------------------


def test_a_message_is_one_printable_line_of_bounded_length(capsys):
    with pytest.raises(ConfigError) as caught:
        mobilevit_np.NetworkConfig(hidden_sizes=["\x1b[31m\n"] * 10**6)
    with pytest.warns(MobileViTWarning) as warned:
        warnings.warn("\x07" * 10**7 + "give another", MobileViTWarning, stacklevel=1)
    for message in (str(caught.value), str(warned[0].message)):
        assert message.isprintable()
        assert len(message) <= MAX_LENGTH
    assert str(warned[0].message).endswith("give another")


@pytest.mark.parametrize(
    "arguments", [["classify", "--\x1b[31mred.png"], ["classify", "--top", "\x07" * 10**5], ["\n"]]
)
def test_argparse_says_it_in_one_printable_line_too(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        run(arguments)
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said[:-1].isprintable()
    assert len(said) <= MAX_LENGTH + 1


# -- a photo's own failure ---------------------------------------------------------------------------------------------


def test_a_name_too_long_for_its_overlay_and_a_folder_in_its_place_leave_the_others(here, tiny_segmenter, capsys):
    Path("b.png").rename("x" * 250 + ".png")
    Path("o/a-overlay.png").mkdir(parents=True)
    assert run(["segment", ".", "-o", "o/", "--weights", str(tiny_segmenter)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.rpartition(": ")[2] for line in lines] == ["is a directory", "file name too long"]
    assert sorted(os.listdir("o")) == ["a-overlay.png", "c-overlay.png"]


def test_nothing_in_a_folder_is_left_out_in_silence(here, monkeypatch):
    Path("photos/deep").mkdir(parents=True)
    Path("photos/closed").mkdir()
    for name in ("a.png", "deep/b.png", "notes.txt"):
        Path("photos", name).write_bytes(b"")
    Path("photos/dangling.png").symlink_to("nowhere")
    Path("elsewhere").mkdir()
    Path("elsewhere/c.png").write_bytes(b"")
    Path("photos/link").symlink_to(Path("elsewhere").absolute())
    Path("photos/deep/back").symlink_to(Path().absolute())
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    for argument in ("photos", "phot*"):
        found = {photo.name: str(photo.problem or "") for photo in expand([argument])}
        unreadable = os.path.join("photos", "closed")
        assert found.pop(unreadable) == f"can't open {unreadable}: permission denied"
        names = ["a.png", "dangling.png", "deep/b.png", "link/c.png"]
        assert found == {os.path.join("photos", *name.split("/")): "" for name in names}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for_and_leaves_the_others(here, tiny_classifier):
    """In a process, which can be ended should it wait."""
    Path("b.png").unlink()
    os.mkfifo("b.png")
    code, out, err = done("classify", ".", "/dev/zero", "--weights", tiny_classifier)
    assert (code, err.splitlines()) == (1, [
        "mobilevit-np: ./b.png is not a regular file; copy it to one, or give it through standard input",
        "mobilevit-np: /dev/zero is not a regular file; copy it to one, or give it through standard input",
    ])  # fmt: skip
    assert "a.png" in out
    code, _, err = done("trace", "b.png", "-o", "g.npz", "--weights", tiny_classifier)
    assert (code, err.count("\n"), "is not a regular file" in err) == (2, 1, True)


# -- what must not be overwritten --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "a.png", "-o", "b.png"], "a page ends in .html or .htm, not .png"),
        (["explain", "a.png", "-o", "page.html", "--weights", "W"], "page.html is the checkpoint's file"),
        (["explain", "a.png", "-o", ""], "say where the result goes"),
        (["compare", "golden.npz", "golden.npz", "--html", "w.safetensors"], "a page ends in .html"),
        (["compare", "golden.npz", "golden.npz", "--html", "hard.html"], "hard.html is the golden file"),
        (["compare", "golden.npz", "golden.npz", "--html", ""], "say where the result goes"),
        (["segment", "a.png", "-o", "hard.png"], "hard.png is one of the photos"),
        (["segment", "a.png", "--mask", "soft.png", "-o", "x.png"], "soft.png is one of the photos"),
        (["segment", "a.png", "-o", ""], "say where the result goes"),
        (["segment", "a.png", "--mask", ""], "say where the result goes"),
        (["trace", "golden.npz", "-o", "soft.npz"], "soft.npz is the input"),
        (["trace", "--operators", ""], "say where the result goes"),
        (["trace", "--formula", "xx_small", "-o", ""], "say where the result goes"),
        (["trace", "--formula", "xx_small", "--weights-out", ""], "say where the result goes"),
        (["trace", "--formula", "xx_small", "--weights-out", "bert"], "config.json would be replaced"),
        (["weights", "convert", "W", ""], "say where the result goes"),
        (["weights", "convert", "W", "bert"], "config.json would be replaced, and isn't a MobileViT's"),
        (["weights", "convert", "W", "vit"], "preprocessor_config.json would be replaced"),
        (["weights", "convert", "W", "bare"], "model.safetensors would be replaced"),
        (["weights", "quantize", "W", "application"], "config.json would be replaced"),
        (["weights", "quantize", "W", ""], "say where the result goes"),
    ],
)
def test_nothing_is_overwritten_that_should_not_be(here, tiny_classifier, capsys, arguments, words):
    Path("golden.npz").write_bytes(b"golden")
    Path("w.safetensors").write_bytes(b"weights")
    os.link("a.png", "hard.png")
    os.link("golden.npz", "hard.html")
    Path("soft.png").symlink_to("a.png")
    Path("soft.npz").symlink_to("golden.npz")
    weights = save_tiny(Path("W"))
    os.link(weights / "model.safetensors", "page.html")
    others = {
        "bert/config.json": '{"model_type": "bert"}',
        "application/config.json": '{"port": 8080}',
        "vit/preprocessor_config.json": '{"image_processor_type": "ViTImageProcessor"}',
        "bare/model.safetensors": "",
    }
    for name, text in others.items():
        Path(name).parent.mkdir()
        Path(name).write_text(text)
    before = files()
    try:
        code = run(arguments)
    except SystemExit as left:
        code = left.code
    said = capsys.readouterr()
    assert (code, said.out, said.err.count("\n")) == (2, "", 1)
    assert words in said.err
    assert files() == before


def test_its_own_folder_is_written_again(here, tiny_classifier):
    for names in ("huggingface", "timm", "huggingface"):
        assert run(["weights", "convert", "pets-xx-small", "w", "--names", names]) == 0


# -- signals, full disks, streams --------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="Windows ends a process, and doesn't ask")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_signals_clean_up_as_ctrl_c_does(here, tiny_classifier, name):
    before = files()
    with process("weights", "convert", tiny_classifier, "new/deep", prelude=HANG_WRITING.format(call=2)) as running:
        assert running.stderr.readline() == "READY\n"
        running.send_signal(getattr(signal, name))
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (2, "", "mobilevit-np: interrupted; what was written is whole\n")
    assert files() == before
    assert not Path("new").exists()


@pytest.mark.skipif(os.name != "posix", reason="nohup is POSIX's")
def test_a_signal_that_is_ignored_stays_ignored():
    prelude = "signal.signal(signal.SIGHUP, signal.SIG_IGN); os.kill(os.getpid(), signal.SIGHUP)"
    asked = "import atexit; atexit.register(lambda: print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN))"
    code, out, err = done("--version", prelude=f"{prelude}; {asked}")
    assert (code, err, out.splitlines()[-1]) == (0, "", "True")


def test_a_ctrl_c_that_passed_an_exec_is_no_death_by_signal(here):
    """CPython notes it as unhandled, and kills itself at the end of ``python -m``."""
    code = (
        "import sys\nfrom mobilevit_np.fence import fenced\nsys.exit(fenced(lambda: exec('raise KeyboardInterrupt')))"
    )
    Path("command.py").write_text(code)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    arguments = [sys.executable, "-m", "command"]
    run = subprocess.run(arguments, env=environment, capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stderr) == (2, "mobilevit-np: interrupted; what was written is whole\n")


SMALL_DISK = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({0}, {0}))"


@pytest.mark.skipif(os.name != "posix", reason="limits are POSIX's")
@pytest.mark.parametrize(
    ("limit", "arguments"),
    [
        (5_000, ["trace", "--operators", "new/ops"]),
        (8_000_000, ["trace", "--formula", "xx_small", "--size", "64", "-o", "g.npz", "--weights-out", "new"]),
    ],
)
def test_a_full_disk_leaves_none_of_what_belongs_together(here, limit, arguments):
    before = files()
    code, out, err = done(*arguments, prelude=SMALL_DISK.format(limit))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.endswith("file too large\n")
    assert files() == before
    assert not Path("new").exists()


@pytest.mark.skipif(not Path("/dev/stdout").exists(), reason="there's no /dev/stdout")
def test_a_page_to_standard_output_is_all_that_is_there(here, tiny_classifier):
    arguments = ["explain", "a.png", "--weights", tiny_classifier, "-o"]
    assert done(*arguments, "page.html")[0] == 0
    page = Path("page.html").read_text()
    code, out, err = done(*arguments, "/dev/stdout")
    assert (code, err) == (0, "")
    assert (out[:10_000], out[-10_000:]) == (page[:10_000], page[-10_000:])  # times stand between
    Path("log").write_text("kept\n")
    with open("log", "a") as log:
        assert done(*arguments, "/dev/stdout", stdout=log)[0] == 0
    assert Path("log").read_text().startswith("kept\n<!doctype html>")


@pytest.mark.skipif(os.name != "posix", reason="Windows keeps a folder that a process is in")
@pytest.mark.parametrize("arguments", [["segment", "/a.png"], ["weights", "convert", "pets-xx-small", "w"]])
def test_a_deleted_working_folder_is_one_line(here, arguments):
    Path("gone").mkdir()
    code, _, err = done(*arguments, prelude="os.chdir('gone'); os.rmdir('../gone')")
    assert (code, err.count("\n")) == (2, 1)
    assert "Traceback" not in err


# -- what only POSIX has, and both engines -----------------------------------------------------------------------------

ELSEWHERE = """
for name in ("register_at_fork", "fork", "forkpty", "sched_getaffinity", "mkfifo", "O_NONBLOCK", "O_NOFOLLOW",
             "O_DIRECTORY", "O_CLOEXEC", "getuid", "geteuid", "fchmod", "fchown", "chown", "killpg", "getpgid",
             "statvfs", "pread", "posix_fadvise"):
    if hasattr(os, name): delattr(os, name)
for name in ("SIGHUP", "SIGALRM", "SIGUSR1", "SIGUSR2", "SIGXCPU", "SIGPIPE", "SIGKILL", "pthread_sigmask"):
    if hasattr(signal, name): delattr(signal, name)
for name in ("resource", "fcntl", "pwd", "grp", "termios"):
    sys.modules[name] = None  # importing it fails
import stat
sync = os.fsync
def fsync(handle):
    if stat.S_ISDIR(os.fstat(handle).st_mode): raise PermissionError(13, "Permission denied")
    sync(handle)
os.fsync = fsync
from mobilevit_np.cli import run
for arguments in {commands!r}:
    assert run(arguments) == 0, arguments
"""


def test_the_command_line_works_without_what_only_posix_has(here, tiny_classifier, tiny_segmenter):
    commands = [
        ["classify", "a.png", "b.png", "--weights", str(tiny_classifier)],
        ["segment", "a.png", "b.png", "-o", "o/", "--mask", "m/", "--weights", str(tiny_segmenter)],
        ["explain", "a.png", "-o", "page.html", "--weights", str(tiny_classifier)],
        ["trace", "a.png", "-o", "g.npz", "--weights", str(tiny_classifier)],
        ["compare", "g.npz", "g.npz", "--html", "c.html", "--weights", str(tiny_classifier)],
        ["weights", "convert", str(tiny_classifier), "w"],
        ["weights", "quantize", str(tiny_classifier), "q.safetensors", "--photos", "a.png"],
    ]
    code, _, err = done("weights", "info", "w", prelude=ELSEWHERE.format(commands=commands))
    assert (code, err) == (0, "")


@pytest.mark.parametrize(
    "path", [r"C:\photos\cat.png", r"C:/photos/cat.png", r"photos\cat.png", r"\\server\share\cat.png"]
)
def test_a_windows_path_is_a_path(here, path, capsys):
    assert run(["classify", path]) == 2
    assert capsys.readouterr().err == f"mobilevit-np: {path}: there is no such file\n"
    assert run(["weights", "info", path]) == 2
    assert "there is no file or folder" in capsys.readouterr().err


def test_a_windows_folder_ends_in_a_backslash(here, tiny_segmenter, monkeypatch):
    monkeypatch.setattr("mobilevit_np.cli.segment.os.sep", "\\")
    assert run(["segment", "a.png", "-o", "o\\", "--weights", str(tiny_segmenter)]) == 0
    assert os.listdir("o\\") == ["a-overlay.png"]


@pytest.mark.parametrize("engine", ["fast", "reference"])
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 3e38])
def test_engines_are_quiet_about_pixels_that_are_too_large(engine, value):
    pixel_values = np.zeros((1, 3, 64, 64), np.float32)
    pixel_values[0, 0, 5, 5] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = compile_network(engine, "classifier", Scope(tiny_tensors()), tiny_config())
        network(pixel_values.astype(np.float64), hidden_states=True)
        network(pixel_values)
        model = mobilevit_np.MobileViTForImageClassification(mobilevit_np.MobileViTConfig(**TINY), engine=engine)
        model(np.full((1, 3, 64, 64), 1e300))


def test_the_json_line_of_a_photo_whose_name_is_no_text_is_json(here, tiny_classifier, capsys):
    os.rename("a.png", b"\xff.png")
    assert run(["classify", "--json", ".", "--weights", str(tiny_classifier)]) == 0
    names = [json.loads(line)["image"] for line in capsys.readouterr().out.splitlines()]
    assert os.fsencode(names[-1]) == b"./\xff.png"
    with Image.open("b.png") as image:
        assert image.size == (60, 48)

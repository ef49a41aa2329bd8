"""What goes wrong around the command line: full disks, closed pipes, Ctrl-C, damaged files. No file is touched then.

Where it can be, the failure is the system's own: /dev/full, a limit on file sizes, SIGINT to a process at a known
point. ``files`` are compared before and after: nothing half-written, no temporary.
"""

import errno
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import HANG_WRITING, done, process, run
from fuzz.samples import tiny_tensors, torch_file
from PIL import Image
from tiny import REPOSITORY, files, photo, plant, save_photo

# -- standard output ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["weights", "list"], ["classify", "--help"], ["classify", "a.png", "b.png"]])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_behind_standard_output(here, tiny_classifier, arguments):
    if "a.png" in arguments:
        arguments = [*arguments, "--weights", tiny_classifier]
    with open("/dev/full", "w") as full, process(*arguments, stdout=full) as running:
        _, err = running.communicate(timeout=120)
    assert running.returncode == 2
    assert err == "mobilevit-np: can't write to standard output: no space left on device\n"


def test_a_reader_that_goes_away(here, tiny_classifier):
    """As with ``| head -1``: no message, no traceback."""
    save_photo(Path("a.png"))
    reading, writing = os.pipe()
    with process("classify", *["a.png"] * 40, "--weights", tiny_classifier, stdout=writing) as running:
        os.close(writing)
        with open(reading) as pipe:
            assert pipe.readline().startswith("tiny-classifier")
        _, err = running.communicate(timeout=120)
    assert (running.returncode, err) == (1, "")


@pytest.mark.parametrize("closing", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(here, tiny_classifier, closing):
    command = f"{sys.executable} -m mobilevit_np classify a.png --weights {tiny_classifier} {closing}"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


# -- files that can't be written ---------------------------------------------------------------------------------------


SMALL_DISK = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))"  # files end at 2000 bytes


EACH = """
from mobilevit_np.cli import run
from mobilevit_np.fence import fenced
print([fenced(lambda: run(arguments)) for arguments in {commands!r}])
"""


def test_a_disk_that_fills_up(here, tiny_classifier, tiny_segmenter):
    """Files end at 2000 bytes, as the system sees to: writing on fails as on a full disk. In a process of its own,
    for the limit would hold for the log that the tests are written to as well.
    """
    Path("old").mkdir()
    for name in ("a-overlay.png", "w.safetensors"):
        Path("old", name).write_bytes(b"what was there")
    before = files()
    commands = [
        ["segment", "a.png", "-o", "o.png", "--weights", str(tiny_segmenter)],
        ["segment", "a.png", "b.png", "-o", "old/", "--weights", str(tiny_segmenter)],
        ["weights", "convert", str(tiny_classifier), "old/w.safetensors"],
        ["segment", "a.png", "-o", "new/deep/", "--mask", "new/masks/", "--weights", str(tiny_segmenter)],
        ["weights", "convert", str(tiny_classifier), "new"],
        ["weights", "convert", str(tiny_classifier), "new/deep"],
    ]
    code, out, errors = done(*commands.pop(), prelude=SMALL_DISK + EACH.format(commands=commands))
    assert code == 2
    assert "[2, 2, 2, 2, 2]" in out.splitlines()
    err = errors.splitlines()
    assert len(err) == 6
    assert all(line.startswith("mobilevit-np: can't write ") for line in err)
    assert all(line.endswith("file too large") for line in err)
    assert files() == before
    assert not Path("new").exists()


def test_a_disk_that_is_full_after_the_first_photo(here, tiny_segmenter, capsys, monkeypatch):
    """The rest would fare no better: it stops there, and what was finished stays (exit code 1)."""
    sync, calls = os.fsync, []

    def fsync(handle):
        calls.append(handle)
        if len(calls) > 2:  # an overlay and a mask
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    before = files()
    arguments = ["segment", "a.png", "b.png", "c.png", "-o", "o/", "--mask", "m/", "--weights", str(tiny_segmenter)]
    assert run(arguments) == 1
    said = capsys.readouterr()
    assert said.err.startswith("mobilevit-np: can't write ")
    assert said.err.endswith("b-overlay.png: no space left on device\n")
    assert sorted(set(files()) - set(before)) == ["m/a-mask.png", "o/a-overlay.png"]
    assert "b.png" not in said.out.splitlines()


def test_a_target_that_is_a_folder_or_has_an_impossible_name(here, tiny_classifier, tiny_segmenter, capsys):
    Path("folder.png").mkdir()
    before = files()
    for target in ("x" * 300 + ".png", "x" * 300 + "/"):
        assert run(["segment", "a.png", "-o", target, "--weights", str(tiny_segmenter)]) == 2
    assert run(["weights", "convert", str(tiny_classifier), "x" * 300 + ".safetensors"]) == 2
    assert run(["weights", "convert", str(tiny_classifier), "a.png"]) == 2  # a file in the place of a folder
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 4
    assert all(line.startswith("mobilevit-np: can't ") for line in err)
    assert files() == before


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="this system has no /proc")
def test_a_folder_that_nobody_may_write_to(here, tiny_segmenter, capsys):
    """Not even the administrator."""
    assert run(["segment", "a.png", "b.png", "-o", "/proc/self", "--weights", str(tiny_segmenter)]) == 2
    err = capsys.readouterr().err.splitlines()
    assert len(err) == 1
    assert err[0].startswith("mobilevit-np: can't write /proc/")


# -- Ctrl-C ------------------------------------------------------------------------------------------------------------

HANG_AT = """
from functools import partial
from mobilevit_np.engines import ENGINES
from mobilevit_np.model import NETWORKS
calls = []
def hang():
    print("READY", file=sys.stderr, flush=True)
    for _ in range(600): time.sleep(0.1)  # a signal just before one long sleep would be noticed after it
def network(usual, *arguments, **options):
    calls.append(1)
    if len(calls) == {call}: hang()
    return usual(*arguments, **options)
for task in ("classifier", "segmenter"):
    NETWORKS[task] = partial(network, NETWORKS[task])
ENGINES["fast"] = ENGINES["reference"]
"""


@pytest.mark.parametrize(
    ("prelude", "call", "code", "written"),
    [
        (HANG_AT, 1, 2, []),
        (HANG_AT, 3, 1, ["o/a-overlay.png", "o/b-overlay.png"]),
        (HANG_WRITING, 1, 2, []),
        (HANG_WRITING, 2, 1, ["o/a-overlay.png"]),
    ],
)
def test_ctrl_c_while_segmenting(here, tiny_segmenter, prelude, call, code, written):
    before = files()
    arguments = ["segment", "a.png", "b.png", "c.png", "-o", "o/", "--weights", tiny_segmenter]
    with process(*arguments, prelude=prelude.format(call=call)) as running:
        assert running.stderr.readline() == "READY\n"
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert running.returncode == code
    assert err == f"mobilevit-np: interrupted after {len(written)} of 3 photos; what was written is whole\n"
    assert sorted(set(files()) - set(before)) == written
    for name in written:
        with Image.open(name) as image:
            image.load()
    assert out.count("overlay:") == len(written)


def test_ctrl_c_while_converting(here, tiny_classifier):
    before = files()
    arguments = ["weights", "convert", tiny_classifier, "new"]
    with process(*arguments, prelude=HANG_WRITING.format(call=2)) as running:
        assert running.stderr.readline() == "READY\n"
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=60)
    assert (running.returncode, out, err) == (2, "", "mobilevit-np: interrupted; what was written is whole\n")
    assert files() == before
    assert not Path("new").exists()


# -- defects of ours show themselves -----------------------------------------------------------------------------------


def test_only_the_family_of_user_errors_is_caught(here, tiny_classifier, monkeypatch):
    def broken(*_):
        raise ZeroDivisionError("a defect")

    plant(monkeypatch, "classifier", broken)
    with pytest.raises(ZeroDivisionError):
        run(["classify", "a.png", "--weights", str(tiny_classifier)])


# -- damaged files -----------------------------------------------------------------------------------------------------


def damaged(data, chance, start=0):
    """Cut short, with flipped bits (from ``start`` on), or with a piece of itself in the wrong place."""
    data = bytearray(data)
    kind = chance.randrange(3)
    if kind == 0:
        return bytes(data[: chance.randrange(len(data))])
    if kind == 1:
        for _ in range(chance.randrange(1, 12)):
            data[chance.randrange(start, len(data))] ^= 1 << chance.randrange(8)
        return bytes(data)
    size, source = chance.randrange(1, 200), chance.randrange(len(data))
    target = chance.randrange(start, len(data))
    data[target : target + size] = data[source : source + size]
    return bytes(data)


@pytest.mark.parametrize("kind", ["safetensors", "header", "torch", "config", "preprocessor"])
def test_damaged_checkpoints(here, tiny_classifier, tiny_segmenter, capsys, kind):
    """12 of each: a right answer or one line, code 0 or 2; no file but the answers."""
    chance = random.Random(kind)
    name = {"config": "config.json", "preprocessor": "preprocessor_config.json"}.get(kind, "model.safetensors")
    folders = {"classify": tiny_classifier, "segment": tiny_segmenter}
    codes = []
    for number in range(12):
        command = ("classify", "segment")[number % 2]
        folder = Path("w")
        folder.mkdir(exist_ok=True)
        for file in folders[command].iterdir():
            (folder / file.name).write_bytes(file.read_bytes())
        if kind == "torch":
            (folder / "model.safetensors").unlink()
            tensors = tiny_tensors({"classify": "classifier", "segment": "segmenter"}[command])
            (folder / "pytorch_model.bin").write_bytes(damaged(torch_file(tensors), chance))
        else:
            data = (folder / name).read_bytes()
            if kind == "header":
                head = 8 + int.from_bytes(data[:8], "little")
                (folder / name).write_bytes(damaged(data[:head], chance) + data[head:])
            else:
                (folder / name).write_bytes(damaged(data, chance))
        before = files()
        codes.append(run([command, "a.png", "--weights", "w"]))
        said = capsys.readouterr()
        errors = [line for line in said.err.splitlines() if ": warning: " not in line]
        assert codes[-1] in (0, 2), said.err
        assert len(errors) == (codes[-1] == 2), said.err
        assert all(line.startswith("mobilevit-np: ") for line in said.err.splitlines())
        made = set(files()) - set(before)
        assert made == ({"a-overlay.png"} if (command, codes[-1]) == ("segment", 0) else set())
        for path in (*made, *map(str, folder.iterdir())):
            Path(path).unlink()
    assert 2 in codes


def test_damaged_photos(here, tiny_classifier, capsys):
    """60 of them in one run: an answer or a line for each."""
    chance = random.Random(7)
    for suffix in ("png", "jpg", "gif", "webp", "tif", "bmp"):
        Image.fromarray(photo(20, 30)).save(f"good.{suffix}")
    good = sorted(Path().glob("good.*"))
    for number in range(60):
        path = good[number % len(good)]
        Path("bad").mkdir(exist_ok=True)
        Path("bad", f"{number:02}{path.suffix}").write_bytes(damaged(path.read_bytes(), chance))
    before = files()
    code = run(["classify", "bad", "--top", "1", "--weights", str(tiny_classifier)])
    said = capsys.readouterr()
    answers = [line for line in said.out.splitlines()[1:] if not line.startswith("  ")]
    errors = said.err.splitlines()
    assert code == 1
    assert len(answers) + len(errors) == 60
    assert len(errors) > 10
    assert all(line.startswith("mobilevit-np: bad/") for line in errors)
    assert files() == before


PLAIN_PILLOW = "import sys; from PIL import Image; Image.open(sys.argv[1]).load()"


@pytest.mark.parametrize(("command", "closing"), [("classify", ""), ("segment", ""), ("classify", "2>&-")])
def test_what_libtiff_prints_is_not_shown(here, tiny_classifier, tiny_segmenter, command, closing):
    Image.fromarray(photo(40, 50)).save("bad.tif", compression="tiff_lzw")
    data = bytearray(Path("bad.tif").read_bytes())
    data[60:160] = bytes(byte ^ 255 for byte in data[60:160])
    Path("bad.tif").write_bytes(data)
    plain = subprocess.run([sys.executable, "-c", PLAIN_PILLOW, "bad.tif"], capture_output=True, text=True, timeout=120)
    assert not plain.stderr.startswith("Traceback")  # else there'd be nothing to hold back

    weights = tiny_classifier if command == "classify" else tiny_segmenter
    line = f"{sys.executable} -m mobilevit_np {command} a.png bad.tif missing.png --weights {weights} {closing}"
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(["sh", "-c", line], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    said = ["mobilevit-np: bad.tif can't be read: ", "mobilevit-np: missing.png: there is no such file"]
    lines = done.stderr.splitlines()
    assert len(lines) == (0 if closing else 2)
    assert all(line.startswith(start) for line, start in zip(lines, said, strict=False))


LAST_WORDS = """
import ctypes, sys
from mobilevit_np.cli.terminal import c_libraries_held_back
libc = ctypes.CDLL(None)
stream = ctypes.c_void_p.in_dll(libc, "__stderrp" if sys.platform == "darwin" else "stderr")
with c_libraries_held_back():
    libc.fputs(b"of a damaged photo\\n", stream)
    print("ours", file=sys.stderr)
libc.fputs(b"afterwards\\n", stream)
with c_libraries_held_back():
    libc.fputs(b"out of memory\\n", stream)
    libc.exit(1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="C's libraries are heard there")
def test_the_last_words_of_a_c_library_are_heard():
    done = subprocess.run([sys.executable, "-c", LAST_WORDS], cwd=REPOSITORY, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, "ours\nafterwards\nout of memory\n")


def test_every_prefix_of_a_small_photo(here, tiny_classifier, capsys):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save("dot.png")
    data = Path("dot.png").read_bytes()
    Path("cut").mkdir()
    for length in range(len(data)):
        Path("cut", f"{length:03}.png").write_bytes(data[:length])
    assert run(["classify", "cut", "--weights", str(tiny_classifier)]) in (1, 2)
    said = capsys.readouterr()
    tables = sum(not line.startswith("  ") for line in said.out.splitlines()[1:])
    assert tables + len(said.err.splitlines()) == len(data)

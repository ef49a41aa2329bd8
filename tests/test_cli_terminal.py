"""Colors and progress: on a terminal, and nowhere else. One pseudo-terminal is real, the others are played."""

import io
import os
import pty
import re
import subprocess
import sys
import time

import pytest
from commands import run
from tiny import REPOSITORY, plant, save_photo

from mobilevit_np.cli import terminal
from mobilevit_np.errors import MobileViTError
from mobilevit_np.model import classifier

ESCAPE = "\033["


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True


@pytest.fixture
def cat(tmp_path):
    return save_photo(tmp_path / "cat.png")


@pytest.fixture
def slow(monkeypatch):
    """A classifier that takes 0.4 seconds a batch; progress that comes after 0.1 instead of 1 second."""

    def network(*arguments):
        time.sleep(0.4)
        return classifier(*arguments)

    plant(monkeypatch, "classifier", network)
    monkeypatch.setattr(terminal, "PATIENCE", 0.1)


@pytest.mark.parametrize(
    ("environment", "colored"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_color_on_a_terminal_only_and_never_with_no_color(tiny_classifier, cat, monkeypatch, environment, colored):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for command in (["classify", str(cat), "--weights", str(tiny_classifier)], ["weights", "list"]):
        monkeypatch.setattr(sys, "stdout", Terminal())
        assert run(command) == 0
        assert (ESCAPE in sys.stdout.getvalue()) == colored
        assert sys.stdout.getvalue().count(f"{ESCAPE}0m") == sys.stdout.getvalue().count(ESCAPE) / 2


def test_no_color_and_no_progress_in_pipes(tiny_classifier, cat, capsys, slow):
    assert run(["classify", str(cat), "--weights", str(tiny_classifier)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "\033" not in said.out
    assert "\r" not in said.out


def test_json_is_never_colored(tiny_classifier, cat, monkeypatch):
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert run(["classify", "--json", str(cat), "--weights", str(tiny_classifier)]) == 0
    assert sys.stdout.getvalue().startswith("{")
    assert ESCAPE not in sys.stdout.getvalue()


def test_progress_comes_when_it_lasts_and_leaves_no_trace(tiny_classifier, cat, monkeypatch, capsys, slow):
    monkeypatch.setattr(sys, "stderr", Terminal())
    photos = [str(cat)] * 8 + ["missing.png"] + [str(cat)] * 7
    assert run(["classify", *photos, "--weights", str(tiny_classifier)]) == 1
    drawn = sys.stderr.getvalue()
    assert "\r\033[K0 of 16 photos, 0 s" in drawn
    assert re.search(r"\r\033\[K8 of 16 photos, \d s, about \d s to go", drawn)
    assert "\r\033[Kmobilevit-np: missing.png: there is no such file\n" in drawn  # on a line of its own
    assert seen_on_a_terminal(drawn) == "mobilevit-np: missing.png: there is no such file\n"


def test_no_progress_for_what_is_quick(tiny_classifier, cat, monkeypatch):
    monkeypatch.setattr(terminal, "PATIENCE", 60)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert run(["classify", *[str(cat)] * 20, "--weights", str(tiny_classifier)]) == 0
    assert sys.stderr.getvalue() == ""


def seen_on_a_terminal(text):
    """What stays: a carriage return goes back to the line's start, and ESC [K clears it."""
    lines = [""]
    for piece in re.split(r"(\r\033\[K|\n)", text):
        if piece == "\r\033[K":
            lines[-1] = ""
        elif piece == "\n":
            lines.append("")
        else:
            lines[-1] += piece
    return "\n".join(lines)


def test_on_a_real_terminal(tiny_classifier, cat):
    """A process with a pseudo-terminal as standard error and a file as standard output, a second and a half long."""
    script = (
        f"import sys, time; sys.path.insert(0, {str(REPOSITORY)!r})\n"
        "from mobilevit_np.cli import run\nfrom mobilevit_np.engines import ENGINES\n"
        "from mobilevit_np.model import NETWORKS, classifier\n"
        "def network(*arguments, **options):\n    time.sleep(1.5)\n    return classifier(*arguments, **options)\n"
        "NETWORKS['classifier'], ENGINES['fast'] = network, ENGINES['reference']\n"
        f"sys.exit(run(['classify', {str(cat)!r}, '--weights', {str(tiny_classifier)!r}]))"
    )
    ours, theirs = pty.openpty()
    done = subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=theirs, timeout=120)
    os.set_blocking(ours, False)
    drawn = os.read(ours, 10_000).decode()
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0
    assert b"\033" not in done.stdout
    assert done.stdout.startswith(b"tiny-classifier (knows")
    assert "0 of 1 photos, 1 s" in drawn
    assert seen_on_a_terminal(drawn) == ""


def test_the_line_is_gone_before_an_error_ends_it_all(tiny_classifier, cat, monkeypatch, slow):
    def interrupted(*_):
        time.sleep(0.3)
        raise KeyboardInterrupt

    plant(monkeypatch, "classifier", interrupted)
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert run(["classify", str(cat), "--weights", str(tiny_classifier)]) == 2
    end = "mobilevit-np: interrupted after 0 of 1 photos; what was written is whole\n"
    assert seen_on_a_terminal(sys.stderr.getvalue()) == end
    assert sys.stderr.getvalue().count("\r\033[K") >= 2


def test_messages_are_one_line_whatever_is_in_them():
    assert str(MobileViTError("a\n  b\x1b[31m\tc\udce9")) == "a b\\x1b[31m c\\udce9"
    assert terminal.printable("katze\x07\n") == "katze\\x07\\n"

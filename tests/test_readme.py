"""README and the tutorials' pages of reference are run: every command in a ``bash`` block or in backticks, every
``python`` block.

Commands run as they are, in a folder with a link to ``tutorials``, photos called photo.jpg and cat.jpg, and a golden
file with a port's tensors for it, where the pages speak of those. Hub ids lead into a local cache with random
checkpoints: what is tested is the command, and tests/test_official.py has the answers. What installs something is held
against pyproject.toml, and what starts the tests again is looked up: .ci/run does both as README prints them.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from commands import run
from PIL import Image
from tiny import CHELSEA, REPOSITORY, hub_cache

from mobilevit_np.cli import COMMANDS
from mobilevit_np.golden import MISTAKES, write_golden
from mobilevit_np.golden.adapters import write_port
from mobilevit_np.golden.formula import make
from mobilevit_np.labels import VOC_LABELS, imagenet_labels
from mobilevit_np.ops import ACTIVATIONS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest there

README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
PAGES = {REPOSITORY / "README.md": README}
for name in ("guide.md", "ports.md", "figures.md"):
    PAGES[REPOSITORY / "tutorials" / name] = (REPOSITORY / "tutorials" / name).read_text(encoding="utf-8")
TEXT = "\n".join(PAGES.values())
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
OURS = ("python -m mobilevit_np", "mobilevit-np", "python -m tests.bench")


def commands() -> list[str]:
    """Every command, in the pages' order."""
    found = []
    for language, body in BLOCKS:
        if language == "bash":
            found += [part.strip() for line in body.replace("\\\n", "").splitlines() for part in line.split("&&")]
    prose = re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    found += re.findall(rf"`((?:{'|'.join(OURS)}|python |pip install) ?[^`]*)`", prose)
    return list(dict.fromkeys(command for command in found if command and not command.startswith("#")))


def runs(command: str) -> bool:
    return command.startswith(OURS)


PYTHON_BLOCKS = [body for language, body in BLOCKS if language == "python"]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Drawn checkpoints in the places of the published ones that the pages name."""
    home = tmp_path_factory.mktemp("hub")
    for name in sorted(set(re.findall(r"\b(?:apple|timm)/[\w.-]+[\w]", TEXT))):
        segmenter = "deeplabv3" in name
        task, labels = ("segmenter", VOC_LABELS) if segmenter else ("classifier", imagenet_labels())
        hub_cache(home, name, task=task, labels=labels)
    golden = make("xx_small", size=64)
    write_golden(home / "golden.safetensors", golden)
    write_port(home / "port.safetensors", {name: x.astype(np.float32) for name, x in golden.tensors.items()})
    return home


@pytest.fixture
def desk(tmp_path, cache, monkeypatch):
    """A folder to work in, as the pages suppose it, and an environment in which nothing is downloaded."""
    (tmp_path / "tutorials").symlink_to(REPOSITORY / "tutorials")
    with Image.open(CHELSEA) as photo:
        for name in ("photo.jpg", "cat.jpg"):
            photo.convert("RGB").save(tmp_path / name)
    for name in ("golden.safetensors", "port.safetensors"):
        shutil.copy(cache / name, tmp_path / name)
    (tmp_path / "bin").mkdir()
    for name, call in (("python", ""), ("mobilevit-np", "-m mobilevit_np")):
        script = tmp_path / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {call} "$@"\n')
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    monkeypatch.setenv("HF_HOME", str(cache))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", [command for command in commands() if runs(command)])
def test_commands_of_ours_run(desk, command, capsys):
    words = shlex.split(command, comments=True)
    needs_process = set(command) & set("|<>*&;$") or "--help" in words  # a shell's characters; help ends its process
    if words[:3] == ["python", "-m", "mobilevit_np"] and not needs_process:
        code, said = run(words[3:]), capsys.readouterr()
        out, err = said.out, said.err
    else:
        done = subprocess.run(["sh", "-ec", command], capture_output=True, text=True, timeout=300)
        code, out, err = done.returncode, done.stdout, done.stderr
    assert code == 0, err
    assert err == "" or "tests.bench" in command  # a race tells its progress there
    assert out
    for name in re.findall(r"(?:-o|--output|--mask) (\S+)", command):
        assert Path(name).exists()


@pytest.mark.parametrize("command", [command for command in commands() if not runs(command)])
def test_other_commands_are_what_they_say(command):
    words = shlex.split(command.partition("#")[0])
    if words[:2] == ["pip", "install"]:
        check_install([word for word in words[2:] if not word.startswith("-")], command)
    elif words[:3] == ["python", "-m", "pytest"]:
        assert all((REPOSITORY / word).exists() for word in words[3:] if not word.startswith("-"))
    elif words[:2] == ["python", "-m"]:
        assert (REPOSITORY / words[2].replace(".", "/") / "__main__.py").is_file()
    elif words[0] == "python":
        assert (REPOSITORY / words[1]).is_file()
    else:
        pytest.fail(f"nothing here knows how to test the command {command!r}")


def check_install(requirements: list[str], command: str) -> None:
    """This project with extras that it has, or packages that its settings or .ci/run install in the same version."""
    known = " ".join(sum(PROJECT["optional-dependencies"].values(), PROJECT["dependencies"]))
    known += (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    assert requirements, command
    for requirement in requirements:
        name, extras = re.fullmatch(r"([^\[]+)(?:\[([\w,-]+)\])?", requirement).groups()
        if name in (".", PROJECT["name"]):
            assert set(extras.split(",") if extras else ()) <= set(PROJECT["optional-dependencies"])
        else:
            assert requirement in known, f"{requirement} is in a page only"


def test_there_is_something_to_run():
    assert sum(map(runs, commands())) >= 4
    assert any("classify" in command and "--weights" not in command for command in commands())
    assert len(PYTHON_BLOCKS) >= 2


@pytest.mark.parametrize("number", range(len(PYTHON_BLOCKS)))
def test_python_blocks_run(desk, number):
    """With the photo that the text speaks of as ``image``."""
    with Image.open("photo.jpg") as image:
        image.load()
        namespace = {"__name__": "readme", "image": image}
        exec(compile(PYTHON_BLOCKS[number], f"python block {number}", "exec"), namespace)
    for name in re.findall(r"save\(\"([^\"]+)\"\)", PYTHON_BLOCKS[number]):
        assert Path(name).exists()


def test_what_readme_shows_of_an_answer_is_what_comes():
    """A block that begins like an answer, ``name (knows ...)``, is what the command above it prints.

    The words to the letter, percentages to 0.2, as another processor may round them.
    """
    answers = re.findall(r"^```bash\n([^`]*)^```\s+^```\w*\n([\w-]+ \(knows [^`]*)^```$", README, re.MULTILINE)
    for block, shown in answers:
        command = [part.strip() for line in block.strip().splitlines() for part in line.split("&&")][-1]
        arguments = shlex.split(command.removeprefix(next(start for start in OURS if command.startswith(start))))
        done = subprocess.run(
            [sys.executable, "-m", "mobilevit_np", *arguments],
            cwd=REPOSITORY, capture_output=True, encoding="utf-8", env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        )  # fmt: skip
        for line, expected in zip(done.stdout.splitlines(), shown.splitlines(), strict=True):
            assert words_of(line) == words_of(expected)
            assert numbers_of(line) == pytest.approx(numbers_of(expected), abs=0.2)


def words_of(line: str) -> list[str]:
    return re.sub(r"[\d.]+%|[█▏▎▍▌▋▊▉]+", "", line).split()


def numbers_of(line: str) -> list[float]:
    return [float(number) for number in re.findall(r"([\d.]+)%", line)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_shown(name):
    assert any(command.startswith(f"python -m mobilevit_np {name}") for command in commands())


def test_what_is_counted_is_counted_right():
    prose = " ".join(TEXT.split())
    assert f"which of {len(MISTAKES)} known mistakes" in prose
    assert f" {len(MISTAKES)} of {len(MISTAKES)} known port mistakes killed" in prose
    assert set(re.findall(r"every activation function \((\d+)\)", prose)) == {str(len(ACTIVATIONS))}


def test_links_lead_somewhere():
    for page, text in PAGES.items():
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links to {target}, which isn't there"

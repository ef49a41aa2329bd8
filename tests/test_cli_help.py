"""What the command line says about itself, and what it loads to say it."""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from commands import run
from tiny import REPOSITORY

from mobilevit_np import __version__, cli
from mobilevit_np.checkpoints.parameter_names import SCHEMES
from mobilevit_np.cli import build_parser

LEVELS = {  # the way there: phrases that teach, one of them an example
    (): [
        "classify and segment photos",
        "mobilevit-np classify cat.jpg",
        "--weights apple/mobilevit-small",
        "exit codes: 0 done",
        "for photos:\n  classify ",
        "for weights:\n  weights ",
        "for port authors:\n  trace ",
    ],
    ("classify",): [
        "37 breeds of cats and dogs",
        'a teapot "neither cat nor dog"',
        "mobilevit-np classify --json photos/",
        "ml-cvnets-segmenter",
    ],
    ("segment",): [
        "background, cat or\ndog",
        "-o overlay.png --mask mask.png",
        "pixel = class number",
        "missing ones are made",
    ],
    ("weights",): ["without PyTorch", "mobilevit-np weights convert training.pt converted/", "verify"],
    ("weights", "list"): ["shipped models", "mobilevit-np weights list --json"],
    ("weights", "info"): ["sha256", "mobilevit-np weights info pets-xx-small"],
    ("weights", "convert"): ["reversed", "--names timm", "bfloat16"],
    ("weights", "quantize"): ["int8", "no faster", "Abyssinian_12.jpg", "--photos pets/"],
    ("explain",): [
        "where each patch looks",
        "-o page.html --weights pets-deeplabv3-xx-small",
        "needs no network",
        "ml-cvnets-segmenter",
    ],
    ("summary",): ["multiply-accumulates", "batch norms included", "mobilevit-np summary --size 256"],
    ("trace",): [
        "integer\n  hashing",
        "the numbers are the same under all",
        "mobilevit-np trace cat.jpg -o golden.safetensors",
        "mobilevit-np trace --formula xx_small",
        "--weights-out weights/ --names timm",
        "mobilevit-np trace --operators operators/",
    ],
    ("compare",): ["the last good one and the first bad one", "by formula or by name", "--replay"],
    ("diagnose",): ["Say what a port does wrong", "by formula or by name"],
    ("weights", "verify"): ["not proof of harm", "exit code 1", "--repository apple/mobilevit-small"],
}
NUMERIC = {"numpy", "PIL", "safetensors", "torch", "scipy", "huggingface_hub"}


@pytest.mark.parametrize("level", LEVELS, ids=" ".join)
def test_help_teaches_at_every_level(capsys, monkeypatch, level):
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as left:
        run([*level, "--help"])
    assert left.value.code == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert said.out.startswith(" ".join(["usage: mobilevit-np", *level]))
    assert "examples:\n  mobilevit-np " in said.out
    for phrase in LEVELS[level]:
        assert phrase in said.out
    said.out.encode("ascii")  # any terminal can show it
    assert max(len(line) for line in said.out.splitlines()) <= 120


def test_examples_in_the_help_are_understood(capsys):
    """Each is parsed by the parser that prints it."""
    seen = 0
    for level in LEVELS:
        with pytest.raises(SystemExit):
            run([*level, "--help"])
        for line in capsys.readouterr().out.partition("\nexamples:\n")[2].splitlines():
            if "mobilevit-np" not in line:
                continue
            command = line.partition("mobilevit-np ")[2].partition("   ")[0].partition(" > ")[0]
            if "--help" not in command:
                build_parser().parse_args(shlex.split(command))
                seen += 1
    assert seen > 20


def test_every_command_is_listed_in_a_group(capsys):
    """A file of a command that isn't would never be found."""
    files = {
        path.stem
        for path in Path(cli.__file__).parent.glob("*.py")
        if "\ndef add_parser(" in path.read_text(encoding="utf-8")
    }
    assert set(cli.COMMANDS) == files
    with pytest.raises(SystemExit):
        run(["--help"])
    shown = capsys.readouterr().out
    for title, group in cli.GROUPS.items():
        listed = shown.partition(f"\n{title}:\n")[2].partition("\n\n")[0].splitlines()
        assert [line.split()[0] for line in listed] == list(group)
    assert "==SUPPRESS==" not in shown


def parsers(parser, level=()):
    """Every parser below this one and itself, by the words that lead to it."""
    found = {level: parser}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, below in action.choices.items():
                found |= parsers(below, (*level, word))
    return found


def test_every_command_and_what_it_teaches_stand_in_the_table_above():
    assert set(LEVELS) == set(parsers(build_parser()))


def test_wherever_names_can_be_chosen_every_scheme_is_offered():
    """The command line can't ask the table: that would load NumPy before ``--help`` is answered."""
    actions = [action for parser in parsers(build_parser()).values() for action in parser._actions]
    offered = [action.choices for action in actions if "--names" in action.option_strings]
    assert offered
    assert set(offered) == {SCHEMES}


def test_version(capsys):
    with pytest.raises(SystemExit) as left:
        run(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"mobilevit-np {__version__}\n"


@pytest.mark.parametrize("level", [[], ["weights"]])
def test_nothing_to_do_shows_the_help_and_is_no_success(capsys, level):
    assert run(level) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "examples:" in said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["classsify"], "invalid choice: 'classsify'"),
        (["classify"], "required: IMAGE"),
        (["classify", "x", "--top", "0"], "--top: '0' isn't a whole number from 1 up"),
        (["classify", "x", "--top", "many"], "--top: 'many' isn't a whole number from 1 up"),
        (["classify", "x", "--top", "²"], "isn't a whole number"),
        (["classify", "x", "--dtype", "float16"], "invalid choice: 'float16'"),
        (["classify", "x", "--engine", "steam"], "invalid choice: 'steam'"),
        (["segment", "x", "--threads", "0"], "--threads: '0' isn't a whole number from 1 up"),
        (["weights", "convert", "x"], "required: OUT"),
        (["weights", "convert", "x", "y", "--names", "jax"], "invalid choice: 'jax'"),
    ],
)
def test_typing_mistakes(capsys, arguments, words):
    with pytest.raises(SystemExit) as left:
        run(arguments)
    assert left.value.code == 2
    assert words in capsys.readouterr().err


def loaded_by(code: str) -> set[str]:
    """The modules that are there after the code ran in a fresh Python, and printed what it liked."""
    script = f"import sys\ntry:\n    {code}\nexcept SystemExit: pass\nprint('\\n' + ' '.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_and_mistakes_load_nothing_heavy():
    loaded = loaded_by("from mobilevit_np.cli import run; run(['classify', '--help'])")
    assert "mobilevit_np.cli.classify" in loaded
    assert not loaded & NUMERIC
    assert not any(name.startswith(("mobilevit_np.pipelines", "mobilevit_np.checkpoints")) for name in loaded)


def test_as_a_module_and_as_a_script():
    """The installed script calls ``main``; pyproject.toml's line about it is held in test_packaging."""
    module = subprocess.run(
        [sys.executable, "-m", "mobilevit_np", "--version"], cwd=REPOSITORY, capture_output=True, text=True, timeout=120
    )
    assert (module.returncode, module.stdout, module.stderr) == (0, f"mobilevit-np {__version__}\n", "")
    script = "import sys; from mobilevit_np.__main__ import main; sys.argv = ['x', 'weights']; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (2, "")
    assert "usage: mobilevit-np weights" in done.stderr

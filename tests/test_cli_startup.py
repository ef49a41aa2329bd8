"""What a command loads, and what it sets before: each in a fresh Python, which then says what is there."""

import json
import os
import subprocess
import sys
from functools import cache

import pytest
from commands import run as run_here
from tiny import REPOSITORY

from mobilevit_np.cli import COMMANDS
from mobilevit_np.matrix_library import VARIABLES

SCRIPT = """
import json, os, runpy, sys
sys.argv = ["mobilevit-np", *{arguments!r}]
try:
    runpy.run_module("mobilevit_np", run_name="__main__")
except SystemExit as left:
    code = left.code
print("\\n" + json.dumps([code, sorted(sys.modules), {{name: os.environ.get(name) for name in {variables!r}}}]))
"""
ALWAYS = {"", "__main__", "_version", "errors", "fence", "cli"}
CLASSIFIES = ALWAYS | {"pipelines", "preprocess", "checkpoints", "formats", "ops", "engines"}
CLASSIFIES |= {"scope", "config", "labels", "matrix_library"}
NOT_FOR_CLASSIFYING = {  # other commands' needs, other formats', and what's dear to load
    "mobilevit_np.pipelines.segmenter", "mobilevit_np.pipelines.agreement",
    "mobilevit_np.formats.torch_zip", "mobilevit_np.formats.torch_pickle", "mobilevit_np.formats.torch_tensors",
    "mobilevit_np.checkpoints.saving", "mobilevit_np.checkpoints.published",
    "numpy.testing", "numpy.random", "numpy.ma", "numpy.fft", "numpy.polynomial", "numpy.f2py",
    "multiprocessing", "concurrent.futures", "asyncio", "unittest", "importlib.resources", "zipfile", "pickletools",
    "tempfile", "secrets", "random", "socket", "ssl", "email", "http", "urllib.request", "xml", "decimal.numpy",
    "torch", "transformers", "scipy", "huggingface_hub", "threadpoolctl", "PIL.ImageDraw", "PIL.ImageFont",
    "PIL.TiffImagePlugin", "PIL.PdfParser", "PIL.WebPImagePlugin", "PIL.AvifImagePlugin",
}  # fmt: skip


def run(*arguments: str, **environment: str | None):
    """(exit code, the modules that were loaded, the matrix libraries' variables) of one command."""
    script = SCRIPT.format(arguments=list(map(str, arguments)), variables=VARIABLES)
    base = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, env=base | environment, capture_output=True, text=True,
        check=True, timeout=120,
    )  # fmt: skip
    code, modules, variables = json.loads(done.stdout.splitlines()[-1])
    return code, set(modules), variables


@cache
def loaded_anyway() -> frozenset[str]:
    """The modules that the libraries we stand on load themselves: older ones of Pillow do."""
    script = "import sys, numpy, PIL.Image; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return frozenset(done.stdout.split())


def rooms(modules: set[str]) -> set[str]:
    """The package's folders and single files that were loaded."""
    ours = {name.partition(".")[2] for name in modules if name.partition(".")[0] == "mobilevit_np"}
    return {name.partition(".")[0] for name in ours}


@pytest.mark.parametrize(("engine", "own"), [("fast", {"fast"}), ("reference", {"model"})])
def test_classify_loads_what_it_uses_and_nothing_else(tiny_classifier, engine, own):
    photo = "tutorials/images/chelsea.png"
    code, modules, _ = run("classify", photo, "--weights", tiny_classifier, "--engine", engine)
    assert code == 0
    assert own <= rooms(modules)
    assert rooms(modules) - {"__main__"} - own == CLASSIFIES - {"__main__"}
    assert not (modules - loaded_anyway()) & NOT_FOR_CLASSIFYING
    commands = {name for name in modules if name.startswith("mobilevit_np.cli.")}
    assert commands == {f"mobilevit_np.cli.{name}" for name in ("classify", "common", "inputs", "terminal")}
    plugins = {name for name in modules if name.startswith("PIL.") and name.endswith("ImagePlugin")}
    assert plugins <= {f"PIL.{name}ImagePlugin" for name in ("Bmp", "Gif", "Jpeg", "Png", "Ppm")}


def test_segment_loads_no_classifier(tiny_segmenter, tmp_path):
    photo = "tutorials/images/chelsea.png"
    code, modules, _ = run("segment", photo, "--weights", tiny_segmenter, "-o", tmp_path / "o.png")
    assert code == 0
    assert "mobilevit_np.pipelines.segmenter" in modules
    assert "mobilevit_np.pipelines.classifier" not in modules
    assert not (modules - loaded_anyway()) & (NOT_FOR_CLASSIFYING - {"mobilevit_np.pipelines.segmenter"}
                          - {"secrets", "random", "PIL.ImageDraw", "PIL.ImageFont", "PIL.TiffImagePlugin",
                             "PIL.PdfParser", "PIL.WebPImagePlugin", "PIL.AvifImagePlugin"})  # fmt: skip


@pytest.mark.parametrize("command", ["classify", "segment", "weights", "trace", "summary"])
def test_a_command_is_parsed_without_loading_the_others(command):
    code, modules, _ = run(command, "--help")
    assert code == 0
    assert f"mobilevit_np.cli.{command}" in modules
    assert not modules & {f"mobilevit_np.cli.{name}" for name in set(COMMANDS) - {command}}
    assert "numpy" not in modules


def test_a_typing_mistake_is_told_all_commands():
    code, modules, _ = run("classfy")
    assert code == 2
    assert {f"mobilevit_np.cli.{name}" for name in COMMANDS} <= modules


def test_the_matrix_library_is_kept_to_one_thread_unless_somebody_has_decided():
    assert run("weights", "list")[2] == dict.fromkeys(VARIABLES, "1")
    decided = run("weights", "list", OMP_NUM_THREADS="3")[2]
    assert decided == {**dict.fromkeys(VARIABLES), "OMP_NUM_THREADS": "3"}


@pytest.mark.skipif(sys.platform != "linux", reason="counts the process's threads where Linux lists them")
@pytest.mark.parametrize(("environment", "expected"), [({}, "1"), (dict.fromkeys(VARIABLES, "2"), "2")])
def test_the_setting_reaches_the_matrix_library(tiny_classifier, environment, expected):
    """Of a command that asks for one thread, what is more than one is the matrix library's."""
    script = (
        "import os, sys; from mobilevit_np import __main__; sys.argv = ['x', 'classify', '--threads', '1', "
        f"'tutorials/images/chelsea.png', '--weights', {str(tiny_classifier)!r}]; __main__.main(); "
        "print(len(os.listdir('/proc/self/task')))"
    )
    base = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, env=base | environment, capture_output=True, text=True,
        check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == expected


@pytest.mark.parametrize(("arguments", "expected"), [(["--threads", "3"], "3"), ([], "cores()")])
def test_threads(tiny_classifier, arguments, expected):
    """The fast engine has as many as were asked for; unasked, one for each core."""
    script = (
        "import sys; from mobilevit_np import __main__; sys.argv = ['x', 'classify', 'tutorials/images/chelsea.png', "
        f"'--weights', {str(tiny_classifier)!r}, *{arguments!r}]; code = __main__.main(); "
        f"from mobilevit_np.fast import cores, threads; print(code, threads() == {expected})"
    )
    base = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, env=base, capture_output=True, text=True, timeout=120
    )
    assert (done.stdout.splitlines()[-1], done.stderr) == ("0 True", "")


def test_the_reference_has_no_threads_to_set(tiny_classifier, capsys):
    arguments = ["classify", "x.png", "--weights", str(tiny_classifier), "--engine", "reference", "--threads", "2"]
    assert run_here(arguments) == 2
    assert capsys.readouterr().err.startswith("mobilevit-np: --threads is for the fast engine")

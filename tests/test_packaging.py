"""What pyproject.toml promises of the package: scripts, version, and that the shipped models travel with it."""

import importlib
import json
import re
import sys
from pathlib import Path

import pytest
from tiny import REPOSITORY

import mobilevit_np
from mobilevit_np.checkpoints.shipped import DEFAULTS, PUBLISHED_CHECKSUMS, shipped, weights_folders

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # comes with pytest there

SETTINGS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, HATCH = SETTINGS["project"], SETTINGS["tool"]["hatch"]
WEIGHTS = REPOSITORY / "weights"
MODELS = sorted(path.parent.name for path in WEIGHTS.glob("*/model.safetensors"))


def test_the_defaults_are_there():
    assert set(DEFAULTS.values()) <= set(MODELS), f"weights/ holds {MODELS}, and the defaults are {DEFAULTS}"


def test_the_wheel_carries_the_models_and_nothing_else_of_weights():
    carried = HATCH["build"]["targets"]["wheel"]["force-include"]
    assert carried == {source: f"mobilevit_np/{source}" for source in carried}
    assert set(carried) == {f"weights/{name}" for name in MODELS} | {f"weights/{PUBLISHED_CHECKSUMS}"}


def test_the_sdist_carries_what_the_wheel_is_built_from():
    included = HATCH["build"]["targets"]["sdist"]["include"]
    assert {"/mobilevit_np", "/tests", "/tutorials", f"/weights/{PUBLISHED_CHECKSUMS}"} <= set(included)
    patterns = [re.compile(re.escape(pattern.strip("/")).replace(r"\*", "[^/]*")) for pattern in included]
    for name in MODELS:
        assert any(pattern.fullmatch(f"weights/{name}") for pattern in patterns), name
    assert not any(pattern.fullmatch("weights/recipe") for pattern in patterns)
    for pattern in included:
        assert list(REPOSITORY.glob(pattern.strip("/"))), f"{pattern} leads nowhere"


@pytest.mark.parametrize("name", sorted({*MODELS, *DEFAULTS.values()}))
def test_a_shipped_folder_is_complete(name):
    names = {path.name for path in (WEIGHTS / name).iterdir()}
    assert {"model.safetensors", "config.json", "preprocessor_config.json", "README.md"} <= names


def test_shipped_models_are_small():
    sizes = [path.stat().st_size for name in MODELS for path in (WEIGHTS / name).iterdir()]
    assert sum(sizes) < 8e6


def test_models_are_found_beside_the_package_or_inside(tmp_path, monkeypatch):
    """A checkout has weights/ beside the package, a wheel inside; beside an installed package it's somebody else's."""
    from mobilevit_np.checkpoints import shipped as module

    package = tmp_path / "place" / "mobilevit_np"
    for folder in (package / "weights" / "inside", package.parent / "weights" / "beside"):
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(b"")
    monkeypatch.setattr(module, "_PACKAGE", package)
    assert list(shipped()) == ["inside"]
    (package.parent / "pyproject.toml").write_text("")
    assert list(shipped()) == ["beside", "inside"]
    assert len(weights_folders()) == 2


def test_the_script_is_the_command_line():
    module, _, name = PROJECT["scripts"]["mobilevit-np"].partition(":")
    assert getattr(importlib.import_module(module), name) is importlib.import_module("mobilevit_np.__main__").main


def test_version_and_name():
    assert (REPOSITORY / HATCH["version"]["path"]).read_text().count(f'"{mobilevit_np.__version__}"') == 1
    assert PROJECT["name"] == "mobilevit-np"
    assert PROJECT["requires-python"] == ">=3.10"
    assert SETTINGS["tool"]["ruff"]["target-version"] == "py310"


def test_dependencies_are_few():
    names = [re.match(r"[\w-]+", requirement).group() for requirement in PROJECT["dependencies"]]
    assert names == ["numpy", "pillow", "safetensors"]
    tests = {re.match(r"[\w-]+", requirement).group() for requirement in PROJECT["optional-dependencies"]["test"]}
    assert tests == {"pytest", "hypothesis"}


def test_published_checksums_are_checksums():
    entries = json.loads((WEIGHTS / PUBLISHED_CHECKSUMS).read_text(encoding="utf-8"))["files"]
    assert len({entry["sha256"] for entry in entries}) == len(entries) >= 12
    assert all(re.fullmatch("[0-9a-f]{64}", entry["sha256"]) for entry in entries)


FOR_CONTRIBUTORS = (".pre-commit-config.yaml", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md")


def test_what_contributors_need_is_there_and_in_the_sdist():
    included = HATCH["build"]["targets"]["sdist"]["include"]  # which also has to lead somewhere: above
    assert {f"/{name}" for name in FOR_CONTRIBUTORS} <= set(included)
    assert (REPOSITORY / "mobilevit_np" / "py.typed").is_file()
    assert "Typing :: Typed" in PROJECT["classifiers"]


def test_the_versions_of_python_begin_with_the_oldest():
    versions = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", each) for each in PROJECT["classifiers"]]
    assert ">=" + next(version[1] for version in versions if version) == PROJECT["requires-python"]


def test_the_citation_and_the_changelog_speak_of_this_version():
    citation = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert re.findall(r"^version: (.*)$", citation, re.MULTILINE) == [mobilevit_np.__version__]
    assert "  - name: " + PROJECT["authors"][0]["name"] in citation.splitlines()
    assert "2110.02178" in citation
    newest = re.search(r"^## (\S+)", (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)[1]
    assert newest in ("Unreleased", mobilevit_np.__version__)


def test_what_is_linted_before_a_commit_is_what_ci_lints():
    hooks = (REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    lint = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").partition("\nlint() {")[2].partition("\n}")[0]
    assert re.findall(r"^ +entry: (.*)$", hooks, re.MULTILINE) == re.findall(r'"\$py" -m (.*)', lint)
    assert set(re.findall(r"[\w-]+==[\w.]+", hooks)) == set(re.findall(r"[\w-]+==[\w.]+", lint))


def test_contributing_names_files_and_tests_that_there_are():
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    paths = re.findall(r"(?:mobilevit_np|tests|\.ci)/[\w./]*\w", text)
    assert [path for path in paths if not (REPOSITORY / path).exists()] == ["mobilevit_np/cli/NAME.py"]
    source = "".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("test_*.py"))
    tests = set(re.findall(r"`(test_\w+)`", text))
    assert len(tests) > 5
    assert [test for test in tests if f"\ndef {test}(" not in source] == []
    rooms = {path.parent.relative_to(REPOSITORY) for path in (REPOSITORY / "mobilevit_np").rglob("__init__.py")}
    public = text.partition("\n## What is public")[2]
    for room in rooms - {Path("mobilevit_np")}:
        declares = "\n__all__ = " in (REPOSITORY / room / "__init__.py").read_text(encoding="utf-8")
        assert declares == (f"`{'.'.join(room.parts[1:])}`" in public), f"is {room} public?"


def test_the_site_has_what_is_public():
    public = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("\n- The names in")[2]
    named = set(re.findall(r"`([a-z_.]+)`", public.partition("\n- ")[0])) - {"__all__", "mobilevit_np"}
    reference = (REPOSITORY / "tutorials" / "api.rst").read_text(encoding="utf-8")
    documented = re.findall(r"^\.\. automodule:: mobilevit_np\.(\S+)$", reference, re.MULTILINE)
    assert sorted(documented) == sorted(each.removeprefix("mobilevit_np.") for each in named)


def test_ci_has_its_steps_and_what_they_need():
    text = (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")
    for step in ("lint", "readme", "site", "oldest", "wheel", "parity"):
        assert f"\n{step}() {{" in text
    for path in set(re.findall(r"\b(?:tests|tutorials)/[\w./-]+", text)):
        assert (REPOSITORY / path).exists(), f".ci/run speaks of {path}, which isn't there"

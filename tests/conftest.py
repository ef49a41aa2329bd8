"""Shared by all tests: Hypothesis draws without deadlines, and the same examples every time in CI.

What takes most of the time is marked ``slow``: whole files, by their names (``SLOW``). Tests marked ``official`` need
files that this project doesn't ship. They run where MOBILEVIT_NP_OFFICIAL names the folder that holds them; elsewhere
they're deselected, and the last lines of a run say so.
"""

import os
import sys
from fnmatch import fnmatch
from functools import cache

import pytest
from hypothesis import HealthCheck, settings

from mobilevit_np import matrix_library

matrix_library.keep_to_one_thread()  # before NumPy is loaded: its threads wait for cores that others use

OFFICIAL = "MOBILEVIT_NP_OFFICIAL"
SLOW = (
    *("test_bench", "test_channel_order", "test_checkpoints_*", "test_cli_f*", "test_cli_quantize", "test_cli_startup"),
    *("test_explain_page", "test_fast", "test_formats_safetensors", "test_formats_torch", "test_golden_*"),
    *("test_huggingface_*", "test_mutants", "test_one_file", "test_ops_calls", "test_readme", "test_tutorials"),
)

settings.register_profile("here", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", parent=settings.get_profile("here"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "here")


def pytest_configure(config):
    config.addinivalue_line("markers", f"official: needs published checkpoints, in the folder that {OFFICIAL} names")
    config.addinivalue_line("markers", 'slow: for daily work, -m "not slow" leaves these out')


@cache
def is_slow(path):
    return any(fnmatch(path.stem, pattern) for pattern in SLOW)


def pytest_ignore_collect(collection_path, config):
    """Files of which no test would be run needn't be imported, which alone takes seconds."""
    if config.option.markexpr == "not slow" and collection_path.suffix == ".py" and is_slow(collection_path):
        return True
    return None


def pytest_collection_modifyitems(config, items):
    for item in items:
        if is_slow(item.path):
            item.add_marker("slow")
    if os.environ.get(OFFICIAL):
        return
    left_out = [item for item in items if item.get_closest_marker("official")]
    items[:] = [item for item in items if not item.get_closest_marker("official")]
    config.hook.pytest_deselected(items=left_out)
    config.stash[LEFT_OUT] = len(left_out)


def pytest_terminal_summary(terminalreporter, config):
    if count := config.stash.get(LEFT_OUT, 0):
        terminalreporter.write_line(
            f"{count} tests on the published checkpoints did not run: they need the files; "
            f"tests/test_official.py says which. {OFFICIAL}=FOLDER python -m pytest tests/test_official.py runs them."
        )


LEFT_OUT = pytest.StashKey[int]()


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory):
    """The folder of a drawn classifier of five classes."""
    from tiny import save_tiny

    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny-classifier")


@pytest.fixture(scope="session")
def tiny_segmenter(tmp_path_factory):
    """The folder of a drawn segmenter of three classes."""
    from tiny import save_tiny

    return save_tiny(tmp_path_factory.mktemp("weights") / "tiny-segmenter", "segmenter")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder of its own to work in, with three small photos."""
    from tiny import save_photo

    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(["a.png", "b.png", "c.png"]):
        save_photo(tmp_path / name, seed=i)
    return tmp_path


@pytest.fixture(autouse=True)
def nobody_else_s_threads():
    """Whatever a test asked of the fast engine and of NumPy's matrix library, the next doesn't find."""
    yield
    if crew := sys.modules.get("mobilevit_np.fast.crew"):
        if limits := crew._setting.pop("limits", None):
            limits.restore_original_limits()
        crew._setting.clear()

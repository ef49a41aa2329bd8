"""Every known port mistake, planted, fails the assertion that guards it at its shipped tolerance.

That the same assertions pass without a mistake is asserted in test_reference_transformers.py, and here once more for
each fixture that a mutant is judged by. ``python -m tests.mutants --known`` prints the table.
"""

from fnmatch import fnmatchcase

import numpy as np
import pytest
import recorded
from mutants.plain import CHANGES
from mutants.proof import FIXTURES, FLOAT64_ONLY, fixture_of, guard, report, why_killed
from tiny import REPOSITORY

from mobilevit_np.golden.mistakes import MISTAKES
from mobilevit_np.model import classifier

BY_NAME = {mistake.name: mistake for mistake in MISTAKES}


def test_names_are_unique_and_every_fixture_is_a_mistakes():
    assert len(BY_NAME) == len(MISTAKES)
    assert set(FIXTURES) | FLOAT64_ONLY <= set(BY_NAME)


@pytest.mark.parametrize("fixture", sorted({fixture_of(mistake) for mistake in MISTAKES}))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_guard_passes_without_a_mistake(fixture, dtype):
    guard(fixture, dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", BY_NAME)
def test_the_guard_fails_with_the_mistake(name, dtype):
    killed = why_killed(BY_NAME[name], dtype) is not None
    assert killed == (dtype == "float64" or name not in FLOAT64_ONLY)


@pytest.mark.parametrize("name", [name for name in BY_NAME if FIXTURES.get(name) != "preprocessing"])
def test_the_first_activation_that_differs_is_where_the_mistake_is(name):
    mistake = BY_NAME[name]
    path = (why_killed(mistake, "float64") or "nowhere").partition(" is off")[0]
    whole = path in ("", "classifier")  # what's made around the whole network shows at its end
    assert any(
        fnmatchcase(path, p) or fnmatchcase(path, f"{p}.*") or (whole and not p) for p, _ in mistake.replacements
    )


@pytest.mark.parametrize(
    ("name", "fixture"),
    [
        ("layer_norm_over_tokens", "classifier"),
        ("layer_norm_over_tokens", "segmenter_16"),
        ("silu_for_relu", "classifier"),
        ("gelu_for_silu", "everything_else"),
        ("padded_odd_maps", "tokens_as_features"),
        ("align_corners", "tokens_as_features"),
        ("dilated_conv_kxk", "preprocessing"),
    ],
)
def test_where_a_mistake_cannot_show_the_guard_is_silent(name, fixture):
    """A mutant must not be killed by something else than its mistake."""
    guard(fixture, "float64", BY_NAME[name].plant)


def test_every_plain_change_can_be_made():
    """``python -m tests.mutants`` makes them: the text occurs once, and the tests that are asked exist."""
    assert sum(map(len, CHANGES.values())) >= 40
    for (name, tests), changes in CHANGES.items():
        text = (REPOSITORY / "mobilevit_np" / name).read_text(encoding="utf-8")
        assert all(text.count(before) == 1 and before != after for before, after in changes.items()), name
        assert all((REPOSITORY / "tests" / f"test_{each}.py").is_file() for each in tests.split())


def test_same_padding_is_right_on_odd_sides():
    """33 -> 17 -> 9 -> 5 -> 3: every stride of 2 starts from an odd side, where both paddings are equal."""
    oracle = recorded.load("classifier")
    photo = np.random.default_rng(0).random((1, 3, 33, 65))
    scopes = oracle.scope(), BY_NAME["tensorflow_same_padding"].plant(oracle.scope())
    right, planted = (classifier(photo, scope, oracle.config) for scope in scopes)
    np.testing.assert_allclose(planted, right, rtol=1e-12)


@pytest.fixture
def few(monkeypatch):
    """Three mistakes for a report: that all are killed is said above."""
    few = [BY_NAME[name] for name in ("silu_for_relu", "batch_norm_before_unfold", "gelu_for_silu")]
    monkeypatch.setattr("mutants.proof.MISTAKES", few)


def test_the_report_counts(few):
    lines, survivors = report()
    assert survivors == 0
    assert lines[-1] == "3 of 3 known port mistakes killed"
    assert len(lines) == 4


def test_a_surviving_mutant_is_reported(few, monkeypatch):
    monkeypatch.setitem(FIXTURES, "silu_for_relu", "classifier")  # which has no such head
    lines, survivors = report()
    assert survivors == 1
    assert [line.split()[0] for line in lines if "SURVIVES" in line] == ["silu_for_relu"]
    assert recorded.NAMES[0] == "classifier"

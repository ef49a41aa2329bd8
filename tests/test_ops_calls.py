"""Vectorized: the number of Python calls, and of Python lines run, doesn't depend on the sizes.

Every operation, layer and network of examples.py runs at some sizes, and again with one axis doubled (batch, channels,
height, width, tokens, heads; channels of a depthwise convolution are its groups). ``sys.setprofile`` counts calls of
Python and C functions, ``sys.settrace`` lines: a loop that calls nothing still runs its lines.
"""

import gc
import inspect
import sys
from collections import Counter

import numpy as np
import pytest
from examples import EXAMPLES, function

BUILDERS = [
    pytest.param(name, build, id=f"{name}-{i}")
    for name, builders in EXAMPLES.items()
    for i, build in enumerate(builders)
]


def counts(run, arguments, keywords) -> Counter:
    """How many calls and lines of each kind ``run(*arguments, **keywords)`` takes."""
    found: Counter = Counter()

    def profile(frame, event, argument):
        found[event] += 1

    def trace(frame, event, argument):
        found[event] += event == "line"
        return trace

    run(*arguments, **keywords)  # what is cached at first use is no part of the count
    for start, see, stop in ((sys.setprofile, profile, None), (sys.settrace, trace, sys.gettrace())):
        fresh = [[] if isinstance(a, list) else a for a in arguments]
        start(see)
        try:
            run(*fresh, **keywords)
        finally:
            start(stop)
    return found


@pytest.fixture(autouse=True)
def _no_garbage_collection():
    """It may call Python (Hypothesis times it) at any moment."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(("name", "build"), BUILDERS)
def test_calls_do_not_depend_on_sizes(name, build):
    axes = {k: p.default for k, p in inspect.signature(build).parameters.items()}
    expected = counts(function(name), *build())
    assert expected["call"] > 0
    assert expected["line"] > 0
    for axis, size in axes.items():
        found = counts(function(name), *build(**{axis: 2 * size}))
        assert found == expected, f"{axis} {size} -> {2 * size}"


@pytest.mark.parametrize(
    "looping",
    [
        lambda x: [row.sum() for row in x],
        lambda x: [row + 1 for row in x],
        lambda x: list(map(lambda row: row + 1, x)),  # noqa: C417
        lambda x: sum(len(row) for row in x),
    ],
)
def test_a_loop_is_noticed(looping):
    assert counts(looping, (np.ones((4, 3)),), {}) != counts(looping, (np.ones((8, 3)),), {})

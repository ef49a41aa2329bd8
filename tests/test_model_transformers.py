"""The reference engine against transformers, activation by activation, where torch isn't installed.

Oracle: tests/fixtures (recorded; CI records them again and compares). float64 to 1e-12, float32 to 1e-5 of each
activation's largest magnitude. Cut-down networks: both heads, output strides 32, 16 and 8, patches of 1, 2 and 4,
odd maps, GELU, 5x5 kernels, no QKV bias, one channel. The same assertions are what tests/mutants must fail.
"""

import numpy as np
import pytest
import recorded
from agreement import assert_agree
from mutants.proof import guard

from mobilevit_np.scope import Scope


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", recorded.NAMES)
def test_every_activation(name, dtype):
    guard(name, dtype)


def test_pixel_values_of_the_hugging_face_profile():
    guard("preprocessing", "float32")


@pytest.mark.parametrize("name", recorded.NAMES)
def test_paths_are_those_that_hooks_see_in_order_of_execution(name):
    oracle = recorded.load(name)
    assert list(oracle.trace(oracle.scope())) == oracle.modules


@pytest.mark.parametrize("name", recorded.NAMES)
def test_nothing_recorded_vanishes_or_drowns(name):
    """Activations of order 1 throughout: an error in one that vanished beside others could hide."""
    for path, output in recorded.load(name).outputs.items():
        assert path.endswith("probabilities") or 0.04 <= output.std() <= 20, path


def test_an_activation_too_many_or_too_few_is_noticed():
    oracle = recorded.load("classifier")
    trace = oracle.trace(oracle.scope())
    few = {path: output for path, output in trace.items() if path != "classifier"}
    with pytest.raises(AssertionError, match="classifier"):
        assert_agree(few, oracle.outputs, "float64")
    with pytest.raises(AssertionError, match="another"):
        assert_agree({**trace, "another": np.zeros(1)}, oracle.outputs, "float64")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_last_digit_is_noticed(dtype):
    """One value of one activation, off by twice the tolerance."""
    oracle = recorded.load("classifier")
    trace = oracle.trace(oracle.scope(dtype))
    off = trace["mobilevit.encoder.layer.2"].copy()
    off.flat[np.abs(off).argmax()] *= 1 + {"float64": 2e-12, "float32": 2e-5}[dtype]
    with pytest.raises(AssertionError, match=r"mobilevit\.encoder\.layer\.2 is off"):
        assert_agree({**trace, "mobilevit.encoder.layer.2": off}, oracle.outputs, dtype)


def test_sample_sees_every_row_column_and_channel():
    for shape in [(2, 8, 16, 16), (1, 3, 300, 350), (4, 64, 48), (5000,)]:
        kept = np.unravel_index(recorded.sample(np.arange(np.prod(shape)).reshape(shape)), shape)
        for axis, length in enumerate(shape):
            assert len(np.unique(kept[axis])) == min(length, len(kept[axis]))


def test_fixtures_refuse_other_parameters(monkeypatch):
    monkeypatch.setattr(recorded, "photo", lambda config, size, batch: np.zeros((batch, 3, *size)))
    with pytest.raises(AssertionError, match="other parameters"):
        recorded.load.__wrapped__("classifier")


def test_preprocessing_guard_notices_one_level():
    def brighter(compute, image, scope, *args):
        out = compute(image, scope, *args)
        return np.where(out < 255, out + 1, out).astype(np.uint8)

    with pytest.raises(AssertionError, match="pixel values"):
        recorded.assert_pixel_values(Scope({}).wrap("preprocessing.resize", brighter))

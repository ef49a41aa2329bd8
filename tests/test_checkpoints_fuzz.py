"""1,500 hostile files and configurations, seeded: anything but MobileViTError, or one that says nothing, fails.

.ci/run has 20,000 others, and you as many as you like: ``python tests/fuzz/run.py --count N --seed S``.
"""

import os

import numpy as np
import pytest
from fuzz import processes, run, samples, targets

from mobilevit_np.checkpoints.opening import build_checkpoint
from mobilevit_np.errors import CheckpointError
from mobilevit_np.formats.tensor_file import parse_tensor_file

CASES = 1_500
SEED = 20_000


@pytest.mark.parametrize("target", targets.TARGETS)
def test_nothing_but_our_own_errors(target):
    failures = run.run(target, CASES * targets.SHARES[target] // 100, SEED)
    assert not failures, f"{len(failures)} failures, the first:\n{failures[0]}"


@pytest.mark.skipif(os.name != "posix", reason="limits and signals are POSIX's")
@pytest.mark.parametrize("number", [2, 4, 7])  # a signal, two, and few open files
def test_commands_under_limits_and_signals(number, capsys):
    assert run.run_processes(1, SEED, number) == 0, capsys.readouterr().out


def test_a_command_that_ends_badly_is_found(monkeypatch, capsys):
    for spoil in ("raise ZeroDivisionError", "os.remove('a.png')", "os.mkdir('scrap')", "os.kill(os.getpid(), 9)"):
        monkeypatch.setattr(processes, "COMMAND", f"import os; print(flush=True); {spoil}")
        assert run.run_processes(1, SEED) == 1
        assert "--processes 1 --seed" in capsys.readouterr().out


def test_the_shares_make_a_whole():
    assert sum(targets.SHARES.values()) == 100
    assert targets.SHARES.keys() == targets.TARGETS.keys()


def test_the_harness_finds_a_defect(monkeypatch):
    def defect(random):
        if random.integers(10) == 0:
            raise ZeroDivisionError

    def nothing_said(random):
        raise CheckpointError("")

    monkeypatch.setitem(targets.TARGETS, "safetensors", defect)
    failures = run.run("safetensors", 100, 0)
    assert 0 < len(failures) < 100
    assert "ZeroDivisionError" in failures[0]
    monkeypatch.setitem(targets.TARGETS, "safetensors", nothing_said)
    assert "says nothing" in run.run("safetensors", 1, 0)[0]


def test_what_is_spoiled_was_good():
    assert len(parse_tensor_file(targets._safetensors()).tensors) == 4
    assert [len(parse_tensor_file(targets._torch(number)).tensors) for number in range(4)] == [4, 4, 8, 8]
    assert len(parse_tensor_file(targets._torch_legacy()).tensors) == 4
    for scheme in targets.names.SCHEMES:
        tensors = targets._tensors("classifier", scheme)
        weights = targets.weights_of(dict(tensors), dict.fromkeys(tensors, "F32"))
        assert build_checkpoint(targets.SOURCE, weights, None, None).task == "classifier"
    tensors, stored = targets._quantized()
    weights = targets.weights_of(dict(tensors), stored, metadata=targets.quantization.METADATA)
    assert build_checkpoint(targets.SOURCE, weights, None, None).provenance.quantization
    assert set(samples.few_tensors()) == {"stem.weight", "norm.bias", "norm.num_batches_tracked", "fc.weight"}
    assert np.isfinite(samples.few_tensors()["fc.weight"]).all()

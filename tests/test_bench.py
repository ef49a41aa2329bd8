"""``python -m tests.bench``: its statistics on made-up times, its checks on contenders that cheat, tiny races for real.

Nothing here looks at how long anything took: a test must not depend on the machine.
"""

import json
import os
import shlex
import statistics
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from bench import contenders, folder, machine, networks, process, tables
from bench.__main__ import build_parser, run
from bench.cells import Cell
from bench.contenders import CONTENDERS, PEERS
from bench.process import ContenderError, Process
from bench.race import LEAST, MOST, WARM_UP, Result, Rules, Turn, WrongAnswerError, error, race
from tiny import CHELSEA, REPOSITORY, save_photo

from mobilevit_np.errors import InputError, MissingExtraError

# -- statistics --------------------------------------------------------------------------------------------------------


def test_a_drift_cancels_from_the_ratio():
    """The machine slows down sixfold while one of the two sits out: their medians differ, the ratio doesn't."""
    slowness = dict(enumerate((1.0, 1.0, 2.0, 3.0, 6.0, 6.0, 6.0)))
    first = Result({i: 0.010 * slow for i, slow in slowness.items()})
    second = Result({i: 0.015 * slow for i, slow in slowness.items() if i < 3})
    assert second.ratio_to(first) == pytest.approx(1.5)
    assert first.ratio_to(second) == pytest.approx(1 / 1.5)
    assert statistics.median(second.times.values()) < statistics.median(first.times.values())


def test_an_outlier_leaves_the_ratio_alone():
    assert Result({0: 2.0, 1: 2.0, 2: 90.0}).ratio_to(Result({0: 1.0, 1: 1.0, 2: 1.0})) == 2.0


def test_no_common_round_no_ratio():
    assert Result({0: 1.0}).ratio_to(Result({1: 1.0})) is None


@pytest.mark.parametrize(
    ("answer", "expected", "off"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0.0),
        ([1.0, -4.0], [2.0, -4.0], 0.25),
        ([[1.0, -4.0]], [1.0, -4.0], np.inf),
        ([1.0, np.nan], [1.0, 1.0], np.inf),
        ([1.0, np.inf], [1.0, np.inf], np.inf),
        ([0.0, 0.0], [0.0, 0.0], np.inf),  # a network that answers nought shows nothing
    ],
)
def test_error(answer, expected, off):
    assert error(np.array(answer), np.array(expected)) == off


# -- turns and checks --------------------------------------------------------------------------------------------------


class Made:
    """A contender of made-up times; ``spoil(answer, draw)`` makes its answers wrong."""

    version, peak_bytes = "made up 1.0", 5_000_000

    def __init__(
        self, name, log, seconds=0.01, most_rounds=None, spoil=lambda answer, draw: answer, compile_seconds=None
    ):
        self.name, self.most_rounds, self.compile_seconds = name, most_rounds, compile_seconds
        self._log, self._seconds, self._spoil = log, seconds, spoil

    def run(self, draws):
        self._log.append((self.name, tuple(draws)))
        return Turn(self._seconds, [self._spoil(right(draw), draw) for draw in draws])


def right(draw):
    return np.array([[draw + 1.0, -2.0, 0.5]], np.float32)


def hold(names=("a", "b", "c"), rules=None, **options):
    log = []
    made = [Made(name, log, **options) for name in names]
    return race(made, right, rules or Rules(1e-5, rounds=6)), log


def test_every_contender_in_every_round():
    results, log = hold()
    rounds = [log[i : i + 3] for i in range(0, len(log), 3)]
    assert len(rounds) == WARM_UP + 6
    for turns in rounds:
        assert sorted(name for name, _ in turns) == ["a", "b", "c"]
        assert len({draws for _, draws in turns}) == 1  # the same input for all, so that times compare
    orders = {tuple(name for name, _ in turns) for turns in rounds}
    assert len(orders) > 2
    assert hold()[1] == log  # the order is drawn with a fixed seed
    assert all(sorted(result.times) == list(range(6)) for result in results.values())  # none of the warm-up


@pytest.mark.parametrize("wake", [False, True])
def test_no_input_comes_twice(wake):
    _, log = hold("a", Rules(1e-5, rounds=4, wake=wake))
    draws = [draw for _, each in log for draw in each]
    assert len(draws) == len(set(draws)) == (WARM_UP + 4) * (2 if wake else 1)


def test_the_slow_run_a_few_rounds_and_one_to_warm_up():
    log = []
    results = race([Made("a", log), Made("slow", log, most_rounds=2)], right, Rules(1e-5, rounds=5))
    assert sorted(results["slow"].times) == [0, 1]
    assert sorted(results["a"].times) == list(range(5))
    assert [name for name, _ in log].count("slow") == 3


def test_how_long_a_race_lasts():
    timed = Rules(1e-5, seconds=10.0)
    assert not timed.over(LEAST - 1, 99.0)
    assert timed.over(LEAST, 10.1)
    assert not timed.over(MOST - 1, 9.9)
    assert timed.over(MOST, 0.1)
    assert not Rules(1e-5, rounds=200, seconds=0.1).over(199, 99.0)


STALE = WARM_UP + 2
WRONGS = {
    "a little off": lambda answer, draw: answer * (1 + 3e-5),
    "no number": lambda answer, draw: answer * np.nan,
    "another shape": lambda answer, draw: answer[0],
    "the answer before": lambda answer, draw: right(max(0, draw - 1)),
    "wrong in one round": lambda answer, draw: answer + (0.1 if draw == STALE else 0),
    "wrong when it warms up": lambda answer, draw: answer + (0.1 if draw == 0 else 0),
}


@pytest.mark.parametrize("wrong", WRONGS)
def test_a_wrong_contender_is_caught_and_named(wrong):
    log = []
    made = [Made("honest", log), Made("cheat", log, spoil=WRONGS[wrong])]
    with pytest.raises(WrongAnswerError, match=r"^cheat gives a wrong answer.*1e-05 is allowed"):
        race(made, right, Rules(1e-5, rounds=5))


def test_a_wrong_answer_to_the_call_that_is_not_timed_is_caught():
    made = [Made("cheat", [], spoil=lambda answer, draw: answer + (1 - draw % 2))]
    with pytest.raises(WrongAnswerError, match="cheat"):
        race(made, right, Rules(1e-5, rounds=1, wake=True))


def test_the_largest_error_is_kept():
    spoil = WRONGS["a little off"]
    results, _ = hold("a", Rules(1e-4, rounds=3), spoil=spoil)
    assert results["a"].worst == pytest.approx(3e-5, rel=0.01)


@pytest.mark.parametrize("task", ["classifier", "segmenter"])
def test_inputs_are_told_apart_by_their_answers(task):
    """Else a contender that answers another input than it was given might pass."""
    cell = Cell("xx_small", task, 2, 32)
    expected = networks.expecting(cell)
    assert error(expected(0), expected(1)) > 1000 * networks.TOLERANCE
    np.testing.assert_array_equal(cell.pixel_values(7), cell.pixel_values(7))
    assert cell.pixel_values(7).dtype == np.float32
    assert 0 <= cell.pixel_values(7).min() < cell.pixel_values(7).max() <= 1


@pytest.mark.parametrize("batch", [1, 8])
def test_inputs_are_contiguous(batch):
    """At their real size: the layout of a sum may depend on it. Channels last, PyTorch would compute in that layout."""
    assert Cell("xx_small", batch=batch).pixel_values(0).flags.c_contiguous


# -- a contender's process ---------------------------------------------------------------------------------------------


def test_the_last_call_alone_is_timed(monkeypatch):
    """By a clock that only moves when something is called."""
    clock = [0.0]
    monkeypatch.setattr(process.time, "perf_counter", lambda: clock[0])

    def draw(number):
        clock[0] += 1000  # drawing is outside
        return number

    def call(number):
        clock[0] += 1.0 + number
        return np.full((2, 3), number, np.float64)

    def answer(result):
        clock[0] += 1000
        return result

    sent = []
    process.serve(contenders.Runner(draw, call, answer, "1"), [[4, 6], [2]], sent.append)
    for draws, seconds, (turn, _) in zip(([4, 6], [2]), (7.0, 3.0), sent, strict=True):
        assert turn.seconds == seconds
        for number, result in zip(draws, turn.answers, strict=True):
            assert (result.shape, result.dtype) == ((2, 3), np.float32)
            np.testing.assert_array_equal(result, number)


def loading(name, cell):
    return partial(CONTENDERS[name].load, cell, 1, None)


def test_a_process_that_stops_is_named_with_what_it_said():
    with (
        Process("reference", loading("reference", Cell("huge")), {}) as contender,
        pytest.raises(ContenderError, match=r"^reference stopped: KeyError: 'huge'; leave it out"),
    ):
        contender.ready()


def test_a_process_that_dies_is_named():
    with (
        Process("reference", partial(os._exit, 3), {}) as contender,
        pytest.raises(ContenderError, match=r"^reference stopped: exit code 3; leave it out"),
    ):
        contender.ready()


def printing_and_looking(name):
    os.write(1, b"a greeting")
    os.write(2, b"a warning")
    return contenders.Runner(int, int, lambda _: np.array([len(os.environ[name])]), "1")


def test_a_process_has_its_environment_and_nothing_to_print(capfd, monkeypatch):
    monkeypatch.delenv("MADE_UP", raising=False)
    with Process("reference", partial(printing_and_looking, "MADE_UP"), {"MADE_UP": "four"}) as contender:
        assert "MADE_UP" not in os.environ
        contender.ready()
        assert contender.run([0]).answers == [4]
    assert capfd.readouterr() == ("", "")


def test_a_process_ends_with_its_block():
    load = loading("reference", Cell("xx_small", size=32))
    with Process("reference", load, contenders.environment("reference", 1)) as contender:
        contender.ready()
        assert contender.run([0]).answers[0].shape == (1, 1000)
        assert contender.peak_bytes is None or 10e6 < contender.peak_bytes < 1e9
    assert contender._process.exitcode == 0
    with pytest.raises(ContenderError):
        contender.run([1])


def test_peak_memory_is_the_process_its_own():
    """Whatever the parent holds: 300 MB here, 100 MB there."""
    held = np.ones(300 << 20, np.uint8)
    script = (
        "import numpy as np\nfrom tests.bench.machine import peak_bytes\nbefore = peak_bytes()\n"
        "np.ones(100 << 20, np.uint8)\nprint(before or 0, peak_bytes() or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120
    )
    before, after = map(int, done.stdout.split())
    assert held.all()
    if not sys.platform.startswith("win"):
        assert 80e6 < after - before < 200e6
    if sys.platform == "linux":
        assert before < 200e6


# -- who runs ----------------------------------------------------------------------------------------------------------


def test_peers_that_are_installed_are_chosen(monkeypatch):
    monkeypatch.setattr(contenders, "installed", lambda name: name != "onnxruntime")
    chosen, missing = contenders.choose_peers(None)
    assert chosen == ["torch", "torch-channels-last", "openvino"]
    assert missing == {"onnxruntime": "pip install onnxruntime onnx torch transformers"}
    assert contenders.choose_peers(["all"])[0] == [name for name in PEERS if name != "onnxruntime"]
    assert contenders.choose_peers(["none"]) == ([], {})
    assert contenders.choose_peers(["onnx-reference", "torch", "torch"]) == (["onnx-reference", "torch"], {})
    with pytest.raises(MissingExtraError, match="pip install onnxruntime onnx"):
        contenders.choose_peers(["torch", "onnxruntime"])
    for wrong in (["tensorflow"], ["none", "torch"]):
        with pytest.raises(InputError, match=r"there is no peer .*torch-channels-last"):
            contenders.choose_peers(wrong)


def test_installed_asks_for_every_package(monkeypatch):
    monkeypatch.setattr(contenders.importlib.util, "find_spec", lambda name: None if name == "onnx" else name)
    monkeypatch.setattr(contenders, "_can_compile", lambda: True)
    assert [name for name in PEERS if contenders.installed(name)] == ["torch", "torch-channels-last", "torch-compile"]


def test_what_compiles_needs_a_compiler_and_headers(monkeypatch, tmp_path):
    """Else it's left out with one line, as where a package is missing."""
    (tmp_path / "Python.h").touch()
    monkeypatch.setattr(contenders.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setenv("CXX", "a-compiler")
    for compiler, headers, there in ((None, tmp_path, False), ("/bin/x", "nowhere", False), ("/bin/x", tmp_path, True)):
        monkeypatch.setattr(contenders.shutil, "which", {"a-compiler": compiler}.get)
        monkeypatch.setattr(contenders.sysconfig, "get_path", lambda _, headers=headers: str(headers))
        assert contenders.installed("torch-compile") is there
        assert contenders.installed("torch")
    monkeypatch.setattr(contenders.shutil, "which", lambda name: None)
    assert contenders.choose_peers(["all"])[1] == {
        "torch-compile": "pip install torch transformers, and a C++ compiler with Python's headers"
    }


def test_threads_by_the_environment():
    """The fast engine's threads are its own, and each has a matrix product in one; the others' libraries have all."""
    for name in CONTENDERS:
        environment = contenders.environment(name, 8)
        for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            assert environment[variable] == ("1" if name == "fast" else "8")
    assert contenders.environment("torch-compile", 8)["TORCHINDUCTOR_COMPILE_THREADS"] == "8"


# -- tables ------------------------------------------------------------------------------------------------------------


def made_up_report():
    log = []
    names = ("fast", "torch", "slow")
    times = {"fast": (0.020, 0.010, 0.030), "torch": (0.030, 0.015, 0.090), "slow": (2.0,)}
    results = {name: Result(dict(enumerate(times[name])), 2e-7) for name in names}
    made = [Made(name, log, compile_seconds=95.4 if name == "torch" else None) for name in names]
    cells = [
        {"variant": "small", "task": task, "batch": 4, "size": 256, "contenders": tables.records(made, results, 4)}
        for task in ("classifier", "segmenter")
    ]
    return {"cells": cells, "tolerance": 1e-5}


def test_records():
    fast, torch, slow = made_up_report()["cells"][0]["contenders"]
    assert fast["median_ms"] == pytest.approx(20.0)
    assert fast["minimum_ms"] == pytest.approx(10.0)
    assert fast["images_per_second"] == pytest.approx(200.0)
    assert fast["peak_mb"] == 5.0
    assert (fast["compile_seconds"], torch["compile_seconds"]) == (None, 95.4)
    assert fast["milliseconds"] == pytest.approx([20.0, 10.0, 30.0])
    assert torch["ratio_to"] == pytest.approx({"fast": 1.5, "slow": 0.015})
    assert slow["ratio_to"]["fast"] == pytest.approx(100.0)
    assert slow["rounds"] == 1
    json.dumps(fast)


def test_tables_are_markdown():
    lines = tables.network_tables(made_up_report())
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 * (2 + 2)
    for table in (rows[:4], rows[4:]):
        assert {line.count("|") for line in table} == {6}
        assert len({len(line) for line in table}) == 1
        assert set(table[1]) == {"|", "-"}
        assert [cell.strip() for cell in table[0].split("|")[1:-1]] == ["network", "input", "fast", "torch", "slow"]
    assert [cell.strip() for cell in rows[2].split("|")[1:-1]] == [
        "small", "4 x 256x256", "20.0 (10.0)", "30.0 (15.0) 1.50x", "2000 (2000) 100.00x"
    ]  # fmt: skip
    assert "| 200/s, 5 MB |" in rows[6]
    assert "| 133/s, 5 MB, compiled in 95.4 s |" in rows[6]
    assert rows[7].startswith("| small segmenter |")
    assert "largest error, 1e-05 being allowed: fast 2e-07, torch 2e-07" in lines[-1]


def test_a_table_of_contenders():
    records = made_up_report()["cells"][0]["contenders"]
    for speed, columns in ((True, 6), (False, 4)):
        lines = tables.contender_table(records, 1e-5, speed=speed)
        rows = [line for line in lines if line.startswith("|")]
        assert {line.count("|") - 1 for line in rows} == {columns}
        assert [row.split("|")[-2].strip() for row in rows[2:]] == ["1", "1.50x", "100.00x"]


@pytest.mark.parametrize(
    ("value", "text"), [(1234.5, "1234"), (123.4, "123"), (12.34, "12.3"), (1.234, "1.23"), (0.1234, "0.12")]
)
def test_numbers_have_about_three_digits(value, text):
    assert tables._number(value) == text


# -- for real, and tiny ------------------------------------------------------------------------------------------------


TINY = ["--variants", "xx_small", "--size", "32", "--rounds", "2", "--peers", "none", "--threads", "1"]


def test_a_race_of_the_engines(capsys):
    assert run([*TINY, "--engines", "fast", "reference", "--batch", "1", "3", "--json"]) == 0
    said = capsys.readouterr()
    report = json.loads(said.out)
    assert set(report) == {"settings", "versions", "tolerance", "cells", "left_out"}
    assert {"processor", "cores", "threads", "numpy", "blas", "python", "system"} == set(report["settings"])
    assert report["settings"]["threads"] == 1
    assert report["settings"]["numpy"] == np.__version__
    assert [cell["batch"] for cell in report["cells"]] == [1, 3]
    for cell in report["cells"]:
        fast, reference = cell["contenders"]
        assert (fast["name"], reference["name"]) == ("fast", "reference")
        assert 0 < fast["worst_error"] < report["tolerance"]  # other arithmetic, the same answer
        for each in (fast, reference):
            assert each["rounds"] == len(each["milliseconds"]) == 2
            assert 0 < each["minimum_ms"] <= each["median_ms"]
            assert each["images_per_second"] == pytest.approx(1e3 * cell["batch"] / each["median_ms"])
    assert "1 of 2: xx_small classifier, 1 x 32x32: fast, reference" in said.err


def test_a_table_for_people(capsys):
    assert run([*TINY, "--engines", "reference", "--task", "segmenter", "--batch", "1"]) == 0
    said = capsys.readouterr()
    assert "| xx_small segmenter | 1 x 32x32 |" in said.out
    assert "1 thread each" in said.out
    assert f"NumPy {np.__version__}" in said.out
    assert "exporting" not in said.err


def test_a_wrong_answer_is_exit_code_1(capsys, monkeypatch):
    monkeypatch.setattr(networks, "expecting", lambda cell: lambda draw: np.ones((1, 1000), np.float32))
    assert run([*TINY, "--engines", "reference", "--batch", "1"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert "mobilevit-np: reference gives a wrong answer" in said.err


def test_a_folder(capsys, tmp_path, tiny_classifier):
    for i in range(3):
        save_photo(tmp_path / f"{i}.png", seed=i)
    call = ["--folder", str(tmp_path), "--weights", str(tiny_classifier), "--rounds", "1", "--threads", "1"]
    assert run([*call, "--engines", "reference", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["photos"], report["engine"]) == (3, "reference")
    assert [each["name"] for each in report["folder"]] == ["engine alone", "whole stream"]
    alone = report["folder"][0]
    assert alone["images_per_second"] == pytest.approx(1e3 * 33 / alone["median_ms"])  # the three, eleven times


@pytest.mark.parametrize("name", folder.LOADERS)
def test_a_folder_in_another_order_every_time(tmp_path, tiny_classifier, name):
    """The answers follow the photos, and none is left out where the last batch isn't full."""
    paths = [str(save_photo(tmp_path / f"{i}.png", seed=i)) for i in range(11)]
    runner = folder.load(name, paths, str(tiny_classifier), "reference", 1)
    first, third = (runner.answer(runner.call(runner.draw(number))) for number in (0, 3))
    assert first.shape == (11, 5)
    assert error(third, np.roll(first, 3, axis=0)) < folder.TOLERANCE
    assert error(third, first) > 10 * folder.TOLERANCE


def test_the_whole_command(capsys, tiny_classifier):
    call = ["--whole-command", str(CHELSEA), "--weights", str(tiny_classifier), "--rounds", "1"]
    assert run([*call, "--peers", "none"]) == 0
    said = capsys.readouterr()
    assert "| mobilevit-np classify |" in said.out
    assert "0.001 being allowed" in said.out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--peers", "tensorflow"], "there is no peer 'tensorflow'"),
        (["--seconds", "0"], "--seconds must be a positive number, not 0"),
        (["--whole-command", "nowhere.jpg", "--peers", "none"], "nowhere.jpg: there is no such file"),
        (["--folder", "tests/golden"], "holds no photos"),
    ],
)
def test_what_cannot_be_run(capsys, monkeypatch, arguments, words):
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setattr(contenders, "installed", lambda name: False)
    assert run(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--batch", "0"], "'0' isn't a whole number"),
        (["--variants", "large"], "invalid choice: 'large'"),
        (["--rounds", "3", "--seconds", "3"], "not allowed with"),
        (["--folder", "x", "--whole-command", "y"], "not allowed with"),
    ],
)
def test_typing_mistakes(capsys, arguments, words):
    with pytest.raises(SystemExit) as left:
        run(arguments)
    assert left.value.code == 2
    assert words in capsys.readouterr().err


# -- manners -----------------------------------------------------------------------------------------------------------


def test_help_teaches(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit):
        run(["--help"])
    said = capsys.readouterr().out
    said.encode("ascii")
    assert max(map(len, said.splitlines())) <= 120
    for phrase in ("answer is checked", "a new input every call", "exit code 1", "pip install torch", *PEERS):
        assert phrase in said
    examples = said.partition("\nexamples:\n")[2].partition("\n\n")[0].splitlines()
    assert len(examples) > 5
    for line in examples:
        build_parser().parse_args(shlex.split(line.partition("tests.bench")[2].partition(" > ")[0]))


def test_the_race_loads_no_peer_itself():
    script = (
        "import sys\nfrom tests.bench import contenders\nfrom tests.bench.__main__ import run\n"
        "contenders.choose_peers(None)\n"
        f"run({[*TINY, '--engines', 'reference', '--batch', '1']!r})\nprint('\\n' + ' '.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=120
    )
    loaded = set(done.stdout.splitlines()[-1].split())
    assert "tests.bench.whole_command" in loaded
    assert not loaded & {"torch", "transformers", "onnx", "onnxruntime", "openvino"}


def test_settling_ends_once_threads_sleep(monkeypatch):
    """By a made-up clock: busy for three looks, then asleep; and a process that's always busy is left after a while."""
    naps = []
    busy = iter([0, 1, 1, 2, 2, 3, 3, 3])
    monkeypatch.setattr(machine.time, "sleep", naps.append)
    monkeypatch.setattr(machine.time, "process_time", lambda: next(busy))
    machine.settle()
    assert len(naps) == 4
    ever = iter(range(10_000))
    monkeypatch.setattr(machine.time, "process_time", lambda: next(ever))
    naps.clear()
    machine.settle()
    assert sum(naps) == pytest.approx(0.5)

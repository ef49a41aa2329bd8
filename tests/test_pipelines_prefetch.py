"""Work done ahead of its turn. Oracle: the same, one after the other. Threads wait for events; nothing is timed."""

import contextlib
import io
import itertools
import os
import signal
import subprocess
import sys
import threading
import traceback

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tiny import REPOSITORY, photo, plant, save_photo

from mobilevit_np import Classifier, Segmenter
from mobilevit_np.errors import ImageError
from mobilevit_np.model import classifier as reference
from mobilevit_np.pipelines import classifier as module
from mobilevit_np.pipelines.prefetch import in_batches, prefetch

PATIENCE = 60  # seconds until a thread that should have come is given up


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def name_of(number):
    return f"{number}.jpg"


def square(name):
    return int(name.removesuffix(".jpg")) ** 2


def failing(numbers):
    def function(name):
        if square(name) in numbers:
            raise KeyError(name)
        return square(name)

    return function


@given(st.integers(0, 30), st.integers(1, 12), st.integers(1, 6))
def test_the_same_in_the_same_order(length, count, workers):
    names = [name_of(i) for i in range(length)]
    assert list(prefetch(square, iter(names), count, workers)) == [(name, square(name)) for name in names]


@given(st.integers(1, 12), st.integers(1, 6), st.integers(1, 30))
def test_no_more_is_taken_than_said(count, workers, wanted):
    taken = itertools.count(1)
    last = 0

    def endless():
        nonlocal last
        while True:
            last = next(taken)
            yield name_of(last)

    results = prefetch(square, endless(), count, workers)
    for handed in range(1, wanted + 1):
        assert next(results) == (name_of(handed), handed**2)
        assert last == handed + count
    results.close()
    assert last == wanted + count


def test_what_comes_next_is_worked_on_while_the_caller_holds_the_first():
    """Each of the three that may be ahead has begun before the first is let go; the fifth has not."""
    begun = {name_of(i): threading.Event() for i in range(6)}

    def function(name):
        begun[name].set()
        return name

    results = prefetch(function, iter(begun), 3, workers=2)
    next(results)
    for i in range(1, 4):
        assert begun[name_of(i)].wait(PATIENCE)
    assert not begun[name_of(4)].is_set()
    assert len(list(results)) == 5


def test_as_many_at_a_time_as_there_are_workers():
    together = threading.Barrier(3)  # passed only by three at once

    def function(name):
        if name != name_of(0):
            together.wait(PATIENCE)
        return name

    assert len(list(prefetch(function, map(name_of, range(7)), 6, workers=3))) == 7


def test_the_first_is_the_callers_own_and_a_single_one_starts_no_thread():
    where = []

    def function(name):
        where.append((name, threading.current_thread() is threading.main_thread()))
        return name

    assert list(prefetch(function, iter(["one.jpg"]), 8)) == [("one.jpg", "one.jpg")]
    assert where == [("one.jpg", True)]
    list(prefetch(function, iter(["one.jpg", "two.jpg"]), 8))
    assert dict(where) == {"one.jpg": True, "two.jpg": False}


@pytest.mark.parametrize("make", [io.BytesIO, lambda: Image.new("RGB", (2, 2)), object])
def test_what_others_may_hold_waits_for_its_turn_in_the_callers_thread(make):
    begun = []

    def function(item):
        begun.append(item)
        return threading.current_thread() is threading.main_thread()

    items = [make() for _ in range(4)]
    results = prefetch(function, iter(items), 3)
    for done, (item, here) in enumerate(results, start=1):
        assert here
        assert (len(begun), item) == (done, items[done - 1])


def test_errors_come_in_their_turn():
    """Of the function: raised where its item stands. Of the source: after all that came before, from where it was."""
    results = prefetch(failing({9}), map(name_of, range(6)), 5)
    assert [result for _, result in itertools.islice(results, 3)] == [0, 1, 4]
    with pytest.raises(KeyError, match=r"3\.jpg"):
        next(results)
    assert list(results) == []  # a generator that has raised is over

    def source():
        yield from map(name_of, range(3))
        raise ZeroDivisionError("in the source")

    results, seen = prefetch(square, source(), 2), []
    with pytest.raises(ZeroDivisionError, match="in the source") as caught:
        seen.extend(result for _, result in results)
    assert "source" in [frame.name for frame in traceback.extract_tb(caught.tb)]
    results = prefetch(square, source(), 8)
    assert [next(results)[1] for _ in range(3)] == [0, 1, 4]
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("leave", ["close", "drop", "throw"])
def test_left_early_it_leaves_no_thread_and_drops_what_was_waiting(leave):
    going_on, begun = threading.Event(), []

    def function(name):
        begun.append(name)
        if name != name_of(0):
            assert going_on.wait(PATIENCE)
        return name

    results = prefetch(function, map(name_of, itertools.count()), 50, workers=2)
    next(results)
    timer = threading.Timer(0.05, going_on.set)  # the two at work end, the others never begin
    timer.start()
    if leave == "close":
        results.close()
    elif leave == "drop":
        del results
    else:
        with pytest.raises(KeyboardInterrupt):
            results.throw(KeyboardInterrupt())
    timer.join()
    assert len(begun) <= 3


@given(st.lists(st.integers(), max_size=20), st.integers(1, 7))
def test_batches(items, size):
    batches = list(in_batches(items, size))
    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) == size for batch in batches[:-1])
    assert all(0 < len(batch) <= size for batch in batches)


def test_a_batch_that_an_error_cut_short_comes_before_it():
    def source():
        yield from range(5)
        raise ZeroDivisionError

    batches = in_batches(source(), 4)
    assert [next(batches), next(batches)] == [[0, 1, 2, 3], [4]]
    with pytest.raises(ZeroDivisionError):
        next(batches)


# -- in the pipelines --------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """19 photos and two files that are none."""
    paths = [save_photo(tmp_path / f"{i:02}.png", 40 + i, 60, seed=i) for i in range(19)]
    for i in (5, 12):
        (tmp_path / f"{i:02}.png").write_bytes(b"no photo")
    return paths


def test_the_classifiers_answers_are_the_same_to_the_bit(tiny_classifier, folder, monkeypatch):
    """Oracle: the same code with its look-ahead taken away."""
    classify = Classifier.from_pretrained(tiny_classifier)
    overlapped = list(classify.stream(folder))
    monkeypatch.setattr(module, "prefetch", lambda function, source, _: ((item, function(item)) for item in source))
    monkeypatch.setattr(module, "closing", contextlib.nullcontext)
    plain = list(classify.stream(folder))
    assert [path for path, _ in overlapped] == [path for path, _ in plain] == folder
    for i, ((_, one), (_, other)) in enumerate(zip(overlapped, plain, strict=True)):
        assert isinstance(one, ImageError) == isinstance(other, ImageError) == (i in (5, 12))
        if i not in (5, 12):
            np.testing.assert_array_equal(one.logits, other.logits)
            assert one.predictions == other.predictions


def test_the_segmenters_answers_are_the_same_to_the_bit(tiny_segmenter, folder):
    segment = Segmenter.from_pretrained(tiny_segmenter)
    for path, (given_back, answer) in zip(folder, segment.stream(folder), strict=True):
        assert given_back == path
        if path.name in ("05.png", "12.png"):
            assert isinstance(answer, ImageError)
        else:
            np.testing.assert_array_equal(answer.logits, segment(path).logits)


def test_photos_are_prepared_while_the_network_runs(tiny_classifier, monkeypatch):
    """The network doesn't go on before the first photo of the next batch is prepared."""
    prepared = {bytes([i]): threading.Event() for i in range(12)}
    first_of_next = iter([prepared[bytes([4])], prepared[bytes([8])]])
    waited = []
    real = Classifier._prepare

    def prepare(self, source):
        result = real(self, photo(seed=source[0]))
        prepared[source].set()
        return result

    def network(pixel_values, scope, config):
        waited.extend(event.wait(PATIENCE) for event in itertools.islice(first_of_next, 1))
        return reference(pixel_values, scope, config)

    monkeypatch.setattr(Classifier, "_prepare", prepare)
    plant(monkeypatch, "classifier", network, "waiting")
    classify = Classifier.from_pretrained(tiny_classifier, engine="waiting")
    assert len(list(classify.stream([*prepared], batch_size=4))) == 12
    assert waited == [True, True]


@pytest.mark.parametrize(("handed", "taken"), [(1, 8), (4, 8), (5, 12), (8, 12), (9, 16)])
def test_the_classifier_is_one_batch_ahead_of_the_one_it_answers(tiny_classifier, handed, taken):
    asked = []

    def endless():
        while True:
            asked.append(len(asked))
            yield photo(seed=len(asked))

    stream = Classifier.from_pretrained(tiny_classifier).stream(endless(), batch_size=4)
    for _ in range(handed):
        next(stream)
    assert len(asked) == taken
    stream.close()


def test_the_segmenter_is_one_photo_ahead(tiny_segmenter):
    asked = []

    def endless():
        while True:
            asked.append(len(asked))
            yield photo(seed=len(asked))

    stream = Segmenter.from_pretrained(tiny_segmenter).stream(endless())
    for handed in range(1, 4):
        next(stream)
        assert len(asked) == handed + 1
    stream.close()


@pytest.mark.parametrize("kind", [Classifier, Segmenter])
def test_an_error_in_the_source_comes_after_the_answers_before_it(tiny_classifier, tiny_segmenter, kind):
    def source():
        yield from (photo(seed=i) for i in range(11))
        raise ZeroDivisionError("in the source")

    stream = kind.from_pretrained(tiny_classifier if kind is Classifier else tiny_segmenter).stream(source())
    answers: list = []
    with pytest.raises(ZeroDivisionError, match="in the source"):
        answers.extend(stream)
    assert len(answers) == 11


def test_a_call_that_fails_leaves_no_thread_while_its_error_is_held(tiny_classifier):
    classify = Classifier.from_pretrained(tiny_classifier)
    with pytest.raises(ImageError) as caught:
        classify([b"no photo", *(photo(seed=i) for i in range(30))])
    assert caught.tb is not None
    assert not [thread for thread in threading.enumerate() if thread.daemon and "_work" in thread.name]


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system sends no signals to threads")
def test_ctrl_c_leaves_no_thread(tiny_classifier, tmp_path):
    """In a process of its own: SIGINT while the network runs; after that no other thread is alive."""
    paths = [str(save_photo(tmp_path / f"{i}.png", seed=i)) for i in range(40)]
    script = f"""
import os, signal, sys, threading
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, {str(REPOSITORY)!r})
from mobilevit_np import Classifier
stream = Classifier.from_pretrained({str(tiny_classifier)!r}).stream({paths!r})
try:
    for done, _ in enumerate(stream):
        if done == 9:
            os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    stream.close()
    print(done, threading.active_count())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=os.environ)
    assert done.stderr == ""
    number, alive = map(int, done.stdout.split())
    assert (9 <= number < 39, alive) == (True, 1)

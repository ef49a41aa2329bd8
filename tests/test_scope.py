"""A Scope's promises: full names in errors, wrappers by pattern, every module heard once, threads kept apart."""

import re
import threading
from collections import Counter

import numpy as np
import pytest
from examples import Network
from parameters import draw, photo

from mobilevit_np.config import NetworkConfig
from mobilevit_np.errors import CheckpointError, MissingTensorError
from mobilevit_np.model import NETWORKS, conv_layer, segmenter
from mobilevit_np.scope import Scope, module

HEADS = ("classifier", "segmenter")
SMALLEST = NetworkConfig(
    hidden_sizes=[4, 4, 4],
    neck_hidden_sizes=[4, 4, 4, 4, 4, 4, 8],
    num_attention_heads=2,
    expand_ratio=1.0,
    aspp_out_channels=4,
    num_labels=3,
)


@module
def add_one(x, scope, more=0):
    return x + 1 + more


@module
def add_two(x, scope):
    return add_one(add_one(x, scope / "first"), scope / "second")


def listen(scope):
    """The scope with a listener, and the list of (path, output) that it fills."""
    heard = []
    return scope.listen(lambda path, output: heard.append((path, output))), heard


# -- looking up --------------------------------------------------------------------------------------------------------


def test_paths_mirror_names():
    scope = Scope({"a.0.weight": np.ones(2)})
    assert (scope / "a" / 0).path == "a.0"
    assert (scope / "a" / 0)["weight"] is scope["a.0.weight"]
    assert repr(scope / "a") == "Scope('a', 1 tensors)"


def test_missing_tensor_is_named_in_full():
    with pytest.raises(MissingTensorError, match=r"'a\.0\.weight'") as caught:
        (Scope({}) / "a" / 0)["weight"]
    assert isinstance(caught.value, CheckpointError)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("head", HEADS)
def test_every_parameter_is_needed_and_named_when_missing(head):
    tensors = draw(SMALLEST, head, dtype=np.float32)
    pixel_values = photo(SMALLEST, (7, 5), dtype=np.float32)
    used = set()

    class Noting(dict):
        def __getitem__(self, name):
            used.add(name)
            return super().__getitem__(name)

    NETWORKS[head](pixel_values, Scope(Noting(tensors)), SMALLEST)
    assert used == set(tensors)
    for name in list(tensors)[:: len(tensors) // 12]:
        without = {k: v for k, v in tensors.items() if k != name}
        with pytest.raises(MissingTensorError, match=re.escape(f"'{name}'")):
            NETWORKS[head](pixel_values, Scope(without), SMALLEST)


def test_with_tensors_stands_in_below_its_path_and_leaves_the_scope_alone():
    scope = Scope({"a.weight": np.zeros(1), "a.bias": np.zeros(1)}) / "a"
    changed = scope.with_tensors({"weight": np.ones(1)})
    assert (changed["weight"], changed["bias"], scope["weight"]) == (1, 0, 0)
    assert changed.path == "a"
    with pytest.raises(MissingTensorError, match=r"'a\.missing'"):
        changed["missing"]


# -- listening ---------------------------------------------------------------------------------------------------------


def test_modules_are_heard_in_order_of_execution_with_their_outputs():
    scope, heard = listen(Scope({}))
    add_two(np.zeros(1), scope / "sum")
    assert [(path, float(output[0])) for path, output in heard] == [("sum.first", 1), ("sum.second", 2), ("sum", 2)]


def test_a_listener_hears_what_was_wrapped_before_it_and_only_what_its_pattern_matches():
    heard, before = [], []
    scope = Scope({}).listen(lambda path, output: before.append((path, output[0])))
    scope = scope.wrap("*.second", lambda compute, x, scope: 10 * compute(x, scope))
    scope = scope.listen(lambda path, output: heard.append((path, output[0])), "*.second")
    assert add_two(np.zeros(1), scope / "sum") == 20
    assert heard == [("sum.second", 20)]
    assert before == [("sum.first", 1), ("sum.second", 2), ("sum", 20)]


def test_a_second_listener_joins_the_first():
    scope, first = listen(Scope({}))
    scope, second = listen(scope)
    add_two(np.zeros(1), scope)
    assert [path for path, _ in first] == [path for path, _ in second] == ["first", "second", ""]


def test_listening_leaves_the_scope_alone():
    scope = Scope({})
    _, heard = listen(scope)
    add_one(np.zeros(1), scope)
    assert heard == []
    assert not scope.watched


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("output_stride", [32, 16, 8])
def test_every_module_is_heard_exactly_once(head, output_stride):
    config = NetworkConfig(**{**vars(SMALLEST), "output_stride": output_stride})
    tensors = draw(config, head)
    scope, heard = listen(Scope(tensors))
    logits = NETWORKS[head](photo(config, (33, 20)), scope, config)
    paths = Counter(path for path, _ in heard)
    assert set(paths.values()) == {1}
    assert {name.rpartition(".")[0] for name in tensors} < set(paths)
    assert dict(heard)[""] is logits


# -- wrapping ----------------------------------------------------------------------------------------------------------


def test_a_wrapper_gets_what_it_stands_in_for_and_its_output_goes_on():
    def doubled(compute, x, scope, more=0):
        assert scope.path == "sum.second"
        return 10 * compute(x, scope, more=5)

    scope, heard = listen(Scope({}).wrap("*.second", doubled))
    assert add_two(np.zeros(1), scope / "sum") == 70
    assert [float(output[0]) for _, output in heard] == [1, 70, 70]


def test_patterns_match_the_whole_path_and_cross_dots():
    def zero(compute, x, scope, **kwargs):
        return np.zeros(1)

    for pattern, expected in [("sum", 0), ("*.first", 1), ("*first", 1), ("first", 2), ("s*d", 0), ("SUM", 2)]:
        assert add_two(np.zeros(1), Scope({}).wrap(pattern, zero) / "sum") == expected, pattern


def test_the_later_wrapper_wraps_the_earlier():
    scope = Scope({}).wrap("", lambda compute, x, scope: 10 * compute(x, scope))
    scope = scope.wrap("", lambda compute, x, scope: 1 + compute(x, scope))
    assert add_one(np.zeros(1), scope) == 11


def test_wrapping_leaves_the_scope_alone():
    scope = Scope({})
    scope.wrap("*", lambda compute, x, scope: x)
    assert add_one(np.zeros(1), scope) == 1


def test_a_wrapper_that_changes_nothing_changes_no_bit():
    net = Network.build("segmenter")
    scope = net.scope.wrap("*", lambda compute, x, scope, *args, **kwargs: compute(x, scope, *args, **kwargs))
    x = net.photo(1, 21, 30)
    assert np.array_equal(segmenter(x, scope, net.config), segmenter(x, net.scope, net.config))


def test_threads_do_not_disturb_each_other():
    """Eight threads share the tensors; every other one has a mistake planted. Each gets its own answer, every time."""
    net = Network.build()
    x = array = net.photo(1, 16, 16)
    stem = net.at("mobilevit.conv_stem")
    planted = stem.wrap("*.activation", lambda compute, x, scope, name: compute(x, scope, "relu"))
    right, wrong = (conv_layer(array, scope, act="silu", stride=2) for scope in (stem, planted))
    assert not np.array_equal(right, wrong)
    barrier, failures = threading.Barrier(8), []

    def work(index: int) -> None:
        barrier.wait()
        for _ in range(20):
            heard = []
            scope = (planted if index % 2 else stem).listen(lambda path, output: heard.append(path))  # noqa: B023
            out = conv_layer(x, scope, act="silu", stride=2)
            if not np.array_equal(out, wrong if index % 2 else right) or len(heard) != 4:
                failures.append(index)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []

"""The fast engine against the reference: the same answers, however the work is cut up and shared out.

Oracle: the reference engine. float64: 1e-12 of the largest magnitude; float32: logits 2e-6 of it, maps on the way 5e-6.
"""

import gc
import mmap
import os
import threading
import tracemalloc
import warnings
import weakref
from functools import partial

import numpy as np
import pytest
from drawing import CUT_DOWN, cast, draw_pixels, draw_tensors
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from parameters import draw, photo
from tiny import CHELSEA

from mobilevit_np import Classifier, MobileViTForImageClassification, MobileViTModel, Segmenter, fast, matrix_library
from mobilevit_np.checkpoints import init_parameters, parameter_shapes
from mobilevit_np.config import TASKS, VARIANTS, NetworkConfig
from mobilevit_np.engines import compile_network
from mobilevit_np.errors import ConfigError, InputError, MissingTensorError
from mobilevit_np.fast import activations, attention, crew, products, winograd
from mobilevit_np.fast import network as module
from mobilevit_np.fast.plan import Plan
from mobilevit_np.ops import ACTIVATIONS, conv2d, softmax
from mobilevit_np.scope import Scope

LOGITS = {"float64": 1e-12, "float32": 2e-6}
MAPS = {"float64": 1e-12, "float32": 5e-6}


def with_threads(count):
    crew._setting["count"] = count


def small(task="classifier", *, seed=0, dtype=np.float64, expand_output=True, **fields):
    """A cut-down network with all its parts: its scope and configuration."""
    config = NetworkConfig(**{**CUT_DOWN, "num_labels": 5, "atrous_rates": [1, 2, 3], **fields})
    shapes = parameter_shapes(config, task, expand_output=expand_output)
    tensors = draw_tensors(shapes, config, task, seed=seed, expand_output=expand_output)
    return Scope(cast(tensors, dtype)), config


def error(ours, theirs):
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


def assert_same_answers(scope, config, task, x, **options):
    """The fast engine's output and maps are the reference's."""
    theirs, their_maps = compile_network("reference", task, scope, config, **options)(x, hidden_states=True)
    ours, our_maps = compile_network("fast", task, scope, config, **options)(x, hidden_states=True)
    assert error(ours, theirs) <= LOGITS[x.dtype.name]
    assert len(our_maps) == len(their_maps) == 5
    for our_map, their_map in zip(our_maps, their_maps, strict=True):
        assert error(our_map, their_map) <= MAPS[x.dtype.name]


# -- the same answers --------------------------------------------------------------------------------------------------


@pytest.fixture(params=["exp", "exp2"])
def exponential(request):
    """Both, whatever this processor chooses."""
    yield fast.use_exponential(request.param)
    fast.use_exponential(None)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("head", ["classifier", "segmenter"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_variants(variant, head, dtype):
    config = NetworkConfig(**VARIANTS[variant], num_labels=21, output_stride=32 if head == "classifier" else 16)
    scope = Scope(draw(config, head, dtype=dtype))
    with_threads(2)
    for size in ((64, 96), (33, 47)):
        assert_same_answers(scope, config, head, photo(config, size, dtype=dtype))


def test_the_published_input_size_in_parts():
    """256x256, where maps are cut into strips and scores into blocks."""
    config = NetworkConfig(**VARIANTS["xx_small"])
    scope = Scope(draw(config, "classifier", dtype=np.float32))
    with_threads(2)
    assert_same_answers(scope, config, "classifier", photo(config, (256, 256), dtype=np.float32))


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("batch", range(1, 10))
def test_batches(batch, threads):
    scope, config = small(dtype=np.float32)
    with_threads(threads)
    assert_same_answers(scope, config, "classifier", draw_pixels((batch, 3, 32, 32)).astype(np.float32))


@settings(max_examples=30)
@given(
    task=st.sampled_from(TASKS),
    output_stride=st.sampled_from([32, 16, 8]),
    batch=st.integers(1, 3),
    size=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    threads=st.integers(1, 3),
    strip_bytes=st.sampled_from([1, 1 << 10, 1 << 14, 1 << 20]),
    piece=st.sampled_from([1, 1 << 8, 1 << 12, 1 << 20]),
)
def test_any_size_cut_any_way(task, output_stride, batch, size, threads, strip_bytes, piece):
    scope, config = small(task, output_stride=output_stride)
    with_threads(threads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mobilevit_np.fast.plan.STRIP_BYTES", strip_bytes)
        patch.setattr("mobilevit_np.fast.plan.MIN_BYTES", min(strip_bytes, 1 << 16))
        patch.setattr("mobilevit_np.fast.attention.SCORE_BYTES", strip_bytes)
        patch.setattr("mobilevit_np.fast.block.TOKENS_TOGETHER", strip_bytes >> 4)
        patch.setattr(products, "uses_pieces", lambda: True)
        patch.setattr(products, "PIECE", piece)
        assert_same_answers(scope, config, task, draw_pixels((batch, 3, *size)))


@settings(max_examples=20)
@given(
    task=st.sampled_from(TASKS),
    fields=st.fixed_dictionaries(
        {
            "num_channels": st.sampled_from([1, 3, 4]),
            "patch_size": st.sampled_from([1, 2, 3, 4]),
            "num_attention_heads": st.sampled_from([1, 2, 4, 8]),
            "conv_kernel_size": st.sampled_from([1, 3, 5]),
            "qkv_bias": st.booleans(),
            "mlp_ratio": st.sampled_from([0.5, 2.0, 5.0]),
            "expand_ratio": st.sampled_from([1.0, 3.0]),
            "layer_norm_eps": st.sampled_from([1e-5, 0.1]),
            "neck_hidden_sizes": st.sampled_from([[8, 8, 16, 16, 24, 24, 32], [8] * 7, [8, 16, 16, 16, 16, 16, 24]]),
            "hidden_act": st.sampled_from(["silu", "relu", "gelu", "prelu", "linear"]),
            "output_stride": st.sampled_from([32, 16, 8]),
            "atrous_rates": st.sampled_from([[6, 12, 18], [1, 2, 40]]),
            "num_labels": st.sampled_from([1, 7]),
        }
    ),
)
def test_any_configuration(task, fields):
    scope, config = small(task, **fields)
    with_threads(2)
    for size in ((45, 64), (64, 64)):  # maps of odd and even sides; patches that fit, and that don't
        assert_same_answers(scope, config, task, draw_pixels((1, config.num_channels, *size)))


def test_a_tile_by_winograd():
    """Sixteen products give what ``ops.conv2d`` does, in the order by_tile tells. Of whole numbers: exact."""
    rng = np.random.default_rng(0)
    x, kernel = rng.integers(-9, 9, (1, 3, 6, 8)).astype(float), rng.integers(-9, 9, (5, 3, 3, 3)).astype(float)
    expected = conv2d(x, kernel)[0].transpose(1, 2, 0)  # (4, 6, O): 2 x 3 tiles
    seen = sliding_window_view(x[0], (4, 4), (1, 2))[:, ::2, ::2]  # (C, 2, 3, 4, 4)
    factors = np.einsum("ps,cyxs->pyxc", winograd.INPUTS, seen.reshape(3, 2, 3, 16))
    products = np.einsum("pyxc,pco->pyxo", factors, winograd.transformed(kernel.transpose(2, 3, 1, 0)))
    biased = products + np.where(np.arange(16) == winograd.BIAS, 7, 0)[:, None, None, None]
    tiles = np.einsum("tp,pyxo->tyxo", winograd.OUTPUTS, biased).reshape(2, 2, 2, 1, 3, 1, 5)
    assert np.array_equal(tiles, winograd.by_tile(expected.reshape(2, 2, 3, 2, 5)) + 7)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation(name):
    scope, config = small(hidden_act=name)
    assert_same_answers(scope, config, "classifier", draw_pixels((1, 3, 32, 48)))


@pytest.mark.parametrize("act", ["silu", "relu"])  # maps may be held with a minus: the largest is the least there
@pytest.mark.parametrize("labels", [5, 0])
@pytest.mark.parametrize("pool", ["max", "avgmax"])
def test_poolings(pool, labels, act, exponential):
    scope, config = small(num_labels=labels, hidden_act=act, global_pool=pool)
    assert_same_answers(scope, config, "classifier", draw_pixels((2, 3, 64, 48)))


def test_without_expansion_and_without_labels(exponential):
    scope, config = small("backbone", expand_output=False)
    x = draw_pixels((2, 3, 40, 40))
    assert_same_answers(scope, config, "backbone", x, expand_output=False)
    for act in ("silu", "relu"):  # the one keeps minus its maps, the other doesn't
        scope, config = small(num_labels=0, hidden_act=act)
        assert_same_answers(scope, config, "classifier", x)


def test_the_shipped_models_on_the_example_photo(exponential):
    for pipeline in (Classifier, Segmenter):
        ours, theirs = (pipeline.from_pretrained(engine=engine)(CHELSEA).logits for engine in ("fast", "reference"))
        assert error(ours, theirs) <= LOGITS["float32"]


# -- numbers at the edge -----------------------------------------------------------------------------------------------


def test_scores_too_large_to_exponentiate(exponential):
    """Queries and keys a hundredfold: exp would overflow without the subtraction of the maximum."""
    scope, config = small()
    names = [f"mobilevit.encoder.layer.{i}.transformer.layer.0.attention.attention." for i in (2, 3, 4)]
    large = {f"{name}{part}.weight": 100 * scope[f"{name}{part}.weight"] for name in names for part in ("query", "key")}
    x = draw_pixels((1, 3, 64, 64))
    assert_same_answers(scope.with_tensors(large), config, "classifier", x)


@pytest.mark.parametrize("score", [-1000, -200, -50, 0, 50, 80, 200, 1000])
def test_a_row_whose_exponentials_all_vanish_or_overflow(score, exponential):
    """Oracle: softmax in float64, of the same float32 numbers. Other rows keep their bits, whatever one row's are."""
    random = np.random.default_rng(0)
    key, value = random.random((2, 1, 2, 5, 4), dtype=np.float32)
    query = random.random((1, 2, 3, 4), dtype=np.float32)
    key[..., 0], far = 1, query.copy()
    far[0, 0, 1, 0] = score
    found, usual = np.empty((2, 1, 2, 3, 4), np.float32)
    for each, out in ((far, found), (query, usual)):
        ready = each * np.float32(activations.exponential().per_unit)
        attend = attention._block(
            activations.exponential(), ready, key, value, out, slice(None), np.empty(30, np.float32)
        )
        with np.errstate(all="ignore"):  # as the threads do
            attend()
    scores = far.astype(np.float64) @ key.swapaxes(2, 3)
    assert np.abs(found - softmax(scores) @ value).max() <= 1e-6 * max(1, abs(score))
    other = np.ones((1, 2, 3), bool)
    other[0, 0, 1] = False
    np.testing.assert_array_equal(found[other], usual[other])


def test_activations_far_out(exponential):
    """SiLU at -1e4, where exp overflows: 0, and nobody is warned."""
    scope, config = small()
    name = "mobilevit.encoder.layer.1.layer.1.expand_1x1.normalization.bias"
    far_out = scope.with_tensors({name: scope[name] - 1e4})
    assert_same_answers(far_out, config, "classifier", draw_pixels((1, 3, 32, 32)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_shows(value, exponential):
    scope, config = small()
    x = draw_pixels((2, 3, 32, 32))
    x[1, 0, 3, 3] = value
    network = compile_network("fast", "classifier", scope, config)
    logits = network(x)
    assert np.isnan(logits[1]).all()
    assert error(logits[:1], network(x[:1])) <= LOGITS["float64"]  # the other photo doesn't see it


@pytest.mark.parametrize("engine", ["reference", "fast"])
@pytest.mark.parametrize("steeper", [1, 2, 5])
def test_half_precision(steeper, engine):
    """In float16 exp(12) overflows, and scores reach that. Oracle: float64 with the same rounded weights and pixels.

    The answer is rounded once: half a step of float16 is 2^-11.
    """
    scope, config = small()
    names = [f"mobilevit.encoder.layer.{i}.transformer.layer.0.attention.attention." for i in (2, 3, 4)]
    large = {f"{name}{part}.weight": scope[f"{name}{part}.weight"] for name in names for part in ("query", "key")}
    scope = scope.with_tensors({name: steeper * weight for name, weight in large.items()})
    halves = cast({name: scope[name] for name in parameter_shapes(config, "classifier")}, np.float16)
    x = draw_pixels((1, 3, 64, 64)).astype(np.float16)
    ours, maps = compile_network(engine, "classifier", Scope(halves), config)(x, hidden_states=True)
    same = Scope(cast(halves, np.float64))
    theirs, their_maps = compile_network("reference", "classifier", same, config)(
        x.astype(np.float64), hidden_states=True
    )
    for found, exact in zip([ours, *maps], [theirs, *their_maps], strict=True):
        assert found.dtype == np.float16
        assert error(found.astype(np.float64), exact) <= 1.01 * 2**-11


def test_pixels_however_they_lie():
    """The bits are those of the same numbers side by side, in the weights' dtype."""
    scope, config = small(dtype=np.float32)
    network = compile_network("fast", "classifier", scope, config)
    x = draw_pixels((2, 3, 33, 47)).astype(np.float16).astype(np.float32)  # exact in all of them
    expected = network(x)
    assert expected.dtype == np.float32
    frozen = x.copy()
    frozen.flags.writeable = False
    backwards = np.ascontiguousarray(x[:, ::-1, ::-1, ::-1])[:, ::-1, ::-1, ::-1]
    channels_last = np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    others = [x.astype(dtype) for dtype in (np.float16, np.float64, np.longdouble, ">f4", ">f8")]
    for same in (frozen, backwards, channels_last, np.repeat(x, 2, axis=3)[..., ::2], *others):
        np.testing.assert_array_equal(network(same), expected, strict=True)


@pytest.mark.parametrize("wide", ["conv_3x3", "query", "conv_kxk", "classifier"])
def test_weights_of_several_dtypes_and_byte_orders(wide):
    """All is computed in the stem's dtype."""
    scope, config = small(dtype=np.float32)
    tensors = {name: scope[name] for name in parameter_shapes(config, "classifier")}
    mixed = {name: each.astype(">f8" if wide in name else ">f4") for name, each in tensors.items()}
    x = draw_pixels((1, 3, 48, 48)).astype(np.float32)
    ours = compile_network("fast", "classifier", Scope(mixed), config)(x)
    assert ours.dtype == np.float32
    assert ours.dtype.isnative
    assert error(ours, compile_network("reference", "classifier", scope, config)(x)) <= LOGITS["float32"]


def test_weights_that_make_no_numbers_warn_nobody():
    scope, config = small(dtype=np.float32)
    name = "mobilevit.conv_stem.normalization."
    damaged = scope.with_tensors(
        {f"{name}running_var": -scope[f"{name}running_var"], f"{name}weight": np.float32(3e38)}
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network = compile_network("fast", "classifier", damaged, config)
        assert np.isnan(network(np.ones((1, 3, 32, 32), np.float32))).all()


# -- bits, threads, memory ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_the_same_bits_every_time(threads):
    scope, config = small(dtype=np.float32)
    with_threads(threads)
    network, again = (compile_network("fast", "classifier", scope, config) for _ in range(2))
    x = draw_pixels((5, 3, 96, 80)).astype(np.float32)
    first = network(x)
    for size in ((33, 47), (96, 80), (8, 200)):
        network(draw_pixels((2, 3, *size)).astype(np.float32))  # leaves its numbers in the scratch memory
        np.testing.assert_array_equal(network(x), first)
    np.testing.assert_array_equal(again(x), first)


@pytest.mark.parametrize("threads", [1, 2])
def test_one_model_called_from_several_threads(threads):
    scope, config = small(dtype=np.float32)
    with_threads(threads)
    network = compile_network("fast", "classifier", scope, config)
    inputs = [draw_pixels((1 + i % 3, 3, 64, 64 + 8 * (i % 2)), seed=i).astype(np.float32) for i in range(8)]
    expected = [network(x) for x in inputs]
    wrong = []

    def call(i):
        for _ in range(5):
            if not np.array_equal(network(inputs[i]), expected[i]):
                wrong.append(i)

    callers = [threading.Thread(target=call, args=(i,)) for i in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert wrong == []


def test_an_answer_is_the_callers_own():
    """What one call returned, the next doesn't change; what was passed in isn't changed either."""
    scope, config = small("backbone")
    network = compile_network("fast", "backbone", scope, config)
    x = draw_pixels((1, 3, 32, 32))
    kept = x.copy()
    output, maps = network(x, hidden_states=True)
    copies = [each.copy() for each in (output, *maps)]
    network(1 - x, hidden_states=True)
    for each, copy in zip((output, *maps), copies, strict=True):
        np.testing.assert_array_equal(each, copy)
    np.testing.assert_array_equal(x, kept)


def test_memory_stays_bounded_over_many_sizes(monkeypatch):
    scope, config = small(dtype=np.float32)
    network = compile_network("fast", "classifier", scope, config)
    sizes = np.random.default_rng(0).integers(16, 96, (80, 2))
    alive = weakref.WeakSet()
    original = module.SizedPlan.__init__
    monkeypatch.setattr(module.SizedPlan, "__init__", lambda self, *a: (alive.add(self), original(self, *a))[1])
    tracemalloc.start()
    gc.disable()  # a plan must go at once, not when the collector comes
    try:
        for i, (height, width) in enumerate(sizes):
            network(np.zeros((1, 3, height, width), np.float32))
            if i == 29:
                after_30 = tracemalloc.get_traced_memory()[0]
        assert tracemalloc.get_traced_memory()[0] < after_30 + (5 << 20)
    finally:
        gc.enable()
        tracemalloc.stop()
    kept = [plan for plans in network._plans.values() for plan in plans]
    assert 1 <= len(kept) <= module.MAX_PLANS
    assert sum(plan.plan.nbytes for plan in kept) <= module.MAX_PLAN_BYTES
    assert set(alive) == set(kept)


def test_a_plans_memory_is_its_own_and_goes_with_it():
    """Maps lie in mappings of their own, which the system takes back: no allocator keeps them, no fork shares them."""
    array = Plan(1, 1, np.dtype(np.float32)).empty(2, 3, 5)
    assert (array == 0).all()
    assert array.flags.writeable
    owner = array
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    assert isinstance(getattr(owner.base, "obj", owner.base), mmap.mmap)


def test_plans_are_used_again_and_forgotten_by_size(monkeypatch):
    scope, config = small(dtype=np.float32)
    network = compile_network("fast", "classifier", scope, config)
    built = []
    original = module.SizedPlan.__init__
    monkeypatch.setattr(module.SizedPlan, "__init__", lambda self, *a: (built.append(a[2:4]), original(self, *a))[1])
    monkeypatch.setattr(module, "MAX_PLANS", 2)

    def see(side):
        network(np.zeros((1, 3, side, side), np.float32))

    for side in (32, 64, 32, 64, 96, 64, 32):
        see(side)
    assert built == [(32, 32), (64, 64), (96, 96), (32, 32)]
    see(64)
    see(96)  # 32 was used longest ago, though 64 was made before it
    see(64)
    assert built[4:] == [(96, 96)]
    monkeypatch.setattr(module, "MAX_PLAN_BYTES", 1)
    see(64)
    assert len(network._plans) == 1  # the last is kept, whatever its size


@pytest.mark.parametrize("batch", [1, 3, 7, 11])
def test_a_batch_of_any_size_finds_its_plans_again(batch, monkeypatch):
    """Even where they're several, and more than may be kept of others."""
    scope, config = small(dtype=np.float32)
    with_threads(2)
    monkeypatch.setattr(module, "MAX_PLANS", 1)
    monkeypatch.setattr(module, "MAX_PLAN_BYTES", 1)
    network = compile_network("fast", "classifier", scope, config)
    x = np.zeros((batch, 3, 32, 32), np.float32)
    network(np.zeros((2, 3, 40, 40), np.float32))
    network(x)
    first = [plan for plans in network._plans.values() for plan in plans]
    assert all(key[1:3] == (32, 32) for key in network._plans)
    network(x)
    assert {id(plan) for plans in network._plans.values() for plan in plans} == {id(plan) for plan in first}


def test_calls_at_once_leave_few_plans_behind():
    scope, config = small(dtype=np.float32)
    network = compile_network("fast", "classifier", scope, config)
    at_once = 3 * module.MAX_PLANS
    start = threading.Barrier(at_once)
    key = (1, 32, 32, 1)

    def run(plans, pieces):
        start.wait()  # nobody gives a plan back before all have one

    callers = [threading.Thread(target=network._with_plans, args=(run, key, [slice(0, 1)])) for _ in range(at_once)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(network._plans[key]) == module.MAX_PLANS


@pytest.mark.parametrize(
    ("failure", "told"), [(KeyboardInterrupt, KeyboardInterrupt), (RuntimeError("can't start new thread"), MemoryError)]
)
def test_no_thread_waits_for_one_that_never_came(failure, told, monkeypatch):
    """The user interrupts, or the system refuses, between the start of the second thread and the third."""
    scope, config = small()
    with_threads(3)
    network = compile_network("fast", "classifier", scope, config)
    x = draw_pixels((1, 3, 64, 64))
    expected = network(x)
    started = []

    class Reluctant(threading.Thread):
        def start(self):
            if started:
                raise failure
            started.append(self)
            super().start()

    with monkeypatch.context() as patch:
        patch.setattr(crew.threading, "Thread", Reluctant)
        with pytest.raises(told):
            network(x)
    started[0].join(60)
    assert not started[0].is_alive()
    np.testing.assert_array_equal(network(x), expected)


def test_a_barrier_may_be_broken_by_several():
    barrier = crew.Barrier(3)
    barrier.abort()
    barrier.abort()
    for member in range(3):
        barrier.wait(member)  # lets everyone go
    assert barrier.broken


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_never_finds_the_plans_locked():
    """Another thread takes plans and gives them back all the time; a child must not wait for it, it isn't there."""
    stop = threading.Event()

    def hold():
        while not stop.is_set():
            with module._mutex:
                stop.wait(0.01)

    other = threading.Thread(target=hold)
    other.start()
    try:
        for _ in range(5):
            child = os.fork()
            if not child:
                os._exit(0 if module._mutex.acquire(timeout=5) else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        other.join()


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="only Linux lets a thread choose its core")
def test_each_thread_has_a_core_of_its_own_for_as_long_as_it_works():
    allowed = sorted(os.sched_getaffinity(0))
    seen = {}

    def look(number):
        seen[number] = os.sched_getaffinity(0)

    crew._together([partial(look, number) for number in range(len(allowed))])
    assert [seen[number] for number in sorted(seen)] == [{core} for core in allowed]
    assert os.sched_getaffinity(0) == set(allowed)
    crew._together([partial(look, number) for number in range(len(allowed) + 1)])
    assert set(map(len, seen.values())) == {len(allowed)}


def test_an_error_in_one_thread_ends_them_all(monkeypatch):
    """And the plan it happened in isn't used again."""
    scope, config = small()
    with_threads(3)
    network = compile_network("fast", "classifier", scope, config)
    x = draw_pixels((1, 3, 128, 128))
    monkeypatch.setattr("mobilevit_np.fast.plan.MIN_BYTES", 1)
    expected = network(x)
    ((plan,),) = network._plans.values()
    step = next(step for step in plan.plan.steps if all(step.parts))

    def fail():
        raise ZeroDivisionError

    working, step.parts[1] = step.parts[1], [fail]
    before = threading.active_count()
    with pytest.raises(ZeroDivisionError):
        network(x)
    assert threading.active_count() == before
    assert not any(network._plans.values())
    np.testing.assert_array_equal(network(x), expected)
    assert working


def test_products_in_pieces(monkeypatch):
    """As few as fit, of equal size; whole where there are none such, and where nobody gains by pieces."""
    monkeypatch.setattr(products, "has_avx512", lambda: True)
    left, right, out = draw_pixels((1, 2, 96, 16))[0], draw_pixels((1, 1, 16, 5))[0, 0], np.empty((2, 96, 5))

    def shape(piece, rows=96):
        monkeypatch.setattr(products, "PIECE", piece)
        function = products.product(left[:, :rows], right, out[:, :rows])
        function()
        assert error(out[:, :rows], left[:, :rows] @ right) <= LOGITS["float64"]
        return function.args[0].shape

    assert shape(10 * 16 * 5) == (2, 96, 16)
    assert not products.uses_pieces()
    with_threads(1)
    assert shape(96 * 16 * 5) == (2, 96, 16)
    assert shape(96 * 16 * 5 - 1) == (2, 2, 48, 16)
    assert shape(30 * 16 * 5) == (2, 4, 24, 16)
    assert shape(3 * 16 * 5) == (2, 96, 16)  # pieces of three rows are too small
    assert shape(30 * 16 * 5, rows=89) == (2, 89, 16)  # a prime number of rows
    monkeypatch.setattr(products, "has_avx512", lambda: False)
    assert not products.uses_pieces()


# -- what it says ------------------------------------------------------------------------------------------------------


def test_threads(monkeypatch):
    for name in matrix_library.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert fast.threads() == 1  # nobody has asked: the matrix library has its own
    assert not matrix_library.is_decided()
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    assert matrix_library.is_decided()
    matrix_library.keep_to_one_thread()
    assert "OPENBLAS_NUM_THREADS" not in os.environ
    assert fast.use_threads(3) == fast.threads() == 3
    assert fast.use_threads() == fast.threads() == fast.cores()
    for wrong in (0, -1, 1.5, True, "2", 10**6):
        with pytest.raises(InputError, match="threads must be a whole number from 1 to 1024"):
            fast.use_threads(wrong)


def test_the_exponential_of_this_processor(monkeypatch):
    """It's NumPy's instructions that decide, and they don't change from one call to the next."""
    assert fast.use_exponential() == fast.use_exponential()
    for current, name in (("X86_V4", "exp2"), ("AVX512_SKX", "exp2"), ("X86_V3", "exp"), ("baseline(X86_V2)", "exp")):
        found = {"exp2": {"ff": {"current": current, "available": "X86_V4 baseline(X86_V2)"}}}
        activations.has_avx512.cache_clear()
        monkeypatch.setattr(np.lib.introspect, "opt_func_info", lambda found=found, **names: found)
        assert fast.use_exponential() == name
    activations.has_avx512.cache_clear()
    monkeypatch.setattr(np.lib.introspect, "opt_func_info", lambda **names: {})  # as where nothing is dispatched
    assert fast.use_exponential() == "exp"
    for name in ("exp2", "exp"):
        assert fast.use_exponential(name) == name
    with pytest.raises(InputError, match="exponentials are computed with exp or exp2, not 'tanh'"):
        fast.use_exponential("tanh")
    fast.use_exponential(None)
    activations.has_avx512.cache_clear()


def test_nothing_to_listen_to():
    scope, config = small()
    for watched in (scope.listen(print), scope.wrap("*", print)):
        with pytest.raises(InputError, match="use engine='reference'"):
            compile_network("fast", "classifier", watched, config)
    model = MobileViTForImageClassification(_hf_config(), engine="fast")
    with pytest.raises(InputError, match="use engine='reference'"):
        model(draw_pixels((1, 3, 32, 32)), output_attentions=True)


def test_models_of_transformers_api():
    config = _hf_config()
    tensors = init_parameters(config, "backbone")
    fast_one, slow_one = (MobileViTModel(config, tensors=tensors, engine=engine) for engine in ("fast", "reference"))
    x = draw_pixels((2, 3, 48, 48)).astype(np.float32)
    ours, theirs = (model(x, output_hidden_states=True) for model in (fast_one, slow_one))
    assert error(ours.last_hidden_state, theirs.last_hidden_state) <= MAPS["float32"]
    assert error(ours.pooler_output, theirs.pooler_output) <= MAPS["float32"]
    assert len(ours.hidden_states) == len(theirs.hidden_states) == 5
    assert fast_one(x).hidden_states is None


def _hf_config():
    from mobilevit_np import MobileViTConfig

    return MobileViTConfig(**CUT_DOWN)


def test_clear_errors():
    scope, config = small()
    with pytest.raises(InputError, match="there is no engine 'quick'; known are reference, fast"):
        compile_network("quick", "classifier", scope, config)
    network = compile_network("fast", "classifier", scope, config)
    for wrong, match in ((np.zeros((3, 32, 32)), "must be a batch"), (np.zeros((1, 2, 32, 32)), "2 channels")):
        with pytest.raises(InputError, match=match):
            network(wrong)
    with pytest.raises(MissingTensorError, match="conv_stem"):
        compile_network("fast", "classifier", Scope({}), config)
    with pytest.raises(ConfigError, match="not a known activation"):
        compile_network("fast", "classifier", scope, NetworkConfig(**{**vars(config), "hidden_act": "sigh"}))

"""What holds for every operation and layer alike, on the calls of examples.py: dtypes, inputs, memory layouts.

The dtype that comes in goes out, under NumPy 2's promotion too (``float32 / np.sqrt(36)`` would be float64); inputs
are left as they were; results share no memory with them unless documented; strided inputs give the same numbers.
"""

import numpy as np
import pytest
from examples import EXAMPLES, function
from parameters import draw

from mobilevit_np import ops
from mobilevit_np.config import NetworkConfig
from mobilevit_np.scope import Scope

CALLS = [
    pytest.param(name, build, id=f"{name}-{i}")
    for name, builders in EXAMPLES.items()
    if name not in ("model.check_pixel_values", "model.whole_patches")
    for i, build in enumerate(builders)
]


def floats(value: object) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind == "f"


def mapped(values, change):
    """The arguments of a call, with every float array, those of scopes included, changed."""
    found = []
    for value in values:
        if isinstance(value, Scope):
            value = Scope({name: change(tensor) for name, tensor in value._tensors.items()}, value.path)
        elif floats(value):
            value = change(value)
        elif isinstance(value, list):
            value = []
        found.append(value)
    return found


def results(out) -> list[np.ndarray]:
    """All arrays of a result, hidden states included."""
    if isinstance(out, (tuple, list)):
        return [array for each in out for array in results(each)]
    return [np.asarray(out)]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("name", "build"), [call for call in CALLS if "best_class" not in call.values[0]])
def test_dtype_that_comes_in_goes_out(name, build, dtype):
    arguments, keywords = build()
    out = function(name)(*mapped(arguments, lambda a: a.astype(dtype)), **keywords)
    assert {array.dtype for array in results(out)} == {np.dtype(dtype)}


@pytest.mark.parametrize("order", ["=", ">"])
@pytest.mark.parametrize(("name", "build"), [call for call in CALLS if call.values[0].startswith("ops.")])
def test_float16_is_float32_rounded_once(name, build, order):
    arguments, keywords = build()
    halves = mapped(arguments, lambda a: (30 * a).astype(f"{order}f2"))  # squares leave float16's range
    with np.errstate(over="ignore"):
        found = results(function(name)(*halves, **keywords))
        wide = results(function(name)(*mapped(halves, lambda a: a.astype(np.float32)), **keywords))
        for a, b in zip(found, wide, strict=True):
            np.testing.assert_array_equal(a, b.astype(a.dtype))


@pytest.mark.parametrize("operation", ["conv2d", "batch_norm", "layer_norm", "linear"])
def test_float16_that_meets_float32_is_computed_and_stays_in_float32(operation):
    """Either way round. The squares of 500 would overflow in float16."""
    build = next(call.values[1] for call in CALLS if call.values[0].endswith(f".{operation}"))
    (x, *parameters), keywords = build()
    for halves in (0, 1):
        dtypes = [np.float16, np.float32][:: 1 if halves else -1]
        given = [(250 * x).astype(dtypes[1]), *(a.astype(dtypes[0]) for a in parameters)]
        found = getattr(ops, operation)(*given, **keywords)
        expected = getattr(ops, operation)(*(a.astype(np.float32) for a in given), **keywords)
        np.testing.assert_array_equal(found, expected, strict=True)


def test_sums_of_float16_keep_their_digits_and_range():
    half = np.float16
    tokens = np.array([[-900, 300, 600, 0]], half)
    expected = [-900, 300, 600, 0] / np.sqrt((900**2 + 300**2 + 600**2) / 4)
    np.testing.assert_allclose(ops.layer_norm(tokens, np.ones(4, half), np.zeros(4, half))[0], expected, rtol=5e-4)
    assert ops.global_average_pool(np.full((1, 1, 64, 64), 60000, half)) == 60000
    assert ops.linear(np.ones((1, 4097), half), np.ones((1, 4097), half))[0, 0] == half(4097)
    assert ops.softmax(np.zeros((1, 40000), half)).sum(dtype=np.float64) == pytest.approx(1, rel=1e-2)
    assert ops.batch_norm(*(np.full(s, 6e4, half) for s in [(1, 1, 1, 1), 1, 1, 1, 1])) == half(6e4)
    large = np.full((1, 1, 300), 250, half)
    assert np.array_equal(ops.multi_head_attention(large, large, large, 1)[0], large)  # scores of 18,750,000 / 17
    with np.errstate(over="ignore"):
        assert ops.cross_entropy(np.array([[6e4, -6e4]], half), np.array([0])) == 0
    assert ops.mean_squared_error(np.array([[300, 0]], half), np.array([[0.0, 0.0]])) == half(45000)


@pytest.mark.parametrize(("name", "build"), CALLS)
def test_inputs_are_left_alone(name, build):
    arguments, keywords = build()

    def lock(array: np.ndarray) -> np.ndarray:
        array = array.copy()
        array.flags.writeable = False
        return array

    function(name)(*mapped(arguments, lock), **keywords)


@pytest.mark.parametrize(("name", "build"), CALLS)
def test_results_are_arrays_of_their_own(name, build):
    """Changing a result changes no input. Splitting heads gives a view: it moves axes and nothing else."""
    arguments, keywords = build()
    given = [argument for argument in arguments if floats(argument)]
    given += [tensor for argument in arguments if isinstance(argument, Scope) for tensor in argument._tensors.values()]
    out = results(function(name)(*arguments, **keywords))
    shared = any(np.shares_memory(a, b) for a in out for b in given)
    assert shared == (name == "ops.attention.split_heads")


@pytest.mark.parametrize(("name", "build"), CALLS)
def test_strided_inputs_give_the_same_numbers(name, build):
    arguments, keywords = build()

    def stride(array: np.ndarray) -> np.ndarray:
        return np.repeat(array, 2, axis=-1)[..., ::2] if array.ndim else array

    expected = results(function(name)(*mapped(arguments, np.copy), **keywords))
    actual = results(function(name)(*mapped(arguments, stride), **keywords))
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * np.abs(b).max(initial=1e-300))


@pytest.mark.parametrize(("name", "build"), CALLS)
def test_the_same_call_gives_the_same_bits(name, build):
    arguments, keywords = build()
    first, second = (results(function(name)(*mapped(arguments, np.copy), **keywords)) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_float32_network_stays_float32_in_every_activation():
    from mobilevit_np.model import segmenter

    config = NetworkConfig(
        hidden_sizes=[36, 36, 36], neck_hidden_sizes=[4, 4, 4, 4, 4, 4, 8], num_attention_heads=1, num_labels=3
    )
    seen = set()
    scope = Scope(draw(config, "segmenter", dtype=np.float32)).listen(lambda path, output: seen.add(output.dtype))
    segmenter(np.ones((1, 3, 33, 47), np.float32), scope, config)
    assert seen == {np.dtype(np.float32)}

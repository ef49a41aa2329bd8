"""Every operation with an empty batch, and with arguments of another kind: a right answer, or one clear line.

On the calls of examples.py: each array in turn becomes what is no array of floats, each number what is no number.
"""

import inspect

import numpy as np
import pytest
from examples import EXAMPLES, function

from mobilevit_np import ops
from mobilevit_np.errors import InputError

OPERATIONS = [
    pytest.param(function(name), build, id=f"{name}-{i}")
    for name, builders in EXAMPLES.items()
    if name.startswith("ops.")
    for i, build in enumerate(builders)
]
ONLY_MOVED = ("unfold_to_patches", "fold_from_patches", "split_heads", "merge_heads")  # of any dtype
OF_ANY_AXES = (*(each.__name__ for each, _ in ops.ACTIVATIONS.values()), "softmax", "softplus", "erfc")
LABELS = "labels"
NO_WHOLE_NUMBERS = [(1, 2), [1, 1], "same", 1.0, np.float64(1), None, True, -1, np.array([1, 1])]
NO_SIZES = [3, (2,), (2, 2, 2), "ab", None, (2.0, 2), (2, -1), (True, 2), np.array([2, 2])]


def named(run, build) -> dict[str, object]:
    """An example's arguments by name."""
    arguments, keywords = build()
    return dict(inspect.signature(run).bind(*arguments, **keywords).arguments)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize(("run", "build"), OPERATIONS)
def test_an_empty_batch_gives_what_a_full_one_gives_but_empty(run, build, dtype):
    """Losses are NaN, as in PyTorch. Warnings are errors in this suite."""

    def answer(**sizes):
        arguments, keywords = build(**sizes)
        floats = [a.astype(dtype) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in arguments]
        out = run(*floats, **keywords)
        return out if isinstance(out, tuple) else (out,)

    for empty, full in zip(answer(B=0), answer(B=1), strict=True):
        assert empty.dtype == full.dtype
        assert empty.shape == (0, *full.shape[1:]) if np.ndim(full) else np.isnan(empty)


@pytest.mark.parametrize("wrong", [[[1.0]], "x", 1.5, None, np.ones((2, 3), complex), np.ones(2, object), "int64"])
@pytest.mark.parametrize(("run", "build"), OPERATIONS)
def test_what_is_no_array_of_floats_is_named(run, build, wrong):
    given = named(run, build)
    for name in [name for name, value in given.items() if isinstance(value, np.ndarray)]:
        if wrong is None and inspect.signature(run).parameters[name].default is None:
            continue
        other = given[name].astype(np.int64) if isinstance(wrong, str) and wrong == "int64" else wrong
        if isinstance(other, np.ndarray) and (run.__name__ in ONLY_MOVED or name == LABELS):
            continue
        with pytest.raises(InputError, match="labels" if name == LABELS else rf"\b{name}\b"):
            run(**{**given, name: other})


@pytest.mark.parametrize(("run", "build"), [each for each in OPERATIONS if each.values[0].__name__ not in OF_ANY_AXES])
def test_another_number_of_axes_is_named(run, build):
    given = named(run, build)
    for name in [name for name, value in given.items() if isinstance(value, np.ndarray)]:
        for other in (given[name][None], given[name].ravel()[0:1].reshape(())):
            if run.__name__ in ("linear", "layer_norm") and name == "x" and other.ndim:
                continue
            with pytest.raises(InputError):
                run(**{**given, name: other})


@pytest.mark.parametrize("wrong", NO_WHOLE_NUMBERS, ids=repr)
@pytest.mark.parametrize("name", ["stride", "padding", "dilation", "groups"])
def test_a_convolution_takes_one_whole_number_for_both_axes(name, wrong):
    """No pairs and no "same": PyTorch's and TensorFlow's differ at stride 2."""
    x, weight = np.ones((1, 2, 5, 5), np.float32), np.ones((4, 2, 3, 3), np.float32)
    with pytest.raises(InputError, match=f"{name} must be a whole number of at least [01], not"):
        ops.conv2d(x, weight, **{name: wrong})
    assert ops.conv2d(x, weight, **{name: np.int64(1)}).ndim == 4


@pytest.mark.parametrize("wrong", [*NO_WHOLE_NUMBERS, 0], ids=repr)
def test_heads_and_patches_are_counted_in_whole_numbers(wrong):
    tokens = np.ones((4, 4, 8))
    for call in (
        lambda: ops.split_heads(tokens, wrong),
        lambda: ops.multi_head_attention(tokens, tokens, tokens, wrong),
        lambda: ops.unfold_to_patches(np.ones((1, 2, 4, 4)), wrong),
        lambda: ops.fold_from_patches(tokens, wrong, (4, 4)),
    ):
        with pytest.raises(InputError, match="must be a whole number of at least 1"):
            call()


@pytest.mark.parametrize("wrong", NO_SIZES, ids=repr)
def test_sizes_are_two_whole_numbers(wrong):
    for call in (
        lambda: ops.resize_bilinear(np.ones((1, 2, 4, 4)), wrong),
        lambda: ops.best_class_at_size(np.ones((1, 2, 4, 4)), wrong),
        lambda: ops.fold_from_patches(np.ones((4, 4, 8)), 2, wrong),
    ):
        with pytest.raises(InputError, match="size"):
            call()


@pytest.mark.parametrize("wrong", ["1e-5", None, (1e-5,), True, 1j, np.array([1e-5])], ids=repr)
def test_numbers_are_numbers(wrong):
    x, ones = np.ones((1, 2, 2, 2)), np.ones(2)
    with pytest.raises(InputError, match="eps must be a number"):
        ops.batch_norm(x, ones, ones, ones, ones, eps=wrong)
    with pytest.raises(InputError, match="eps must be a number"):
        ops.layer_norm(x, ones, ones, eps=wrong)
    if wrong is not None:
        with pytest.raises(InputError, match="scale must be a number"):
            ops.multi_head_attention(*[np.ones((1, 2, 4))] * 3, 2, scale=wrong)


def test_numpy_s_own_float64_widens_nothing():
    x, ones = np.full((1, 2, 2, 2), 0.3, np.float32), np.full(2, 0.7, np.float32)
    for eps in (1e-5, 1e-3):
        assert_same_bits(ops.batch_norm, (x, ones, ones, ones, ones), eps=eps)
        assert_same_bits(ops.layer_norm, (x, ones, ones), eps=eps)


def assert_same_bits(run, arguments, *, eps):
    np.testing.assert_array_equal(run(*arguments, eps=np.float64(eps)), run(*arguments, eps=eps), strict=True)


@pytest.mark.parametrize("shape", [(1,), (), (3, 1)])
@pytest.mark.parametrize("which", range(4))
def test_a_parameter_of_another_length_is_named_and_none_is_spread(which, shape):
    parameters = [np.ones(3)] * 4
    parameters[which] = np.ones(shape)
    with pytest.raises(InputError, match=r"of 3 channels or features takes a \w+ of shape \(3,\), not"):
        ops.batch_norm(np.ones((1, 3, 2, 2)), *parameters)
    if which < 2:
        with pytest.raises(InputError, match=r"takes a \w+ of shape \(3,\), not"):
            ops.layer_norm(np.ones((4, 3)), *parameters[:2])


@pytest.mark.parametrize(
    "empty",
    [
        lambda: ops.layer_norm(np.ones((2, 0)), np.ones(0), np.ones(0)),
        lambda: ops.global_average_pool(np.ones((2, 3, 0, 4))),
        lambda: ops.resize_bilinear(np.ones((2, 3, 0, 4)), (2, 2)),
        lambda: ops.best_class_at_size(np.ones((2, 0, 4, 4)), (2, 2)),
        lambda: ops.conv2d(np.ones((1, 0, 4, 4)), np.ones((2, 0, 1, 1))),
        lambda: ops.conv2d(np.ones((1, 2, 4, 4)), np.ones((2, 2, 0, 1))),
        lambda: ops.split_heads(np.ones((1, 2, 0)), 2),
    ],
)
def test_what_has_no_answer_when_empty_is_named(empty):
    with pytest.raises(InputError):
        empty()


def test_an_empty_answer_where_there_is_one():
    assert ops.multi_head_attention(*[np.ones((2, 0, 4))] * 3, 2)[0].shape == (2, 0, 4)
    assert ops.conv2d(np.ones((2, 3, 4, 4)), np.ones((0, 3, 1, 1))).shape == (2, 0, 4, 4)
    np.testing.assert_array_equal(ops.linear(np.ones((2, 0)), np.ones((3, 0)), np.arange(3.0)), [[0, 1, 2]] * 2)
    assert ops.unfold_to_patches(np.ones((2, 3, 0, 4)), 2).shape == (8, 0, 3)
    assert ops.fold_from_patches(np.ones((8, 0, 3)), 2, (0, 4)).shape == (2, 3, 0, 4)


def test_attention_takes_three_of_one_shape():
    """NumPy would spread one photo's keys over a batch."""
    query, key = np.ones((2, 3, 4)), np.ones((1, 3, 4))
    with pytest.raises(InputError, match="must have one shape"):
        ops.multi_head_attention(query, key, key, 2)


def test_classes_that_their_dtype_cannot_count_are_named():
    """Class 256 would be 0 in uint8."""
    with pytest.raises(InputError, match="300 classes have no best one that uint8 holds"):
        ops.best_class_at_size(np.ones((1, 300, 2, 2)), (2, 2), dtype=np.uint8)
    assert ops.best_class_at_size(np.eye(256)[None, :, -1:, None], (1, 1), dtype=np.uint8) == 255

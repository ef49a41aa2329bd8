"""``mobilevit_np.testing``: a port's own tests in three lines. Our fast-and-naive twin is the port here."""

from dataclasses import replace

import naive
import numpy as np
import pytest

from mobilevit_np import model, ops
from mobilevit_np.errors import InputError
from mobilevit_np.golden import write_golden
from mobilevit_np.golden.formula import remake
from mobilevit_np.golden.operators import SMALL
from mobilevit_np.scope import Scope
from mobilevit_np.testing import assert_matches_golden, network_cases, operator_cases


def convolution(operands, stride=1, padding=0, dilation=1, groups=1):
    return ops.conv2d(
        operands["x"], operands["weight"], operands.get("bias"),
        stride=stride, padding=padding, dilation=dilation, groups=groups,
    )  # fmt: skip


@pytest.mark.parametrize("golden", operator_cases("conv2d*"), ids=str)
def test_a_right_convolution(golden):
    assert_matches_golden(convolution, golden)


@pytest.mark.parametrize("golden", operator_cases("conv2d_3x3_stride2_*"), ids=str)
def test_a_wrong_convolution(golden):
    def asymmetric(operands, **arguments):
        padded = {**operands, "x": np.roll(operands["x"], 1, axis=2)}
        return convolution(padded, **arguments)

    with pytest.raises(
        AssertionError, match=rf"{golden} isn't matched\n1 of 1 tensors are off(.|\n)*first bad  output"
    ):
        assert_matches_golden(asymmetric, golden)


@pytest.mark.parametrize("golden", operator_cases("unfold"), ids=str)
def test_another_implementation_of_the_unfold(golden):
    assert_matches_golden(lambda operands, patch_size: naive.unfold_to_patches(operands["x"], patch_size), golden)
    with pytest.raises(AssertionError, match="off"):
        assert_matches_golden(lambda operands, patch_size: operands["x"].reshape(8, 6, 3), golden)
    with pytest.raises(AssertionError, match="shape"):
        assert_matches_golden(lambda operands, patch_size: operands["x"], golden)


def test_a_layer_with_its_parts(tmp_path):
    (golden,) = operator_cases("inverted_residual")
    path = write_golden(tmp_path / "golden.safetensors", golden)

    def port(operands, out_channels, scale=1.0):
        seen = {}
        scope = Scope({name: value for name, value in operands.items() if name != "x"})
        scope = scope.listen(lambda name, x: seen.__setitem__(name, x.copy()))
        output = model.inverted_residual(operands["x"], scope, SMALL, out_channels)
        return {**{name: x for name, x in seen.items() if name}, "output": output * scale}

    comparison = assert_matches_golden(port, path)
    assert [row.path for row in comparison.rows] == ["expand_1x1", "conv_3x3", "reduce_1x1", "output"]
    with pytest.raises(AssertionError, match="1 of 4 tensors are off"):
        assert_matches_golden(lambda operands, **arguments: port(operands, **arguments, scale=1.01), path)


def test_a_whole_network():
    (golden,) = network_cases(size=32)
    network = remake(golden)

    def logits(pixel_values):
        assert pixel_values.dtype == np.float32
        return network.run(pixel_values, network.scope(np.float32))

    assert_matches_golden(logits, golden)
    with pytest.raises(AssertionError, match="first bad  logits"):
        assert_matches_golden(lambda pixel_values: logits(pixel_values)[:, ::-1], golden)


def test_a_pattern_without_cases_is_an_error():
    with pytest.raises(InputError, match="no operator is called 'conv3d'"):
        operator_cases("conv3d")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_never_matches(value):
    """Neither a port's, nor where the golden has the same, nor where its noise is none."""
    (right,) = operator_cases("conv2d_1x1")
    broken = np.array(right.tensors["output"])
    broken.flat[0] = value
    for golden in (
        right,
        replace(right, tensors={**right.tensors, "output": broken}),
        replace(right, noise={"output": value}),
    ):
        with pytest.raises(AssertionError, match="NaN or infinity, here or in the tensor compared with"):
            assert_matches_golden(lambda operands, **arguments: broken, golden)
    zeros = np.zeros_like(broken)
    with pytest.raises(AssertionError, match="isn't matched"):
        assert_matches_golden(lambda operands, **arguments: zeros, replace(right, noise={"output": 1e30}))

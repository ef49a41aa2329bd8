"""int8 weights: how far they may move, what the file looks like, that it opens everywhere, and what is refused."""

import json
import os
import shutil

import numpy as np
import pytest
from fuzz.samples import safetensors_file, tiny_config, tiny_tensors, torch_file
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.numpy import load_file, save_file
from tiny import CHELSEA, open_tiny, photo, save_tiny

from mobilevit_np import Classifier, MobileViTForImageClassification, Segmenter
from mobilevit_np.checkpoints import (
    convert,
    info,
    init_parameters,
    open_checkpoint,
    quantization,
    quantize,
    save_checkpoint,
)
from mobilevit_np.checkpoints import parameter_names as names
from mobilevit_np.checkpoints.configurations import full_config
from mobilevit_np.config import VARIANTS, NetworkConfig
from mobilevit_np.errors import CheckpointError, InputError, OutputError
from mobilevit_np.formats.contents import TensorFile
from mobilevit_np.formats.tensor_file import read_tensor_file

SHAPES = hnp.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=5)


@pytest.fixture(autouse=True)
def however_small(monkeypatch):
    """All weights of the tests' tiny networks are quantized."""
    monkeypatch.setattr(quantization, "MIN_SIZE", 0)


# -- numbers -----------------------------------------------------------------------------------------------------------


@given(
    hnp.arrays(np.float32, SHAPES, elements=st.floats(-(2.0**100), 2.0**100, width=32))
    | hnp.arrays(np.float64, SHAPES, elements=st.floats(-3, 3))
    | hnp.arrays(np.float16, SHAPES, elements=st.floats(-60000, 60000, width=16))
)
def test_no_weight_moves_by_over_half_a_step(weight):
    """Oracle: the bound itself, with room for float32's own rounding of the scale (127 steps of 2^-24) and of the
    product. A channel of zeros stays one, and 0 stays 0 everywhere."""
    steps, scale = quantization.quantize(weight)
    assert (steps.dtype, scale.dtype, steps.shape, scale.shape) == (np.int8, np.float32, weight.shape, weight.shape[:1])
    assert steps.min() >= -127
    assert (scale > 0).all()
    back = quantization.dequantize(steps, scale)
    assert back.dtype == np.float32
    over = scale.astype(np.float64).reshape(-1, *[1] * (weight.ndim - 1))
    assert (np.abs(back - weight.astype(np.float64)) <= over * (0.5 + 127 * 2.0**-23)).all()
    assert (back[weight == 0] == 0).all()
    assert np.isfinite(back).all()


@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_the_largest_weight_takes_all_steps(weight):
    rows = np.abs(weight.reshape(len(weight), -1)).max(axis=1)
    steps, scale = quantization.quantize(weight)
    reached = np.abs(steps.reshape(len(steps), -1).astype(int)).max(axis=1)
    assert (reached[rows > 1e-30] == 127).all()
    np.testing.assert_allclose(scale[rows > 1e-30], rows[rows > 1e-30] / 127, rtol=1e-6)


def test_halves_are_rounded_to_even():
    weight = np.array([[127, 0.5, 1.5, 2.5, -0.5, -1.5]], np.float32)  # the scale is 1
    assert quantization.quantize(weight)[0].tolist() == [[127, 0, 2, 2, 0, -2]]


def test_a_weight_beyond_float32_is_refused():
    with pytest.raises(CheckpointError, match="doesn't fit float32"):
        quantization.quantize(np.array([[1e300]]))


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def quantized(tmp_path):
    """A drawn classifier's int8 file (the path), the tensors it was made from, and those in it."""
    start = tmp_path / "start.safetensors"
    start.write_bytes(safetensors_file(tiny_tensors()))
    (path,) = quantize(start, tmp_path / "int8.safetensors").paths
    return path, tiny_tensors(), load_file(path)


def test_what_the_file_holds(quantized):
    path, before, stored = quantized
    header = json.loads(path.read_bytes()[8:].split(b"}}", 1)[0] + b"}}")
    assert header["__metadata__"] == {"quantization": "int8-per-output-channel"}
    for name, tensor in before.items():
        if name.endswith("num_batches_tracked"):
            assert name not in stored
        elif tensor.ndim == 1:
            assert stored[name].dtype == np.float16
            np.testing.assert_array_equal(stored[name], tensor.astype(np.float16))
        else:
            assert (stored[name].dtype, stored[name].shape) == (np.int8, (1, *tensor.shape))
            assert (stored[f"{name}_scale"].dtype, stored[f"{name}_scale"].shape) == (np.float32, tensor.shape[:1])
    scales = {name for name in stored if name.endswith("_scale")}
    assert len(scales) == sum(tensor.ndim > 1 for tensor in before.values()) > 50


@pytest.mark.parametrize("task", ["classifier", "segmenter", "backbone"])
@pytest.mark.parametrize("scheme", names.SCHEMES)
@pytest.mark.parametrize("dtype", [None, np.float64])
def test_it_opens_as_every_file_does(task, scheme, dtype, tmp_path):
    """From every scheme's names: what comes out is within half a step of what went in, the stem flipped."""
    if (task, scheme) == ("segmenter", names.TIMM):
        return  # timm has none
    tensors = names.from_hugging_face(names.to_hugging_face(tiny_tensors(task), names.HUGGING_FACE), scheme)
    (tmp_path / "start.safetensors").write_bytes(safetensors_file(tensors))
    conversion = quantize(tmp_path / "start.safetensors", tmp_path / "int8.safetensors")
    assert any("reversed" in note for note in conversion.notes) == (scheme == names.TIMM)
    checkpoint = open_checkpoint(tmp_path / "int8.safetensors", dtype=dtype)
    assert (checkpoint.task, checkpoint.channel_order) == (task, "BGR")
    assert checkpoint.dtype == (dtype or np.float32)
    expected = open_checkpoint(tmp_path / "start.safetensors").tensors
    stem = next(name for name in expected if name.endswith("conv_stem.convolution.weight"))
    if scheme == names.TIMM:
        expected[stem] = expected[stem][:, ::-1]
    for name, tensor in expected.items():
        if not name.endswith("num_batches_tracked"):
            step = np.abs(tensor).max() / 127 if tensor.ndim > 1 else 2.0**-10 * np.abs(tensor).max()
            np.testing.assert_allclose(checkpoint.tensors[name], tensor, rtol=0, atol=0.501 * step, err_msg=name)
            assert tensor.ndim == 1 or not np.array_equal(checkpoint.tensors[name], tensor)


def test_a_folder_gets_its_json_files_and_opens_in_every_class(tmp_path, tiny_classifier):
    paths = quantize(tiny_classifier, tmp_path / "int8").paths
    assert [path.name for path in paths] == ["config.json", "preprocessor_config.json", "model.safetensors"]
    before, after = open_checkpoint(tiny_classifier), open_checkpoint(tmp_path / "int8")
    assert (after.config, after.labels, after.preprocessing) == (before.config, before.labels, before.preprocessing)
    facts = info(tmp_path / "int8")
    assert (facts["dtype"], facts["quantization"]) == ("I8", "int8-per-output-channel")
    assert facts["parameters"] == info(tiny_classifier)["parameters"]
    assert facts["tensors"] == len(load_file(paths[-1]))
    assert info(tiny_classifier)["quantization"] is None
    model = MobileViTForImageClassification.from_pretrained(tmp_path / "int8")
    pixel_values = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    logits = model(pixel_values).logits
    expected = MobileViTForImageClassification.from_pretrained(tiny_classifier)(pixel_values).logits
    assert 0 < np.abs(logits - expected).max() < 0.1 * np.abs(expected).max()


def test_converted_back_it_is_float32_and_the_same(tmp_path, quantized):
    path, _, _ = quantized
    convert(path, tmp_path / "back.safetensors")
    back = read_tensor_file(tmp_path / "back.safetensors")
    assert set(back.dtypes.values()) == {"F32", "F16"}
    assert back.metadata == {"format": "pt"}
    for name, tensor in open_checkpoint(path).tensors.items():
        np.testing.assert_array_equal(back.tensors[name], tensor)


def test_small_weights_stay_floats(tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "MIN_SIZE", 8 * 3 * 9 + 1)  # one more than the stem has
    (tmp_path / "a.safetensors").write_bytes(safetensors_file(tiny_tensors()))
    (path,) = quantize(tmp_path / "a.safetensors", tmp_path / "b.safetensors").paths
    formats = read_tensor_file(path).dtypes
    for name, tensor in tiny_tensors().items():
        if tensor.ndim > 1:
            assert (f"{name}_scale" in formats) == (tensor.size > 216) == (formats[name] == "I8")
    assert set(formats.values()) == {"I8", "F16", "F32"}
    np.testing.assert_array_equal(open_checkpoint(path).tensors[WEIGHT], tiny_tensors()[WEIGHT].astype(np.float16))


def test_numbers_beyond_float16_keep_float32(tmp_path):
    tensors = tiny_tensors()
    name = "mobilevit.conv_stem.normalization.running_var"
    tensors[name][0] = 1e6
    (tmp_path / "a.safetensors").write_bytes(safetensors_file(tensors))
    (path,) = quantize(tmp_path / "a.safetensors", tmp_path / "b.safetensors").paths
    assert read_tensor_file(path).dtypes[name] == "F32"
    np.testing.assert_array_equal(open_checkpoint(path).tensors[name], tensors[name])


def test_an_xx_small_with_a_thousand_classes_takes_less_than_1_4_megabytes(tmp_path, monkeypatch):
    monkeypatch.undo()
    config = NetworkConfig(**VARIANTS["xx_small"], num_labels=1000)
    folder = tmp_path / "w"
    save_checkpoint(folder, init_parameters(config, "classifier"), full_config(config, "classifier", ()))
    assert info(folder)["bytes"] > 5_000_000
    quantize(folder, tmp_path / "int8")
    assert 1_270_000 < info(tmp_path / "int8")["bytes"] < 1_400_000


def test_the_shipped_classifier_still_says_the_same_of_chelsea(tmp_path, monkeypatch):
    """At most a twentieth of the largest logit off: measured were 2% on 749 photos (see ``quantization``)."""
    monkeypatch.undo()
    quantize("pets-xx-small", tmp_path / "int8")
    before, after = Classifier.from_pretrained()(CHELSEA), Classifier.from_pretrained(tmp_path / "int8")(CHELSEA)
    assert after.label == before.label
    assert 0 < np.abs(after.logits - before.logits).max() < 0.05 * np.abs(before.logits).max()


def test_a_segmenter_still_sees_the_same(tmp_path, tiny_segmenter):
    quantize(tiny_segmenter, tmp_path / "int8")
    before, after = (Segmenter.from_pretrained(where)(photo()) for where in (tiny_segmenter, tmp_path / "int8"))
    assert (before.mask == after.mask).mean() > 0.9
    assert not np.array_equal(before.logits, after.logits)


# -- what is refused ---------------------------------------------------------------------------------------------------

WEIGHT = "mobilevit.conv_stem.convolution.weight"
BROKEN = {
    "no scale": (lambda t: t.pop(f"{WEIGHT}_scale"), "lacks its scales"),
    "no int8": (lambda t: t.pop("classifier.weight"), "has no int8 tensor to go with"),
    "float for int8": (lambda t: t.update({WEIGHT: t[WEIGHT][0].astype(np.float32)}), "has no int8 tensor to go with"),
    "without the axis": (lambda t: t.update({WEIGHT: t[WEIGHT][0]}), r"should be \(1, O, ...\) and \(O\)"),
    "transposed": (lambda t: t.update({WEIGHT: t[WEIGHT].swapaxes(1, 2)}), r"should be \(1, O, ...\) and \(O\)"),
    "NaN": (lambda t: t[f"{WEIGHT}_scale"].put(1, np.nan), "aren't all numbers above 0"),
    "infinite": (lambda t: t[f"{WEIGHT}_scale"].put(1, np.inf), "aren't all numbers above 0"),
    "zero": (lambda t: t[f"{WEIGHT}_scale"].put(1, 0), "aren't all numbers above 0"),
    "negative": (lambda t: t[f"{WEIGHT}_scale"].put(1, -0.01), "aren't all numbers above 0"),
    "whole numbers": (lambda t: t.update({f"{WEIGHT}_scale": np.ones(8, np.int32)}), "aren't all numbers above 0"),
    "one for all": (lambda t: t.update({f"{WEIGHT}_scale": t[f"{WEIGHT}_scale"][:1]}), r"\(1,\) beside it don't fit"),
    "a column": (lambda t: t.update({f"{WEIGHT}_scale": t[f"{WEIGHT}_scale"][:, None]}), r"\(8, 1\) beside it"),
    "none at all": (lambda t: t.update({f"{WEIGHT}_scale": np.float32(1)}), r"\(\) beside it don't fit"),
    "enormous": (lambda t: t[f"{WEIGHT}_scale"].put(1, 3e38), "with NaN or infinity"),
    "other int8": (lambda t: t.update({WEIGHT: t[WEIGHT].astype(np.int16)}), "has no int8 tensor to go with"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_belong_together_is_one_clear_line(quantized, case):
    path, _, stored = quantized
    spoil, words = BROKEN[case]
    stored = {name: tensor.copy() for name, tensor in stored.items()}
    spoil(stored)
    save_file({name: np.array(tensor, order="C") for name, tensor in stored.items()}, path, quantization.METADATA)
    with pytest.raises(CheckpointError, match=words) as caught:
        open_checkpoint(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_int8_that_nothing_explains_is_refused(quantized):
    path, _, stored = quantized
    save_file(stored, path, {"format": "pt"})
    with pytest.raises(CheckpointError, match="is int8, and its metadata don't say what for"):
        open_checkpoint(path)
    save_file(stored, path, {"quantization": "awq"})
    with pytest.raises(CheckpointError, match="quantized as 'awq', and only 'int8-per-output-channel' is known"):
        open_checkpoint(path)


def test_some_weights_may_stay_floats(quantized):
    path, before, stored = quantized
    stored.pop(f"{WEIGHT}_scale")
    save_file({**stored, WEIGHT: before[WEIGHT]}, path, quantization.METADATA)
    np.testing.assert_array_equal(open_checkpoint(path).tensors[WEIGHT], before[WEIGHT])


def test_a_file_without_int8_is_let_through_untouched():
    file = TensorFile({"x": np.zeros(2)}, {"x": "F64"}, "safetensors")
    assert quantization.dequantize_file(file) is file


def test_twice_is_refused_and_leaves_nothing(quantized, tmp_path):
    with pytest.raises(InputError, match="is quantized already"):
        quantize(quantized[0], tmp_path / "again")
    assert sorted(os.listdir(tmp_path)) == ["int8.safetensors", "start.safetensors"]


@pytest.mark.parametrize("torch", [False, True])
def test_the_original_s_place_is_never_taken(tmp_path, tiny_classifier, torch):
    """Neither its file, by whatever way, nor its folder, in which int8 would be found first from then on."""
    folder = shutil.copytree(tiny_classifier, tmp_path / "model")
    weights = folder / "model.safetensors"
    if torch:
        weights.unlink()
        (folder / "pytorch_model.bin").write_bytes(torch_file(load_file(tiny_classifier / "model.safetensors")))
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for where, out in [
        (folder, folder),
        *([] if torch else [(folder, weights), (weights, weights), (weights, folder)]),
    ]:
        with pytest.raises(OutputError, match="holds the weights that are to be quantized"):
            quantize(where, out)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    quantize(folder, folder / "int8.safetensors")  # beside it is another matter


def test_a_disk_that_fills_up_leaves_what_was_there(tmp_path, tiny_classifier, monkeypatch):
    def fsync(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OutputError, match="no space left"):
        quantize(tiny_classifier, tmp_path / "int8")
    assert os.listdir(tmp_path) == []


def test_errors_by_group(tmp_path):
    """Every weight of every task has a group, and what's said of one moved by hand is what was done to it."""
    for task in ("classifier", "segmenter", "backbone"):
        before = init_parameters(tiny_config(task), task)
        groups = quantization.errors_by_group(before, before)
        assert sum(group.tensors for group in groups) == sum(tensor.ndim > 1 for tensor in before.values())
        assert all(group.largest == group.mean == 0 for group in groups)
    before = open_tiny(save_tiny(tmp_path / "w")).tensors
    moved = {**before, WEIGHT: before[WEIGHT] + np.float32(0.25) * np.abs(before[WEIGHT]).max()}
    (stem,) = (group for group in quantization.errors_by_group(before, moved) if group.group == "stem")
    assert stem.tensors == 1
    assert stem.largest == pytest.approx(0.25, rel=1e-5)
    assert stem.mean == pytest.approx(0.25 * np.abs(before[WEIGHT]).max() / np.abs(before[WEIGHT]).mean(), rel=1e-5)
    assert max(group.largest for group in quantization.errors_by_group(before, moved) if group.group != "stem") == 0

"""safetensors, read and written: against the safetensors package, byte for byte, and against broken files."""

import json

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mobilevit_np.errors import CheckpointError, InputError
from mobilevit_np.formats import dtypes, safetensors_file
from mobilevit_np.formats.safetensors_file import serialize
from mobilevit_np.formats.tensor_file import parse_tensor_file

NUMPY_DTYPES = [np.dtype(stored) for name, stored in dtypes.STORED.items() if name not in ("BF16", "BOOL")] + [
    np.dtype(bool)
]
ARRAYS = st.sampled_from(NUMPY_DTYPES).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12).filter(
    lambda name: name != "__metadata__"
)


def _file(header, numbers=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + numbers


@settings(max_examples=30)
@given(st.dictionaries(NAMES, ARRAYS, max_size=6))
def test_what_is_written_is_what_the_package_writes(tensors):
    # With one metadata entry, since the package writes several in an order of its own at every run.
    assert serialize(tensors, metadata={"format": "pt"}) == safetensors.numpy.save(tensors, {"format": "pt"})


@given(st.dictionaries(NAMES, ARRAYS, max_size=6))
def test_what_the_package_writes_is_read_to_the_bit(tensors):
    read = parse_tensor_file(safetensors.numpy.save(tensors, {"about": "nothing"}))
    assert read.format == "safetensors"
    assert read.metadata == {"about": "nothing"}
    assert set(read.tensors) == set(tensors)
    for name, tensor in tensors.items():
        assert read.tensors[name].dtype == tensor.dtype
        assert read.tensors[name].shape == tensor.shape
        assert read.tensors[name].tobytes() == tensor.tobytes()  # NaN and -0 included
        assert read.dtypes[name] == dtypes.name_of(tensor)


def test_bfloat16_is_widened_to_the_bit_and_written_back():
    bits = np.arange(1 << 16, dtype=np.uint16)
    data = _file({"x": {"dtype": "BF16", "shape": [256, 256], "data_offsets": [0, 1 << 17]}}, bits.tobytes())
    read = parse_tensor_file(data)
    assert read.dtypes == {"x": "BF16"}
    assert read.tensors["x"].dtype == np.float32
    widened = read.tensors["x"].reshape(-1).view(np.uint32)
    np.testing.assert_array_equal(widened, bits.astype(np.uint32) * 65536)
    again = parse_tensor_file(serialize(read.tensors, stored_as={"x": "BF16"})).tensors["x"].reshape(-1)
    number = ~np.isnan(again)
    np.testing.assert_array_equal(again.view(np.uint32)[number], widened[number])
    assert np.isnan(read.tensors["x"].reshape(-1)[~number]).all()


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (1.0, 1.0),
        (1 + 2**-8, 1.0),
        (1 + 3 * 2**-8, 1 + 2**-6),
        (1 + 2**-8 + 2**-20, 1 + 2**-7),
        (-3.1415927, -3.140625),
    ],
)
def test_bfloat16_rounds_to_nearest_even(value, rounded):
    data = serialize({"x": np.array([value], np.float32), "y": np.array(value)}, stored_as={"x": "BF16", "y": "BF16"})
    read = parse_tensor_file(data).tensors
    assert read["x"] == [rounded]
    assert read["y"] == rounded


def test_numbers_that_do_not_fit_are_an_error_and_infinities_stay():
    for dtype in ("F16", "BF16"):
        with pytest.raises(CheckpointError, match="doesn't fit"):
            serialize({"x": np.array([1e39])}, stored_as={"x": dtype})
        kept = parse_tensor_file(serialize({"x": np.array([np.inf, -np.inf, np.nan])}, stored_as={"x": dtype}))
        np.testing.assert_array_equal(kept.tensors["x"], [np.inf, -np.inf, np.nan])


def test_types_that_no_checkpoint_holds_are_an_error():
    with pytest.raises(InputError, match="complex"):
        serialize({"x": np.zeros(2, complex)})


X = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
BROKEN = {
    "header longer than the file": (10**6).to_bytes(8, "little") + b"{}" + bytes(8),
    "header of the whole address space": b"\xff" * 8 + b"{}",
    "no JSON": _file(b"{not json}"),
    "deep JSON": _file(b'{"x":' * 100_000),
    "no UTF-8": _file(b'{"\xff": 1}'),
    "a huge number": _file(b'{"x": ' + b"9" * 10_000 + b"}"),
    "an entry that is no object": _file({"x": 3}),
    "no dtype": _file({"x": {"shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "an unknown dtype": _file({"x": {**X, "dtype": "F8_E4M3"}}, bytes(8)),
    "a dtype that is a list": _file({"x": {**X, "dtype": [["F32"]]}}, bytes(8)),
    "a negative size": _file({"x": {**X, "shape": [-2]}}, bytes(8)),
    "a size that is no whole number": _file({"x": {**X, "shape": [2.0]}}, bytes(8)),
    "a size that is a truth": _file({"x": {**X, "shape": [True, 2]}}, bytes(8)),
    "a shape of the whole address space": _file({"x": {**X, "shape": [1 << 40, 1 << 40]}}, bytes(8)),
    "an empty shape NumPy can't make": _file(
        {"x": {"dtype": "F32", "shape": [0, 1 << 47, 1 << 47], "data_offsets": [0, 0]}}
    ),
    "offsets beyond the end": _file({"x": {**X, "shape": [4], "data_offsets": [0, 16]}}, bytes(8)),
    "offsets the wrong way": _file({"x": {**X, "data_offsets": [8, 0]}}, bytes(8)),
    "three offsets": _file({"x": {**X, "data_offsets": [0, 8, 8]}}, bytes(8)),
    "a shape that doesn't fit": _file({"x": {**X, "shape": [3]}}, bytes(8)),
    "overlapping tensors": _file({"x": X, "y": X}, bytes(8)),
    "a gap": _file({"x": X, "y": {**X, "data_offsets": [12, 20]}}, bytes(20)),
    "bytes left over": _file({"x": X}, bytes(9)),
    "cut off": _file({"x": X}, bytes(7)),
    "metadata that is no object": _file({"__metadata__": 3}),
    "metadata that is no text": _file({"__metadata__": {"a": 3}}),
    "nothing": b"",
    "one byte": b"\x00",
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN.keys())
def test_broken_files_are_an_error_of_one_line(data):
    with pytest.raises(CheckpointError) as caught:
        parse_tensor_file(data)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_the_good_neighbors_of_the_broken_files_are_read():
    read = parse_tensor_file(
        _file({"x": X, "y": {**X, "data_offsets": [8, 16]}, "__metadata__": {"a": "b"}}, bytes(16))
    )
    assert set(read.tensors) == {"x", "y"}
    assert parse_tensor_file(_file({})).tensors == {}


@given(st.binary(max_size=200), st.booleans())
def test_what_the_package_refuses_is_refused(junk, with_header):
    data = _file(b"{" + junk) if with_header else junk
    try:
        ours = parse_tensor_file(data)
    except CheckpointError:
        return
    theirs = safetensors.deserialize(data)
    assert {name for name, _ in theirs} == set(ours.tensors)


@pytest.mark.parametrize(
    ("start", "says"),
    [
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras and TensorFlow"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html>", "web page"),
        (b"<?xml version='1.0'?><net>", "OpenVINO"),
        (b"\x80\x04\x95", "a Python pickle that PyTorch didn't write"),
        (bytes(257) + b"ustar", "a tar archive; unpack"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x08\x08\x12\x07pytorch\x1a\x05", "an ONNX model"),
        (b"\x08\x0a:\xb2\x01\x0a", "an ONNX model"),
        (b"\x08\x07\x12\xb0\x05\x0a\x1f\x0a\x05", "a Core ML model"),
        (b"\x1c\x00\x00\x00TFL3", "a TensorFlow Lite model"),
        (b"GGUF\x03\x00", "a GGUF file"),
        (b"\x81\xa6params\x87", "msgpack file, as Flax"),
        (b'{"weight_map": {}}', "JSON text"),
        (b"\x89PNG\r\n\x1a\n", "a PNG picture"),
        (b"\xff\xd8\xff\xe0", "a JPEG photo"),
    ],
)
def test_other_files_are_named_for_what_they_are(start, says):
    with pytest.raises(CheckpointError, match=says) as caught:
        parse_tensor_file(start + bytes(600))
    assert "; " in str(caught.value)  # and what to do


def test_a_header_of_a_million_tensors_is_not_read():
    header = b"{" + b" " * safetensors_file.MAX_HEADER_BYTES + b"}"
    with pytest.raises(CheckpointError, match="4,194,304 is the most here"):
        safetensors_file.parse(len(header).to_bytes(8, "little") + header)

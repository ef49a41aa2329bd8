"""torch's zip files, read without torch. The files are written here, opcode by opcode; real ones are in parity/."""

import builtins
import os
import pickle
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from fuzz.samples import View, atom, few_tensors, torch_file, torch_file_of, zip_file

from mobilevit_np.errors import CheckpointError
from mobilevit_np.formats import torch_pickle
from mobilevit_np.formats.tensor_file import list_tensor_file, parse_tensor_file
from mobilevit_np.formats.torch_pickle import OPAQUE, read_pickle
from mobilevit_np.formats.torch_tensors import flatten

ALL_DTYPES = ["float64", "float32", "float16", "int64", "int32", "int16", "int8", "uint8", "bool"]


def read(tree):
    return parse_tensor_file(torch_file(tree))


@pytest.mark.parametrize("options", [{}, {"compress": True}, {"big_endian": True}, {"root": "a name"}])
def test_every_dtype_comes_back_to_the_bit(options):
    random = np.random.default_rng(0)
    tensors = {dtype: random.normal(size=(2, 3, 4)).astype(dtype) for dtype in ALL_DTYPES}
    tensors |= {"scalar": np.array(3), "empty": np.zeros((0, 5), np.float32)}
    file = parse_tensor_file(torch_file(tensors, **options))
    assert file.format == "torch"
    assert list(file.tensors) == list(tensors)
    for name, tensor in tensors.items():
        assert file.tensors[name].dtype == tensor.dtype
        assert file.tensors[name].shape == tensor.shape
        assert file.tensors[name].tobytes() == tensor.tobytes()
        assert file.tensors[name].flags.writeable


def test_bfloat16_is_widened():
    bits = np.array([0x3F80, 0xC000, 0x0001, 0x7F80], np.uint16)
    file = read({"x": bits})
    assert file.dtypes == {"x": "BF16"}
    np.testing.assert_array_equal(file.tensors["x"].view(np.uint32), bits.astype(np.uint32) << 16)


def test_views_share_a_storage():
    storage = np.arange(24, dtype=np.float32)
    file = read(
        {
            "whole": View(storage, 0, (4, 6), (6, 1)),
            "transposed": View(storage, 0, (6, 4), (1, 6)),
            "strided": View(storage, 1, (2, 3), (12, 2)),
            "last": View(storage, 23, (1, 1), (99, 0)),
            "scalar": View(storage, 5, (), ()),
            "empty": View(storage, 24, (0,), (1,)),
        }
    ).tensors
    grid = storage.reshape(4, 6)
    np.testing.assert_array_equal(file["whole"], grid)
    np.testing.assert_array_equal(file["transposed"], grid.T)
    np.testing.assert_array_equal(file["strided"], [[1, 3, 5], [13, 15, 17]])
    np.testing.assert_array_equal(file["last"], [[23]])
    assert file["scalar"] == 5
    assert file["empty"].shape == (0,)
    assert all(tensor.flags.c_contiguous for tensor in file.values())
    file["whole"][:] = 0  # tensors are independent, though they share a storage in the file
    assert file["transposed"][0, 1] == 6


def test_tensors_are_called_by_their_path_in_what_holds_them():
    A = {"w": np.ones(2, np.float32)}
    tree = {"model": {"module.w": A["w"]}, "epoch": 3, "optimizer": {"state": {0: {"exp": A["w"]}}}, "nets": [A, 7]}
    assert list(read(tree).tensors) == ["model.module.w", "optimizer.state.0.exp", "nets.0.w"]
    with pytest.raises(CheckpointError, match=r"two of its tensors are called 'a\.w'"):
        read({"a": A, "a.w": A["w"]})


def test_what_is_not_asked_for_is_not_read():
    file = bytearray(torch_file({"w": np.ones(2, np.float32), "damaged": np.arange(1000, dtype=np.float32)}))
    file[file.index(struct.pack("<f", 500))] ^= 1
    listing = list_tensor_file(bytes(file), "the file")
    assert listing.names == ("w", "damaged")
    assert list(listing.load({"w": "mine"}).tensors) == ["mine"]
    with pytest.raises(CheckpointError, match="the file: its zip entry 'archive/data/1' is damaged"):
        listing.load({"damaged": "damaged"})


@pytest.mark.parametrize("tree", [{}, [], {"epoch": 3}, "text", {"a": {"a": {"a": 1}}}])
def test_a_file_without_a_state_dict_is_an_error(tree):
    with pytest.raises(CheckpointError, match="state dict"):
        read(tree)


def test_what_training_checkpoints_hold_besides_is_read_over():
    class Args:
        pass

    pickled = pickle.dumps({"a": np.float64(3), "b": np.arange(3), "c": {1, 2}, "e": 1 + 2j, "f": b"bytes"}, 2)
    tree = read_pickle(pickled)
    assert tree["a"] is OPAQUE
    assert tree["b"] is OPAQUE
    assert sorted(tree["c"]) == [1, 2]
    for protocol in (2, 3, 4, 5):
        import argparse
        import collections
        import datetime
        import pathlib

        tree = read_pickle(
            pickle.dumps(
                {
                    "args": argparse.Namespace(lr=0.1, names=["a"]),
                    "log": collections.defaultdict(list, loss=[1.0]),
                    "best": np.float32(1),
                    "out": pathlib.Path("/tmp"),
                    "when": datetime.datetime(2026, 1, 1),
                    "big": 1 << 200,
                    "ordered": collections.OrderedDict(a=1),
                    "nothing": None,
                    "long": "x" * 300,
                },
                protocol,
            )
        )
        assert tree["args"] == {"lr": 0.1, "names": ["a"]}
        assert tree["log"] == {"loss": [1.0]}
        assert tree["ordered"] == {"a": 1}
        assert tree["big"] == 1 << 200
        assert tree["long"] == "x" * 300
        assert tree["out"] is OPAQUE


# -- Attacks -----------------------------------------------------------------------------------------------------------

COMMAND = "touch {mark}"


def _call(module, name, argument):
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"(" + atom(argument) + b"tR."


def _attacks(mark):
    """Pickles that would make the file ``mark`` if anything in them ran."""
    command = f"touch {mark}"
    code = f"open({str(mark)!r}, 'w').close()"
    stack_global = atom("os") + atom("system") + b"\x93"
    yield "os.system by REDUCE", _call("os", "system", command)
    yield "posix.system", _call("posix", "system", command)
    yield "builtins.eval", _call("builtins", "eval", code)
    yield "__builtin__.exec", _call("__builtin__", "exec", code)
    yield "builtins.getattr", _call("builtins", "getattr", code)
    yield "subprocess.Popen", _call("subprocess", "Popen", command)
    yield "STACK_GLOBAL", b"\x80\x04" + stack_global + b"(" + atom(command) + b"tR."
    yield (
        "STACK_GLOBAL of a dotted name",
        b"\x80\x04" + atom("torch") + atom("os.system") + b"\x93(" + atom(command) + b"tR.",
    )
    yield "INST", b"(" + atom(command) + b"ios\nsystem\n."
    yield "OBJ", b"\x80\x02(cos\nsystem\n" + atom(command) + b"o."
    yield "NEWOBJ", b"\x80\x02csubprocess\nPopen\n(" + atom(command) + b"t\x81."
    yield "NEWOBJ_EX", b"\x80\x04csubprocess\nPopen\n(" + atom(command) + b"t}\x92."
    yield "BUILD on a global", b"\x80\x02cos\nenviron\n}(" + atom("PATH") + atom("") + b"ub."
    yield (
        "BUILD on a known name",
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n}(" + atom("__code__") + atom(code) + b"ub.",
    )
    yield "EXT1", b"\x80\x02\x82\x01."
    yield "EXT4", b"\x80\x02\x84\x01\x00\x00\x00."
    yield "PERSID", b"Pos.system\n."
    yield "calling a type", b"\x80\x02ctorch\nFloatStorage\n(" + atom(command) + b"tR."
    yield "calling a tensor", b"\x80\x02" + atom(command) + b"(tR."
    yield "torch.storage._load_from_bytes", _call("torch.storage", "_load_from_bytes", "x")
    yield "torch.load", _call("torch", "load", str(mark))
    yield "numpy.load", _call("numpy", "load", str(mark))
    yield "runpy", _call("runpy", "_run_code", code)
    yield "codecs by another name", _call("_codecs", "lookup", code)
    yield "a pickle from __reduce__", pickle.dumps(_Evil(command), 2)
    yield "the same, newest protocol", pickle.dumps({"state_dict": {"w": _Evil(command)}}, 5)


class _Evil:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("name", [name for name, _ in _attacks("x")])
def test_an_attack_runs_nothing(name, tmp_path, monkeypatch):
    mark = tmp_path / "it-ran"
    data = dict(_attacks(mark))[name]
    loaded = set(sys.modules)

    def ran(*arguments, **options):
        raise AssertionError("something was run")

    with monkeypatch.context() as patch:
        for module, function in ((os, "system"), (subprocess, "Popen"), (builtins, "eval"), (builtins, "exec")):
            patch.setattr(module, function, ran)
        with pytest.raises(CheckpointError) as caught:
            parse_tensor_file(torch_file_of(data))
    assert not mark.exists()
    assert set(sys.modules) == loaded
    assert "\n" not in str(caught.value)


def test_the_attacks_are_real(tmp_path):
    # Proof that the files above would do it: Python's own unpickler runs the first.
    mark = tmp_path / "it-ran"
    pickle.loads(dict(_attacks(mark))["os.system by REDUCE"])
    assert mark.exists()


@pytest.mark.parametrize("name", ["os.system", "evil.module.function"])
def test_a_refused_name_is_named(name):
    module, function = name.rsplit(".", 1)
    with pytest.raises(CheckpointError, match=name):
        parse_tensor_file(torch_file_of(_call(module, function, "x")))


def _tensor(count, offset=0, shape=(2,), strides=(1,), dtype=b"FloatStorage", key="0"):
    """The pickle of {"w": tensor} with free numbers."""
    storage = b"(" + atom("storage") + b"ctorch\n" + dtype + b"\n" + atom(key) + atom("cpu") + atom(count) + b"tQ"
    sizes = b"".join(b"(" + b"".join(map(atom, numbers)) + b"t" for numbers in (shape, strides))
    call = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + atom(offset) + sizes + b"\x89NtR"
    return b"\x80\x02}(" + atom("w") + call + b"u."


EIGHT = {"0": bytes(8)}  # a storage of two float32
BAD_TENSORS = {
    "more numbers than the storage holds": _tensor(1 << 40),
    "fewer numbers": _tensor(1),
    "a negative count": _tensor(-2),
    "a view beyond the end": _tensor(2, shape=(3,)),
    "an offset beyond the end": _tensor(2, offset=1),
    "a negative offset": _tensor(2, offset=-1, shape=(1,)),
    "an offset that overflows": _tensor(2, offset=1 << 63, shape=(1,)),
    "strides beyond the end": _tensor(2, shape=(2,), strides=(2,)),
    "strides that overflow": _tensor(2, shape=(2, 2), strides=(1 << 62, 1 << 62)),
    "a negative stride": _tensor(2, offset=1, shape=(2,), strides=(-1,)),
    "an expanded view": _tensor(2, shape=(1 << 30, 2), strides=(0, 1)),
    "an overlapping view": _tensor(2, shape=(2, 2), strides=(1, 0)),
    "a shape of the whole address space": _tensor(2, shape=(1 << 40, 1 << 40), strides=(1, 1)),
    "an empty shape NumPy can't make": _tensor(2, shape=(0, 1 << 47, 1 << 47), strides=(1, 1, 1)),
    "too many dimensions": _tensor(2, shape=(1,) * 100, strides=(1,) * 100),
    "shape and strides of different lengths": _tensor(2, shape=(2, 1), strides=(1,)),
    "a shape of text": _tensor(2, shape=("2",)),
    "a shape of truths": _tensor(2, shape=(True,)),
    "another dtype": _tensor(2, dtype=b"DoubleStorage"),
    "a storage that isn't there": _tensor(2, key="1"),
    "a storage outside": _tensor(2, key="../../../etc/passwd"),
}


@pytest.mark.parametrize("data", BAD_TENSORS.values(), ids=BAD_TENSORS.keys())
def test_a_tensor_that_does_not_fit_its_storage_is_an_error(data):
    assert parse_tensor_file(torch_file_of(_tensor(2), EIGHT)).tensors["w"].shape == (2,)
    with pytest.raises(CheckpointError):
        parse_tensor_file(torch_file_of(data, EIGHT))


def test_two_tensors_may_not_disagree_about_a_storage():
    first, second = _tensor(2)[:-2], _tensor(1, shape=(1,), dtype=b"DoubleStorage")[4:]
    both = first + second.replace(atom("w"), atom("v"))
    with pytest.raises(CheckpointError, match="storage"):
        parse_tensor_file(torch_file_of(both, EIGHT))


def _laughs(levels):
    """A tuple of two tuples of two tuples...: 2**levels values if anybody walked them."""
    return atom("lol") + b"".join(b"q" + bytes([level]) + b"h" + bytes([level]) + b"\x86" for level in range(levels))


BOMBS = {
    "a string of 4 GB": b"\x80\x02X\xff\xff\xff\xff" + b"x.",
    "bytes of 2**60": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.",
    "a string of 2**63": b"\x80\x04\x8d" + struct.pack("<Q", (1 << 64) - 1) + b"x.",
    "a frame of 2**60": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"}.",
    "a number of 2 GB": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "a number of negative length": b"\x80\x02\x8b\xff\xff\xff\xff.",
    "memo number 4 billion": b"\x80\x02}r\xff\xff\xff\xffj\xff\xff\xff\xff0.",
    "a billion laughs": b"\x80\x02" + _laughs(200) + b".",
    "a billion laughs as a key": b"\x80\x02}" + _laughs(200) + b"Ns.",
    "a billion laughs in a set": b"\x80\x02cbuiltins\nset\n(](" + _laughs(200) + b"etR.",
    "deep tuples": b"\x80\x02)" + b"\x85" * 50_000 + b".",
    "deep lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "many marks": b"\x80\x02" + b"(" * 200_000 + b".",
    "a list that holds itself": b"\x80\x02]q\x00h\x00a.",
    "a dictionary that holds itself": b"\x80\x02}q\x00("
    + b"".join(atom(key) + b"h\x00" for key in ("ema", "model", "net")) + b"u.",
    "one list copied again and again": b"\x80\x02](" + b"N" * 50_000 + b"eq\x00"
    + b"cbuiltins\nset\n(h\x00tR0" * 20_000 + b"}.",
    "one dictionary copied again and again": b"\x80\x02}(" + b"".join(atom(i) + b"N" for i in range(50_000)) + b"uq\x00"
    + b"ccollections\nOrderedDict\n)Rh\x00b0" * 20_000 + b"}.",
    "one tuple of arguments again and again": b"\x80\x02(" + b"N" * 50_000 + b"tq\x00"
    + b"cnumpy\ndtype\nh\x00R0" * 20_000 + b"}.",
}  # fmt: skip


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS.keys())
def test_a_bomb_takes_no_memory(data):
    file = torch_file_of(data)
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError):
            parse_tensor_file(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 30e6  # the largest remembers 50,000 lists or marks of about 50 bytes


def test_a_pickle_has_a_longest(monkeypatch):
    read_pickle(b"\x80\x02" + b"N0" * 1000 + b"}.")
    monkeypatch.setattr(torch_pickle, "MAX_OPCODES", 1000)
    with pytest.raises(CheckpointError, match="takes over 1,000 steps"):
        read_pickle(b"\x80\x02" + b"N0" * 1000 + b"}.")


def test_many_views_of_one_storage_take_no_more_than_the_file_holds():
    storage = np.zeros(10_000, np.float32)
    file = torch_file({f"w{i}": View(storage, 0, (10_000,), (1,)) for i in range(2_000)})  # 80 MB if copied
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="would take"):
            parse_tensor_file(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


BAD_PICKLES = {
    "empty": b"",
    "no end": b"\x80\x02}",
    "nothing on the stack": b"\x80\x02.",
    "values left over": b"\x80\x02NN.",
    "a mark left over": b"\x80\x02(N.",
    "no mark": b"\x80\x02t.",
    "a memo that isn't there": b"\x80\x02h\x05.",
    "a key without a value": b"\x80\x02}(Nu.",
    "items for a number": b"\x80\x02K\x01(K\x02e.",
    "entries for a list": b"\x80\x02](NNu.",
    "an unhashable key": b"\x80\x02}]Ns.",
    "taking beyond a mark": b"\x80\x02N(0.",
    "opcodes that don't exist": b"\x80\x02\xff\xfe.",
    "text that's no UTF-8": b"\x80\x02X\x01\x00\x00\x00\xff.",
    "a tensor without arguments": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
    "a parameter of nothing": b"\x80\x02ctorch._utils\n_rebuild_parameter\n(NtR.",
    "a storage of nothing": b"\x80\x02NQ.",
    "a storage of no type": b"\x80\x02(" + atom("storage") + b"NNNNtQ.",
    "a storage of another type": b"\x80\x02("
    + atom("storage")
    + b"ccollections\nOrderedDict\nX\x01\x00\x00\x000NK\x01tQ.",
    "a size that is a number": b"\x80\x02ctorch\nSize\n(K\x03tR.",
    "a call without a tuple": b"\x80\x02ctorch\nSize\n]R.",
    "a global that isn't text": b"\x80\x04NN\x93.",
}


@pytest.mark.parametrize("data", BAD_PICKLES.values(), ids=BAD_PICKLES.keys())
def test_a_broken_pickle_is_an_error_of_one_line(data):
    with pytest.raises(CheckpointError) as caught:
        parse_tensor_file(torch_file_of(data))
    assert "\n" not in str(caught.value)


# -- The zip around it ------------------------------------------------------------------------------------------------


def _good(**extra):
    return {
        "archive/data.pkl": _tensor(2),
        "archive/data/0": bytes(8),
        **{k.replace("__", "/"): v for k, v in extra.items()},
    }


@pytest.mark.parametrize(
    "name", ["../evil", "archive/../../evil", "/etc/evil", "C:/evil", "archive/..\\..\\evil", "\\\\server\\evil"]
)
def test_names_that_lead_out_are_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="leads out"):
        parse_tensor_file(zip_file({**_good(), name: b"x"}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["archive/data.pkl", "archive/data/0"])
def test_two_entries_of_the_same_name_are_refused(name, tmp_path):
    path = tmp_path / "x.pt"
    path.write_bytes(zip_file(_good()))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, _good()[name])
    with pytest.raises(CheckpointError, match="same name"):
        parse_tensor_file(path.read_bytes())


@pytest.mark.parametrize("name", ["archive/data.pkl", "archive/data/0", "archive/other"])
def test_a_zip_bomb_is_refused_before_it_is_unpacked(name):
    file = zip_file({**_good(), name: bytes(50_000_000)}, compress=True)
    assert len(file) < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(CheckpointError, match="unpack"):
            parse_tensor_file(file)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10e6


def test_a_size_that_lies_is_found_out():
    file = bytearray(zip_file({"archive/data.pkl": _tensor(2), "archive/data/0": bytes(8)}, compress=True))
    for signature, place in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):  # the storage's unpacked size
        at = file.rindex(signature) + place
        file[at : at + 4] = struct.pack("<I", 1 << 30)
    with pytest.raises(CheckpointError):
        parse_tensor_file(bytes(file))


def test_a_flipped_bit_in_the_numbers_is_found_out():
    file = bytearray(torch_file({"w": np.arange(1000, dtype=np.float32)}))
    at = file.index(struct.pack("<f", 500))
    file[at] ^= 1
    with pytest.raises(CheckpointError, match="damaged"):
        parse_tensor_file(bytes(file))


def test_sums_that_were_left_out_are_not_compared():
    # torch.serialization.set_crc32_options(False) writes zeros.
    file = bytearray(torch_file({"w": np.arange(10, dtype=np.float32)}))
    for signature, place in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        at = -1
        while (at := file.find(signature, at + 1)) >= 0:
            file[at + place : at + place + 4] = bytes(4)
    np.testing.assert_array_equal(parse_tensor_file(bytes(file)).tensors["w"], np.arange(10))


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"a.txt": b"x"}, "no data.pkl"),
        ({"w.npy": b"x"}, r"NumPy's \.npz; .*save_file"),
        ({"metadata.json": b"x", "model.weights.h5": b"x"}, "a Keras model"),
        ({"m/archive_format": b"pt2", "m/data/weights/w.bin": b"x"}, "torch.export"),
        ({"m/config.json": b"x", "m/model.safetensors": b"x"}, "unpack it"),
        ({"a/data.pkl": b"x", "b/data.pkl": b"x"}, "no data.pkl"),
        ({"archive/data.pkl": b"x", "archive/constants.pkl": b"x"}, "TorchScript"),
        ({**_good(), "archive/byteorder": b"middle"}, "byteorder"),
        ({"archive/data.pkl": _tensor(2)}, "lacks"),
        ({**_good(), "archive/data/0": bytes(7)}, "middle of a number"),
    ],
)
def test_other_zips_are_an_error(entries, says):
    with pytest.raises(CheckpointError, match=says):
        parse_tensor_file(zip_file(entries))


def test_an_encrypted_zip_is_refused():
    file = bytearray(zip_file(_good()))
    for signature, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        file[file.index(signature) + place] |= 1
    with pytest.raises(CheckpointError, match="encrypted"):
        parse_tensor_file(bytes(file))


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9, 0.99])
def test_a_download_that_broke_off_is_an_error(fraction):
    file = torch_file(few_tensors())
    with pytest.raises(CheckpointError, match="damaged or cut off"):
        parse_tensor_file(file[: int(len(file) * fraction)])


def test_a_container_is_looked_into_once_wherever_it_stands():
    tree = {"w": torch_pickle.TensorRef(None, 0, (), ())}
    for key in range(50):
        tree[key] = tree
    assert flatten({"a": tree, "b": tree}) == ("a.", {"a.w": tree["w"]})


# -- numbers and texts that take forever -------------------------------------------------------------------------------


def _long(number):
    data = number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8b" + struct.pack("<i", len(data)) + data


def test_keys_that_all_have_one_hash_are_refused():
    """Of 50,000 whole numbers with one hash each is compared with all before it: a minute for a file of a megabyte."""
    keys = b"".join(_long(factor * ((1 << 61) - 1)) + b"N" for factor in range(1, 50_000))
    start = time.process_time()
    with pytest.raises(CheckpointError, match="a number that no file needs"):
        read_pickle(b"\x80\x02}(" + keys + b"u.")
    assert time.process_time() - start < 5
    assert read_pickle(b"\x80\x02}" + _long(-(1 << 62)) + b"Ns.") == {-(1 << 62): None}


@pytest.mark.parametrize(
    "pickle",
    [
        b"\x80\x02}" + _long(1 << 80_000) + b"Ns.",  # the only key
        b"\x80\x02}X\1\0\0\0actorch._utils\n_rebuild_tensor_v2\n((X\7\0\0\0storagectorch\nFloatStorage\n"
        b"X\1\0\0\0" + b"0X\3\0\0\0cpu" + _long(1 << 80_000) + b"tQK\0K\1\x85K\1\x85\x89N}tRs.",  # a storage's count
    ],
)
def test_numbers_of_thousands_of_digits_are_never_printed(pickle):
    with pytest.raises(CheckpointError) as caught:
        parse_tensor_file(torch_file_of(pickle, {"0": bytes(4)}))
    assert len(str(caught.value)) < 300


def test_a_text_that_is_no_unicode_is_read_over_and_names_no_tensor():
    half = b"X\3\0\0\0\xed\xa0\x80"
    assert repr(read_pickle(b"\x80\x02}X\1\0\0\0a" + half + b"s.")) == "{'a': OPAQUE}"
    with pytest.raises(CheckpointError, match="entry that doesn't fit a dictionary"):
        read_pickle(b"\x80\x02}" + half + b"Ns.")


def test_a_directory_of_a_million_entries_is_not_read():
    archive = zip_file({"archive/data.pkl": b"x"})
    with pytest.raises(CheckpointError, match="over 65,536 entries"):
        parse_tensor_file(archive + b"PK\1\2" * (1 << 16))

"""Small good files, made without torch: the start of every mutation, and fixtures for the tests.

``torch_file`` writes what torch.save writes (its zip layout and its pickle opcodes), from plain containers and arrays.
"""

from __future__ import annotations

import io
import struct
import zipfile
from dataclasses import dataclass
from typing import Any

import numpy as np

from mobilevit_np.checkpoints.parameters import init_parameters
from mobilevit_np.config import NetworkConfig
from mobilevit_np.formats.safetensors_file import serialize

TINY: dict[str, Any] = {  # widths that make a whole network of 15,000 numbers
    "hidden_sizes": [8, 8, 8],
    "neck_hidden_sizes": [8, 8, 8, 8, 8, 8, 16],
    "expand_ratio": 1.0,
    "mlp_ratio": 2.0,
    "aspp_out_channels": 8,
}
STORAGE_NAMES = {
    "float64": "DoubleStorage", "float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage",
    "int32": "IntStorage", "int16": "ShortStorage", "int8": "CharStorage", "uint8": "ByteStorage",
    "bool": "BoolStorage", "uint16": "BFloat16Storage",
}  # fmt: skip


def tiny_config(task: str = "classifier", **fields: Any) -> NetworkConfig:
    """A network small enough to be fuzzed whole."""
    own = {"classifier": {"num_labels": 5}, "segmenter": {"num_labels": 3, "output_stride": 16}, "backbone": {}}
    return NetworkConfig(**{**TINY, **own[task], **fields})


def tiny_tensors(task: str = "classifier", **fields: Any) -> dict[str, np.ndarray]:
    """Its parameters, under Hugging Face's names: drawn once, and copied, since tests spoil what they get."""
    key = repr((task, sorted(fields.items())))
    if key not in _drawn:
        _drawn[key] = init_parameters(tiny_config(task, **fields), task)
    return {name: tensor.copy() for name, tensor in _drawn[key].items()}


_drawn: dict[str, dict[str, np.ndarray]] = {}


def few_tensors(seed: int = 0) -> dict[str, np.ndarray]:
    """A handful of tensors of several dtypes: enough for a format, and quick to read."""
    random = np.random.default_rng(seed)
    return {
        "stem.weight": random.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "norm.bias": random.normal(size=4).astype(np.float16),
        "norm.num_batches_tracked": np.array(7),
        "fc.weight": random.normal(size=(2, 4)),
    }


def safetensors_file(tensors: dict[str, np.ndarray], **options: Any) -> bytes:
    return serialize(tensors, metadata={"format": "pt"}, **options)


@dataclass(frozen=True)
class View:
    """A tensor as torch would pickle a view: a place in a storage that others may share."""

    storage: np.ndarray  # one-dimensional; uint16 stands for bfloat16
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Pickler:
    """Protocol 2, the opcodes that torch.save emits, without the memo."""

    def __init__(self, *, legacy: bool = False) -> None:
        self.legacy = legacy  # then a storage says that it's no view of another
        self.out = io.BytesIO()
        self.storages: list[np.ndarray] = []

    def dump(self, tree: Any) -> bytes:
        self.out.write(b"\x80\x02")
        self.write(tree)
        self.out.write(b".")
        return self.out.getvalue()

    def write(self, value: Any) -> None:
        if isinstance(value, dict):
            self.items(b"}", [part for pair in value.items() for part in pair], b"u")
        elif isinstance(value, list):
            self.items(b"]", value, b"e")
        elif isinstance(value, tuple):
            self.items(b"", list(value), b"t")
        elif isinstance(value, np.ndarray):
            flat = np.ascontiguousarray(value).reshape(-1)
            strides = tuple(int(np.prod(value.shape[axis + 1 :])) for axis in range(value.ndim))
            self.tensor(View(flat, 0, value.shape, strides))
        elif isinstance(value, View):
            self.tensor(value)
        else:
            self.out.write(atom(value))

    def items(self, start: bytes, values: list[Any], end: bytes) -> None:
        self.out.write(start + b"(")
        for value in values:
            self.write(value)
        self.out.write(end)

    def tensor(self, view: View) -> None:
        known = [number for number, storage in enumerate(self.storages) if storage is view.storage]
        if not known:
            self.storages.append(view.storage)
        key = known[0] if known else len(self.storages) - 1
        self.out.write(b"ctorch._utils\n_rebuild_tensor_v2\n((")
        self.out.write(atom("storage") + b"ctorch\n" + STORAGE_NAMES[view.storage.dtype.name].encode() + b"\n")
        for value in (str(key), "cpu", view.storage.size):
            self.out.write(atom(value))
        self.out.write(b"NtQ" if self.legacy else b"tQ")
        for value in (view.offset, view.shape, view.strides, False):
            self.write(value)
        self.out.write(b"ccollections\nOrderedDict\n)RtR")


def atom(value: Any) -> bytes:
    """The opcode and argument of a plain value."""
    if value is None or isinstance(value, bool):
        return {None: b"N", True: b"\x88", False: b"\x89"}[value]
    if isinstance(value, str):
        text = value.encode("utf-8")
        return b"X" + struct.pack("<I", len(text)) + text
    if isinstance(value, int):
        number = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
        return b"\x8a" + bytes([len(number)]) + number
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    raise TypeError(type(value))


def torch_file(tree: Any, *, compress: bool = False, big_endian: bool = False, root: str = "archive") -> bytes:
    """What torch.save(tree) would write."""
    pickler = Pickler()
    entries = {"data.pkl": pickler.dump(tree), "byteorder": b"big" if big_endian else b"little", "version": b"3\n"}
    for number, storage in enumerate(pickler.storages):
        swapped = storage.astype(storage.dtype.newbyteorder(">")) if big_endian else storage
        entries[f"data/{number}"] = swapped.tobytes()
    return zip_file({f"{root}/{name}": data for name, data in entries.items()}, compress=compress)


def legacy_torch_file(tree: Any) -> bytes:
    """What torch.save(tree) wrote before 1.6, and still does with _use_new_zipfile_serialization=False."""
    pickler = Pickler(legacy=True)
    contents = pickler.dump(tree)
    facts = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    keys = [str(number) for number in range(len(pickler.storages))]
    head = b"".join(Pickler().dump(value) for value in (0x1950A86A20F9469CFC6C, 1001, facts))
    storages = (struct.pack("<q", storage.size) + storage.tobytes() for storage in pickler.storages)
    return b"".join([head, contents, Pickler().dump(keys), *storages])


def torch_file_of(pickle: bytes, storages: dict[str, bytes] | None = None) -> bytes:
    """A torch file around any pickle."""
    entries = {"archive/data.pkl": pickle, "archive/version": b"3\n"}
    return zip_file({**entries, **{f"archive/data/{key}": data for key, data in (storages or {}).items()}})


def zip_file(entries: dict[str, bytes], *, compress: bool = False) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as archive:
        for name, data in entries.items():
            archive.writestr(zipfile.ZipInfo(name), data, archive.compression)
    return out.getvalue()

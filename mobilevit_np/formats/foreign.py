"""What other files are, by their first bytes: each with what to do instead."""

from __future__ import annotations

import re

from ..errors import CheckpointError

OURS = "model.safetensors or pytorch_model.bin"
_USE = f"use the same model's {OURS}"
_EXPORT = f"it was made from a model in PyTorch, whose weights can be read: {_USE}"
_UNPACK = "unpack it first"
_MAGIC = (  # where it stands, first bytes, what it is, what to do
    (0, b"\x89HDF\r\n", "an HDF5 file, as Keras and TensorFlow write them", _USE),
    (4, b"TFL3", "a TensorFlow Lite model", _EXPORT),
    (0, b"GGUF", "a GGUF file", _EXPORT),
    (4, b"ET1", "an ExecuTorch program", _EXPORT),
    (4, b"ORTM", "an ONNX Runtime model", _EXPORT),
    (0, b"version https://git-lfs", "a Git LFS pointer, not the weights themselves", "fetch them with `git lfs pull`"),
    (0, b"<?xml", "an XML file, as OpenVINO writes beside its weights", _EXPORT),
    (0, b"\x1f\x8b", "compressed with gzip", _UNPACK),
    (0, b"BZh", "compressed with bzip2", _UNPACK),
    (0, b"\xfd7zXZ", "compressed with xz", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "compressed with zstandard", _UNPACK),
    (0, b"7z\xbc\xaf", "a 7-Zip archive", _UNPACK),
    (0, b"Rar!", "a RAR archive", _UNPACK),
    (0, b"\x93NUMPY", "a single NumPy array", _USE),
    (0, b"\x89PNG", "a PNG picture", "give the photo as the photo, and weights as weights"),
    (0, b"\xff\xd8\xff", "a JPEG photo", "give the photo as the photo, and weights as weights"),
    (0, b"%PDF", "a PDF document", _USE),
    (0, b"\x7fELF", "a program", _USE),
    (0, b"MZ", "a program", _USE),
    (0, b"7767517\n", "an ncnn model", _EXPORT),
    (0, b"ftrt", "a TensorRT engine", _EXPORT),
)
_ONNX_FIELDS = (0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A, 0x42)  # the producer's name, its version, ..., the graph
_PICKLES = tuple(b"\x80" + bytes([protocol]) for protocol in range(2, 6))
_PACKED = (  # what a zip of something else holds, what it is, what to do
    ("constants.pkl", "a TorchScript program, not weights", "save its state_dict() in PyTorch: "
     'torch.save(torch.jit.load("program.pt").state_dict(), "weights.pt")'),
    ("model.weights.h5", "a Keras model", _USE),
    ("Manifest.json", "a Core ML package", _EXPORT),
    ("saved_model.pb", "a TensorFlow SavedModel", _USE),
    ("archive_format", "a program of torch.export", "save its weights in PyTorch: "
     'torch.save(torch.export.load("program.pt2").state_dict, "weights.pt")'),
    (".npy", "NumPy's .npz", "save it again: "
     'safetensors.numpy.save_file(dict(numpy.load("weights.npz")), "weights.safetensors")'),
    (".safetensors", "a zip around a checkpoint", _UNPACK),
    (".bin", "a zip around a checkpoint", _UNPACK),
    (".pth", "a zip around a checkpoint", _UNPACK),
)  # fmt: skip
_ENDINGS = (  # of files in a folder that holds nothing else
    (".onnx", "an ONNX model"), (".tflite", "a TensorFlow Lite model"), (".h5", "Keras' weights"),
    (".keras", "a Keras model"), (".msgpack", "Flax's weights"), (".gguf", "a GGUF file"), (".mlmodel", "Core ML"),
    (".mlpackage", "a Core ML package"), ("Manifest.json", "a Core ML package"), (".pb", "a TensorFlow graph"),
    (".npz", "NumPy arrays"), (".pdparams", "Paddle's weights"), (".pte", "an ExecuTorch program"),
    (".xml", "an OpenVINO model"), (".index", "TensorFlow's weights"), (".npy", "a NumPy array"),
)  # fmt: skip


def refuse(data: bytes) -> None:
    """Raise CheckpointError that says what the bytes are, and what to do, if that's known."""
    if not data:
        raise CheckpointError("the file is empty; download it again")
    for start, magic, what, remedy in _MAGIC:
        if data[start : start + len(magic)] == magic:
            raise CheckpointError(f"this is {what}; {remedy}")
    if found := _protobuf(data):
        raise CheckpointError(f"this is {found}; {_EXPORT}")
    if data.startswith(_PICKLES):
        raise CheckpointError(f"this is a Python pickle that PyTorch didn't write (Paddle's, joblib's...); {_USE}")
    if data[257:262] == b"ustar":
        raise CheckpointError(f"this is a tar archive; {_UNPACK}")
    text = data[:256].removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"<":
        raise CheckpointError("this is a web page, not weights; download the file itself")
    if text[:1] in (b"{", b"["):
        raise CheckpointError("this is JSON text, not weights; give the folder that it lies in, or the weights file")
    if data[:1] in (b"\x81", b"\x82", b"\x83", b"\xde") and b"params" in data[:64]:
        raise CheckpointError(f"this is a msgpack file, as Flax writes them; {_USE}")


def refuse_zip(names: list[str]) -> None:
    """Raise CheckpointError that says what a zip with these entries is, which PyTorch didn't write as weights."""
    for ending, what, remedy in _PACKED:
        if any(name.endswith(ending) for name in names):
            raise CheckpointError(f"this is {what}; {remedy}")
    raise CheckpointError("its zip holds no data.pkl, so PyTorch didn't write it as weights")


def of_folder(names: list[str]) -> str:
    """What the files of a folder without weights are, as a clause; empty if none is known."""
    if steps := [name for name in names if re.fullmatch(r"checkpoint-\d+", name)]:
        return f"but a training's {', '.join(steps[:4])}: give the folder of one"
    for name in names:
        for ending, what in _ENDINGS:
            if name.endswith(ending):
                return f"{name} is {what}, which can't be read here"
    return ""


def _protobuf(data: bytes) -> str | None:
    """ONNX, Core ML or a SavedModel: all begin with a small version number, and what comes next tells them apart."""
    if data[:1] != b"\x08" or len(data) < 8 or not 0 < data[1] < 64:
        return None
    after = next((i + 1 for i in range(3, 8) if data[i] < 0x80), 8)  # behind a length of several bytes
    if data[1:3] == b"\x01\x12":  # version 1, which ONNX had left behind before PyTorch wrote any
        return "a TensorFlow SavedModel"
    if data[2] == 0x12 and data[after : after + 1] == b"\x0a":  # a description, which begins with an input's tag
        return "a Core ML model"
    return "an ONNX model" if data[2] in _ONNX_FIELDS else None

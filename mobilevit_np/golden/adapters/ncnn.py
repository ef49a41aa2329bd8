"""An ncnn port's activations, the outputs of every layer in its .param file, and the weights in its .bin file.

pnnx writes both. A value has its layer's name (``conv_45``); the network's output, the blob ``out0``, is ``logits``.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ...errors import InputError
from ...formats import files
from ..file import LOGITS, PIXELS, Golden
from ..identity import parameter_name
from .collecting import framework, input_of

_COPIES = ("Input", "Split")  # repeat known values
_HALF = 0x01306B47  # ncnn's mark of float16
_WEIGHTS = {  # a layer's kind -> the arguments with its number of weights, whether it has a bias, and how long that is
    "Convolution": (6, 5, 0),
    "ConvolutionDepthWise": (6, 5, 0),
    "InnerProduct": (2, 1, 0),
}


class Layer(NamedTuple):
    """A line of the .param file."""

    kind: str
    name: str
    outputs: list[str]
    arguments: dict[str, str]

    def integer(self, key: int, default: int = 0) -> int:
        """The numbered argument ``key``."""
        return int(self.arguments.get(str(key), default))


def record_ncnn(param: str | Path, source: Golden | np.ndarray, *, half: bool = True) -> dict[str, np.ndarray]:
    """Run a .param file, with its .bin beside it, on a golden's input (or pixel values): every layer's output.

    The weights come first, as ``parameters/LAYER/NAME``. By ncnn's default, numbers are stored in float16 wherever
    that's fast; with ``half=False`` everything is float32, which is where to begin. Raises MissingExtraError without
    ncnn, InputError if the files can't be read, or if ncnn doesn't know a layer or can't compute it.
    """
    ncnn = framework("ncnn", "ncnn")
    pixels = input_of(source)
    layers = _layers(param)
    binary = Path(param).with_suffix(".bin")
    net = ncnn.Net()
    if not half:
        for name in ("fp16_packed", "fp16_storage", "fp16_arithmetic", "bf16_storage"):
            setattr(net.opt, f"use_{name}", False)
    net.opt.use_vulkan_compute = False
    net.opt.lightmode = False  # which would free values after their use
    if net.load_param(os.fspath(param)) or net.load_model(os.fspath(binary)):
        raise InputError(f"ncnn can't load {param}{_strange(layers)}")
    seen = {}
    with net.create_extractor() as extractor:
        extractor.input(layers[0].outputs[0], ncnn.Mat(pixels, batch_index=0).clone())
        for layer in layers:
            for blob in layer.outputs if layer.kind not in _COPIES else ():
                failed, value = extractor.extract(blob)
                if failed:
                    raise InputError(f"ncnn can't compute {layer.name}, a {layer.kind}, of {param}")
                seen[_called(layer, blob)] = value.numpy(batch_index=0).copy()
    return {**_parameters(layers, _read(binary)), PIXELS: pixels, **seen}


def _called(layer: Layer, blob: str) -> str:
    if blob == "out0":
        return LOGITS
    return layer.name if len(layer.outputs) == 1 else f"{layer.name}:{layer.outputs.index(blob)}"


def _strange(layers: list[Layer]) -> str:
    """The layers that pnnx left as they were in PyTorch, since ncnn hasn't got them."""
    strange = [layer for layer in layers if "." in layer.kind]
    if not strange:
        return ""
    return f": it has no layer {strange[0].kind} ({len(strange)} here, {strange[0].name} first)"


def _layers(param: str | Path) -> list[Layer]:
    """The layers, in order of execution. Raises InputError."""
    lines = _read(param).decode(errors="replace").splitlines()
    if lines[:1] != ["7767517"] or len(lines) < 3:
        raise InputError(f"{param} isn't a .param file of ncnn's")
    return [_layer(line.split()) for line in lines[2:] if line.strip()]


def _layer(words: list[str]) -> Layer:
    kind, name, taken, given = words[:4]
    start = 4 + int(taken)
    end = start + int(given)
    return Layer(kind, name, words[start:end], dict(word.split("=", 1) for word in words[end:] if "=" in word))


def _parameters(layers: list[Layer], data: bytes) -> dict[str, np.ndarray]:
    """The weights by name; none if the file has layers whose weights aren't known here."""
    found: dict[str, np.ndarray] = {}
    at = 0
    try:
        for layer in layers:
            for leaf, count, marked in _held(layer):
                dtype: np.dtype = np.dtype(np.float32)
                if marked:
                    mark, at = int.from_bytes(data[at : at + 4], "little"), at + 4
                    dtype = {0: dtype, _HALF: np.dtype(np.float16)}[mark]
                array = np.frombuffer(data, dtype, count, at).astype(np.float32)
                at += -(-count * dtype.itemsize // 4) * 4
                found[parameter_name(layer.name, leaf)] = _shaped(layer, array) if leaf == "weight" else array
    except (KeyError, ValueError):  # quantized, or beyond the file's end
        return {}
    return found if at == len(data) else {}


def _held(layer: Layer) -> Iterator[tuple[str, int, bool]]:
    """Names and lengths of a layer's weights, and whether a mark of the dtype comes first."""
    if layer.kind in _WEIGHTS:
        weights, bias, outputs = _WEIGHTS[layer.kind]
        yield "weight", layer.integer(weights), True
        if layer.integer(bias):
            yield "bias", layer.integer(outputs), False
    elif layer.kind == "LayerNorm" and layer.integer(2, 1):
        yield from ((leaf, layer.integer(0), False) for leaf in ("weight", "bias"))


def _shaped(layer: Layer, array: np.ndarray) -> np.ndarray:
    """(O*I*H*W) -> (O, I, H, W), (O*I) -> (O, I), (D) -> (D)"""
    if layer.kind == "LayerNorm":
        return array
    if layer.kind == "InnerProduct":
        return array.reshape(layer.integer(0), -1)
    width = layer.integer(1)
    height = layer.integer(11, width)
    return array.reshape(layer.integer(0), -1, height, width)


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"can't read {path}: {files.reason(error)}") from None

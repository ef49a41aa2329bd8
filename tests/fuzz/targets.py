"""What is fed to whom: each target makes a hostile input from a generator, and hands it to the code under test.

A target is one function ``(random) -> None`` in ``TARGETS``; it may raise MobileViTError and warn, nothing else.
"""

from __future__ import annotations

import functools
import io
import json
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from mobilevit_np.checkpoints import parameter_names as names
from mobilevit_np.checkpoints import parameter_shapes, quantization
from mobilevit_np.checkpoints.configurations import full_config
from mobilevit_np.checkpoints.opening import build_checkpoint
from mobilevit_np.checkpoints.sources import Source
from mobilevit_np.formats.contents import Listing, TensorFile
from mobilevit_np.formats.files import parse_json
from mobilevit_np.formats.tensor_file import parse_tensor_file
from mobilevit_np.formats.torch_pickle import read_pickle
from mobilevit_np.formats.weights_file import WeightsFile
from mobilevit_np.golden import compare, formula, trace
from mobilevit_np.golden import file as golden_file
from mobilevit_np.golden.file import Golden
from mobilevit_np.golden.formula import network_by_formula
from mobilevit_np.golden.operators import make_operator

from . import mutations, samples

Random = np.random.Generator
SOURCE = Source("fuzzed", "file", Path("fuzzed.bin"))
FIXTURE = Path(__file__).parents[1] / "fixtures" / "torch_files.zip"
PREPROCESSOR = {
    "crop_size": {"height": 256, "width": 256}, "do_center_crop": True, "do_flip_channel_order": True,
    "do_resize": True, "do_rescale": True, "rescale_factor": 0.00392156862745098, "resample": 2,
    "size": {"shortest_edge": 288}, "image_processor_type": "MobileViTImageProcessor",
}  # fmt: skip
TIMM = {
    "architecture": "mobilevit_xxs", "num_classes": 5, "label_names": list("abcde"), "label_descriptions": {"a": "ant"},
    "pretrained_cfg": {
        "input_size": [3, 256, 256], "interpolation": "bicubic", "crop_pct": 0.9, "crop_mode": "center",
        "mean": [0.0, 0.0, 0.0], "std": [1.0, 1.0, 1.0], "num_classes": 5,
    },
}  # fmt: skip


@functools.cache
def _safetensors() -> bytes:
    return samples.safetensors_file(samples.few_tensors(), stored_as={"fc.weight": "BF16"})


@functools.cache
def _torch(number: int) -> bytes:
    tensors = samples.few_tensors()
    trees: list[Any] = [
        tensors,
        {"state_dict": tensors, "state_dict_ema": tensors, "epoch": 3, "args": (1, None, [2.5])},
    ]
    return samples.torch_file(trees[number // 2], compress=bool(number % 2))


@functools.cache
def _torch_legacy() -> bytes:
    return samples.legacy_torch_file({"state_dict": samples.few_tensors(), "epoch": 3})


def weights_of(tensors: dict[str, np.ndarray], stored: dict[str, str], **about: Any) -> WeightsFile:
    """A weights file as if it had been read."""
    file = TensorFile(tensors, stored, about.pop("format", "torch"), **about)
    return WeightsFile(Listing(tuple(tensors), file.renamed), "", 0)


def safetensors(random: Random) -> None:
    """A spoiled safetensors file; half the time one whose header is spoiled as JSON, its length right."""
    good = _safetensors()
    if random.integers(2):
        parse_tensor_file(mutations.spoil(good, random))
        return
    length = int.from_bytes(good[:8], "little")
    header = mutations.spoil_json(json.loads(good[8 : 8 + length]), random)
    parse_tensor_file(len(header).to_bytes(8, "little") + header + good[8 + length :])


def torch(random: Random) -> None:
    """A spoiled torch zip."""
    parse_tensor_file(mutations.spoil(_torch(int(random.integers(4))), random))


def torch_legacy(random: Random) -> None:
    """A spoiled file of torch's format before 1.6."""
    parse_tensor_file(mutations.spoil(_torch_legacy(), random))


def torch_pickle(random: Random) -> None:
    """A sound zip around a spoiled pickle, which a zip's sums would otherwise keep from the reader."""
    with zipfile.ZipFile(io.BytesIO(_torch(int(random.integers(4))))) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    entries["archive/data.pkl"] = mutations.spoil(entries["archive/data.pkl"], random)
    parse_tensor_file(samples.zip_file(entries))


@functools.cache
def _pickles_of_torch() -> tuple[bytes, ...]:
    """What torch.save itself wrote of training checkpoints, in each of pickle's protocols and in the format before 1.6;
    recorded, so that none of this takes torch."""
    with zipfile.ZipFile(FIXTURE) as archive:
        return tuple(archive.read(name) for name in archive.namelist())


def pickle_of_torch(random: Random) -> None:
    """A spoiled file of torch.save's own; of a zip's the pickle inside is spoiled, half the time."""
    files = _pickles_of_torch()
    data = files[random.integers(len(files))]
    if data.startswith(b"PK") and random.integers(2):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        name = next(name for name in entries if name.endswith("data.pkl"))
        parse_tensor_file(samples.zip_file({**entries, name: mutations.spoil(entries[name], random)}))
    else:
        parse_tensor_file(mutations.spoil(data, random))


def pickle_program(random: Random) -> None:
    """Opcodes at random, from those that a pickle of weights is made of."""
    pieces = [
        b"\x80\x02",
        *(mutations.TOKENS[i] for i in random.integers(0, len(mutations.TOKENS), random.integers(1, 40))),
    ]
    read_pickle(b"".join(pieces) + b".")


@functools.cache
def _tensors(task: str, scheme: str) -> dict[str, np.ndarray]:
    tensors = names.to_hugging_face(samples.tiny_tensors(task), names.HUGGING_FACE)
    return names.from_hugging_face(tensors, scheme)


def network(random: Random) -> None:
    """A whole tiny network whose tensors were dropped, renamed, reshaped, recast or poisoned."""
    task = ("classifier", "segmenter", "backbone")[random.integers(3)]
    schemes = [scheme for scheme in names.SCHEMES if task != "segmenter" or scheme != names.TIMM]
    tensors = dict(_tensors(task, schemes[random.integers(len(schemes))]))
    for _ in range(random.integers(1, 4)):
        _spoil_tensors(tensors, random)
    stored = {name: {"f": "F32", "i": "I64"}.get(tensor.dtype.kind, "U8") for name, tensor in tensors.items()}
    config = full_config(samples.tiny_config(task), task, ()) if random.integers(2) else None
    options = {"task": ("classifier", "segmenter", "backbone")[random.integers(3)]} if random.integers(3) == 0 else {}
    build_checkpoint(SOURCE, weights_of(tensors, stored), config, None, **options)


@functools.cache
def _quantized() -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with mock.patch.object(quantization, "MIN_SIZE", 0):  # all weights of a tiny network are small
        return quantization.quantize_tensors(samples.tiny_tensors())


def quantized(random: Random) -> None:
    """A tiny network of int8 weights whose tensors, scales among them, were dropped, reshaped, recast or poisoned."""
    tensors, stored = map(dict, _quantized())
    for _ in range(random.integers(1, 4)):
        _spoil_tensors(tensors, random)
    kinds = {"int8": "I8", "float64": "F64", "float32": "F32", "float16": "F16"}
    stored = {name: kinds.get(tensor.dtype.name, stored.get(name, "U8")) for name, tensor in tensors.items()}
    metadata = (quantization.METADATA, {}, {"quantization": "odd\n"})[random.choice(3, p=(0.8, 0.1, 0.1))]
    build_checkpoint(SOURCE, weights_of(tensors, stored, metadata=metadata), None, None)


def _spoil_tensors(tensors: dict[str, np.ndarray], random: Random) -> None:
    name = list(tensors)[random.integers(len(tensors))] if tensors else "x"
    tensor = tensors.pop(name, np.zeros(3))
    new: list[Callable[[], dict[str, np.ndarray]]] = [
        lambda: {},
        lambda: {name + ".x": tensor},
        lambda: {name.replace("layer", "stages"): tensor},
        lambda: {name: tensor[None]},
        lambda: {name: tensor.reshape(-1)[: random.integers(0, tensor.size + 1)]},
        lambda: {name: np.zeros(0)},
        lambda: {name: np.zeros((), tensor.dtype)},
        lambda: {name: tensor.astype(("f8", "f2", "i8", "i1", "u1", "?")[random.integers(6)])},
        lambda: {name: np.full(tensor.shape, (np.nan, np.inf, 1e30)[random.integers(3)])},
        lambda: {name: tensor, STRANGERS[random.integers(len(STRANGERS))]: tensor},
    ]
    tensors.update(new[random.integers(len(new))]())


STRANGERS = (
    "",
    "two\nlines",
    "classifier.weight",
    "segmentation_head.classifier.convolution.weight",
    "seg_head.aux_head.0.block.conv.weight",
    "head.fc.weight",
    "stem.conv.weight",
    "conv_1.block.conv.weight",
    "encoder.conv_1.block.conv.weight",
    "mobilevit.conv_1x1_exp.convolution.weight",
    "conv_stem.convolution.weight",
    "mobilevit.conv_stem.activation.weight",
    "optimizer.state",
)


def config(random: Random) -> None:
    """A spoiled config.json and preprocessor_config.json, beside sound weights."""
    timm = bool(random.integers(2))
    good = TIMM if timm else full_config(samples.tiny_config(), "classifier", tuple("abcde"))
    data = mutations.spoil_json(good, random)
    settings = (
        parse_json(mutations.spoil_json(PREPROCESSOR, random), "preprocessor_config.json")
        if random.integers(2)
        else None
    )
    fields = parse_json(data, "config.json")
    tensors = _tensors("classifier", names.TIMM if timm else names.HUGGING_FACE)
    stored = dict.fromkeys(tensors, "F32")
    checkpoint = build_checkpoint(SOURCE, weights_of(tensors, stored), fields, settings)
    assert checkpoint.profile is not None
    assert len(checkpoint.labels) == checkpoint.config.num_labels


def network_config(random: Random) -> None:
    """A spoiled configuration by itself: a network is described, or the error says why not."""
    from mobilevit_np.checkpoints.configurations import network_fields
    from mobilevit_np.config import NetworkConfig

    fields = network_fields(
        parse_json(mutations.spoil_json(full_config(samples.tiny_config(), "classifier", ()), random), "x")
    )
    parameter_shapes(NetworkConfig(**fields), ("classifier", "segmenter", "backbone")[random.integers(3)])


@functools.cache
def _golden(number: int) -> Golden:
    if number:
        return make_operator(("gelu", "self_attention")[number - 1])
    config = samples.tiny_config()
    pixels = np.random.default_rng(0).random((1, 3, 32, 32)).astype(np.float32)
    return trace(pixels, network_by_formula(config, "classifier", 0))


def golden(random: Random) -> None:
    """A golden file whose metadata, tensors or bytes were spoiled; what is read is compared with the good one."""
    good = _golden(int(random.integers(3)))
    suffix = (".npz", ".safetensors")[random.integers(2)]
    tensors = dict(good.tensors)
    about = mutations.spoil_json(json.loads(golden_file._about(good)), random).decode("utf-8", "replace")
    if random.integers(3) == 0:
        _spoil_tensors(tensors, random)
    with mock.patch.object(golden_file, "_about", return_value=about):
        data = golden_file._SERIALIZE[suffix](replace(good, tensors=tensors))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"golden{suffix}")
        path.write_bytes(mutations.spoil(data, random) if random.integers(4) == 0 else data)
        found = golden_file.read_golden(path)
    if random.integers(3) == 0:
        compare(found, dict(good.tensors), network=formula.find(found) if random.integers(8) == 0 else None)


def npz(random: Random) -> None:
    """A spoiled .npz, compressed or not, or .npy, as a port's tensors."""
    out = io.BytesIO()
    if random.integers(4) == 0:
        np.save(out, samples.few_tensors()["stem.weight"])
    else:
        (np.savez, np.savez_compressed)[random.integers(2)](out, **samples.few_tensors())
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "port.npz")
        path.write_bytes(mutations.spoil(out.getvalue(), random))
        golden_file.read_tensors(path)


PHOTOS = (
    ("PNG", "RGB"), ("PNG", "P"), ("PNG", "1"), ("JPEG", "RGB"), ("JPEG", "CMYK"), ("GIF", "P"),
    ("BMP", "RGB"), ("TIFF", "F"), ("PPM", "L"), ("PNG", "RGBA"), ("PNG", "I;16"), ("TGA", "RGB"), ("WEBP", "RGB"),
    ("JPEG2000", "RGB"), ("ICO", "RGB"), ("SGI", "RGB"), ("PCX", "RGB"), ("TIFF", "P"), ("JPEG", "L"), ("WEBP", "RGBA"),
)  # fmt: skip


@functools.cache
def _photos() -> tuple[bytes, ...]:
    from PIL import Image

    random = np.random.default_rng(0)
    pixels = Image.fromarray(random.integers(0, 256, (9, 14, 3), dtype=np.uint8))
    files = []
    for kind, mode in PHOTOS:
        out = io.BytesIO()
        options = {"compression": "tiff_lzw"} if (kind, mode) == ("TIFF", "P") else {"progressive": mode == "L"}
        (Image.new(mode, (9, 9)) if mode == "I;16" else pixels.convert(mode)).save(out, kind, **options)
        files.append(out.getvalue())
    return tuple(files)


def image(random: Random) -> None:
    """A spoiled photo."""
    from mobilevit_np.preprocess import decode

    photos = _photos()
    decode(mutations.spoil(photos[random.integers(len(photos))], random), max_pixels=1_000_000)


TARGETS: dict[str, Callable[[Random], None]] = {
    function.__name__: function
    for function in (
        safetensors,
        torch,
        torch_legacy,
        torch_pickle,
        pickle_program,
        network,
        quantized,
        config,
        network_config,
        image,
        golden,
        npz,
        pickle_of_torch,
    )
}
SHARES = {  # of a hundred cases: a whole network takes a thousand times as long as a format
    "safetensors": 14,
    "torch": 12,
    "torch_legacy": 5,
    "torch_pickle": 16,
    "pickle_program": 12,
    "network": 4,
    "quantized": 3,
    "config": 4,
    "network_config": 5,
    "image": 15,
    "golden": 1,
    "npz": 6,
    "pickle_of_torch": 3,
}

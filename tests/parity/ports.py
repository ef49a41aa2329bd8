"""Real ports held against golden files: ``python tests/parity/ports.py`` prints the table of tutorials/ports.md.

transformers and timm in PyTorch, seen by hooks; transformers' models exported by PyTorch, to ONNX in both of its ways,
and converted for further backends; a port of our own to JAX. With ``--all``, the slow conversions too, and those by
ExecuTorch and LiteRT if they're installed, which weigh more than all the others together.
TensorFlow's and TFLite's are in tests/parity_tf, which needs an environment of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import importlib.metadata
import io
import logging
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[up]) for up in (0, 1, 2)]
    import conftest  # noqa: F401  # timm and transformers can't be imported without it

import jax
import jax_port
import ncnn
import ncnn_files
import numpy as np
import onnxruntime
import openvino
import oracle
import timm
import torch
import tract
import transformers
from golden_models import hugging_face, ross
from port_table import Port, golden_and_network, print_table

from mobilevit_np.golden.adapters import (
    record_executorch,
    record_exported,
    record_mnn,
    record_ncnn,
    record_onnx,
    record_openvino,
    record_tflite,
    record_torch,
    record_tract,
)

WAYS = {"traced": {"dynamo": False}, "exported": {"dynamo": True, "external_data": False, "verbose": False}}
# What the command mnnconvert calls, without MNN.tools around it: that runs pip, and reports what was converted.
MNN_CONVERT = """
import _tools, sys
given, made = sys.argv[1:]
_tools.mnnconvert(["mnnconvert", "-f", "ONNX", "--modelFile", given, "--MNNModel", made, "--bizCode", "port"])
"""


def pixels_of(task: str) -> torch.Tensor:
    """A network's input."""
    return torch.from_numpy(golden_and_network(task)[0].tensors["pixel_values"].astype(np.float32))


def to_onnx(model: torch.nn.Module, task: str, way: str = "traced") -> bytes:
    """A model as ONNX, in one of the two ways that PyTorch has."""
    pixels = pixels_of(task)
    buffer = io.BytesIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():  # the exporters deprecate one another
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (pixels,), buffer, input_names=["pixel_values"], output_names=["logits"], **WAYS[way])
    return buffer.getvalue()


@functools.cache
def onnx_file(task: str, way: str) -> bytes:
    """transformers' model as ONNX."""
    return to_onnx(hugging_face(task), task, way)


@functools.cache
def exported(task: str) -> torch.export.ExportedProgram:
    """transformers' model as PyTorch exports it by itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of PyTorch's own code
        return torch.export.export(hugging_face(task), (pixels_of(task),))


def record(title: str, task: str) -> Port:
    """One of the ports, run."""
    golden = golden_and_network(task)[0]
    return Port(title, task, ALL[title, task](golden), PRECISIONS.get(title))


def _onnx(way: str, task: str, golden: Any) -> dict[str, np.ndarray]:
    return record_onnx(onnx_file(task, way), golden)


def _tract(task: str, golden: Any) -> dict[str, np.ndarray]:
    return record_tract(onnx_file(task, "traced"), golden)


def _openvino(precision: str, task: str, golden: Any) -> dict[str, np.ndarray]:
    model = openvino.Core().read_model(onnx_file(task, "traced"))
    return record_openvino(model, golden, precision=precision)


def _ncnn(half: bool, task: str, golden: Any) -> dict[str, np.ndarray]:
    model = ncnn_files.rewrite(hugging_face(task))
    with tempfile.TemporaryDirectory() as folder:
        param = ncnn_files.convert(model, golden.tensors["pixel_values"], Path(folder))
        return record_ncnn(param, golden, half=half)


def mnn_file(model: bytes, folder: Path) -> Path:
    """An ONNX file's content, converted by MNN's converter, in a process of its own: it prints."""
    given, made = folder / "port.onnx", folder / "port.mnn"
    given.write_bytes(model)
    subprocess.run([sys.executable, "-c", MNN_CONVERT, str(given), str(made)], check=True, capture_output=True)
    return made


def _mnn(task: str, golden: Any) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        return record_mnn(mnn_file(onnx_file(task, "traced"), Path(folder)), golden)


def _jax(task: str, golden: Any) -> dict[str, np.ndarray]:
    tensors = golden_and_network(task)[1].tensors
    return jax_port.run(task, tensors, golden.config, golden.tensors["pixel_values"])


def _from_torch(task: str, golden: Any) -> dict[str, np.ndarray]:
    model = openvino.convert_model(hugging_face(task), example_input=pixels_of(task))
    return record_openvino(model, golden, precision="f32")


def _exported(task: str, golden: Any) -> dict[str, np.ndarray]:
    return record_exported(exported(task), golden)


def _executorch(task: str, golden: Any) -> dict[str, np.ndarray]:
    return record_executorch(exported(task), golden)


def _litert(task: str, golden: Any) -> dict[str, np.ndarray]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "port.tflite"
        converted = importlib.import_module("litert_torch").convert(hugging_face(task), (pixels_of(task),))
        converted.export(str(path))
        return record_tflite(path, golden)


HF, ROSS = f"transformers {transformers.__version__}", f"timm {timm.__version__}"
RUNTIME = f"ONNX Runtime {onnxruntime.__version__}"
PORTS = {
    **{(HF, task): lambda golden, task=task: record_torch(hugging_face(task), golden) for task in oracle.CLASSES},
    (ROSS, "classifier"): lambda golden: record_torch(ross(), golden),
    **{
        (f"{RUNTIME}, {way}", task): functools.partial(_onnx, way, task)
        for way in WAYS
        for task in ("classifier", "segmenter")
    },
}

VINO, TRACT = f"OpenVINO {openvino.__version__.partition('-')[0]}", f"tract {tract.version()}"
NCNN = f"ncnn {ncnn.__version__} through pnnx"
MNN = f"MNN {importlib.metadata.version('MNN')}"
EXPORT = f"torch.export, PyTorch {torch.__version__.partition('+')[0]}"
BF16, FP16 = f"{VINO}, bf16", f"{NCNN}, float16"
PRECISIONS = {BF16: "bfloat16", FP16: "float16"}
TASKS = ("classifier", "segmenter")
BACKENDS = {
    **{(EXPORT, task): functools.partial(_exported, task) for task in TASKS},
    **{(f"{VINO}, f32, from ONNX", task): functools.partial(_openvino, "f32", task) for task in TASKS},
    **{(f"a port to JAX {jax.__version__}", task): functools.partial(_jax, task) for task in TASKS},
    **{(TRACT, task): functools.partial(_tract, task) for task in TASKS},
    **{(f"{NCNN}, float32", task): functools.partial(_ncnn, False, task) for task in TASKS},
    **{(MNN, task): functools.partial(_mnn, task) for task in TASKS},
}
if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):  # others compute in f32, unasked
    BACKENDS |= {(BF16, task): functools.partial(_openvino, "bf16", task) for task in TASKS}
SLOW = {
    **{(f"{VINO}, f32, from PyTorch", task): functools.partial(_from_torch, task) for task in TASKS},
    **{(FP16, task): functools.partial(_ncnn, True, task) for task in TASKS},
}
for package, record_it in (("executorch", _executorch), ("litert-torch", _litert)):
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        title = f"{package} {importlib.metadata.version(package)}, float32"
        SLOW |= {(title, task): functools.partial(record_it, task) for task in TASKS}
ALL = PORTS | BACKENDS | SLOW


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="the slow conversions, too")
    sys.exit(print_table(ALL if parser.parse_args().all else PORTS | BACKENDS, record))

"""Who can be in a race: ``CONTENDERS``, our engines and the peers, each at its best.

To add one, write ``load(cell, threads, model) -> Runner`` and its line in the table. ``load`` runs in the contender's
own process. A peer is imported by name in there: types are checked, and the others race, where it isn't installed.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import shutil
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from mobilevit_np import matrix_library
from mobilevit_np._version import __version__
from mobilevit_np.engines import ENGINES, compile_network
from mobilevit_np.errors import InputError, MissingExtraError
from mobilevit_np.scope import Scope

from .cells import Cell
from .with_transformers import import_transformers

FAST = "fast"
VERSION = f"mobilevit_np {__version__}"
INPUT, OUTPUT = "pixel_values", "logits"
OPSET = 17  # the first with LayerNormalization, which runtimes compute in one step
_CLASSES = {
    "classifier": "MobileViTForImageClassification",
    "segmenter": "MobileViTForSemanticSegmentation",
}


@dataclass(frozen=True)
class Runner:
    """A contender, loaded. Only ``call`` is timed.

    ``draw(number)`` gives an input in the contender's own kind of array, ``answer`` makes of what ``call`` returns
    NumPy's. ``compile_seconds``: what it took to compile, where that's done before anything is timed.
    """

    draw: Callable[[int], Any]
    call: Callable[[Any], Any]
    answer: Callable[[Any], np.ndarray]
    version: str
    compile_seconds: float | None = None


def use_threads(engine: str, threads: int) -> None:
    """Let an engine run on ``threads`` threads; the reference's are the matrix library's, set by ``environment``."""
    if engine == FAST:
        from mobilevit_np import fast

        fast.use_threads(threads)


def _load_engine(name: str, cell: Cell, threads: int, _: str | None) -> Runner:
    use_threads(name, threads)
    network = compile_network(name, cell.task, Scope(cell.tensors()), cell.config)
    return Runner(cell.pixel_values, network, np.asarray, VERSION)


def _load_torch(
    cell: Cell, threads: int, _: str | None, *, channels_last: bool = False, compiled: bool = False
) -> Runner:
    torch = import_module("torch")
    torch.set_num_threads(threads)
    layout = {"memory_format": torch.channels_last} if channels_last else {}
    model = _transformers_model(cell).to(**layout)
    if compiled:
        model = torch.compile(model, dynamic=False)

    def draw(number: int) -> Any:
        return torch.from_numpy(cell.pixel_values(number)).to(**layout)

    def call(pixel_values: Any) -> Any:
        with torch.inference_mode():
            return model(pixel_values).logits

    version = f"torch {torch.__version__}, transformers {import_transformers().__version__}"
    seconds = _first_call(lambda: call(draw(0))) if compiled else None
    return Runner(draw, call, lambda logits: logits.numpy(), version, seconds)


def _first_call(call: Callable[[], object]) -> float:
    """The seconds of a call that compiles, from nothing: what was compiled before isn't found, and nothing is kept.

    Only the header that PyTorch compiles once, for all programs, stays in its own cache.
    """
    folder = tempfile.TemporaryDirectory(prefix="mobilevit-np-", ignore_cleanup_errors=True)
    with folder as cache, mock.patch.dict(os.environ, TORCHINDUCTOR_CACHE_DIR=cache):
        start = time.perf_counter()
        call()
        return time.perf_counter() - start


def _load_onnxruntime(cell: Cell, threads: int, model: str | None) -> Runner:
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return _onnx_runner(cell, session, f"onnxruntime {runtime.__version__}")


def _load_openvino(cell: Cell, threads: int, model: str | None) -> Runner:
    openvino = import_module("openvino")
    hints = {
        "INFERENCE_PRECISION_HINT": "f32",  # where a processor has bfloat16, that's the default
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        "ENABLE_HYPER_THREADING": True,  # else it may take fewer threads than it's told to
    }
    request = openvino.Core().compile_model(model, "CPU", hints).create_infer_request()

    def call(given: np.ndarray) -> Any:
        return request.infer({INPUT: given}, share_inputs=True)[OUTPUT]  # a copy, which the next call leaves alone

    return Runner(cell.pixel_values, call, np.asarray, f"openvino {openvino.__version__.partition('-')[0]}")


def _load_onnx_reference(cell: Cell, _: int, model: str | None) -> Runner:
    onnx, reference = import_module("onnx"), import_module("onnx.reference")
    return _onnx_runner(cell, reference.ReferenceEvaluator(model), f"onnx {onnx.__version__}")


def _onnx_runner(cell: Cell, session: Any, version: str) -> Runner:
    return Runner(cell.pixel_values, lambda given: session.run([OUTPUT], {INPUT: given})[0], np.asarray, version)


@dataclass(frozen=True)
class Entry:
    """How a contender is loaded: from its cell, on so many threads, from the cell's ONNX file if it ``reads_onnx``.

    ``on_request``: it takes patience, so it runs only if it's named. ``most_rounds``: it takes part in no more.
    """

    load: Callable[[Cell, int, str | None], Runner]
    packages: tuple[str, ...] = ()  # what a peer needs; our engines need nothing
    reads_onnx: bool = False
    compiles: bool = False  # with a C++ compiler
    on_request: bool = False
    most_rounds: int | None = None


_TORCH = ("torch", "transformers")
CONTENDERS = {
    **{name: Entry(partial(_load_engine, name)) for name in ENGINES},
    "torch": Entry(_load_torch, _TORCH),
    "torch-channels-last": Entry(partial(_load_torch, channels_last=True), _TORCH),
    "torch-compile": Entry(partial(_load_torch, compiled=True), _TORCH, compiles=True, on_request=True),
    "onnxruntime": Entry(_load_onnxruntime, ("onnxruntime", "onnx", *_TORCH), reads_onnx=True),
    "openvino": Entry(_load_openvino, ("openvino", "onnx", *_TORCH), reads_onnx=True),
    "onnx-reference": Entry(_load_onnx_reference, ("onnx", *_TORCH), reads_onnx=True, on_request=True, most_rounds=3),
}
PEERS = tuple(name for name in CONTENDERS if name not in ENGINES)


def environment(name: str, threads: int) -> dict[str, str]:
    """The environment variables for a contender's process: as many threads for each, however it makes them.

    The fast engine's threads are Python's, so that each of its matrix products is to stay in one.
    PyTorch compiles with weights as constants: it folds batch norm, and lays matrices out for the processor. Nothing is
    asked of the network, and no greetings are printed.
    """
    number = "1" if name == FAST else str(threads)
    return {
        **dict.fromkeys(matrix_library.VARIABLES, number),
        "TORCHINDUCTOR_COMPILE_THREADS": number,
        "TORCHINDUCTOR_FREEZING": "1",  # as an option of torch.compile it comes too late to be heard everywhere
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }


def choose_peers(wanted: Sequence[str] | None) -> tuple[list[str], dict[str, str]]:
    """The peers to run, and ``{name: how to install it}`` of those that were left out.

    ``wanted``: None for all installed ones that take no patience; names; or "none" or "all" alone.
    Raises MissingExtraError where a peer named isn't installed, InputError for an unknown name.
    """
    if wanted == ["none"]:
        return [], {}
    if wanted and wanted != ["all"]:
        return _named(wanted), {}
    names = [name for name in PEERS if wanted or not CONTENDERS[name].on_request]
    missing = {name: _how_to_install(name) for name in names if not installed(name)}
    return [name for name in names if name not in missing], missing


def installed(name: str) -> bool:
    """Whether all that a peer needs is there; nothing of it is imported."""
    entry = CONTENDERS[name]
    return all(map(importlib.util.find_spec, entry.packages)) and (not entry.compiles or _can_compile())


def _can_compile() -> bool:
    """Whether there is what PyTorch's compiled code is made with: a C++ compiler, and Python's headers."""
    compiler = os.environ.get("CXX") or {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return bool(shutil.which(compiler)) and Path(sysconfig.get_path("include"), "Python.h").exists()


def _how_to_install(name: str) -> str:
    entry = CONTENDERS[name]
    more = ", and a C++ compiler with Python's headers" if entry.compiles else ""
    return f"pip install {' '.join(entry.packages)}{more}"


def _named(wanted: Sequence[str]) -> list[str]:
    for name in wanted:
        if name not in PEERS:
            raise InputError(f"there is no peer {name!r}; known are {', '.join(PEERS)}, and alone none or all")
        if not installed(name):
            raise MissingExtraError(f"{name} isn't installed; {_how_to_install(name)}, or leave it out of --peers")
    return list(dict.fromkeys(wanted))


def _transformers_model(cell: Cell) -> Any:
    """transformers' own model of the cell's network, holding the cell's weights."""
    torch, transformers = import_module("torch"), import_transformers()
    config = transformers.MobileViTConfig(**dataclasses.asdict(cell.config))
    model = getattr(transformers, _CLASSES[cell.task])(config).eval()
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in cell.tensors().items()})
    return model


def export(cells: Iterable[Cell], folder: str) -> None:
    """Write each cell's network as ONNX, from transformers' model, for its very batch and size: all shapes are known.

    By PyTorch's exporter that traces: it takes a second where the newer one takes ten, and ONNX Runtime makes no more
    operations of the result.
    """
    torch = import_module("torch")
    for cell in cells:
        model = _transformers_model(cell)
        model.config.return_dict = False
        pixel_values = torch.from_numpy(cell.pixel_values(0))
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it traces, and that the other exporter is newer
            torch.onnx.export(
                model,
                (pixel_values,),
                onnx_file(cell, folder),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=OPSET,
                dynamo=False,
            )


def onnx_file(cell: Cell, folder: str) -> str:
    """Where ``export`` puts the cell's network."""
    return str(Path(folder) / f"{cell.task}-{cell.variant}-{cell.batch}-{cell.size}.onnx")

"""Floor 5.5. The peers, each at its best: PyTorch, ONNX Runtime, onnx's own evaluator. Imports cells and errors.

None of them is a dependency. They're imported by name inside these functions, which run in processes of their own:
the types of this package are checked, and all the rest of it works, without them.
"""

from __future__ import annotations

import dataclasses
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from .cells import Cell

Loaded = tuple[Callable[[Any], Any], Callable[[np.ndarray], Any], Callable[[Any], np.ndarray], str]
INPUT, OUTPUT = "pixel_values", "logits"
OPSET = 17  # the first with LayerNormalization, which runtimes compute in one step
_CLASSES = {
    "classifier": "MobileViTForImageClassification",
    "segmenter": "MobileViTForSemanticSegmentation",
}


def import_transformers() -> Any:
    """transformers, ready to use.

    PyTorch's CPU builds often find a torchvision without its C++ operators beside them. It registers fakes for these as
    it's imported, which then fails, and transformers with it, which needs none of them. So those fakes are skipped.
    """
    library = import_module("torch").library
    register = library.register_fake

    def register_fake(op: Any, *arguments: Any, **options: Any) -> Any:
        return (lambda fake: fake) if str(op).startswith("torchvision::") else register(op, *arguments, **options)

    library.register_fake = register_fake
    return import_module("transformers")


def build_model(cell: Cell) -> Any:
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
        model = build_model(cell)
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


def _load_torch(cell: Cell, threads: int, _: str | None, *, channels_last: bool = False) -> Loaded:
    torch = import_module("torch")
    torch.set_num_threads(threads)
    layout = {"memory_format": torch.channels_last} if channels_last else {}
    model = build_model(cell).to(**layout)

    def call(pixel_values: Any) -> Any:
        with torch.inference_mode():
            return model(pixel_values).logits

    def bring(pixel_values: np.ndarray) -> Any:
        return torch.from_numpy(pixel_values).to(**layout)

    version = f"torch {torch.__version__}, transformers {import_transformers().__version__}"
    return call, bring, lambda logits: logits.numpy(), version


def _load_torch_channels_last(cell: Cell, threads: int, model: str | None) -> Loaded:
    return _load_torch(cell, threads, model, channels_last=True)


def _load_onnxruntime(_: Cell, threads: int, model: str | None) -> Loaded:
    runtime = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return _onnx_call(session), _contiguous, _same, f"onnxruntime {runtime.__version__}"


def _load_onnx_reference(_: Cell, threads: int, model: str | None) -> Loaded:
    onnx, reference = import_module("onnx"), import_module("onnx.reference")
    return _onnx_call(reference.ReferenceEvaluator(model)), _contiguous, _same, f"onnx {onnx.__version__}"


def _onnx_call(session: Any) -> Callable[[Any], Any]:
    return lambda pixel_values: session.run([OUTPUT], {INPUT: pixel_values})[0]


def _contiguous(pixel_values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixel_values)


def _same(logits: Any) -> np.ndarray:
    return np.asarray(logits)


@dataclass(frozen=True)
class Peer:
    """What a peer needs, and how it's loaded."""

    load: Callable[[Cell, int, str | None], Loaded]
    packages: tuple[str, ...]
    reads_onnx: bool = False
    slow: bool = False  # runs on request only, and in few rounds


_TORCH = ("torch", "transformers")
PEERS = {
    "torch": Peer(_load_torch, _TORCH),
    "torch-channels-last": Peer(_load_torch_channels_last, _TORCH),
    "onnxruntime": Peer(_load_onnxruntime, ("onnxruntime", "onnx", *_TORCH), reads_onnx=True),
    "onnx-reference": Peer(_load_onnx_reference, ("onnx", *_TORCH), reads_onnx=True, slow=True),
}


def quiet() -> None:
    """Nothing is asked of the network, and no greetings are printed; before the peers are imported."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

"""An ONNX port's activations, every value of the graph as ONNX Runtime computes it, and its constants.

``torch.onnx.export`` names values by the module they come from (``/mobilevit/conv_stem/convolution/Conv_output_0``);
its newer exporter keeps that in the node's metadata instead, and such values get names of the first form here.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import ast
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...formats import files
from ..file import PIXELS, Golden
from ..identity import parameter_name
from .collecting import fed, framework, input_of

_INSTALL = "onnx onnxruntime"
_SCOPES = "pkg.torch.onnx.name_scopes"  # a node's metadata: the names of the modules around it, and its own


def record_onnx(model: str | Path | bytes, source: Golden | np.ndarray) -> dict[str, np.ndarray]:
    """Run a file (or its bytes) on a golden's input (or pixel values): every computed value, by name.

    What doesn't depend on the input comes first, as ``parameters/VALUE/NAME`` of the value computed from it. ONNX
    Runtime's graph optimizations are off: the values are those of the file. The network's input is the first;
    channels may come last in it. Raises MissingExtraError without onnx or onnxruntime, InputError if the file can't be
    read or takes another size.
    """
    runtime = framework("onnxruntime", _INSTALL)

    def run(proto: Any, names: list[str], pixels: np.ndarray) -> list[Any]:
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(names, {session.get_inputs()[0].name: pixels})

    return record_graph(model, source, run, _INSTALL)


def record_graph(
    model: str | Path | bytes,
    source: Golden | np.ndarray,
    run: Callable[[Any, list[str], np.ndarray], Iterable[Any]],
    install: str,
) -> dict[str, np.ndarray]:
    """An ONNX file recorded in any runtime.

    ``run(proto, names, pixel_values)`` returns the values of these names, all of which are outputs of the graph.
    """
    onnx = framework("onnx", install)
    proto = _read(onnx, model)
    names = _names(proto.graph)
    known = {output.name for output in proto.graph.output}
    held = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    given = next(entry for entry in proto.graph.input if entry.name not in held).type.tensor_type
    held |= _constants(onnx, proto.graph)
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    pixels = input_of(source, onnx.helper.tensor_dtype_to_np_dtype(given.elem_type))
    shape = [entry.dim_value if entry.HasField("dim_value") else None for entry in given.shape.dim]
    found = run(proto, list(names), fed(pixels, shape))
    values = held | dict(zip(names, map(np.asarray, found), strict=True))
    fixed = _fixed(proto.graph, held)
    seen = {name: values[value] for value, name in names.items() if value not in fixed}
    activations = {name: array for name, array in seen.items() if array.dtype.kind == "f"}
    return {**_parameters(proto.graph, names, fixed, values), PIXELS: pixels, **activations}


def _constants(onnx: Any, graph: Any) -> dict[str, np.ndarray]:
    """The tensors in the graph's Constant nodes, which may hold plain numbers and texts too."""
    return {
        node.output[0]: onnx.numpy_helper.to_array(entry.t)
        for node in graph.node
        if node.op_type == "Constant"
        for entry in node.attribute
        if entry.name == "value"
    }


def _fixed(graph: Any, held: Collection[str]) -> set[str]:
    """The values that don't depend on the input."""
    fixed = set(held)
    for node in graph.node:
        if all(value in fixed for value in filter(None, node.input)):
            fixed.update(node.output)
    return fixed


def _parameters(
    graph: Any, names: Mapping[str, str], fixed: Collection[str], values: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The fixed inputs of each node, under the name of its output."""
    return {
        parameter_name(names[node.output[0]], value.strip("/").replace("/", ".")): values[value]
        for node in graph.node
        if node.output[0] in names and node.output[0] not in fixed
        for value in filter(None, node.input)
        if value in fixed and value in values and values[value].dtype.kind == "f"
    }


def _read(onnx: Any, model: str | Path | bytes) -> Any:
    """The file, parsed. Raises InputError."""
    name = "what was given" if isinstance(model, bytes) else str(model)
    try:
        return onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(os.fspath(model))
    except OSError as error:
        raise InputError(f"can't read {name}: {files.reason(error)}") from None
    except Exception as error:  # protobuf's own, which can't be named without importing it
        raise InputError(f"{name} isn't an ONNX file: {files.first_line(error)}") from None


def _names(graph: Any) -> dict[str, str]:
    """The values that nodes compute -> their names here, in order of execution."""
    outputs = {output.name for output in graph.output}
    counts: Counter[str] = Counter()
    names = {}
    for node in graph.node:
        path = _module(node)
        for value in filter(None, node.output) if node.op_type != "Constant" else ():
            if path is None or value in outputs:
                names[value] = value
                continue
            stem = f"/{path}/{node.op_type}" if path else f"/{node.op_type}"
            number = f"_{counts[stem]}" if counts[stem] else ""
            names[value] = f"{stem}{number}_output_0"
            counts[stem] += 1
    return names


def _module(node: Any) -> str | None:
    """The path of the module that a node belongs to, with slashes; None if the file doesn't keep it."""
    text = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), None)
    try:
        scopes = ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError):
        scopes = None
    if not isinstance(scopes, list) or len(scopes) < 2:
        return None
    return str(scopes[-2]).replace(".", "/")

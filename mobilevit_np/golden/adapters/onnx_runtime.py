"""An ONNX port's activations: every value of the graph, as ONNX Runtime computes it.

``torch.onnx.export`` names values by the module they come from (``/mobilevit/conv_stem/convolution/Conv_output_0``) or,
in its newer way, keeps that in the node's metadata: such values are given names of the first form here.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import ast
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...formats import files
from ..file import PIXELS, Golden
from .collecting import fed, framework, input_of

_INSTALL = "onnx onnxruntime"
_SCOPES = "pkg.torch.onnx.name_scopes"  # of a node: the names of the modules around it, and its own


def record_onnx(model: str | Path | bytes, source: Golden | np.ndarray) -> dict[str, np.ndarray]:
    """Run a file (or its bytes) on a golden's input (or pixel values); every value that's computed, by name.

    ONNX Runtime's own rewriting of the graph is off: what's seen is what the file says. The network's input is the
    first; channels may come last in it. Raises MissingExtraError without onnx or onnxruntime, InputError where the file
    can't be read or takes another size.
    """
    onnx, runtime = framework("onnx", _INSTALL), framework("onnxruntime", _INSTALL)
    proto = _read(onnx, model)
    names = _names(proto.graph)
    known = {output.name for output in proto.graph.output}
    proto.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in known)
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    dtype = {"tensor(double)": np.float64, "tensor(float16)": np.float16}.get(given.type, np.float32)
    pixels = input_of(source, dtype)
    found = session.run(list(names), {given.name: fed(pixels, given.shape)})
    values = zip(names.values(), map(np.asarray, found), strict=True)
    return {PIXELS: pixels, **{name: array for name, array in values if array.dtype.kind == "f"}}


def _read(onnx: Any, model: str | Path | bytes) -> Any:
    """The file, parsed. Raises InputError."""
    name = "what was given" if isinstance(model, bytes) else str(model)
    try:
        return onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(os.fspath(model))
    except OSError as error:
        raise InputError(f"can't read {name}: {files.reason(error)}") from None
    except Exception as error:  # protobuf's own family, which can't be named without importing it
        raise InputError(f"{name} is no ONNX file: {files.first_line(error)}") from None


def _names(graph: Any) -> dict[str, str]:
    """The values that nodes compute -> what they're called here, in order of execution."""
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
    """The path of the module that a node stands in, with slashes; None where the file doesn't keep it."""
    text = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), None)
    try:
        scopes = ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError):
        scopes = None
    if not isinstance(scopes, list) or len(scopes) < 2:
        return None
    return str(scopes[-2]).replace(".", "/")

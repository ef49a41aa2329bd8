"""An OpenVINO port's activations, the outputs of every node of its graph, and its constants.

A value has its node's name; the graph's own outputs keep theirs. Names from an ONNX file are kept; those of a model
converted from PyTorch begin with modules, ``__module.mobilevit.conv_stem.activation/aten::silu/Swish``.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError
from ...formats import files
from ..file import PIXELS, Golden
from ..identity import parameter_name
from .collecting import fed, framework, input_of, keep_call

_KINDS = ("f16", "bf16", "f32", "f64")


def record_openvino(model: Any, source: Golden | np.ndarray, *, precision: str | None = None) -> dict[str, np.ndarray]:
    """Run a file (.xml, .onnx), or a model in memory, on a golden's input (or pixel values): every node's output.

    What doesn't depend on the input comes first, as ``parameters/VALUE/NAME`` of the value computed from it.
    ``precision`` is OpenVINO's ``INFERENCE_PRECISION_HINT``, ``f32`` or ``bf16``; by default the runtime chooses, and
    takes bfloat16 on CPUs that have it. Nodes whose outputs are read aren't fused with those after them. The network's
    input is the first, and channels may come last in it. The model is left as it was. Raises MissingExtraError without
    openvino, InputError if the file can't be read or takes another size.
    """
    openvino = framework("openvino", "openvino")
    graph = model.clone() if isinstance(model, openvino.Model) else _read(openvino.Core(), model)
    values = [output for node in graph.get_ordered_ops() for output in node.outputs() if _is_computed(output)]
    names = _names(graph, values)
    given = graph.input(0)
    pixels = input_of(source)
    fitting = fed(pixels, [n.get_length() if n.is_static else -1 for n in given.get_partial_shape()])
    graph.add_outputs(values)
    hint = {"INFERENCE_PRECISION_HINT": precision} if precision else {}
    found = openvino.compile_model(graph, "CPU", hint)({0: fitting}).to_tuple()
    arrays = {_shown(output): np.array(array) for output, array in zip(graph.outputs, found, strict=True)}
    fixed = _fixed(graph)
    seen: dict[str, np.ndarray] = {}
    for value in values:
        if _key(value) not in fixed:
            keep_call(seen, names[_key(value)], arrays[_key(value)])
    return {**_parameters(values, names, fixed, arrays), PIXELS: pixels, **seen}


def _read(core: Any, model: Any) -> Any:
    """The file, parsed. Raises InputError."""
    if not isinstance(model, (str, Path)):
        raise InputError(f"give a file (.xml, .onnx) or a model that OpenVINO has read, not a {type(model).__name__}")
    try:
        with open(model, "rb"):
            pass
        return core.read_model(os.fspath(model))
    except OSError as error:
        raise InputError(f"can't read {model}: {files.reason(error)}") from None
    except RuntimeError:  # several lines about OpenVINO's own sources
        raise InputError(f"{model} isn't a file that OpenVINO reads") from None


def _key(value: Any) -> tuple[str, int]:
    return value.get_node().get_name(), value.get_index()


def _shown(output: Any) -> tuple[str, int]:
    """The value that is one of the network's outputs."""
    return _key(output.get_node().input_value(0))


def _is_computed(value: Any) -> bool:
    """Whether it's floating-point numbers that a node computes, neither a constant nor an input or output."""
    kind = value.get_node().get_type_name()
    return kind not in ("Constant", "Parameter", "Result") and value.get_element_type().get_type_name() in _KINDS


def _names(graph: Any, values: list[Any]) -> dict[tuple[str, int], str]:
    ends = {_shown(output): output for output in graph.outputs}
    names = {}
    for value in values:
        node, number = value.get_node(), value.get_index()
        names[_key(value)] = f"{node.get_friendly_name()}{f':{number}' if number else ''}"
        if _key(value) in ends and ends[_key(value)].names:
            names[_key(value)] = min(ends[_key(value)].names)
    return names


def _fixed(graph: Any) -> set[tuple[str, int]]:
    """The values that don't depend on the input, or only on its shape."""
    fixed: set[tuple[str, int]] = set()
    for node in graph.get_ordered_ops():
        kind = node.get_type_name()
        if kind in ("Constant", "ShapeOf") or (
            kind != "Parameter" and all(_key(each) in fixed for each in node.input_values())
        ):
            fixed.update(_key(each) for each in node.outputs())
    return fixed


def _parameters(
    values: list[Any],
    names: dict[tuple[str, int], str],
    fixed: set[tuple[str, int]],
    arrays: dict[tuple[str, int], np.ndarray],
) -> dict[str, np.ndarray]:
    """The fixed inputs of each node, under the name of its output."""
    found = {}
    for value in values:
        node = value.get_node()
        for taken in node.input_values() if _key(value) not in fixed else ():
            if _key(taken) in fixed and taken.get_element_type().get_type_name() in _KINDS:
                held = taken.get_node()
                array = np.array(held.data) if held.get_type_name() == "Constant" else arrays[_key(taken)]
                leaf = held.get_friendly_name().strip("/").replace("/", ".")
                found[parameter_name(names[_key(value)], leaf)] = array
    return found

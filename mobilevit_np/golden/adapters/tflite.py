"""A TFLite port's activations, the outputs of every operator of the file, and its constants.

The interpreter is TensorFlow's (which also has the operators that files converted with SELECT_TF_OPS may need), else
LiteRT's. Its delegates are off, since they hide inner tensors: the kernels are TFLite's own.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, MissingExtraError
from ...formats.files import first_line
from ..file import PIXELS, Golden
from ..identity import parameter_name
from .collecting import fed, framework, input_of


def record_tflite(model: str | Path | bytes, source: Golden | np.ndarray) -> dict[str, np.ndarray]:
    """Run a file (or its bytes) on a golden's input (or pixel values): every operator's output, by the tensor's name.

    What doesn't depend on the input comes first, as ``parameters/VALUE/NAME`` of the value computed from it.
    The network's input is the first, and channels may come last in it. Quantized tensors come back as the numbers
    they stand for, in float32: tell ``compare`` that they are int8. Raises MissingExtraError without TensorFlow or
    LiteRT, InputError if the file can't be read or takes another size.
    """
    make, kernels = _lite()
    where = {"model_content": model} if isinstance(model, bytes) else {"model_path": os.fspath(model)}
    try:
        interpreter = make(
            **where,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=kernels.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
    except ValueError as error:
        name = "what was given" if isinstance(model, bytes) else str(model)
        raise InputError(f"{name} can't be read as a TFLite file: {first_line(error)}") from None
    given = interpreter.get_input_details()[0]
    pixels = input_of(source)
    fitting = fed(pixels, given["shape_signature"])
    interpreter.resize_tensor_input(given["index"], fitting.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(given["index"], _quantized(fitting, given))
    interpreter.invoke()
    computed, parameters = _computed(interpreter)
    return {**parameters, PIXELS: pixels, **computed}


def _computed(interpreter: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The operators' outputs, in order, and their constant inputs: numbers only, not shapes and indices."""
    details = {each["index"]: each for each in interpreter.get_tensor_details()}
    operators = interpreter._get_ops_details()
    made = {index for operator in operators for index in operator["outputs"]}
    fixed = set(details) - made - {each["index"] for each in interpreter.get_input_details()}
    seen, parameters = {}, {}
    for operator in operators:
        taken = [index for index in operator["inputs"] if index in details]
        if all(index in fixed for index in taken):  # a constant is dequantized or transposed
            fixed.update(operator["outputs"])
            continue
        numbers = [index for index in operator["outputs"] if index in details and _is_number(details[index])]
        for index in numbers:
            seen[details[index]["name"]] = _real(interpreter.get_tensor(index), details[index])
        for index in taken if numbers else ():
            if index in fixed and _is_number(details[index]):
                name = parameter_name(details[numbers[0]]["name"], details[index]["name"].replace("/", "."))
                parameters[name] = _real(interpreter.get_tensor(index), details[index])
    return seen, parameters


def _is_number(detail: dict[str, Any]) -> bool:
    scales = detail.get("quantization_parameters", {}).get("scales", ())
    return np.dtype(detail["dtype"]).kind == "f" or detail["quantization"][0] != 0 or len(scales) > 0


def _real(tensor: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    """The numbers that a quantized tensor stands for; weights may have one scale per channel."""
    if tensor.dtype.kind == "f":
        return tensor.copy()
    about = detail.get("quantization_parameters", {})
    scales, zeros = (about.get(key, ()) for key in ("scales", "zero_points"))
    if len(scales) <= 1:
        scale, zero = detail["quantization"]
        return (tensor.astype(np.float32) - zero) * np.float32(scale)
    along = [1] * tensor.ndim
    along[about["quantized_dimension"]] = -1
    return (tensor.astype(np.float32) - np.reshape(zeros, along)) * np.reshape(scales, along).astype(np.float32)


def _quantized(pixels: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    dtype, (scale, zero) = np.dtype(detail["dtype"]), detail["quantization"]
    if dtype.kind == "f":
        return pixels.astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(np.round(pixels / scale) + zero, limits.min, limits.max).astype(dtype)


def _lite() -> tuple[Any, Any]:
    """TensorFlow's interpreter, or LiteRT's (the same under a new name), and its choices of kernels."""
    try:
        lite = framework("tensorflow", "tensorflow").lite
        return lite.Interpreter, lite.experimental.OpResolverType
    except (MissingExtraError, AttributeError):
        lite = framework("ai_edge_litert.interpreter", "tensorflow (or ai-edge-litert)")
        return lite.Interpreter, lite.OpResolverType

"""An MNN port's activations, what every operator in its .mnn file gives.

The converter keeps the names of an ONNX file's values. A linear layer on tokens becomes a 1x1 convolution over as many
photos, ``NAME__matmul_converted``; its values are ``NAME`` again after a reshape, which MNN's runtime itself skips.

Weights aren't recorded: MNN's Python shows those of convolutions but not of layer norms, and ``compare`` would take the
latter for never loaded.

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
from .collecting import fed, framework, input_of

# Copies go into another memory layout. If an activation was moved before one, the copy holds what's activated, under
# the name of the layer before the activation: read as that layer, a right port would be called wrong.
_NOT_COMPUTED = ("Input", "Const", "ConvertTensor")


def record_mnn(model: str | Path, source: Golden | np.ndarray) -> dict[str, np.ndarray]:
    """Run a .mnn file on a golden's input (or pixel values): every operator's output, by the tensor's name.

    It's computed on the CPU in MNN's default precision, float32. Values that are read are kept until the end, which
    can change others in the last bits. The network's input is the first, and channels may come last in it. Raises
    MissingExtraError without MNN, InputError if the file can't be read or takes another size, or if MNN can't compute
    it.
    """
    mnn = framework("MNN", "MNN")
    pixels = input_of(source)
    interpreter = _read(mnn, model)
    values = mnn.expr.load_as_list(os.fspath(model))  # in order of execution
    names = [value.name for value in values if value.name and value.op_type not in _NOT_COMPUTED]
    session = interpreter.createSession({"backend": "CPU", "saveTensors": tuple(names)})
    given = interpreter.getSessionInput(session)
    fitting = fed(pixels, given.getShape())
    interpreter.resizeTensor(given, fitting.shape)
    interpreter.resizeSession(session)
    given.copyFromHostTensor(mnn.Tensor(fitting.shape, mnn.Halide_Type_Float, fitting, given.getDimensionType()))
    if interpreter.runSession(session):
        raise InputError(f"MNN can't compute {model}")
    found = interpreter.getSessionOutputAll(session)
    floats = [name for name in names if name in found and found[name].getDataType() is mnn.Halide_Type_Float]
    return {PIXELS: pixels, **{name: _array(mnn, found[name]) for name in floats}}


def _read(mnn: Any, model: str | Path) -> Any:
    """The file, parsed. Raises InputError."""
    try:
        with open(model, "rb"):
            pass
        return mnn.Interpreter(os.fspath(model))
    except OSError as error:
        raise InputError(f"can't read {model}: {files.reason(error)}") from None
    except Exception:  # MNN raises no narrower one
        raise InputError(f"{model} isn't a file that MNN reads") from None


def _array(mnn: Any, value: Any) -> np.ndarray:
    """A session's tensor in the order of its shape, whichever way MNN packs its channels."""
    shape, order = value.getShape(), value.getDimensionType()
    host = mnn.Tensor(shape, mnn.Halide_Type_Float, np.zeros(shape, np.float32), order)
    value.copyToHostTensor(host)
    return np.array(host.getNumpyData())

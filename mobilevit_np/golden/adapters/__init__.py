"""A port run on a golden's own input; its activations and weights, recorded for ``compare``.

    golden = read_golden("golden.safetensors")
    write_port("port.safetensors", record_tflite("model.tflite", golden))

One short file per framework: ``pytorch``, ``torch_export``, ``executorch``, ``onnx_runtime``, ``openvino``, ``tract``,
``ncnn``, ``mnn``, ``keras``, ``tflite``.
Each takes the port and a golden (or pixel values), and returns the tensors under the framework's own names, in order
of execution, and each layer's weights as ``parameters/LAYER/NAME``; ``matching`` tells which they are. No framework is
a dependency: the file that needs one imports it when it's called, and says what to install.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

from .collecting import write_port
from .executorch import record_executorch
from .keras import record_keras
from .mnn import record_mnn
from .ncnn import record_ncnn
from .onnx_runtime import record_onnx
from .openvino import record_openvino
from .pytorch import record_torch
from .tflite import record_tflite
from .torch_export import record_exported
from .tract import record_tract

__all__ = [
    "record_executorch",
    "record_exported",
    "record_keras",
    "record_mnn",
    "record_ncnn",
    "record_onnx",
    "record_openvino",
    "record_tflite",
    "record_torch",
    "record_tract",
    "write_port",
]

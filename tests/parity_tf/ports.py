"""TensorFlow ports held against golden files: ``python tests/parity_tf/ports.py`` prints tutorials/ports.md's table.

The three TensorFlow models of transformers 4.46.3, and the TFLite files converted from them: float32, and int8 weights
by dynamic range, as on the transformers page. Takes some minutes.
"""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path[:0] = [str(Path(__file__).resolve().parents[up]) for up in (0, 1, 2)]

import numpy as np
import tensorflow_models as models
from port_table import Port, golden_and_network, print_table

from mobilevit_np.golden.adapters import record_keras, record_tflite

KERAS = f"TensorFlow {models.tf.__version__}, Keras"
LITE = {"float32": f"TFLite {models.tf.__version__}, float32", "int8": f"TFLite {models.tf.__version__}, int8 weights"}


@functools.cache
def tflite(task: str, kind: str) -> bytes:
    """The TFLite file of a task, in float32 or with int8 weights."""
    return models.convert(models.saved(task), quantized=kind == "int8")


def _keras(task: str, golden: Any) -> dict[str, np.ndarray]:
    return record_keras(models.model_of(task), golden)


def _tflite(kind: str, task: str, golden: Any) -> dict[str, np.ndarray]:
    return record_tflite(tflite(task, kind), golden)


PORTS = {
    **{(KERAS, task): functools.partial(_keras, task) for task in models.CLASSES},
    **{(LITE[kind], task): functools.partial(_tflite, kind, task) for kind in LITE for task in models.CLASSES},
}


@functools.cache
def record(title: str, task: str) -> Port:
    """One of the ports, run."""
    golden = golden_and_network(task)[0]
    return Port(title, task, PORTS[title, task](golden), "int8" if title == LITE["int8"] else None)


if __name__ == "__main__":
    sys.exit(print_table(PORTS, record))

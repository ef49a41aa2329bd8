"""An ONNX port's activations as tract, the inference engine in Rust, computes them, and its constants.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..file import Golden
from .collecting import framework
from .onnx_runtime import record_graph

_INSTALL = "onnx tract"


def record_tract(model: str | Path | bytes, source: Golden | np.ndarray) -> dict[str, np.ndarray]:
    """Run an ONNX file (or its bytes) on a golden's input (or pixel values): every computed value, by name.

    Names, weights and errors are those of ``record_onnx``. tract optimizes the graph as it always does, but removes
    nothing, since every value is asked for.
    """
    tract = framework("tract", _INSTALL)

    def run(proto: Any, names: list[str], pixels: np.ndarray) -> list[Any]:
        with tempfile.TemporaryDirectory() as folder:  # tract reads files only
            path = Path(folder) / "port.onnx"
            path.write_bytes(proto.SerializeToString())
            graph = tract.onnx().load(path)
        graph.set_input_fact(0, f"{','.join(map(str, pixels.shape))},f{8 * pixels.itemsize}")
        ready = graph.into_model().into_runnable()
        kinds = [str(ready.output_fact(number)) for number in range(ready.output_count())]
        found = [  # integers may be symbolic lengths, which no array can hold
            each.to_numpy() if re.search(r"\bF(16|32|64)$", kind, re.IGNORECASE) else np.zeros(0, np.int64)
            for kind, each in zip(kinds, ready.run([pixels]), strict=True)
        ]
        order = [output.name for output in proto.graph.output]  # tract's own names for them are its nodes'
        return [found[order.index(name)] for name in names]

    return record_graph(model, source, run, _INSTALL)

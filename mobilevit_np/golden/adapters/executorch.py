"""An ExecuTorch port's activations, what every node of its exported program gives, in order, and its parameters.

A .pte file keeps its inner values to itself. So another is made from the same program, with all of them as outputs.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..file import Golden
from .collecting import framework
from .torch_export import record_program


def record_executorch(program: Any, source: Golden | np.ndarray) -> dict[str, np.ndarray]:
    """Lower what ``torch.export.export`` or ``load`` gave, and run it on a golden's input (or pixel values).

    ExecuTorch's own portable kernels run: what's delegated, to XNNPACK for instance, shows its results alone. The names
    are those of ``record_exported``. Raises MissingExtraError without executorch, InputError if the program takes
    another size.
    """
    exir, runtime = (framework(f"executorch.{part}", "executorch") for part in ("exir", "runtime"))

    def run(graph: Any, pixels: Any) -> Any:
        lowered = exir.to_edge_transform_and_lower(framework("torch", "torch").export.export(graph, (pixels,)))
        loaded = runtime.Runtime.get().load_program(lowered.to_executorch().buffer)
        return loaded.load_method("forward").execute([pixels])

    return record_program(program, source, run)

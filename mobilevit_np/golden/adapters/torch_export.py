"""An exported PyTorch program's activations, what every node of its graph gives, in order, and its parameters.

It's what ExecuTorch and the other backends are given that begin with ``torch.export.export``: where a port of theirs is
wrong, this says whether its graph was so already.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from ..file import LOGITS, PIXELS, Golden
from ..identity import parameter_name
from .collecting import fed, first_of, framework, input_of


def record_exported(program: Any, source: Golden | np.ndarray) -> dict[str, np.ndarray]:
    """Run what ``torch.export.export`` or ``load`` gave on a golden's input (or pixel values); every node's output.

    The parameters come first, as ``parameters/NODE/NAME`` of the node that takes them. The network's output, the first
    of several, is called ``logits``. Raises MissingExtraError without torch, InputError if the program takes another
    size.
    """
    return record_program(program, source, lambda graph, pixels: graph(pixels))


def record_program(
    program: Any, source: Golden | np.ndarray, run: Callable[[Any, Any], Iterable[Any]]
) -> dict[str, np.ndarray]:
    """An exported program recorded in any runtime: ``run(graph, pixel_values)`` gives the graph's outputs, which are
    all of its nodes here.
    """
    torch = framework("torch", "torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of PyTorch's own code
        graph = program.run_decompositions({}).module()  # in which no operation overwrites its input
    nodes = list(graph.graph.nodes)
    pixels = input_of(source)
    given = next(node for node in nodes if node.op == "placeholder").meta["val"]
    computed = [node for node in nodes if node.op == "call_function" and _is_number(node.meta["val"])]
    last = first_of(nodes[-1].args)
    nodes[-1].args = (tuple(computed),)
    graph.graph.set_codegen(torch.fx.graph.CodeGen())  # the program's own knows its outputs' structure
    graph.recompile()
    with torch.no_grad():
        found = run(graph, torch.from_numpy(fed(pixels, given.shape)))
    seen: dict[str, np.ndarray] = {PIXELS: pixels}
    held: dict[str, np.ndarray] = {}
    for node, tensor in zip(computed, found, strict=True):
        maker = node.args[0] if node.target is operator.getitem and node.args[1] == 0 else node
        name = LOGITS if node is last else maker.name
        seen[name] = tensor.numpy()
        for taken in maker.all_input_nodes:
            if taken.op == "get_attr" and _is_number(taken.meta["val"]):
                held[parameter_name(name, taken.name)] = operator.attrgetter(taken.target)(graph).detach().numpy()
    return {**held, **seen}


def _is_number(value: Any) -> bool:
    return hasattr(value, "is_floating_point") and value.is_floating_point()

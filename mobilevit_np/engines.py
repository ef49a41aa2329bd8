"""Floor 3.5. The engines by name: what computes the networks. Imports the engines, scope, config and errors only.

An engine is compiled for a task once, ``compile(scope, config) -> network``, and its network is then called with a
batch: ``network(pixel_values) -> (output, the five maps on the way)``. The reference has nothing to prepare; the fast
engine folds weights and plans. Either is loaded only where it's asked for.

A float16 network is computed in float32 by either, and its answers are rounded to float16 as they're handed out:
PyTorch's ``.half()`` rounds after every module. Who listens to the reference hears float32 there.

Explained in tutorials/12-making-numpy-fast.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .config import NetworkConfig
from .errors import InputError
from .scope import Scope


class Network(Protocol):
    """A batch in; the output out, and the five maps (the fast engine copies them only where they're asked for)."""

    def __call__(
        self, pixel_values: np.ndarray, *, hidden_states: bool = False
    ) -> tuple[np.ndarray, list[np.ndarray]]: ...


Compile = Callable[..., Network]


def interpreted(function: Callable[..., Any]) -> Compile:
    """How a function ``f(pixel_values, scope, config)`` is an engine's: there is nothing to compile."""

    def compile_for(scope: Scope, config: NetworkConfig, **options: Any) -> Network:
        def network(pixel_values: np.ndarray, *, hidden_states: bool = False) -> tuple[np.ndarray, list[np.ndarray]]:
            answer: tuple[np.ndarray, list[np.ndarray]] = function(pixel_values, scope, config, **options)
            return answer

        return network

    return compile_for


def _reference(task: str) -> Compile:
    def compile_for(scope: Scope, config: NetworkConfig, **options: Any) -> Network:
        from . import reference

        network = interpreted(getattr(reference, task))(scope, config, **options)
        stem = (scope if task == "backbone" else scope / "mobilevit") / "conv_stem" / "convolution"

        def rounded(pixel_values: np.ndarray, *, hidden_states: bool = False) -> tuple[np.ndarray, list[np.ndarray]]:
            if not pixel_values.dtype == stem["weight"].dtype == np.float16:
                return network(pixel_values, hidden_states=hidden_states)
            output, maps = network(pixel_values.astype(np.float32), hidden_states=hidden_states)
            return output.astype(np.float16), [each.astype(np.float16) for each in maps]

        return rounded

    return compile_for


def _fast(task: str) -> Compile:
    def compile_for(scope: Scope, config: NetworkConfig, **options: Any) -> Network:
        from . import fast

        return fast.compile_network(task, scope, config, **options)

    return compile_for


TASKS = ("backbone", "classifier", "segmenter")
ENGINES: dict[str, dict[str, Compile]] = {
    "reference": {task: _reference(task) for task in TASKS},
    "fast": {task: _fast(task) for task in TASKS},
}


def compile_network(engine: str, task: str, scope: Scope, config: NetworkConfig, **options: Any) -> Network:
    """A task's network in an engine, ready for batches. Raises InputError for an unknown engine.

    The task "backbone" takes the option ``expand_output``.
    """
    if not isinstance(engine, str) or engine not in ENGINES:
        raise InputError(f"there is no engine {engine!r}; known are {', '.join(ENGINES)}")
    return ENGINES[engine][task](scope, config, **options)

"""The engines by name: what computes the networks.

``compile_network(...) -> network`` prepares a task's network once, which is then called with batches:
``network(pixel_values) -> output``; with ``hidden_states=True`` it returns the five maps after L1 to L5 as well. The
reference has nothing to prepare; the fast engine folds weights and makes plans. Each is imported only when asked for.

Both compute a float16 network in float32 and round only its answers to float16 (PyTorch's ``.half()`` rounds after
every module), so what a listener hears is float32.

Explained in tutorials/12-making-numpy-fast.md.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, Protocol, overload

import numpy as np

from .config import NetworkConfig
from .errors import InputError
from .scope import Scope

STAGES = "*encoder.layer.[0-4]"  # the paths of L1 to L5, in a network or a bare backbone


class Network(Protocol):
    """A batch in, the output out, and on request the five maps with it."""

    @overload
    def __call__(self, pixel_values: np.ndarray, *, hidden_states: Literal[False] = False) -> np.ndarray: ...
    @overload
    def __call__(
        self, pixel_values: np.ndarray, *, hidden_states: Literal[True]
    ) -> tuple[np.ndarray, list[np.ndarray]]: ...
    def __call__(self, pixel_values: np.ndarray, *, hidden_states: bool = False) -> Any: ...


class Reference:
    """A function ``f(pixel_values, scope)`` as a network: nothing is compiled. ``stem`` holds the first weight."""

    def __init__(self, function: Callable[..., np.ndarray], scope: Scope, stem: Scope | None = None):
        self._function = function
        self._scope = scope
        self._stem = stem

    def __call__(self, pixel_values: np.ndarray, *, hidden_states: bool = False) -> Any:
        """The output, and with ``hidden_states`` the five maps, which are heard on the way."""
        half = self._stem is not None and pixel_values.dtype == self._stem["weight"].dtype == np.float16
        x = pixel_values.astype(np.float32) if half else pixel_values
        maps: list[np.ndarray] = []
        scope = self._scope.listen(lambda _, stage: maps.append(stage), STAGES) if hidden_states else self._scope
        with np.errstate(all="ignore"):  # an overflow shows in the output; the fast engine is as quiet
            output = self._function(x, scope)
            if half:
                output, maps = output.astype(np.float16), [stage.astype(np.float16) for stage in maps]
        return (output, maps) if hidden_states else output


def _reference(task: str, scope: Scope, config: NetworkConfig, **options: Any) -> Network:
    from .model import NETWORKS

    body = scope if task == "backbone" else scope / "mobilevit"
    return Reference(partial(NETWORKS[task], config=config, **options), scope, body / "conv_stem" / "convolution")


def _fast(task: str, scope: Scope, config: NetworkConfig, **options: Any) -> Network:
    from . import fast

    return fast.compile_network(task, scope, config, **options)


ENGINES: dict[str, Callable[..., Network]] = {"reference": _reference, "fast": _fast}


def compile_network(engine: str, task: str, scope: Scope, config: NetworkConfig, **options: Any) -> Network:
    """A task's network in an engine, ready for batches. Raises InputError for an unknown engine.

    The task "backbone" takes the option ``expand_output``.
    """
    if not isinstance(engine, str) or engine not in ENGINES:
        raise InputError(f"there is no engine {engine!r:.40}; known are {', '.join(ENGINES)}")
    return ENGINES[engine](task, scope, config, **options)

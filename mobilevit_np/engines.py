"""Floor 3.5. The engines by name: what computes the networks. Imports the engines and errors only.

An engine offers a function for each task, called with the input, a scope and a configuration, that answers with the
network's output and the maps on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import reference
from .errors import InputError

ENGINES: dict[str, dict[str, Callable[..., Any]]] = {
    "reference": {
        "backbone": reference.backbone,
        "classifier": reference.classifier,
        "segmenter": reference.segmenter,
    }
}


def engine_function(engine: str, task: str) -> Callable[..., Any]:
    """The network function of an engine. Raises InputError for an unknown one."""
    if not isinstance(engine, str) or engine not in ENGINES:
        raise InputError(f"there is no engine {engine!r}; known are {', '.join(ENGINES)}")
    return ENGINES[engine][task]

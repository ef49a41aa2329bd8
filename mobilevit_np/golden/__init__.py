"""The golden toolkit: which layer of a port diverges first, and why.

- ``file``: the golden file. ``network``, ``tracing``: making one from weights and a photo or tensor.
- ``formula``, ``operators``: golden files that need no download: weights by hashing, one small file per operator.
- ``adapters``: a port in PyTorch, ONNX, Keras, TFLite and others, run on a golden's input, recorded with its weights.
- ``matching``: which of a port's tensors is which, by ``hook_names`` and ``graph_names``, by its weights (``identity``)
  or by ``alignment``, in whichever of ``layouts``; ``answer``: what it gives as its answer; ``doubt``: wrong pairs.
- ``measure``, ``comparison``: how far they are from the golden's, layer by layer.
- ``replay``: the reference run on the port's own tensors, so that each layer's error is its own; ``rounding``: the
  noise of coarser precisions.
- ``mistakes``, ``planting``: the known port mistakes; ``diagnosis``: which of them gives the port's numbers;
  ``description``: what else is wrong, in a sentence.
- ``tables``: both as lines of text. ``page``, ``pictures``: a comparison as a page.

Names resolve on first use, as in the package itself.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparison import Comparison as Comparison
    from .comparison import compare as compare
    from .diagnosis import Diagnosis as Diagnosis
    from .diagnosis import diagnose as diagnose
    from .file import Golden as Golden
    from .file import read_golden as read_golden
    from .file import write_golden as write_golden
    from .matching import read_port as read_port
    from .mistakes import MISTAKES as MISTAKES
    from .network import Network as Network
    from .network import network_of as network_of
    from .tracing import trace as trace

_HOMES = {
    "file": ("Golden", "read_golden", "write_golden"),
    "comparison": ("Comparison", "compare"),
    "diagnosis": ("Diagnosis", "diagnose"),
    "matching": ("read_port",),
    "mistakes": ("MISTAKES",),
    "network": ("Network", "network_of"),
    "tracing": ("trace",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)

"""From a file, a folder, a shipped model's name or a hub id to a checkpoint that the networks can use, and back.

Start with ``open_checkpoint``; names resolve on first use.

- ``opening``: ``open_checkpoint`` and the ``Checkpoint`` it returns; ``info`` about a file.
- ``sources``: where a checkpoint comes from. ``shipped``: the models that come with the package.
- ``wrappers``: the network among all that a file holds.
- ``parameter_names``: Hugging Face's, timm's and ml-cvnets' names side by side, and translating between them.
- ``parameters``: which tensors a network needs, initializing fresh ones, checking those of a file.
- ``configurations``: config.json of Hugging Face and timm. ``inference``: the configuration from the shapes alone.
- ``saving``: ``save_checkpoint``, ``convert`` and ``quantize``. ``quantization``: int8 weights.
- ``published``: checksums of the files that others publish.

Explained in tutorials/10-checkpoints.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .opening import Checkpoint, Provenance, config_fields, info, open_checkpoint, processor_settings
    from .parameters import check_tensors, count_parameters, init_parameters, parameter_shapes
    from .published import verify
    from .saving import convert, quantize, save_checkpoint

__all__ = [
    "Checkpoint", "Provenance", "check_tensors", "config_fields", "convert", "count_parameters", "info",
    "init_parameters", "open_checkpoint", "parameter_shapes", "processor_settings", "quantize", "save_checkpoint",
    "verify",
]  # fmt: skip
_HOMES = {
    "opening": ("Checkpoint", "Provenance", "config_fields", "info", "open_checkpoint", "processor_settings"),
    "parameters": ("check_tensors", "count_parameters", "init_parameters", "parameter_shapes"),
    "published": ("verify",),
    "saving": ("convert", "quantize", "save_checkpoint"),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)

"""The parameters inside a training checkpoint.

A training script saves the model's state dict beside the optimizer's, the epoch, its arguments, and often a second
copy of the weights averaged over the training (EMA), which is the better one to use. Both stand under keys that every
project names its own way. The first of these that's there is taken: the averaged weights (as timm does; not with
``use_ema=False``), the model's, the dictionary itself where tensors stand in it, the only entry that has some.

Explained in tutorials/10-checkpoints.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import CheckpointError
from .torch_pickle import TensorRef

EMA_KEYS = (
    "state_dict_ema",
    "model_ema",
    "ema_state_dict",
    "model_ema_state_dict",
    "ema_model",
    "ema",
    "averaged_model",
)
MODEL_KEYS = ("state_dict", "model_state_dict", "model_state", "model", "module", "network", "net", "weights", "params")
WRAPPERS = ("module.", "_orig_mod.", "model.", "network.", "net.")  # DataParallel, torch.compile, Lightning...
_COUNTERS = ("n_averaged",)  # of torch.optim.swa_utils.AveragedModel
_DEEPEST = 4
_Found = tuple[tuple[str, ...], dict[str, TensorRef]]


def find_state_dict(tree: Any, *, use_ema: bool = True) -> tuple[str, dict[str, TensorRef]]:
    """(where it was found, ``{name: tensor}``) of the weights in what a pickle built.

    Names lose the prefixes that wrappers put before all of them. Raises CheckpointError where there is no state dict.
    """
    keys = (*EMA_KEYS, *MODEL_KEYS) if use_ema else MODEL_KEYS
    found = _search(tree, keys, (), set())
    if found is None:
        top = ", ".join(repr(key)[:50] for key in list(tree)[:8]) if isinstance(tree, dict) and tree else "nothing"
        raise CheckpointError(
            f"it holds no tensors under names (a state dict) where one would look; at its top: {top}; "
            "save the model's state_dict() alone"
        )
    path, tensors = found
    return ".".join(path), strip_wrappers(tensors)


def strip_wrappers(tensors: Mapping[str, TensorRef]) -> dict[str, TensorRef]:
    """The same tensors without ``module.`` and the like, where all names begin so."""
    tensors = {name: tensor for name, tensor in tensors.items() if name not in _COUNTERS}
    prefix = next((prefix for prefix in WRAPPERS if tensors and all(name.startswith(prefix) for name in tensors)), None)
    if prefix is None:
        return tensors
    return strip_wrappers({name.removeprefix(prefix): tensor for name, tensor in tensors.items()})


def _search(tree: Any, keys: tuple[str, ...], path: tuple[str, ...], seen: set[int]) -> _Found | None:
    if not isinstance(tree, dict) or id(tree) in seen or len(path) > _DEEPEST:
        return None
    seen.add(id(tree))  # a dictionary may hold itself
    for key in keys:
        found = _search(tree.get(key), keys, (*path, key), seen)
        if found is not None:
            return found
    tensors = {name: value for name, value in tree.items() if isinstance(name, str) and isinstance(value, TensorRef)}
    if tensors:
        return path, tensors
    others = [name for name, value in tree.items() if isinstance(name, str) and isinstance(value, dict)]
    return _search(tree[others[0]], keys, (*path, others[0]), seen) if len(others) == 1 else None

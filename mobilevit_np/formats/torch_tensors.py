"""The tensors in what a pickle built, and their numbers from the storages.

A training script saves the model's state dict beside the optimizer's, the epoch, its arguments, and often a second
copy of the weights, in dictionaries and lists that every project nests its own way. Here they become one flat list,
each tensor by its path; which of them are the network's is decided elsewhere. A tensor is a strided view of a storage,
and is checked to lie inside it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np

from ..errors import CheckpointError, visible
from . import dtypes
from .contents import Listing, TensorFile
from .files import naming
from .torch_pickle import StorageRef, TensorRef
from .zip_archive import MAX_EXPANSION

_MAX_DEPTH = 8  # Lightning's optimizer_states.0.state.0.exp_avg is five deep
_MAX_PATH = 500  # characters of a path: one long key above many tensors would be copied into every name


def flatten(tree: Any) -> tuple[str, dict[str, TensorRef]]:
    """(what all paths begin with, ``{path: tensor}``), with dots between the keys.

    Raises CheckpointError if there are no tensors, or two of the same name.
    """
    found: dict[str, TensorRef] = {}
    shared: tuple[str, ...] | None = None
    for path, tensor in _walk(tree, (), set()):
        name = ".".join(path)
        shared = path[:-1] if shared is None else _shared(shared, path[:-1])
        if name in found:
            raise CheckpointError(f"two of its tensors are called {name[:100]!r}; save the model's state_dict() alone")
        found[name] = tensor
    if not found:
        top = ", ".join(repr(key)[:50] for key in list(tree)[:8]) if isinstance(tree, dict) and tree else "nothing"
        raise CheckpointError(
            f"it holds no tensors under names (a state dict); at its top: {top}; save the model's state_dict() alone"
        )
    return "".join(f"{part}." for part in shared or ()), found


def _shared(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))
    return tuple(part for part, _ in pairs)


def _walk(tree: Any, path: tuple[str, ...], seen: set[int]) -> Iterator[tuple[tuple[str, ...], TensorRef]]:
    if isinstance(tree, TensorRef) and path:
        yield path, tree
    if not isinstance(tree, (dict, list, tuple)) or id(tree) in seen or len(path) >= _MAX_DEPTH:
        return
    seen.add(id(tree))  # a container may hold itself, or stand in many places
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree):
        if isinstance(value, (TensorRef, dict, list, tuple)) and len(str(key)) + sum(map(len, path)) <= _MAX_PATH:
            yield from _walk(value, (*path, str(key)), seen)


def listing(tree: Any, storage_of: Callable[[StorageRef], np.ndarray], size: int, name: str) -> Listing:
    """A Listing of the tensors in what a pickle built.

    ``storage_of`` returns a storage's numbers as stored; ``size`` is the file's. ``load`` raises CheckpointError if a
    view doesn't fit its storage, or all of them would take far more memory than the file.
    """
    container, references = flatten(tree)

    def load(names: Mapping[str, str]) -> TensorFile:
        with naming(name):
            chosen = {new: references[path] for path, new in names.items()}
            _check_total(chosen, size)
            tensors = {new: _view(reference, storage_of(reference.storage)) for new, reference in chosen.items()}
        formats = {new: reference.storage.dtype for new, reference in chosen.items()}
        return TensorFile(tensors, formats, "torch")

    return Listing(tuple(references), load, container, tree if isinstance(tree, dict) else {})


def _check_total(references: Mapping[str, TensorRef], size: int) -> None:
    # Many views of one storage, each copied, could take far more than the file holds.
    total = 0
    for name, reference in references.items():
        _check_view(name, reference)
        total += math.prod(reference.shape) * np.dtype(dtypes.STORED[reference.storage.dtype]).itemsize
    if total > MAX_EXPANSION * size:
        raise CheckpointError(f"its tensors would take {total:,} bytes out of a file of {size:,}; it's refused")


def _check_view(name: str, reference: TensorRef) -> None:
    """Raise CheckpointError unless the view lies within its storage and holds no number twice."""
    offset, shape, strides = reference.offset, reference.shape, reference.strides
    if not dtypes.is_shape(shape) or not dtypes.are_counts((offset,), 1) or not _fits(strides, shape):
        raise CheckpointError(f"tensor {visible(name)} has no valid shape, strides and offset; the file is damaged")
    reach = 0  # the furthest number of the view, counted from its first
    for stride, length in sorted((stride, length) for stride, length in zip(strides, shape, strict=True) if length > 1):
        if stride <= reach:
            raise CheckpointError(f"tensor {visible(name)} overlaps itself (an expanded view); save it contiguous")
        reach += stride * (length - 1)
    if math.prod(shape) and offset + reach >= reference.storage.count:
        raise CheckpointError(f"tensor {visible(name)} reaches beyond its storage; the file is damaged")


def _fits(strides: Any, shape: Sequence[int]) -> TypeGuard[Sequence[int]]:
    return dtypes.are_counts(strides, len(shape)) and len(strides) == len(shape)


def _view(reference: TensorRef, storage: np.ndarray) -> np.ndarray:
    if not math.prod(reference.shape):
        return dtypes.decode(np.empty(reference.shape, storage.dtype), reference.storage.dtype)
    size = storage.itemsize
    strides: Any = tuple(stride * size for stride in reference.strides)
    view = np.ndarray(reference.shape, storage.dtype, storage.data, reference.offset * size, strides)
    return np.ascontiguousarray(dtypes.decode(view, reference.storage.dtype)).reshape(reference.shape)

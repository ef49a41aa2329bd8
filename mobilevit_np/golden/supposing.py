"""Tensors without names or weights, paired off once more as if the port made one of the known mistakes everywhere.

A mistake that changes what follows what (norms after the sums, a sum left out) leads the pairing by order astray, and
half a network of wrong pairs can't be explained by anything. But the port's numbers tell the mistake without any pairs:
run with it, the reference has tensors of the same size and norm as nearly all of the port's.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..errors import MobileViTError
from .alignment import likeness
from .file import Golden
from .matching import match
from .mistakes import Mistake
from .network import Network
from .replay import reference_tensors

_CLOSE = 1e-3  # of norms, in half precision too
_ALIKE = 0.5  # likeness of what is the same tensor, in half precision too


def supposed(
    golden: Golden, port: Mapping[str, np.ndarray], network: Network, likely: Sequence[Mistake]
) -> dict[str, str | list[str]]:
    """The port's names and our paths, under that of the ``likely`` mistakes with which most of its tensors are ours."""
    theirs = [_size_and_norm(tensor) for tensor in port.values()]
    best, tensors = -1, dict(golden.tensors)
    for mistake in likely:
        try:
            ours = reference_tensors(network, golden, {}, plant=mistake.plant, everything=True, dtype=np.float32)
        except (MobileViTError, ValueError):  # it can't be made in this network
            continue
        shared = _shared(theirs, map(_size_and_norm, ours.values()))
        if shared > best:
            best, tensors = shared, ours
    found = match(replace(golden, tensors=tensors), port).found
    return {pair.name: path for path, pair in found.items() if likeness(pair.tensor, tensors[path]) > _ALIKE}


def _shared(theirs: Iterable[tuple[int, float]], ours: Iterable[tuple[int, float]]) -> int:
    """How many of the port's tensors have the size and the norm of one of ours, whatever their layout."""
    norms = defaultdict(list)
    for size, norm in ours:
        norms[size].append(norm)
    return sum(any(abs(norm - each) <= _CLOSE * each for each in norms[size]) for size, norm in theirs)


def _size_and_norm(tensor: np.ndarray) -> tuple[int, float]:
    return tensor.size, float(np.linalg.norm(tensor.astype(np.float64)))

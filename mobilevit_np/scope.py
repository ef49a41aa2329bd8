"""A ``Scope`` is a subtree of the checkpoint that knows its own path: the one idea that holds the package together.

Every layer is a function ``layer(x, scope, ...)`` that looks its parameters up in its scope (``scope["weight"]``),
hands its parts their own subtrees (``scope / "conv_1x1"``) and is marked with ``@module``. The mark allows one thing,
without a line in the layer: what a path computes can be *wrapped* from outside.

- A wrapper that only looks *listens*: ``scope.listen(f)`` calls ``f(path, output)`` for every module. The paths are
  those of the checkpoint, so a trace carries the names that a PyTorch forward hook sees.
- A wrapper that computes something else *replaces*: a known port mistake, or a port's own tensors in place of ours.

A scope never changes: both return a new one that shares the tensors. Threads can't disturb each other, and while
nothing is wrapped the mark costs one look at an empty tuple.

Explained in tutorials/03-batch-norm-and-silu.md and tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

import functools
from collections import ChainMap
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import numpy as np

from .errors import MissingTensorError

Wrapper = Callable[..., np.ndarray]
F = TypeVar("F", bound=Callable[..., np.ndarray])


class Scope:
    """A subtree of the checkpoint that knows its own path.

    ``tensors`` maps full Hugging Face names to arrays; ``path`` is the subtree's place in it, ``""`` for the whole.
    """

    __slots__ = ("_tensors", "_wrappers", "path")

    def __init__(
        self, tensors: Mapping[str, np.ndarray], path: str = "", wrappers: tuple[tuple[str, Wrapper], ...] = ()
    ) -> None:
        self.path = path
        self._tensors = tensors
        self._wrappers = wrappers

    def __truediv__(self, name: str | int) -> Scope:
        """The subtree below ``name``: ``scope / "layer" / 0``."""
        return Scope(self._tensors, self._join(str(name)), self._wrappers)

    def __getitem__(self, name: str) -> np.ndarray:
        """The parameter ``name`` of this subtree. Raises MissingTensorError with its full name."""
        full = self._join(name)
        try:
            return self._tensors[full]
        except KeyError:
            raise MissingTensorError(f"the checkpoint has no tensor {full!r}, which the network needs") from None

    @property
    def watched(self) -> bool:
        """Whether anything is wrapped, so that no module may be skipped."""
        return bool(self._wrappers)

    def __repr__(self) -> str:
        return f"Scope({self.path!r}, {len(self._tensors)} tensors)"

    def wrap(self, pattern: str, wrapper: Wrapper) -> Scope:
        """The same scope, with a wrapper around what the matching paths compute.

        ``pattern`` is a shell-style pattern on the whole path (``*.reduce_1x1``; ``*`` crosses dots).
        ``wrapper(compute, x, scope, ...)`` gets the function it stands in for and that function's arguments, and its
        output is what the network goes on with. If several match, the later wraps the earlier.
        """
        return Scope(self._tensors, self.path, (*self._wrappers, (pattern, wrapper)))

    def listen(self, listener: Callable[[str, np.ndarray], object], pattern: str = "*") -> Scope:
        """The same scope, calling ``listener(path, output)`` for every matching module, in order of execution.

        It hears what earlier wrappers made. The array is the one the network goes on with: copy it, don't change it.
        """

        def look(compute: Wrapper, x: np.ndarray, scope: Scope, *args: Any, **kwargs: Any) -> np.ndarray:
            output = compute(x, scope, *args, **kwargs)
            listener(scope.path, output)
            return output

        return self.wrap(pattern, look)

    def with_tensors(self, tensors: Mapping[str, np.ndarray]) -> Scope:
        """The same scope, with ``tensors`` (named from this path on) in place of its own."""
        changed = {self._join(name): tensor for name, tensor in tensors.items()}
        both = ChainMap(changed, self._tensors)  # type: ignore[arg-type]  # only the first map is written to
        return Scope(both, self.path, self._wrappers)

    def wrapped(self, compute: Wrapper) -> Wrapper:
        """``compute`` with the wrappers of this path around it."""
        for pattern, wrapper in self._wrappers:
            if fnmatchcase(self.path, pattern):
                compute = functools.partial(wrapper, compute)
        return compute

    def _join(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def module(function: F) -> F:
    """Mark ``function(x, scope, ...)`` as a module: what it computes can be wrapped at its scope's path."""

    @functools.wraps(function)
    def run(x: np.ndarray, scope: Scope, *args: Any, **kwargs: Any) -> np.ndarray:
        return scope.wrapped(function)(x, scope, *args, **kwargs)

    return run  # type: ignore[return-value]

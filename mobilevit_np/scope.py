"""Floor 0. A ``Scope`` is a subtree of the checkpoint that knows its own path; imports errors only.

It's the one idea that holds the house together. Every layer is a function ``layer(x, scope, ...)`` that looks its
parameters up in its scope (``scope["weight"]``), hands the children their own subtrees (``scope / "conv_1x1"``) and
is marked with ``@module``. The mark buys two things without a line in the layer:

- *Listening.* ``scope.listen(f)`` gives a scope whose modules call ``f(path, output)`` on the way out. The paths are
  those of the checkpoint, so a trace carries the names that a PyTorch forward hook sees. Where nobody listens it
  costs one ``None`` check.
- *Replacing.* ``scope.replace(pattern, f)`` gives a scope in which what the matching paths compute is computed by
  ``f(compute, x, scope, ...)`` instead, ``compute`` being what was there before. A known port mistake is switched
  on that way; the layers stay clean.

A scope never changes: both return a new one that shares the tensors. Threads can't disturb each other.

Explained in tutorials/03-batch-norm-and-silu.md.
"""

from __future__ import annotations

import functools
from collections import ChainMap
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any, TypeVar

import numpy as np

from .errors import MissingTensorError

Listener = Callable[[str, np.ndarray], None]
Replacement = Callable[..., np.ndarray]
F = TypeVar("F", bound=Callable[..., np.ndarray])


class Scope:
    """A subtree of the checkpoint that knows its own path.

    ``tensors`` maps full Hugging Face names to arrays; ``path`` is the subtree's place in it, ``""`` for the whole.
    """

    __slots__ = ("_listener", "_replacements", "_tensors", "path")

    def __init__(
        self,
        tensors: Mapping[str, np.ndarray],
        path: str = "",
        *,
        listener: Listener | None = None,
        replacements: tuple[tuple[str, Replacement], ...] = (),
    ) -> None:
        self.path = path
        self._tensors = tensors
        self._listener = listener
        self._replacements = replacements

    def __truediv__(self, name: str | int) -> Scope:
        """The subtree below ``name``: ``scope / "layer" / 0``."""
        return Scope(self._tensors, self._join(str(name)), listener=self._listener, replacements=self._replacements)

    def __getitem__(self, name: str) -> np.ndarray:
        """The parameter ``name`` of this subtree. Raises MissingTensorError with its full name."""
        full = self._join(name)
        try:
            return self._tensors[full]
        except KeyError:
            raise MissingTensorError(f"the checkpoint has no tensor {full!r}, which the network needs") from None

    @property
    def watched(self) -> bool:
        """Whether someone listens, or something is replaced: then every module must be gone through."""
        return self._listener is not None or bool(self._replacements)

    def __repr__(self) -> str:
        return f"Scope({self.path!r}, {len(self._tensors)} tensors)"

    def listen(self, listener: Listener) -> Scope:
        """The same scope, calling ``listener(path, output)`` for every module's output, in order of execution.

        A second listener joins the first. What it's given is the array the network goes on with: copy, don't change.
        """
        first = self._listener
        if first is None:
            both = listener
        else:

            def both(path: str, output: np.ndarray) -> None:
                first(path, output)
                listener(path, output)

        return Scope(self._tensors, self.path, listener=both, replacements=self._replacements)

    def replace(self, pattern: str, replacement: Replacement) -> Scope:
        """The same scope, with what the paths matching ``pattern`` compute replaced.

        ``pattern`` is a shell-style pattern on the whole path (``*.reduce_1x1``; ``*`` crosses dots).
        ``replacement(compute, x, scope, ...)`` gets the function it stands in for and that function's arguments.
        Where several match, the later wraps the earlier.
        """
        return Scope(
            self._tensors,
            self.path,
            listener=self._listener,
            replacements=(*self._replacements, (pattern, replacement)),
        )

    def with_tensors(self, tensors: Mapping[str, np.ndarray]) -> Scope:
        """The same scope, in which the parameters named in ``tensors`` (from this path on) are those given there."""
        changed = {self._join(name): tensor for name, tensor in tensors.items()}
        return Scope(
            ChainMap(changed, self._tensors),  # type: ignore[arg-type]  # it's read only
            self.path,
            listener=self._listener,
            replacements=self._replacements,
        )

    def emit(self, output: np.ndarray, name: str = "") -> np.ndarray:
        """Show ``output`` to whoever listens, under this path (and ``name`` below it), and hand it back."""
        if self._listener is not None:
            self._listener(self._join(name) if name else self.path, output)
        return output

    def computation(self, compute: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        """``compute``, or what was put in its place at this path."""
        for pattern, replacement in self._replacements:
            if fnmatchcase(self.path, pattern):
                compute = functools.partial(replacement, compute)
        return compute

    def _join(self, name: str) -> str:
        return f"{self.path}.{name}" if self.path else name


def module(function: F) -> F:
    """Mark ``function(x, scope, ...)`` as a module: its path can be replaced, and its output is emitted once."""

    @functools.wraps(function)
    def run(x: np.ndarray, scope: Scope, *args: Any, **kwargs: Any) -> np.ndarray:
        return scope.emit(scope.computation(function)(x, scope, *args, **kwargs))

    return run  # type: ignore[return-value]

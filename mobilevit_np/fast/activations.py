"""Activations in two halves, in place, and with a sign.

SiLU is x / (1 + exp(-x)). If the layer before computes u = -x (its weights negated when they were loaded), then
e = exp(u), e += 1, u / e is three passes over memory, and gives *minus* SiLU; the next layer's weights take the sign
back. h*tanh(h) + h with h = x/2 is three passes as well, but NumPy's tanh takes twice as long as its exp.

The halves are apart so that the second can write where the next step wants it: between the zeros that pad a map, or
with even and odd columns apart.

Explained in tutorials/12-making-numpy-fast.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import ops
from ..scope import Scope


@dataclass(frozen=True)
class Activation:
    """An activation, ``finish(u, begun, out)`` after ``begin(u, begun)``; u and out hold ``sign`` times the values."""

    sign: float
    begin: Callable[[np.ndarray, np.ndarray], object]
    finish: Callable[[np.ndarray, np.ndarray, np.ndarray], object]

    def __call__(self, u: np.ndarray, begun: np.ndarray) -> None:
        """Both halves, in place."""
        self.begin(u, begun)
        self.finish(u, begun, u)


def activation(scope: Scope, name: Any) -> Activation:
    """The activation called ``name`` (a few have parameters in ``scope``) or a function; no activation for None.

    Raises ConfigError for an unknown name.

    Twin: ``model.activation``.
    """
    if name is None or name in _QUICK:
        return _QUICK[name]
    function, parameters = ops.ACTIVATIONS[name]
    values = [scope[parameter] for parameter in parameters]
    return Activation(1.0, lambda u, begun: np.copyto(begun, function(u, *values)), _keep)


def _one_plus_exp(u: np.ndarray, begun: np.ndarray) -> None:
    np.exp(u, out=begun)  # if it overflows, u / inf is the right answer: 0
    np.add(begun, 1, out=begun)


def _keep(u: np.ndarray, begun: np.ndarray, out: np.ndarray) -> None:
    np.copyto(out, begun)


SILU = Activation(-1.0, _one_plus_exp, lambda u, begun, out: np.divide(u, begun, out=out))
RELU = Activation(1.0, lambda u, begun: None, lambda u, begun, out: np.maximum(u, 0, out=out))
NONE = Activation(1.0, lambda u, begun: None, lambda u, begun, out: None if out is u else np.copyto(out, u))
_QUICK: dict[str | None, Activation] = {"silu": SILU, "swish": SILU, "relu": RELU, "linear": NONE, None: NONE}

"""Activations in two halves, in place, of what the layer before made ready for them.

SiLU is x / (1 + exp(-x)). If the layer before computes u = -x (its weights negated when they were loaded), then
e = exp(u), e += 1, u / e is three passes over memory, and gives *minus* SiLU; the next layer's weights take the sign
back.

Which exponential is fastest depends on the processor. Where NumPy has exp2 in AVX-512, it takes half the time of exp;
elsewhere, several times as long. exp(x) is exp2(x / ln 2), and the weights before and after can hold that factor as
they hold the sign. NumPy is asked which instructions it uses; no clock decides, so the same machine always gives the
same bits.

The halves are apart so that the second can write where the next step wants it: between the zeros that pad a map, or
with even and odd columns apart.

Explained in tutorials/12-making-numpy-fast.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..errors import InputError
from ..scope import Scope

AVX512 = ("AVX512", "X86_V4")  # what NumPy calls it: since 2.4, the level that has it
_setting: dict[str, str] = {}  # what use_exponential has set: "name"


class Exponential(NamedTuple):
    """exp(x) is ``function(per_unit * x)``; ``name`` is what ``use_exponential`` calls it."""

    name: str
    function: Callable[..., Any]
    per_unit: float


_BOTH = (Exponential("exp", np.exp, 1.0), Exponential("exp2", np.exp2, 1 / math.log(2)))
EXPONENTIALS = {each.name: each for each in _BOTH}


@dataclass(frozen=True)
class Activation:
    """An activation, ``finish(u, begun, out)`` after ``begin(u, begun)``.

    u holds ``scale`` times the values that the activation is of, out ``factor`` times what it gives.
    """

    scale: float
    factor: float
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
    if name in ("silu", "swish"):
        return _silu()
    if name is None or name in _QUICK:
        return _QUICK[name]
    function, parameters = ops.ACTIVATIONS[name]
    values = [scope[parameter] for parameter in parameters]
    return Activation(1.0, 1.0, lambda u, begun: np.copyto(begun, function(u, *values)), _keep)


def exponential() -> Exponential:
    """What networks loaded from now on compute exponentials with: what ``use_exponential`` has set.

    By default it's exp2 where NumPy computes that with AVX-512, on this processor and as NumPy is set, and else exp.
    """
    return EXPONENTIALS[_setting.get("name") or ("exp2" if has_avx512() else "exp")]


def use_exponential(name: str | None = None) -> str:
    """Compute exponentials with "exp" or "exp2" (None: by the processor) in networks loaded from now on.

    Returns the name. To ask without setting, there is ``exponential``. Raises InputError for anything else.
    """
    if name is None:
        _setting.clear()
    elif isinstance(name, str) and name in EXPONENTIALS:
        _setting["name"] = name
    else:
        raise InputError(f"exponentials are computed with {' or '.join(EXPONENTIALS)}, not {name!r:.40}")
    return exponential().name


@functools.cache  # asking takes 40 us
def has_avx512() -> bool:
    """Whether NumPy computes exp2 of float32 with AVX-512, on this processor and as NumPy is set."""
    found = np.lib.introspect.opt_func_info(func_name="^exp2$", signature="float32").get("exp2", {})
    return any(each["current"].startswith(AVX512) for each in found.values())


def _silu() -> Activation:
    _, function, per_unit = exponential()

    def one_plus_exponential(u: np.ndarray, begun: np.ndarray) -> None:
        function(u, out=begun)  # if it overflows, u / inf is the right answer: 0
        np.add(begun, 1, out=begun)

    return Activation(-per_unit, -per_unit, one_plus_exponential, lambda u, begun, out: np.divide(u, begun, out=out))


def _keep(u: np.ndarray, begun: np.ndarray, out: np.ndarray) -> None:
    np.copyto(out, begun)


RELU = Activation(1.0, 1.0, lambda u, begun: None, lambda u, begun, out: np.maximum(u, 0, out=out))
NONE = Activation(1.0, 1.0, lambda u, begun: None, lambda u, begun, out: None if out is u else np.copyto(out, u))
_QUICK: dict[str | None, Activation] = {"relu": RELU, "linear": NONE, None: NONE}

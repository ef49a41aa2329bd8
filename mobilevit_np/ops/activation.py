"""Activation functions and softmax.

MobileViT itself uses SiLU, and ReLU in the segmentation head. A checkpoint's ``hidden_act`` may name any entry of
``ACTIVATIONS``, under transformers' names; in Python it may also be a function. All keep shape and dtype, no
exponential in them overflows, and none loses the small values of its tails to cancellation. Minus infinity times a
gate of 0 is NaN, as in PyTorch.

Explained in tutorials/03-batch-norm-and-silu.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import ConfigError, InputError
from .arguments import arithmetic
from .error_function import erfc


@arithmetic
def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)), never exponentiating a positive number: exp(-|x|) can't overflow, and keeps both tails exact.

    (...) -> (...)
    """
    tail = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, tail) / (1 + tail)


@arithmetic
def silu(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(x), "swish": smooth, and slightly negative left of zero.

    (...) -> (...)

    Source: ``torch.nn.functional.silu``; Elfwing et al., arXiv 1702.03118.
    """
    return x * sigmoid(x)


@arithmetic
def relu(x: np.ndarray) -> np.ndarray:
    """max(x, 0).

    (...) -> (...)
    """
    return np.maximum(x, 0)


@arithmetic
def relu6(x: np.ndarray) -> np.ndarray:
    """max(x, 0), but never above 6 (MobileNet's).

    (...) -> (...)
    """
    return np.clip(x, 0, 6)


@arithmetic
def relu_squared(x: np.ndarray) -> np.ndarray:
    """relu(x) squared.

    (...) -> (...)

    Source: Primer, arXiv 2109.08668.
    """
    return np.square(np.maximum(x, 0))


@arithmetic
def leaky_relu(x: np.ndarray) -> np.ndarray:
    """x, or a hundredth of it left of zero.

    (...) -> (...)

    Source: ``torch.nn.LeakyReLU`` with its default slope.
    """
    return np.where(x >= 0, x, 0.01 * x)


@arithmetic
def prelu(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """x, or a learned fraction of it left of zero.

    (...), (1) -> (...)

    Source: ``torch.nn.PReLU`` with one weight for all channels.
    """
    return np.where(x >= 0, x, weight * x)


@arithmetic
def hardswish(x: np.ndarray) -> np.ndarray:
    """x * relu6(x + 3) / 6, a SiLU made of straight lines (MobileNetV3's).

    (...) -> (...)
    """
    return x * np.clip(x + 3, 0, 6) / 6


@arithmetic
def tanh(x: np.ndarray) -> np.ndarray:
    """The hyperbolic tangent.

    (...) -> (...)
    """
    return np.tanh(x)


@arithmetic
def identity(x: np.ndarray) -> np.ndarray:
    """x itself: what transformers calls ``linear``.

    (...) -> (...)
    """
    return x.copy()


@arithmetic
def gelu(x: np.ndarray) -> np.ndarray:
    """x times the normal distribution's probability below x, exactly.

    (...) -> (...)

    Written with erfc, so that the left tail keeps its digits: 1 + erf would cancel to 0 beyond -6. Computed in
    float64 and handed back in x's dtype. Source: Hendrycks & Gimpel, arXiv 1606.08415.
    """
    wide = x.astype(np.float64, copy=False)
    return (0.5 * wide * erfc(wide * -math.sqrt(0.5))).astype(x.dtype, copy=False)


@arithmetic
def gelu_tanh(x: np.ndarray) -> np.ndarray:
    """GELU's approximation by a tanh, written as x * sigmoid(2 y), which is 0.5 x (1 + tanh y) without cancellation.

    (...) -> (...)
    """
    return _gelu_by_tanh(x, math.sqrt(2 / math.pi))


@arithmetic
def gelu_fast(x: np.ndarray) -> np.ndarray:
    """``gelu_tanh`` with the constant sqrt(2/pi) as transformers' FastGELU has it, rounded to ten digits.

    (...) -> (...)

    The rounding is 4e-12 of the tanh's argument: nothing in float32, but a deep network shows it in float64.
    """
    return _gelu_by_tanh(x, 0.7978845608)


def _gelu_by_tanh(x: np.ndarray, slope: float) -> np.ndarray:
    near = np.clip(x, -100, 100)  # beyond, the tanh is 1 in every format, and the cube could overflow
    return x * sigmoid(2 * slope * (near + 0.044715 * (near * near * near)))


@arithmetic
def clipped_gelu(x: np.ndarray) -> np.ndarray:
    """GELU held between -10 and 10, for quantized models.

    (...) -> (...)

    Source: transformers' ``gelu_10``; arXiv 2004.09602.
    """
    return np.clip(gelu(x), -10, 10)


@arithmetic
def quick_gelu(x: np.ndarray) -> np.ndarray:
    """x * sigmoid(1.702 x), a rough GELU (CLIP's).

    (...) -> (...)
    """
    return x * sigmoid(1.702 * x)


@arithmetic
def softplus(x: np.ndarray) -> np.ndarray:
    """log(1 + exp(x)), a rounded ReLU.

    (...) -> (...)

    Beyond 20 it's x itself, a difference below 2.1e-9. Source: ``torch.nn.functional.softplus``.
    """
    return np.where(x > 20, x, np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))))


@arithmetic
def sqrt_softplus(x: np.ndarray) -> np.ndarray:
    """The root of softplus.

    (...) -> (...)
    """
    return np.sqrt(softplus(x))


@arithmetic
def mish(x: np.ndarray) -> np.ndarray:
    """x * tanh(softplus(x)).

    (...) -> (...)

    Source: arXiv 1908.08681.
    """
    return x * np.tanh(softplus(x))


@arithmetic
def laplace(x: np.ndarray) -> np.ndarray:
    """The normal distribution's probability below x, with mean 0.707107 and deviation 0.282095.

    (...) -> (...)

    Written with erfc, as ``gelu`` is. Source: MEGA, arXiv 2209.10655; the two numbers are rounded there as here.
    """
    wide = x.astype(np.float64, copy=False)
    return (0.5 * erfc((0.707107 - wide) / (0.282095 * math.sqrt(2)))).astype(x.dtype, copy=False)


@arithmetic
def xielu(x: np.ndarray, alpha_p: np.ndarray, alpha_n: np.ndarray, beta: np.ndarray, eps: np.ndarray) -> np.ndarray:
    """A quadratic right of zero, an integrated ELU left of it, with learned curvatures.

    (...), (1), (1), (), () -> (...)

    Source: arXiv 2411.13010, as transformers evaluates it.
    """
    right = softplus(alpha_p) * x * x + beta * x
    left = (np.expm1(np.minimum(x, eps)) - x) * (beta + softplus(alpha_n)) + beta * x
    return np.where(x > 0, right, left)


@arithmetic
def softmax(x: np.ndarray) -> np.ndarray:
    """Exponentials of the last axis, scaled to sum to 1; its maximum is taken off first, so that none overflows.

    (..., N) -> (..., N)

    dtype: that of ``x``. Raises InputError for a lone number, which has no last axis.
    """
    if x.ndim == 0:
        raise InputError("softmax is taken over the last axis, and x is a lone number")
    out = x - x.max(axis=-1, keepdims=True, initial=-np.inf)  # no columns give none
    np.exp(out, out=out)
    out /= out.sum(axis=-1, keepdims=True)
    return out


def _apply(function: Callable[[Any], Any], x: np.ndarray) -> np.ndarray:
    """``function(x)``, for a function given as ``hidden_act``. Raises InputError if it isn't an activation."""
    name = getattr(function, "__name__", type(function).__name__)
    try:
        y = function(x)
    except Exception as error:  # whatever the function, or the framework behind it, raises
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"hidden_act, the function {name}, can't take a NumPy array: {reason}") from error
    if not isinstance(y, np.ndarray) or y.shape != x.shape or y.dtype.kind != "f":
        got = f"{y.dtype} of shape {y.shape}" if isinstance(y, np.ndarray) else f"a {type(y).__name__}"
        raise InputError(
            f"hidden_act, the function {name}, must return floats of its input's shape {x.shape}, not {got}"
        )
    return y.astype(x.dtype, copy=False)


class _Activations(dict[Any, tuple[Callable[..., np.ndarray], tuple[str, ...]]]):
    """hidden_act -> the function, and the names of its learned parameters, if it has any.

    A function stands for itself. It must work element by element, for the engines give it maps in different layouts
    and in pieces. Looking up an unknown name raises ConfigError.
    """

    def __missing__(self, name: Any) -> tuple[Callable[..., np.ndarray], tuple[str, ...]]:
        if callable(name):
            return functools.partial(_apply, name), ()
        raise ConfigError(f"hidden_act {name!r} is not a known activation; known are {', '.join(self)}")


# Several of transformers' names are one function computed in different ways, which agree to rounding.
ACTIVATIONS = _Activations(
    {
        "gelu": (gelu, ()),
        "gelu_10": (clipped_gelu, ()),
        "gelu_accurate": (gelu_tanh, ()),
        "gelu_fast": (gelu_fast, ()),
        "gelu_new": (gelu_tanh, ()),
        "gelu_python": (gelu, ()),
        "gelu_python_tanh": (gelu_tanh, ()),
        "gelu_pytorch_tanh": (gelu_tanh, ()),
        "hardswish": (hardswish, ()),
        "laplace": (laplace, ()),
        "leaky_relu": (leaky_relu, ()),
        "linear": (identity, ()),
        "mish": (mish, ()),
        "prelu": (prelu, ("weight",)),
        "quick_gelu": (quick_gelu, ()),
        "relu": (relu, ()),
        "relu2": (relu_squared, ()),
        "relu6": (relu6, ()),
        "sigmoid": (sigmoid, ()),
        "silu": (silu, ()),
        "sqrtsoftplus": (sqrt_softplus, ()),
        "swish": (silu, ()),
        "tanh": (tanh, ()),
        "xielu": (xielu, ("alpha_p", "alpha_n", "beta", "eps")),
    }
)

"""The error function, which NumPy lacks and exact GELU needs.

``math.erfc`` takes one number at a time. So its values on a grid of step 1/16 are taken once, and everything between
grid points comes from the Taylor series about the nearest one, whose coefficients are Hermite polynomials:

    erfc(a + t) = erfc(a) - 2/sqrt(pi) * exp(-a^2) * sum over n >= 0 of (-1)^n H_n(a) t^(n+1) / (n+1)!

With |t| <= 1/32 the terms fall so fast that 20 of them reach float64's last digits, relative to erfc itself even at
26. The grid ends at 28, where erfc is 0 in float64 and so are its coefficients.

Explained in tutorials/03-batch-norm-and-silu.md.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from .arguments import arithmetic

_STEPS = 16  # grid points per unit
_LOWEST, _HIGHEST = -6, 28  # erfc is 2 to the last digit below, and 0 to float64 above
_TERMS = 20


@functools.cache
def _table() -> np.ndarray:
    """Taylor coefficients of erfc about every grid point, the constant first: (points, 1 + terms)"""
    points = np.arange(_LOWEST * _STEPS, _HIGHEST * _STEPS + 1) / _STEPS
    table = np.empty((len(points), 1 + _TERMS))
    table[:, 0] = [math.erfc(a) for a in points]
    before, hermite = np.zeros_like(points), np.ones_like(points)
    factor = -2 / math.sqrt(math.pi) * np.exp(-points * points)
    for n in range(_TERMS):
        factor = factor / (n + 1)
        table[:, n + 1] = factor * hermite
        factor = -factor
        before, hermite = hermite, 2 * points * hermite - 2 * n * before  # H_(n+1) = 2a H_n - 2n H_(n-1)
    return table


@arithmetic
def erfc(x: np.ndarray) -> np.ndarray:
    """The complementary error function, 1 - erf(x), with its right tail's digits kept.

    (...) -> (...)

    Error at most 1e-15 absolute, and 1e-14 relative up to x = 26. dtype: that of ``x``, computed in float64.
    """
    wide = np.clip(x.astype(np.float64, copy=False), _LOWEST, _HIGHEST)  # NaN stays NaN
    nearest = np.rint(np.nan_to_num(wide) * _STEPS)
    index = nearest.astype(np.intp) - _LOWEST * _STEPS
    t = wide - nearest / _STEPS
    coefficients = _table().T
    out = np.broadcast_to(coefficients[_TERMS][index], t.shape)
    for n in range(_TERMS - 1, -1, -1):
        out = out * t + coefficients[n][index]
    return out.astype(x.dtype, copy=False)

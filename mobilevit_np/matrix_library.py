"""How many threads the matrix library under NumPy (OpenBLAS, MKL...) may use.

Imports nothing heavy: the library reads its setting once, when NumPy is imported, so this must come first.
"""

from __future__ import annotations

import os

VARIABLES = (  # where OpenBLAS, MKL, BLIS and Apple's Accelerate look first, and OpenMP under them last
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "OMP_NUM_THREADS",
)


def keep_to_one_thread() -> None:
    """Set all variables to 1, unless the environment has set any of them."""
    if not is_decided():
        os.environ.update(dict.fromkeys(VARIABLES, "1"))


def is_decided() -> bool:
    """Whether the environment says how many threads it may use."""
    return any(name in os.environ for name in VARIABLES)

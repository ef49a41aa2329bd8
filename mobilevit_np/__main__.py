"""``python -m mobilevit_np``, also installed as ``mobilevit-np``.

The fast engine shares its work out among threads of its own, and NumPy's matrix library must not start as many again in
each of them. That library reads its setting once, when NumPy is imported, so it's made here, before anything else. Who
has set one of these variables has decided already, and they stay as they are.
"""

from __future__ import annotations

import os
import sys

MATRIX_LIBRARIES = (  # the variables in which OpenBLAS, MKL, Apple's Accelerate, BLIS, and OpenMP under them, look
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "BLIS_NUM_THREADS",
    "OMP_NUM_THREADS",
)


def main() -> int:
    """Run the command line; the exit code is the answer."""
    if not any(name in os.environ for name in MATRIX_LIBRARIES):
        os.environ.update(dict.fromkeys(MATRIX_LIBRARIES, "1"))

    from .cli import run

    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # None where it was closed: `>&-`
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())

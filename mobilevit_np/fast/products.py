"""Matrix products in pieces, where the matrix library is faster with small ones.

Before a large product, a matrix library copies both matrices into the order in which its kernel reads them (packing).
With 16 to 64 columns a number is used so few times that the copy costs up to a third of the product. OpenBLAS's kernels
for AVX-512 multiply matrices of at most ``PIECE`` multiplications as they lie, without a copy. So the rows of a larger
product are cut into pieces of that size, and ``matmul`` is given all of them in one call.

Explained in tutorials/12-making-numpy-fast.md.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from .activations import has_avx512
from .crew import is_limited
from .plan import Function

PIECE = 100**3  # multiplications: OpenBLAS's own bound
MIN_ROWS = 4  # of a piece: with fewer, pieces gain nothing


def product(left: np.ndarray, right: np.ndarray, out: np.ndarray) -> Function:
    """The function that computes ``left @ right`` into ``out``, in pieces if that's faster.

    (..., M, K), (..., K, N) -> (..., M, N)
    """
    *_, rows, inner = left.shape
    count = _pieces(rows, inner * right.shape[-1]) if uses_pieces() else 1
    if count > 1:
        shape = count, rows // count
        left = left.reshape(*left.shape[:-2], *shape, inner)
        out = out.reshape(*out.shape[:-2], *shape, out.shape[-1])
        right = right[..., None, :, :]
    return partial(np.matmul, left, right, out=out)


def uses_pieces() -> bool:
    """Whether plans made now multiply in pieces.

    They do with AVX-512, and if ``use_threads`` has limited the matrix library to one thread: its own threads share
    large products, but no small ones.
    """
    return is_limited() and has_avx512()


def _pieces(rows: int, each: int) -> int:
    """In how many equal pieces of few enough multiplications: the fewest; 1 if there's no such number."""
    fewest = max(1, math.ceil(rows * each / PIECE))
    return next((n for n in range(fewest, rows // MIN_ROWS + 1) if rows % n == 0), 1)

"""Multi-head scaled dot-product attention.

"Attention is all you need", section 3.2: softmax(q k^T / sqrt(d)) v, in h heads at once, d being the width of one head.

Explained in tutorials/05-attention.md.
"""

from __future__ import annotations

import math

import numpy as np

from ..errors import InputError
from .activation import softmax
from .arguments import arithmetic, check_axes, check_number, check_whole_number


def split_heads(x: np.ndarray, num_heads: int) -> np.ndarray:
    """Cut each token's features into heads, head by head in a row.

    (B, N, D), h -> (B, h, N, d)

    dtype: that of ``x``. Raises InputError if the heads don't divide D.
    """
    check_axes("split_heads", "x", x, "B, N, D")
    check_whole_number("num_heads", num_heads, at_least=1)
    B, N, D = x.shape
    if D == 0 or D % num_heads:
        raise InputError(f"{D} features can't be split into {num_heads} heads")
    return x.reshape(B, N, num_heads, D // num_heads).transpose(0, 2, 1, 3)  # (B, N, h, d) -> (B, h, N, d)


def merge_heads(x: np.ndarray) -> np.ndarray:
    """The inverse of ``split_heads``.

    (B, h, N, d) -> (B, N, D)

    dtype: that of ``x``. Raises InputError unless ``x`` has four axes.
    """
    check_axes("merge_heads", "x", x, "B, h, N, d")
    B, h, N, d = x.shape
    return x.transpose(0, 2, 1, 3).reshape(B, N, h * d)  # (B, h, N, d) -> (B, N, h, d) -> (B, N, D)


@arithmetic
def attention_probabilities(
    query: np.ndarray, key: np.ndarray, num_heads: int, *, scale: float | None = None
) -> np.ndarray:
    """How much each token attends to every other, head by head: softmax(q k^T / sqrt(d)).

    (B, N, D), (B, N, D), h -> (B, h, N, N)

    ``scale`` multiplies the scores; by default 1/sqrt(d), d the width of a head, not of the model (a known port
    mistake). Row n is what token n attends to; each row sums to 1.

    dtype: that of ``query``: ``math.sqrt`` gives a Python float, while ``np.sqrt(36)`` would turn float32 into float64.
    Raises InputError if the heads don't divide D, or the shapes differ. Source: transformers'
    MobileViTSelfAttention.
    """
    if query.shape != key.shape:
        raise InputError(f"query {query.shape} and key {key.shape} must have one shape")
    query, key = split_heads(query, num_heads), split_heads(key, num_heads)  # each (B, h, N, d)
    if scale is None:
        scale = 1.0 / math.sqrt(query.shape[-1])
    check_number("scale", scale)
    scores = query @ key.swapaxes(-1, -2)  # (B, h, N, d) @ (B, h, d, N) -> (B, h, N, N)
    scores *= scale
    return softmax(scores)


@arithmetic
def attend(probabilities: np.ndarray, value: np.ndarray) -> np.ndarray:
    """What each token gathers from all the others, the heads side by side again.

    (B, h, N, N), (B, N, D) -> (B, N, D)

    dtype: that of ``probabilities``. Raises InputError if the heads don't divide D, or the shapes don't fit.
    """
    check_axes("attend", "probabilities", probabilities, "B, h, N, N")
    heads = split_heads(value, probabilities.shape[1])  # (B, h, N, d)
    if probabilities.shape != (*heads.shape[:3], heads.shape[2]):
        raise InputError(f"probabilities of shape {probabilities.shape} don't fit values of shape {value.shape}")
    return merge_heads(probabilities @ heads)  # (B, h, N, N) @ (B, h, N, d) -> (B, h, N, d) -> (B, N, D)


@arithmetic
def multi_head_attention(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, num_heads: int, *, scale: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Both steps at once: what each token gathers from all the others, and the probabilities it gathered with.

    (B, N, D), (B, N, D), (B, N, D), h -> (B, N, D), (B, h, N, N)

    dtype and errors: as ``attention_probabilities`` and ``attend``.
    """
    probabilities = attention_probabilities(query, key, num_heads, scale=scale)
    return attend(probabilities, value), probabilities

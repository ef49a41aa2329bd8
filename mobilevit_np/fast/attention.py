"""The fast twin of the transformer: a few sequences at a time, from the first layer to the last, in place.

What it leaves out of the textbook's formula, and why the result is the same:

- Layer norm subtracts each token's mean, and nothing but layer norms reads the tokens. So the weights that make tokens
  or add to them are centered when they're loaded, and no token ever has a mean to subtract.
- Layer norm's scale and shift are folded into the linear layer that follows, 1/sqrt(d) into the queries' weights.
- The keys' bias adds the same to all scores of a row, which softmax ignores. The values' bias passes through the
  probabilities, which sum to 1, so it's folded into the output projection's bias.
- Softmax subtracts the row's maximum so that no exponential overflows, nor all of them vanish. The row's sum shows
  whether that has happened (it hardly ever does); only then are the scores computed again, and the maximum subtracted.
- Probabilities aren't divided by their sum; what they gather is, which is far smaller. The sums are a matrix product
  with ones.

Explained in tutorials/12-making-numpy-fast.md.
"""

from __future__ import annotations

import math

import numpy as np

from ..config import NetworkConfig
from ..scope import Scope
from .activations import Exponential, activation, exponential
from .folding import Affine, fold_linear
from .plan import Function, rows_of
from .products import product

SCORE_BYTES = 1 << 20  # of the scores worked on at a time
SAFE_SUM = 1e25  # of a row's exponentials, or 1 over it: beyond, some or their products may overflow, or come to 0


def normalization(x: np.ndarray, out: np.ndarray, eps: float) -> Function:
    """Layer norm of rows whose mean is 0, divided by sqrt(D), without scale and shift: (rows, D) -> (rows, D)

    What's missing is folded into the weights before and after.

    Twin: ``model.layer_norm``.
    """
    rows, width = x.shape
    squares = np.empty(rows, x.dtype)
    lengths = squares[:, None]

    def run() -> None:
        np.vecdot(x, x, out=squares)
        np.add(squares, eps * width, out=squares)
        np.sqrt(squares, out=squares)
        np.divide(x, lengths, out=out)

    return run


class Attention:
    """Twin: ``model.attention`` with the layer norm before it and the addition after it."""

    def __init__(self, scope: Scope, norm: Scope, config: NetworkConfig):
        inner = scope / "attention"
        bias = config.qkv_bias
        query, key, value = (fold_linear(inner / name, norm, bias=bias) for name in ("query", "key", "value"))
        out = fold_linear(scope / "output" / "dense", centered=True)
        self.heads = config.num_attention_heads
        self.exponential = exponential()
        scale = self.exponential.per_unit / math.sqrt(query.weight.shape[1] // self.heads)
        dtype = query.weight.dtype
        self.project = np.concatenate([query.weight * dtype.type(scale), key.weight, value.weight], axis=1)  # (D, 3D)
        self.query_bias = query.bias * dtype.type(scale)
        shift = value.bias.astype(np.float64) @ out.weight.astype(np.float64) + out.bias
        self.out = Affine(out.weight, shift.astype(dtype))

    def function(self, x: np.ndarray, normed: np.ndarray, wide: np.ndarray, scores_: np.ndarray) -> Function:
        """Add to ``x``, (g, N, D), what it attends to, in place; the other arrays are scratch."""
        sequences, tokens, width = x.shape
        rows = sequences * tokens
        flat, context = x.reshape(rows, width), normed.reshape(rows, width)
        qkv = rows_of(wide, rows, 3 * width)
        queries = qkv[:, :width]
        split = qkv.reshape(sequences, tokens, 3, self.heads, -1).transpose(2, 0, 3, 1, 4)  # -> (3, g, h, N, d)
        gathered = context.reshape(sequences, tokens, self.heads, -1).transpose(0, 2, 1, 3)  # -> (g, h, N, d)
        blocks = [
            _block(self.exponential, split[0, some], split[1, some], split[2, some], gathered[some], part, scores_)
            for some, part in _blocks(sequences, self.heads, tokens, x.dtype.itemsize)
        ]
        projected = rows_of(wide, rows, width)
        project, project_out = product(context, self.project, qkv), product(context, self.out.weight, projected)

        def run() -> None:
            project()
            np.add(queries, self.query_bias, out=queries)
            for block in blocks:
                block()
            project_out()
            np.add(projected, self.out.bias, out=projected)
            np.add(flat, projected, out=flat)

        return run


def _blocks(sequences: int, heads: int, tokens: int, itemsize: int) -> list[tuple[slice, slice]]:
    """Cut the scores into blocks that fit the cache: all rows of some sequences, or some rows of one."""
    whole = heads * tokens * tokens * itemsize
    if whole <= SCORE_BYTES:
        together = max(1, SCORE_BYTES // whole)
        return [(slice(i, min(i + together, sequences)), slice(0, tokens)) for i in range(0, sequences, together)]
    rows = max(1, SCORE_BYTES // (heads * tokens * itemsize))
    return [
        (slice(i, i + 1), slice(top, min(top + rows, tokens)))
        for i in range(sequences)
        for top in range(0, tokens, rows)
    ]


def score_size(sequences: int, heads: int, tokens: int, itemsize: int) -> int:
    """How many numbers the largest block of scores holds."""
    some, rows = _blocks(sequences, heads, tokens, itemsize)[0]  # no other is larger
    return (some.stop - some.start) * heads * (rows.stop - rows.start) * tokens


def _block(
    exponential: Exponential, query: np.ndarray, key: np.ndarray, value: np.ndarray, gathered: np.ndarray,
    rows: slice, scores_: np.ndarray,
) -> Function:  # fmt: skip
    """Some queries of some sequences, all heads: (g, h, N, d) -> (g, h, N', d)

    The queries are ready for this exponential.

    Twin: ``ops.multi_head_attention``.
    """
    query, gathered = query[:, :, rows], gathered[:, :, rows]
    shape = (*query.shape[:3], key.shape[2])
    scores = scores_.reshape(-1)[: math.prod(shape)].reshape(shape)
    transposed = key.swapaxes(2, 3)
    ones = np.ones((key.shape[2], 1), query.dtype)
    sums = np.empty((*query.shape[:3], 1), query.dtype)
    exp = exponential.function
    gather = product(scores, value, gathered)

    def run() -> None:
        np.matmul(query, transposed, out=scores)
        exp(scores, out=scores)
        np.matmul(scores, ones, out=sums)
        if not (sums.min() > 1 / SAFE_SUM and sums.max() < SAFE_SUM):
            sound = (sums > 1 / SAFE_SUM) & (sums < SAFE_SUM)  # their rows stay as they are, to the last bit
            np.matmul(query, transposed, out=scores)
            np.subtract(scores, np.where(sound, 0, scores.max(axis=-1, keepdims=True)), out=scores)
            exp(scores, out=scores)
            np.matmul(scores, ones, out=sums)
        gather()
        np.divide(gathered, sums, out=gathered)

    return run


class FeedForward:
    """Twin: ``model.feed_forward_in`` and ``model.feed_forward_out``, with the layer norm before them."""

    def __init__(self, layer: Scope, norm: Scope, config: NetworkConfig):
        inner = layer / "intermediate"
        self.act = activation(inner / "intermediate_act_fn", config.hidden_act)
        self.widen = fold_linear(inner / "dense", norm, scale=self.act.scale)
        self.narrow = fold_linear(layer / "output" / "dense", factor=self.act.factor, centered=True)

    def function(self, x: np.ndarray, normed: np.ndarray, wide: np.ndarray, begun: np.ndarray) -> Function:
        """Add to ``x``, (rows, D), in place; the other arrays are scratch."""
        rows, middle = len(x), len(self.widen.bias)
        u, e = rows_of(wide, rows, middle), rows_of(begun, rows, middle)
        widen, narrow = product(normed, self.widen.weight, u), product(u, self.narrow.weight, normed)

        def run() -> None:
            widen()
            np.add(u, self.widen.bias, out=u)
            self.act(u, e)
            narrow()
            np.add(normed, self.narrow.bias, out=normed)
            np.add(x, normed, out=x)

        return run


class Transformer:
    """Twin: ``model.transformer``, and the layer norm after it."""

    def __init__(self, scope: Scope, config: NetworkConfig, depth: int):
        self.eps = config.layer_norm_eps
        self.heads = config.num_attention_heads
        layers = [scope / "layer" / i for i in range(depth)]
        self.layers = [
            (
                Attention(layer / "attention", layer / "layernorm_before", config),
                FeedForward(layer, layer / "layernorm_after", config),
            )
            for layer in layers
        ]

    def scratch(self, sequences: int, tokens: int, width: int, itemsize: int) -> list[tuple[int, ...]]:
        """What some sequences need: normed tokens; queries, keys and values, or the feed-forward's middle; scores."""
        rows, middle = sequences * tokens, len(self.layers[0][1].widen.bias)
        scores = score_size(sequences, self.heads, tokens, itemsize)
        return [(rows, width), (rows, max(3 * width, middle)), (max(scores, rows * middle),)]

    def function(self, x: np.ndarray, normed_: np.ndarray, wide: np.ndarray, scores: np.ndarray) -> Function:
        """All layers on some sequences (g, N, D), in place; ``normed_`` then holds the last layer norm's output."""
        rows, width = x.shape[0] * x.shape[1], x.shape[2]
        flat, normed = x.reshape(rows, width), rows_of(normed_, rows, width)
        norm = normalization(flat, normed, self.eps)
        functions: list[Function] = []
        for attend, feed_forward in self.layers:
            functions += [norm, attend.function(x, normed, wide, scores)]
            functions += [norm, feed_forward.function(flat, normed, wide, scores)]
        functions.append(norm)

        def run() -> None:
            for function in functions:
                function()

        return run

"""Floor 2. The transformer layer: attention between tokens, then a feed-forward on each. Imports ops, floor 0.

Pre-norm: each half normalises its input and adds its output to what came in, so the sum runs through unnormalised.

Explained in tutorials/05-attention.md.
"""

from __future__ import annotations

import numpy as np

from .. import ops
from ..config import NetworkConfig
from ..scope import Scope, module
from .primitives import activation, layer_norm, linear


@module
def transformer_layer(x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    """``x += attention(norm(x))``, then ``x += feed_forward(norm(x))``.

    (B*P, N, D) -> (B*P, N, D)

    Source: transformers' MobileViTTransformerLayer.
    """
    eps = config.layer_norm_eps
    x = x + attention(layer_norm(x, scope / "layernorm_before", eps=eps), scope / "attention", config)
    y = feed_forward_in(layer_norm(x, scope / "layernorm_after", eps=eps), scope / "intermediate", config)
    return feed_forward_out(y, scope / "output", x)


@module
def attention(x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    """Attention and its output projection.

    (B*P, N, D) -> (B*P, N, D)
    """
    x = self_attention(x, scope / "attention", config)
    return attention_out(x, scope / "output")


@module
def self_attention(x: np.ndarray, scope: Scope, config: NetworkConfig, *, scale: float | None = None) -> np.ndarray:
    """Queries, keys and values of every token, and what the tokens gather from each other.

    (B*P, N, D) -> (B*P, N, D)

    Emits the probabilities too, as ``probabilities``: (B*P, h, N, N).
    """
    query = linear(x, scope / "query", bias=config.qkv_bias)
    key = linear(x, scope / "key", bias=config.qkv_bias)
    value = linear(x, scope / "value", bias=config.qkv_bias)
    context, probabilities = ops.multi_head_attention(query, key, value, config.num_attention_heads, scale=scale)
    scope.emit(probabilities, "probabilities")
    return context


@module
def attention_out(x: np.ndarray, scope: Scope) -> np.ndarray:
    """The projection that mixes the heads.

    (B*P, N, D) -> (B*P, N, D)
    """
    return linear(x, scope / "dense")


@module
def feed_forward_in(x: np.ndarray, scope: Scope, config: NetworkConfig) -> np.ndarray:
    """The feed-forward's first half: widen, activate.

    (B*P, N, D) -> (B*P, N, F)
    """
    return activation(linear(x, scope / "dense"), scope / "intermediate_act_fn", config.hidden_act)


@module
def feed_forward_out(x: np.ndarray, scope: Scope, residual: np.ndarray) -> np.ndarray:
    """The feed-forward's second half: narrow, and add what came into the layer's second half.

    (B*P, N, F), (B*P, N, D) -> (B*P, N, D)
    """
    return linear(x, scope / "dense") + residual

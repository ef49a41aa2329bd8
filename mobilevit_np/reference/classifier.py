"""Floor 3. The classifier: backbone, global pooling, one linear layer. Imports ops, layers and floor 0.

Explained in tutorials/08-the-whole-classifier.md.
"""

from __future__ import annotations

import numpy as np

from .. import ops
from ..config import NetworkConfig
from ..layers import linear
from ..scope import Scope
from .backbone import backbone


def classifier(pixel_values: np.ndarray, scope: Scope, config: NetworkConfig) -> tuple[np.ndarray, list[np.ndarray]]:
    """A score per class (raw logits, no softmax), and the five maps on the way.

    (B, C, H, W) -> (B, K), five of (B, Ci, Hi, Wi)

    ``scope`` is the whole checkpoint. With no labels (``num_labels`` 0) the pooled features are the answer. dtype and
    errors: as ``backbone``. Source: transformers' MobileViTForImageClassification.
    """
    features, hidden_states = backbone(pixel_values, scope / "mobilevit", config)
    pooled = ops.global_pool(features, config.global_pool)  # (B, E, H', W') -> (B, E)
    logits = linear(pooled, scope / "classifier") if config.num_labels > 0 else pooled
    return scope.emit(logits), hidden_states

"""Floor 3. The segmenter: backbone without its expansion, DeepLabV3 head. Imports layers, floor 0.

Explained in tutorials/09-atrous-convolution-and-deeplabv3.md.
"""

from __future__ import annotations

import numpy as np

from ..config import NetworkConfig
from ..layers import deeplabv3
from ..scope import Scope
from .backbone import backbone


def segmenter(pixel_values: np.ndarray, scope: Scope, config: NetworkConfig) -> tuple[np.ndarray, list[np.ndarray]]:
    """A score per class and place, at 1/output_stride of the photo's size, and the five maps on the way.

    (B, C, H, W) -> (B, K, H', W'), five of (B, Ci, Hi, Wi)

    ``scope`` is the whole checkpoint. dtype and errors: as ``backbone``. Source: transformers'
    MobileViTForSemanticSegmentation.
    """
    features, hidden_states = backbone(pixel_values, scope / "mobilevit", config, expand_output=False)
    logits = deeplabv3(features, scope / "segmentation_head", config)
    return scope.emit(logits), hidden_states

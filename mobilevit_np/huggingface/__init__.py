"""The classes that transformers users know: configuration, image processor, models, outputs.

    from mobilevit_np.huggingface import AutoImageProcessor, MobileViTForImageClassification

The classes translate; an engine computes. Names resolve on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .auto import AutoConfig as AutoConfig
    from .auto import AutoImageProcessor as AutoImageProcessor
    from .auto import AutoModel as AutoModel
    from .auto import AutoModelForImageClassification as AutoModelForImageClassification
    from .auto import AutoModelForSemanticSegmentation as AutoModelForSemanticSegmentation
    from .batch_feature import BatchFeature as BatchFeature
    from .configuration import MobileViTConfig as MobileViTConfig
    from .image_pipelines import pipeline as pipeline
    from .image_processing import MobileViTFeatureExtractor as MobileViTFeatureExtractor
    from .image_processing import MobileViTImageProcessor as MobileViTImageProcessor
    from .modeling import MobileViTForImageClassification as MobileViTForImageClassification
    from .modeling import MobileViTForSemanticSegmentation as MobileViTForSemanticSegmentation
    from .modeling import MobileViTModel as MobileViTModel
    from .modeling_tf import TFMobileViTForImageClassification as TFMobileViTForImageClassification
    from .modeling_tf import TFMobileViTForSemanticSegmentation as TFMobileViTForSemanticSegmentation
    from .modeling_tf import TFMobileViTModel as TFMobileViTModel

_HOMES = {
    "auto": (
        "AutoConfig", "AutoImageProcessor", "AutoModel", "AutoModelForImageClassification",
        "AutoModelForSemanticSegmentation",
    ),
    "batch_feature": ("BatchFeature",),
    "configuration": ("MobileViTConfig",),
    "image_pipelines": ("pipeline",),
    "image_processing": ("MobileViTFeatureExtractor", "MobileViTImageProcessor"),
    "modeling": ("MobileViTForImageClassification", "MobileViTForSemanticSegmentation", "MobileViTModel"),
    "modeling_tf": ("TFMobileViTForImageClassification", "TFMobileViTForSemanticSegmentation", "TFMobileViTModel"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}
__all__ = [*_HOME_OF]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME_OF[name]}", __name__), name)

"""MobileViT in NumPy alone: to read, to run, and to check other ports against.

    import mobilevit_np
    mobilevit_np.Classifier.from_pretrained()("cat.jpg")

Nothing heavy is imported until a name is first used, so that the command line starts fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .config import VARIANTS, NetworkConfig
    from .errors import MobileViTError
    from .huggingface import (
        AutoConfig,
        AutoImageProcessor,
        AutoModel,
        AutoModelForImageClassification,
        AutoModelForSemanticSegmentation,
        MobileViTConfig,
        MobileViTFeatureExtractor,
        MobileViTForImageClassification,
        MobileViTForSemanticSegmentation,
        MobileViTImageProcessor,
        MobileViTModel,
        TFMobileViTForImageClassification,
        TFMobileViTForSemanticSegmentation,
        TFMobileViTModel,
        pipeline,
    )
    from .pipelines import Classifier, Segmenter
    from .scope import Scope

__all__ = [
    "VARIANTS",
    "AutoConfig",
    "AutoImageProcessor",
    "AutoModel",
    "AutoModelForImageClassification",
    "AutoModelForSemanticSegmentation",
    "Classifier",
    "MobileViTConfig",
    "MobileViTError",
    "MobileViTFeatureExtractor",
    "MobileViTForImageClassification",
    "MobileViTForSemanticSegmentation",
    "MobileViTImageProcessor",
    "MobileViTModel",
    "NetworkConfig",
    "Scope",
    "Segmenter",
    "TFMobileViTForImageClassification",
    "TFMobileViTForSemanticSegmentation",
    "TFMobileViTModel",
    "__version__",
    "pipeline",
]

_HOMES = {"VARIANTS": "config", "NetworkConfig": "config", "MobileViTError": "errors", "Scope": "scope"}
_HOMES |= {"Classifier": "pipelines", "Segmenter": "pipelines"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = _HOMES.get(name, "huggingface")  # the names that transformers has too
    return getattr(importlib.import_module(f".{home}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""Pipelines: a photo in, an answer out.

Names resolve on first use: classifying doesn't import what draws.

Explained in tutorials/00-ten-lines.md.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .classifier import Classification, Classifier, Prediction
    from .segmenter import Segmentation, Segmenter

__all__ = ["Classification", "Classifier", "Prediction", "Segmentation", "Segmenter"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "segmenter" if name.startswith("Segment") else "classifier"
    return getattr(importlib.import_module(f".{home}", __name__), name)

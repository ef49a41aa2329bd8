"""Floor 3. The reference engine: config + scope + input -> outputs. What golden files are made with."""

from .backbone import backbone
from .classifier import classifier
from .segmenter import segmenter

__all__ = ["backbone", "classifier", "segmenter"]

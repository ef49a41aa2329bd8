"""Floor 3. The reference engine: config + scope + input -> outputs. What golden files are made with."""

from .backbone import backbone, check_pixel_values
from .classifier import classifier
from .segmenter import segmenter

__all__ = ["backbone", "check_pixel_values", "classifier", "segmenter"]

"""Floor 1. Pictures of what the network says: palettes, overlays, legends. Imports Pillow and NumPy."""

from .overlay import indexed_mask, overlay, pixel_counts
from .palettes import palette

__all__ = ["indexed_mask", "overlay", "palette", "pixel_counts"]

"""A mask seen over its photo, with a legend.

Explained in tutorials/09-atrous-convolution-and-deeplabv3.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .palettes import palette

_STRIP = 1 << 20  # pixels worked on at a time, so that a large photo takes no large arrays of wide numbers
_MAX_LABEL = 40  # characters in a legend
_BACKGROUND = 0


def overlay(photo: np.ndarray, mask: np.ndarray, labels: Sequence[str]) -> Image.Image:
    """The photo with every class but the background tinted, outlines drawn, and a legend of the classes that occur.

    (H, W, 3), (H, W), labels -> image

    ``photo`` is uint8 RGB, ``mask`` holds class numbers. The background's pixels stay as they are, except for the
    legend.
    """
    colors = palette(len(labels))
    painted = photo.copy()
    for rows in _strips(mask):
        tint = np.where((mask[rows] == _BACKGROUND)[..., None], photo[rows], colors[mask[rows]])
        painted[rows] = (photo[rows].astype(np.uint16) + tint + 1) // 2  # half photo, half color
    edges = _outline(mask) & (mask != _BACKGROUND)
    painted[edges] = colors[mask[edges]]
    image = Image.fromarray(painted)
    counts = pixel_counts(mask, len(labels))
    shown = [int(c) for c in np.flatnonzero(counts) if c != _BACKGROUND]
    _draw_legend(image, [(_one_line(labels[c]), tuple(int(v) for v in colors[c])) for c in shown])
    return image


def indexed_mask(mask: np.ndarray, num_classes: int) -> Image.Image:
    """The mask as an indexed-color image: pixel values are class numbers, the palette makes them visible.

    (H, W), num_classes -> image

    Beyond 256 classes, which no palette holds, it's a 16-bit gray image.
    """
    if num_classes > 256:
        return Image.fromarray(mask.astype(np.uint16))
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette(palette(num_classes).tobytes())
    return image


def pixel_counts(mask: np.ndarray, num_classes: int) -> np.ndarray:
    """How many pixels each class has.

    (H, W), num_classes -> (num_classes,)
    """
    counts = np.zeros(num_classes, np.int64)
    for rows in _strips(mask):  # bincount turns each pixel into eight bytes
        counts += np.bincount(mask[rows].ravel(), minlength=num_classes)
    return counts


def _strips(mask: np.ndarray) -> Iterator[slice]:
    rows = max(1, _STRIP // mask.shape[1])
    for top in range(0, len(mask), rows):
        yield slice(top, top + rows)


def _outline(mask: np.ndarray) -> np.ndarray:
    """Pixels with a neighbor (above, below, left or right) of another class: (H, W) -> (H, W)"""
    edges = np.zeros(mask.shape, bool)
    across, down = mask[:, :-1] != mask[:, 1:], mask[:-1] != mask[1:]
    edges[:, :-1] |= across
    edges[:, 1:] |= across
    edges[:-1] |= down
    edges[1:] |= down
    return edges


def _one_line(label: str) -> str:
    """A label that can be drawn: Pillow measures single lines only."""
    return " ".join(label.split())[:_MAX_LABEL]


def _draw_legend(image: Image.Image, entries: list[tuple[str, tuple[int, ...]]]) -> None:
    """Swatches and names in the lower left corner, sized to the photo; left out if the photo is too small."""
    size = max(11, min(image.size) // 24)
    font = ImageFont.load_default(size)
    draw = ImageDraw.Draw(image, "RGBA")
    line, pad = round(size * 1.4), round(size * 0.5)
    width = max((round(draw.textlength(name, font)) for name, _ in entries), default=0) + 3 * pad + size
    height = line * len(entries) + 2 * pad
    if not entries or width + 2 * pad > image.width or height + 2 * pad > image.height:
        return
    left, top = pad, image.height - pad - height
    draw.rounded_rectangle((left, top, left + width, top + height), pad, fill=(20, 20, 20, 190))
    for i, (name, color) in enumerate(entries):
        y = top + pad + i * line
        draw.rectangle((left + pad, y, left + pad + size, y + size), fill=(*color, 255))
        draw.text((left + 2 * pad + size, y + size / 2), name, fill=(255, 255, 255, 255), font=font, anchor="lm")

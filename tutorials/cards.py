"""What the tutorials' pictures are drawn on: a light or dark card with words, pictures, lines, boxes, axes and scales.

NumPy and Pillow alone. A card is 640 pixels wide and its words are at least 15 high, so that they can still be read on
a phone, where the card is shrunk to some 370.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

Color = tuple[int, int, int]
Point = tuple[float, float]
WIDTH, MARGIN = 640, 20
ORANGE, SKY, GREEN, PURPLE, BLUE, RED = (  # after Okabe and Ito: told apart by color-blind readers too
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (204, 121, 167),
    (0, 114, 178),
    (213, 94, 0),
)
FINER = 3  # lines are drawn this many times as large, then shrunk: their edges become smooth


@dataclass(frozen=True)
class Theme:
    """The colors of a card: of its paper, its words, its lesser words, and its rules."""

    paper: Color
    ink: Color
    faint: Color
    rule: Color


LIGHT = Theme((255, 255, 255), (28, 32, 40), (92, 98, 108), (206, 210, 216))
DARK = Theme((32, 36, 44), (236, 238, 240), (168, 176, 186), (78, 84, 94))


class Card:
    """A rectangle with a title. Places are pixels from its upper left corner: x to the right, y downward."""

    def __init__(self, theme: Theme, height: int, title: str) -> None:
        self.theme = theme
        self.image = Image.new("RGB", (WIDTH, height), theme.paper)
        self.text(MARGIN, 16, title, size=21)

    def text(
        self, x: float, y: float, words: str, color: Color | None = None, size: int = 17, anchor: str = "la"
    ) -> None:
        """``words`` with their upper left corner at (x, y), or as Pillow's two-letter ``anchor`` says."""
        align = {"l": "left", "m": "center", "r": "right"}[anchor[0]]
        font = ImageFont.load_default(size * FINER)
        style = {"font": font, "anchor": anchor, "align": align, "spacing": 4 * FINER}
        ends = ImageDraw.Draw(self.image).textbbox((0, 0), words, **style)
        corners = [(x + ends[0] / FINER, y + ends[1] / FINER), (x + ends[2] / FINER, y + ends[3] / FINER)]
        start = (-ends[0], -ends[1])
        self._smoothly(
            corners,
            color,
            lambda draw, p: draw.text((p[0][0] + start[0], p[0][1] + start[1]), words, fill=255, **style),
        )

    def note(self, x: float, y: float, words: str, size: int = 16, anchor: str = "la") -> None:
        """Lesser words."""
        self.text(x, y, words, self.theme.faint, size, anchor)

    def picture(self, x: int, y: int, pixels: np.ndarray, width: int, height: int = 0, *, bits: int = 0xF8) -> None:
        """(3, H, W) of numbers in 0..1: enlarged pixel by pixel, or averaged where it must shrink.

        ``bits`` are those kept of each level: fewer of them make smaller files.
        """
        size = (width, height or width)
        levels = (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8)
        small = size[0] < pixels.shape[2]
        way = Image.Resampling.BOX if small else Image.Resampling.NEAREST
        resized = Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0))).resize(size, way)
        self.image.paste(resized.point(lambda level: level & bits), (x, y))

    def grid(self, x: int, y: int, side: int, spacing: int, color: Color | None = None) -> None:
        """Thin lines over a square."""
        draw = ImageDraw.Draw(self.image)
        for line in range(0, side + 1, spacing):
            draw.line((x + line, y, x + line, y + side), fill=color or self.theme.paper)
            draw.line((x, y + line, x + side, y + line), fill=color or self.theme.paper)

    def line(self, points: Sequence[Point], color: Color | None = None, width: float = 2) -> None:
        """From point to point."""
        self._smoothly(points, color, lambda draw, p: draw.line(p, 255, round(width * FINER), joint="curve"))

    def dot(self, x: float, y: float, radius: float, color: Color) -> None:
        """A disc around (x, y)."""
        ends = ((x - radius, y - radius), (x + radius, y + radius))
        self._smoothly(ends, color, lambda draw, p: draw.ellipse(p, 255))

    def arrow(self, points: Sequence[Point], color: Color | None = None) -> None:
        """A line whose last point is the tip of an arrow."""
        (x0, y0), (x1, y1) = points[-2:]
        length = math.hypot(x1 - x0, y1 - y0)
        dx, dy = 8 * (x1 - x0) / length, 8 * (y1 - y0) / length
        base = (x1 - dx, y1 - dy)
        self.line([*points[:-1], base], color)
        head = ((x1, y1), (base[0] - dy / 1.6, base[1] + dx / 1.6), (base[0] + dy / 1.6, base[1] - dx / 1.6))
        self._smoothly(head, color, lambda draw, p: draw.polygon(p, 255))

    def box(
        self, x: float, y: float, width: float, height: float, color: Color, words: str = "", size: int = 17
    ) -> None:
        """A rounded box with a tint of ``color`` and words in its middle."""
        ends = ((x, y), (x + width, y + height))
        self._smoothly(ends, color, lambda draw, p: draw.rounded_rectangle(p, 6 * FINER, 255))
        inside = ((x + 2, y + 2), (x + width - 2, y + height - 2))
        tint = blend(color, self.theme.paper, 0.25)
        self._smoothly(inside, tint, lambda draw, p: draw.rounded_rectangle(p, 4 * FINER, 255))
        self.text(x + width / 2, y + height / 2, words, size=size, anchor="mm")

    def bar(self, x: float, y: float, width: float, height: float, color: Color) -> None:
        """A filled rectangle."""
        ends = (round(x), round(y), round(x + width) - 1, round(y + height) - 1)
        if ends[2] >= ends[0]:
            ImageDraw.Draw(self.image).rectangle(ends, color)

    def scale(
        self, x: int, y: int, colors: Callable[[np.ndarray], np.ndarray], words: Sequence[str], width: int = 200
    ) -> None:
        """The colors of 0..1 from left to right, with ``words`` below at even distances."""
        self.picture(x, y, colors(np.linspace(0, 1, width)[None]).repeat(14, 1), width, 14)
        for i, word in enumerate(words):
            place = i / (len(words) - 1)
            self.note(x + place * width, y + 18, word, anchor={0: "la", 1: "ra"}.get(place, "ma"))

    def key(self, x: int, y: int, color: Color, words: str) -> None:
        """A square of a color, and what it stands for."""
        self.bar(x, y + 2, 14, 14, color)
        self.note(x + 22, y, words)

    def _smoothly(
        self, points: Sequence[Point], color: Color | None, draw: Callable[[ImageDraw.ImageDraw, list[Point]], None]
    ) -> None:
        left, top = (math.floor(min(each)) - 8 for each in zip(*points, strict=True))
        right, bottom = (math.ceil(max(each)) + 8 for each in zip(*points, strict=True))
        mask = Image.new("L", ((right - left) * FINER, (bottom - top) * FINER))
        draw(ImageDraw.Draw(mask), [((x - left) * FINER, (y - top) * FINER) for x, y in points])
        mask = mask.resize((right - left, bottom - top), Image.Resampling.BOX)
        self.image.paste(color or self.theme.ink, (left, top), mask)


class Axes:
    """A plot on a card: from ``low`` to ``high``, both (x, y), in a frame of pixels (left, top, right, bottom)."""

    def __init__(self, card: Card, frame: tuple[int, int, int, int], low: Point, high: Point) -> None:
        self.card, self.frame, self.low, self.high = card, frame, low, high

    def at(self, x: float, y: float) -> Point:
        """Where a point lies on the card."""
        left, top, right, bottom = self.frame
        across = (x - self.low[0]) / (self.high[0] - self.low[0])
        up = (y - self.low[1]) / (self.high[1] - self.low[1])
        return left + across * (right - left), bottom - up * (bottom - top)

    def ticks(self, xs: Sequence[float], ys: Sequence[float], name: Callable[[float], str] = "{:g}".format) -> None:
        """Thin lines at these numbers, which stand at the lower and the left edge."""
        left, top, right, bottom = self.frame
        for x in xs:
            place = self.at(x, self.low[1])[0]
            self.card.line(((place, top), (place, bottom)), self.card.theme.rule, 1)
            self.card.note(place, bottom + 6, name(x), anchor="ma")
        for y in ys:
            place = self.at(self.low[0], y)[1]
            self.card.line(((left, place), (right, place)), self.card.theme.rule, 1)
            self.card.note(left - 8, place, name(y), anchor="rm")

    def curve(self, xs: np.ndarray, ys: np.ndarray, color: Color, width: float = 3) -> None:
        """Through all points."""
        self.card.line([self.at(x, y) for x, y in zip(xs, ys, strict=True)], color, width)


def blend(color: Color, paper: Color, part: float) -> Color:
    """``part`` of a color on the paper."""
    red, green, blue = (round(part * a + (1 - part) * b) for a, b in zip(color, paper, strict=True))
    return red, green, blue


def _between(anchors: Sequence[Color]) -> Callable[[np.ndarray], np.ndarray]:
    """A color map: (H, W) of numbers in 0..1 -> (3, H, W)"""
    table = np.array(anchors) / 255
    places = np.linspace(0, 1, len(table))
    return lambda values: np.stack([np.interp(values, places, table[:, c]) for c in range(3)])


strength = _between(((24, 28, 60), (30, 90, 130), (40, 160, 130), (150, 210, 80), (253, 231, 60)))  # from 0 to the most
sign = _between(((0, 90, 170), (110, 180, 230), (246, 246, 246), (250, 170, 90), (190, 70, 0)))  # 0.5 is zero


def gray(values: np.ndarray) -> np.ndarray:
    """A map from its least value, dark, to its greatest, light: (H, W) -> (3, H, W)"""
    low, high = values.min(), values.max()
    return np.broadcast_to((values - low) / max(high - low, 1e-12), (3, *values.shape))


def signed(values: np.ndarray) -> np.ndarray:
    """A map in the colors of ``sign``, on a scale of its own: (H, W) -> (3, H, W)"""
    return sign(0.5 + 0.5 * values / max(np.abs(values).max(), 1e-12))

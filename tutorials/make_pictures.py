"""The tutorials' pictures, made with NumPy, Pillow and the library itself: ``python tutorials/make_pictures.py``.

Writes tutorials/pictures/*.png; tests/test_tutorials.py makes them again and compares. ``stages`` and ``attention``
show what the shipped classifier computes, so they change with its weights; the other two don't.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mobilevit_np import Scope
from mobilevit_np.checkpoints import open_checkpoint
from mobilevit_np.model import classifier
from mobilevit_np.ops import conv2d, unfold_to_patches
from mobilevit_np.preprocess import PROFILES, decode, preprocess

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "pictures"
PHOTO = HERE / "images" / "chelsea.png"
PAPER, INK, FAINT = (32, 36, 44), (236, 238, 240), (152, 160, 170)  # a dark card: legible on light and dark pages
COLORS = np.array([(230, 159, 0), (86, 180, 233), (0, 158, 115), (204, 121, 167)])  # after Okabe and Ito
PROFILE = PROFILES["huggingface-classifier"]
LAYER = "mobilevit.encoder.layer.2.transformer.layer.1.attention.attention.probabilities"
EYE = (5, 4)  # the patch looked from, in the 16 x 16 patches of L3: row, column


def unfold() -> Image.Image:
    """The photo under a 32 x 32 map, colored by place in the 2 x 2 patch, and the four sequences the cells go to."""
    cells = photo().reshape(3, 32, 8, 32, 8).mean(axis=(2, 4))  # (3, 256, 256) -> (3, 32, 32)
    sequences = unfold_to_patches(cells[None], 2)  # (1, 3, 32, 32) -> (4, 256, 3)
    card = Card(836, 430, "Unfold: each place in the 2 x 2 patch becomes a sequence of its own")
    place_of = (np.arange(256) // 8 % 2)[:, None] * 2 + np.arange(256) // 8 % 2
    tinted = 0.6 * photo() + 0.4 * COLORS[place_of].transpose(2, 0, 1) / 255
    card.picture(20, 56, tinted, 320)
    for line in range(0, 321, 20):
        card.draw.line((20 + line, 56, 20 + line, 376), fill=PAPER)
        card.draw.line((20, 56 + line, 340, 56 + line), fill=PAPER)
    card.text(20, 386, "a 32 x 32 map over the photo, as in L3;\nlines between patches, a color for each place", FAINT)
    names = ("top left", "top right", "bottom left", "bottom right")
    for place, name in enumerate(names):
        x, y = 376 + 230 * (place % 2), 60 + 180 * (place // 2)
        card.draw.rectangle((x - 4, y - 4, x + 147, y + 147), fill=tuple(int(v) for v in COLORS[place]))
        card.picture(x, y, sequences[place].T.reshape(3, 16, 16), 144)
        card.text(x - 4, y + 151, f"place {place}, {name}: 256 tokens", FAINT)
    return card.image


def stages() -> Image.Image:
    """The three liveliest channels of each stage's map, for the example cat."""
    _, maps, _ = run()
    card = Card(836, 496, "What each stage sees: the three channels that vary most")
    card.picture(20, 56, photo(), 116)
    card.text(20, 176, "photo\n3 x 256 x 256", FAINT)
    for column, features in enumerate(maps):
        C, H, W = features.shape[1:]
        x = 156 + 136 * column
        liveliest = np.sort(np.argsort(-features[0].std(axis=(1, 2)), kind="stable")[:3])
        for row, channel in enumerate(liveliest):
            card.picture(x, 56 + 128 * row, gray(features[0, channel]), 120)
        card.text(x, 440, f"after L{column + 1}\n{C} x {H} x {W}", FAINT)
    return card.image


def attention() -> Image.Image:
    """Where the patch at the eye looks, head by head, in the last transformer layer of L3."""
    probabilities = run()[2]  # (4, 4, 256, 256): place in the patch, head, token that looks, token looked at
    row, column = EYE
    looks = probabilities[0, :, row * 16 + column].reshape(-1, 16, 16)
    card = Card(836, 260, "Where one patch looks: attention of the four heads in L3's last transformer layer")
    dim = photo()
    marked = (20 + column * 9, 56 + row * 9)
    card.picture(20, 56, dim, 144)
    card.draw.rectangle((*marked, marked[0] + 9, marked[1] + 9), outline=(255, 255, 255), width=2)
    card.text(20, 208, "the patch that looks", FAINT)
    for head, look in enumerate(looks):
        x = 186 + 160 * head
        strength = (look / look.max()).repeat(16, 0).repeat(16, 1)
        heat = 0.35 * dim.mean(axis=0) + strength * np.array([1.0, 0.62, 0.0])[:, None, None]
        card.picture(x, 56, np.minimum(heat, 1), 144)
        card.text(x, 208, f"head {head}: at most\n{100 * look.max():.1f}% on one patch", FAINT)
    return card.image


def atrous() -> Image.Image:
    """What ASPP's dilated convolutions read for one pixel of their output, on a map of 39 x 39 so that rate 18 fits."""
    card = Card(836, 318, "What one place of the output reads: 3 x 3 taps, further and further apart")
    for i, rate in enumerate((1, 6, 12, 18)):
        x = 20 + 204 * i
        impulse = np.zeros((1, 1, 39, 39))
        impulse[0, 0, 19, 19] = 1  # a kernel of ones reads the same places that it spreads a single 1 to
        read = conv2d(impulse, np.ones((1, 1, 3, 3)), padding=rate, dilation=rate)[0, 0] > 0
        shade = np.where(read[..., None], COLORS[0], 70).transpose(2, 0, 1) / 255
        shade[:, 19, 19] = COLORS[1] / 255
        card.picture(x, 56, shade, 195, grid=5)
        card.text(
            x, 258, f"rate {rate}: {2 * rate + 1} x {2 * rate + 1} places,\n{16 * (2 * rate + 1)} pixels wide", FAINT
        )
    return card.image


PICTURES: dict[str, Callable[[], Image.Image]] = {
    "unfold": unfold,
    "stages": stages,
    "attention": attention,
    "atrous": atrous,
}


class Card:
    """A dark rectangle with a title, onto which pictures and words are put."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self.image = Image.new("RGB", (width, height), PAPER)
        self.draw = ImageDraw.Draw(self.image)
        self.text(20, 18, title, INK, 19)

    def text(self, x: int, y: int, words: str, color: tuple[int, int, int], size: int = 14) -> None:
        """``words`` with their upper left corner at (x, y)."""
        self.draw.text((x, y), words, fill=color, font=ImageFont.load_default(size))

    def picture(self, x: int, y: int, pixels: np.ndarray, side: int, grid: int = 0) -> None:
        """(3, H, W) of numbers in 0..1, enlarged pixel by pixel to ``side``; ``grid`` is the spacing of thin lines."""
        levels = (np.clip(pixels, 0, 1) * 255 + 0.5).astype(np.uint8) & 0xF8  # fewer levels make smaller files
        enlarged = Image.fromarray(np.ascontiguousarray(levels.transpose(1, 2, 0))).resize((side, side), 0)
        self.image.paste(enlarged, (x, y))
        for line in range(0, side + 1, grid) if grid else ():
            self.draw.line((x + line, y, x + line, y + side), fill=PAPER)
            self.draw.line((x, y + line, x + side, y + line), fill=PAPER)


def gray(values: np.ndarray) -> np.ndarray:
    """A map from its least value, dark, to its greatest, light: (H, W) -> (3, H, W)"""
    low, high = values.min(), values.max()
    return np.broadcast_to((values - low) / max(high - low, 1e-12), (3, *values.shape))


def photo() -> np.ndarray:
    """The example cat as the network sees it, in RGB: (3, 256, 256) of numbers in 0..1"""
    return preprocess(decode(PHOTO), PROFILE, dtype=np.float64)[0, ::-1]


@cache
def run() -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Logits, the five maps, and the attention probabilities of ``LAYER``, in float64."""
    checkpoint = open_checkpoint("pets-xx-small", dtype=np.float64)
    seen: dict[str, np.ndarray] = {}
    scope = Scope(checkpoint.tensors).listen(lambda path, output: seen.update({path: output}))
    logits = classifier(preprocess(decode(PHOTO), PROFILE, dtype=np.float64), scope, checkpoint.config)
    return logits, [seen[f"mobilevit.encoder.layer.{i}"] for i in range(5)], seen[LAYER]


def main() -> None:
    """Make them all."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in PICTURES.items():
        make().save(FOLDER / f"{name}.png", optimize=True)
        print(f"wrote {FOLDER / name}.png")


if __name__ == "__main__":
    main()

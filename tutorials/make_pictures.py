"""The tutorials' pictures, made with NumPy, Pillow and the library itself: ``python tutorials/make_pictures.py``.

Writes tutorials/pictures/NAME.png on a light card and NAME-dark.png on a dark one; tests/test_tutorials.py makes them
again and compares. This file has the pictures of the photo and of what the networks make of it, diagrams.py those that
need no photo. ``stem``, ``stages``, ``attention`` and ``learning`` show the shipped classifier, so they change with its
weights.
"""

from __future__ import annotations

import doctest
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import diagrams
import numpy as np
from cards import BLUE, DARK, GREEN, LIGHT, MARGIN, ORANGE, PURPLE, RED, SKY, Axes, Card, Theme, gray, sign, signed
from PIL import Image

from mobilevit_np import Scope
from mobilevit_np.checkpoints import Checkpoint, open_checkpoint
from mobilevit_np.model import classifier
from mobilevit_np.ops import conv2d, unfold_to_patches
from mobilevit_np.preprocess import PROFILES, decode, preprocess, resize_photo

HERE = Path(__file__).resolve().parent
FOLDER = HERE / "pictures"
PHOTO = HERE / "images" / "chelsea.png"
LEARNING = HERE / "14-learning.md"
PROFILE = PROFILES["huggingface-classifier"]
LAYER = "mobilevit.encoder.layer.2.transformer.layer.1.attention.attention.probabilities"
EYE = (5, 4)  # the patch looked from, in the 16 x 16 patches of L3: row, column
FILTERS = ("bilinear", "bicubic", "lanczos", "nearest", "opencv-bilinear")


def resize(theme: Theme) -> Image.Image:
    """The eye, shrunk to a sixth of its size by each filter and shown enlarged."""
    card = Card(theme, 520, "Shrunk to a sixth by five filters, then enlarged")
    whole = decode(PHOTO)[:, :450]
    rows, columns = slice(11, 29), slice(18, 36)
    shown = {"the photo": whole[66:174, 108:216]}
    shown |= {name: resize_photo(whole, (50, 75), name)[rows, columns] for name in FILTERS}
    for i, (name, pixels) in enumerate(shown.items()):
        x, y = MARGIN + 205 * (i % 3), 58 + 228 * (i // 3)
        card.picture(x, y, pixels.transpose(2, 0, 1) / 255, 190)
        card.note(x, y + 195, name)
    return card.image


def edges(theme: Theme) -> Image.Image:
    """The edge kernel of chapter 2 and its answer on the photo."""
    card = Card(theme, 362, "Is it brighter to the right than to the left?")
    levels = decode(PHOTO)[:, :450].mean(axis=2)
    kernel = np.array([[-1.0, 0, 1]] * 3)
    answer = conv2d(levels[None, None], kernel[None, None])[0, 0]
    card.picture(MARGIN, 58, gray(levels), 292, 194)
    card.picture(MARGIN + 308, 58, sign(0.5 + answer / 400), 292, 194)
    card.picture(MARGIN, 270, signed(kernel), 72)
    for place in range(9):
        row, column = divmod(place, 3)
        ink = (0, 0, 0) if column == 1 else (255, 255, 255)
        card.text(MARGIN + 12 + 24 * column, 282 + 24 * row, f"{kernel[row, column]:.0f}", ink, 15, "mm")
    card.note(MARGIN + 88, 296, "the kernel")
    card.scale(MARGIN + 308, 270, sign, ("darker: -200", "0", "brighter: 200"), 292)
    return card.image


def stem(theme: Theme) -> Image.Image:
    """The sixteen kernels of the trained stem as colors, each with its channel of the convolution's output."""
    card = Card(theme, 566, "The stem's sixteen trained kernels, and what each sees")
    weight = shipped().tensors["mobilevit.conv_stem.convolution.weight"][:, ::-1]  # (16, 3, 3, 3), from BGR to RGB
    seen = run()[0]["mobilevit.conv_stem.convolution"][0]
    for channel in range(16):
        x, y = MARGIN + 152 * (channel % 4), 58 + 106 * (channel // 4)
        card.picture(x, y, 0.5 + 0.5 * weight[channel] / np.abs(weight[channel]).max(), 42)
        card.picture(x + 48, y, signed(seen[channel]), 98, bits=0xF0)
    card.scale(MARGIN, 486, sign, ("negative", "0", "positive"), 292)
    words = ("kernels: gray is 0; a color stands", "for positive weights on that color.", "Each on a scale of its own.")
    card.note(MARGIN + 308, 480, "\n".join(words))
    return card.image


def unfold(theme: Theme) -> Image.Image:
    """The photo under a 32 x 32 map, colored by position in the 2 x 2 patch, and the four sequences the cells go to."""
    colors = np.array([ORANGE, SKY, GREEN, PURPLE])
    cells = photo().reshape(3, 32, 8, 32, 8).mean(axis=(2, 4))  # (3, 256, 256) -> (3, 32, 32)
    sequences = unfold_to_patches(cells[None], 2)  # (1, 3, 32, 32) -> (4, 256, 3)
    card = Card(theme, 434, "Unfold: one sequence for each position in a 2 x 2 patch")
    position_of = (np.arange(256) // 8 % 2)[:, None] * 2 + np.arange(256) // 8 % 2
    tinted = 0.6 * photo() + 0.4 * colors[position_of].transpose(2, 0, 1) / 255
    card.picture(MARGIN, 62, tinted, 256)
    card.grid(MARGIN, 62, 256, 16, (32, 36, 44))
    words = (
        "A 32 x 32 map over the photo,",
        "as in L3, with lines between",
        "its patches and a color",
        "for each position.",
    )
    card.note(MARGIN, 328, "\n".join(words))
    for position, name in enumerate(("top left", "top right", "bottom left", "bottom right")):
        x, y = 304 + 166 * (position % 2), 62 + 184 * (position // 2)
        card.bar(x - 4, y - 4, 152, 152, tuple(int(v) for v in colors[position]))
        card.picture(x, y, sequences[position].T.reshape(3, 16, 16), 144)
        card.note(x - 4, y + 151, f"{position}: {name}")
    return card.image


def stages(theme: Theme) -> Image.Image:
    """The three liveliest channels of each stage's map, for the example cat."""
    card = Card(theme, 464, "What each stage sees: the three channels that vary most")
    for column, features in enumerate(run()[1]):
        C, H, W = features.shape[1:]
        x = MARGIN + 122 * column
        card.text(x, 54, f"L{column + 1}")
        card.note(x, 75, f"{C} x {H} x {W}", 15)
        liveliest = np.sort(np.argsort(-features[0].std(axis=(1, 2)), kind="stable")[:3])
        for row, channel in enumerate(liveliest):
            card.picture(x, 100 + 120 * row, gray(features[0, channel]), 112)
    return card.image


def attention(theme: Theme) -> Image.Image:
    """Where the patch at the eye looks, head by head, in the last transformer layer of L3."""
    row, column = EYE
    looks = run()[0][LAYER][0, :, row * 16 + column].reshape(-1, 16, 16)  # of (position, head, looks, looked at)
    card = Card(theme, 292, "Where one patch looks: four heads in L3's last layer")
    card.picture(MARGIN, 58, photo(), 112)
    x, y = MARGIN + 7 * column, 58 + 7 * row
    card.line(((x, y), (x + 7, y), (x + 7, y + 7), (x, y + 7), (x, y - 1)), (255, 255, 255))
    card.note(MARGIN, 175, "the patch\nthat looks")
    for head, look in enumerate(looks):
        x = MARGIN + 122 * (head + 1)
        card.picture(x, 58, glow(look / look.max(), photo().mean(axis=0)), 112)
        card.note(x, 175, f"head {head}:\nup to {100 * look.max():.1f}%")
    card.scale(MARGIN + 122, 234, lambda values: glow(values, 0.5), ("no weight", "the head's largest"), 356)
    return card.image


def glow(values: np.ndarray, under: np.ndarray | float) -> np.ndarray:
    """Attention weights as light on a dim gray picture, which may be larger: (H, W) -> (3, H', W')"""
    times = under.shape[0] // len(values) if isinstance(under, np.ndarray) else 1
    light = values.repeat(times, 0).repeat(times, 1) * np.array([1.0, 0.62, 0.0])[:, None, None]
    return np.minimum(0.35 * under + light, 1)


def atrous(theme: Theme) -> Image.Image:
    """What ASPP's dilated convolutions read for one pixel of their output, on a map of 39 x 39 so that rate 18 fits."""
    card = Card(theme, 676, "What one pixel of the output reads: nine taps")
    colors = np.array([theme.rule, RED, BLUE]) / 255
    for i, rate in enumerate((1, 6, 12, 18)):
        x, y = MARGIN + 327 * (i % 2), 58 + 310 * (i // 2)
        impulse = np.zeros((1, 1, 39, 39))
        impulse[0, 0, 19, 19] = 1  # a kernel of ones reads the same pixels that it spreads a single 1 to
        read = (conv2d(impulse, np.ones((1, 1, 3, 3)), padding=rate, dilation=rate)[0, 0] > 0).astype(int)
        read[19, 19] = 2
        card.picture(x, y, colors[read].transpose(2, 0, 1), 273)
        card.grid(x, y, 273, 7)
        card.note(x, y + 278, f"rate {rate}: spans {2 * rate + 1} x {2 * rate + 1}")
    return card.image


def patterns(theme: Theme) -> Image.Image:
    """Chapter 14's first pictures to learn from, a row for each kind."""
    card = Card(theme, 542, "What there is to tell apart")
    for kind, name in enumerate(("stripes: 0", "checks: 1", "spots: 2")):
        y = 54 + 162 * kind
        card.note(MARGIN, y, name)
        for i in range(4):
            card.picture(MARGIN + 157 * i, y + 24, learned()["seen"][kind + 3 * i], 128)
    return card.image


def learning(theme: Theme) -> Image.Image:
    """The last layer's loss, step by step: on the pictures that it learns from, and on those held out."""
    card = Card(theme, 404, "Learning from 60 pictures, and from 300")
    told, held_out = learned(), np.array(learned()["on_unseen"])
    all_labels, new = told["labels"], told["X_unseen"]
    history = list(told["train"](told["X"], all_labels, 300))
    seen = [told["loss"](told["X"], all_labels, *numbers) for numbers in history]
    unseen = np.array([told["loss"](new, all_labels, *numbers) for numbers in history])
    panels = (("60 pictures", told["on_seen"], held_out), ("300 pictures", seen, unseen))
    for i, (words, on_seen, on_unseen) in enumerate(panels):
        left = 60 + 300 * i
        axes = Axes(card, (left, 92, left + 256, 310), (0, 0), (300, 1.2))
        axes.ticks((0, 100, 200, 300), (0, 0.4, 0.8, 1.2))
        card.text(left, 60, words)
        for losses, color in ((on_seen, SKY), (on_unseen, ORANGE)):
            axes.curve(np.arange(1, 301), losses, color)
        best = int(on_unseen.argmin())
        card.dot(*axes.at(best + 1, on_unseen[best]), 5, RED)
    card.note(616, 332, "steps", anchor="ra")
    card.key(MARGIN, 346, SKY, "loss on the pictures learned from")
    card.key(MARGIN, 372, ORANGE, "loss on those held out")
    card.dot(238, 381, 5, RED)
    card.note(250, 372, "where it's lowest")
    return card.image


MAKERS: dict[str, Callable[[Theme], Image.Image]] = {
    "resize": resize,
    "edges": edges,
    "stem": stem,
    "silu": diagrams.silu_and_relu,
    "relu": diagrams.what_relu_kills,
    "matrix": diagrams.attention_matrix,
    "unfold": unfold,
    "block": diagrams.block,
    "attention": attention,
    "network": diagrams.network,
    "stages": stages,
    "atrous": atrous,
    "mistake": diagrams.mistake,
    "time": diagrams.time_spent,
    "patterns": patterns,
    "learning": learning,
}
THEMES = {"": LIGHT, "-dark": DARK}
PICTURES: dict[str, Callable[[], Image.Image]] = {
    name + ending: partial(make, theme) for name, make in MAKERS.items() for ending, theme in THEMES.items()
}


@cache
def photo() -> np.ndarray:
    """The example cat as the network sees it, in RGB: (3, 256, 256) of numbers in 0..1"""
    return preprocess(decode(PHOTO), PROFILE, dtype=np.float64)[0, ::-1]


@cache
def shipped() -> Checkpoint:
    """The shipped classifier's checkpoint, in float64."""
    return open_checkpoint("pets-xx-small", dtype=np.float64)


@cache
def run() -> tuple[dict[str, np.ndarray], list[np.ndarray]]:
    """Every module's output for the example cat, by path, and the five stages' maps; in float64."""
    seen: dict[str, np.ndarray] = {}
    scope = Scope(shipped().tensors).listen(lambda path, output: seen.update({path: output}))
    classifier(preprocess(decode(PHOTO), PROFILE, dtype=np.float64), scope, shipped().config)
    return seen, [seen[f"mobilevit.encoder.layer.{i}"] for i in range(5)]


@cache
def learned() -> dict[str, Any]:
    """Chapter 14's names and what they stand for, once its cells have run, without the exercises."""
    cells = LEARNING.read_text(encoding="utf-8").split("## Exercises")[0]
    chapter = doctest.DocTestParser().get_doctest(cells, {"__name__": "__main__"}, LEARNING.stem, str(LEARNING), 0)
    doctest.DocTestRunner().run(chapter, out=lambda _: None, clear_globs=False)
    return chapter.globs


def main() -> None:
    """Make them all."""
    FOLDER.mkdir(exist_ok=True)
    for name, make in PICTURES.items():
        make().save(FOLDER / f"{name}.png", optimize=True)
        print(f"wrote {FOLDER / name}.png")


if __name__ == "__main__":
    main()

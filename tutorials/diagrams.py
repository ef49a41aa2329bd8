"""The tutorials' pictures that need no photo: curves, diagrams, and what was counted or measured.

make_pictures.py makes them. ``python tutorials/diagrams.py`` measures anew what ``SPENT`` holds, on one thread.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import defaultdict
from functools import cache

import numpy as np
from cards import BLUE, GREEN, MARGIN, ORANGE, PURPLE, RED, SKY, Axes, Card, Color, Theme, strength
from PIL import Image

from mobilevit_np import VARIANTS, NetworkConfig, Scope
from mobilevit_np.checkpoints import init_parameters
from mobilevit_np.explain.summary import summarize
from mobilevit_np.golden import MISTAKES, compare
from mobilevit_np.golden.formula import make as make_golden
from mobilevit_np.golden.formula import remake
from mobilevit_np.model import classifier
from mobilevit_np.ops import attention_probabilities, relu, silu

KINDS = {  # which of ``SPENT`` a function of model.py belongs to; all others are the rest
    "linear": "1 x 1 and 3 x 3\nconvolutions, linear",
    "attention_probabilities": "attention",
    "self_attention": "attention",
    "activation": "SiLU",
    "batch_norm": "batch norm, layer norm",
    "layer_norm": "batch norm, layer norm",
}
SPENT = {  # milliseconds in one call of the reference engine: xx_small at 256 x 256, float32, one thread, AVX2
    "1 x 1 and 3 x 3\nconvolutions, linear": 50.1,
    "depthwise 3 x 3": 19.5,
    "attention": 39.3,
    "SiLU": 62.9,
    "batch norm, layer norm": 13.5,
    "sums, copies, the rest": 10.3,
}


def silu_and_relu(theme: Theme) -> Image.Image:
    """Both curves, from -6 to 6."""
    card = Card(theme, 406, "SiLU is smooth and dips below zero; ReLU has a corner")
    axes = Axes(card, (62, 62, 616, 346), (-6, -1), (6, 6))
    axes.ticks((-6, -4, -2, 0, 2, 4, 6), (0, 2, 4, 6))
    x = np.linspace(-6, 6, 241)
    axes.curve(x, relu(x), SKY)
    axes.curve(x, silu(x), ORANGE)
    lowest = x[silu(x).argmin()]
    card.dot(*axes.at(lowest, silu(lowest)), 5, RED)
    card.note(*axes.at(-1.3, -0.4), "(-1.28, -0.28)", anchor="ma")
    card.key(90, 80, SKY, "ReLU: max(x, 0)")
    card.key(90, 106, ORANGE, "SiLU: x / (1 + exp(-x))")
    card.note(339, 376, "x", anchor="ma")
    return card.image


def what_relu_kills(theme: Theme) -> Image.Image:
    """The plane, mixed into k channels at random: on which points enough channels stay positive to tell them apart."""
    card = Card(theme, 366, "What ReLU leaves of a plane that is mixed into k channels")
    colors = np.array([RED, ORANGE, SKY]) / 255
    side = np.linspace(-1, 1, 190)
    plane = np.stack(np.meshgrid(side, -side), axis=-1)  # (190, 190, 2)
    random = np.random.RandomState(4)
    for i, k in enumerate((2, 3, 32)):
        alive = (relu(plane @ random.normal(size=(2, k))) > 0).sum(axis=-1)
        x = MARGIN + 205 * i
        card.picture(x, 58, colors[np.minimum(alive, 2)].transpose(2, 0, 1), 190)
        card.text(x, 254, f"{k} channels")
    card.key(MARGIN, 286, RED, "all channels are 0: everything is lost")
    card.key(MARGIN, 310, ORANGE, "one channel is left: of two coordinates, one is lost")
    card.key(MARGIN, 334, SKY, "two or more are left: nothing is lost")
    return card.image


def attention_matrix(theme: Theme) -> Image.Image:
    """Chapter 5's three tokens: their scores, and the attention weights that softmax makes of them."""
    x = np.array([[2.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
    weights = attention_probabilities(x[None], x[None], 1)[0, 0]
    card = Card(theme, 352, "From scores to attention weights: a row for each token")
    _table(card, 76, x @ x.T / 4, [[f"{score:.0f}" for score in row] for row in x @ x.T])
    _table(card, 436, weights, [[f"{weight:.0%}" for weight in row] for row in weights])
    card.note(160, 264, "scores", anchor="ma")
    card.note(520, 264, "weights: rows add up to 1", anchor="ma")
    card.arrow(((268, 170), (372, 170)))
    card.note(320, 122, "softmax of\nscores / sqrt(2)", anchor="ma", size=15)
    card.scale(76, 296, strength, ("0", "2", "4"), 168)
    card.scale(436, 296, strength, ("0%", "50%", "100%"), 168)
    return card.image


def _table(card: Card, x: int, values: np.ndarray, words: list[list[str]]) -> None:
    names, y = ("fur", "nose", "sky"), 86
    card.picture(x, y, strength(values), 168)
    for row in range(3):
        card.note(x - 8, y + 28 + 56 * row, names[row], anchor="rm")
        card.note(x + 28 + 56 * row, y - 8, names[row], anchor="ms")
        for column in range(3):
            ink = (0, 0, 0) if values[row, column] > 0.6 else (255, 255, 255)
            card.text(x + 28 + 56 * column, y + 28 + 56 * row, words[row][column], ink, anchor="mm")


def block(theme: Theme) -> Image.Image:
    """The MobileViT block, step by step."""
    steps: tuple[tuple[str, Color, str], ...] = (
        ("1  conv_kxk: 3 x 3, batch norm, SiLU", BLUE, "(B, C, H, W)"),
        ("2  conv_1x1: from C to D channels", GREEN, "(B, D, H, W)"),
        ("3  unfolding", PURPLE, "(B*P, N, D)"),
        ("4  transformer: several layers", ORANGE, "(B*P, N, D)"),
        ("5  layernorm", GREEN, "(B*P, N, D)"),
        ("6  folding", PURPLE, "(B, D, H, W)"),
        ("7  conv_projection: 1 x 1, norm, SiLU", GREEN, "y (B, C, H, W)"),
        ("concatenate [x, y]", PURPLE, "(B, 2C, H, W)"),
        ("8  fusion: 3 x 3, batch norm, SiLU", BLUE, "(B, C, H, W)"),
    )
    card = Card(theme, 712, "The MobileViT block")
    middle, around, top = 205, 412, 92
    card.text(middle, 50, "x", anchor="ma")
    card.note(430, 58, "x (B, C, H, W)", anchor="lm")
    for i, (words, color, shape) in enumerate(steps):
        y = top + 58 * i
        card.arrow(((middle, y - 20), (middle, y)))
        card.box(MARGIN, y, 370, 38, color, words)
        card.note(430, y + 19, shape, anchor="lm")
    skip = top + 58 * 7 + 19
    card.line(((middle + 14, 58), (around, 58), (around, skip)))
    card.arrow(((around, skip), (MARGIN + 370, skip)))
    card.arrow(((middle, top + 58 * 8 + 38), (middle, top + 58 * 9)))
    keys = (
        (BLUE, "looks at neighbors"),
        (ORANGE, "looks across the whole map"),
        (GREEN, "works on each pixel by itself"),
        (PURPLE, "only moves numbers"),
    )
    for i, (color, words) in enumerate(keys):
        card.key(MARGIN + 280 * (i % 2), 648 + 28 * (i // 2), color, words)
    return card.image


def network(theme: Theme) -> Image.Image:
    """The classifier, stage by stage: its layers, its maps, and where its work and its weights are."""
    summary = summarize(NetworkConfig(**VARIANTS["xx_small"]), "classifier", (256, 256))
    rows: tuple[tuple[str, str | tuple[str, ...], tuple[tuple[str, Color, int], ...], str], ...] = (
        ("stem", "conv_stem", (("3 x 3 /2", BLUE, 74),), "16 x 128 x 128"),
        ("L1", "encoder.layer.0.", (("MV2", SKY, 56),), "16 x 128 x 128"),
        ("L2", "encoder.layer.1.", (("MV2 /2", SKY, 74), ("MV2", SKY, 56), ("MV2", SKY, 56)), "24 x 64 x 64"),
        ("L3", "encoder.layer.2.", (("MV2 /2", SKY, 74), ("MobileViT, 2", ORANGE, 118)), "48 x 32 x 32"),
        ("L4", "encoder.layer.3.", (("MV2 /2", SKY, 74), ("MobileViT, 4", ORANGE, 118)), "64 x 16 x 16"),
        ("L5", "encoder.layer.4.", (("MV2 /2", SKY, 74), ("MobileViT, 3", ORANGE, 118)), "80 x 8 x 8"),
        (
            "end",
            ("conv_1x1_exp", "classifier"),
            (("1 x 1", GREEN, 74), ("mean", GREEN, 56), ("linear", GREEN, 64)),
            "1000 scores",
        ),
    )
    card = Card(theme, 560, "MobileViT xx_small, from a photo of 256 x 256 to scores")
    card.note(300, 56, "map")
    card.note(430, 56, "MACs", size=15)
    card.note(530, 56, "parameters", size=15)
    for i, (name, start, boxes, shape) in enumerate(rows):
        y = 84 + 54 * i
        card.text(MARGIN, y + 19, name, anchor="lm")
        x = 66
        for words, color, width in boxes:
            card.box(x, y, width, 38, color, words, 15)
            x += width + 6
        card.note(300, y + 19, shape, anchor="lm", size=15)
        inside = [r for r in summary.rows if r.module.startswith(start)]
        shares = (sum(r.macs for r in inside) / summary.macs, sum(r.parameters for r in inside) / summary.parameters)
        for left, share, color in zip((430, 530), shares, (RED, BLUE), strict=True):
            card.bar(left, y + 8, 50 * share / 0.52, 22, color)
            card.note(left + 50 * share / 0.52 + 5, y + 19, f"{share:.0%}", 15, "lm")
    card.key(MARGIN, 474, SKY, "MV2: inverted residual (chapter 4)")
    card.key(MARGIN, 500, ORANGE, "MobileViT, 4: a block with 4 transformer layers (chapters 5 to 7)")
    card.note(MARGIN, 526, "/2: a stride of 2, which halves the map")
    return card.image


@cache
def _planted() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Paths in order of execution, and each tensor's error with the halves swapped: plainly, and by replay."""
    golden = make_golden("xx_small", size=64)
    network = remake(golden)
    scope = next(mistake for mistake in MISTAKES if mistake.name == "concat_order").plant(network.scope(np.float64))
    port = {"pixel_values": golden.tensors["pixel_values"]}
    network.run(port["pixel_values"], scope.listen(lambda path, x: port.update({path or "logits": x.copy()})))
    errors = []
    for comparison in (compare(golden, port), compare(golden, port, network=network)):
        found = {row.path: row.difference.error for row in comparison.rows}
        errors.append(np.array([found[path] for path in golden.tensors]))
    return list(golden.tensors), *errors


def mistake(theme: Theme) -> Image.Image:
    """Where a port whose concatenation is in the wrong order goes wrong, plainly and by replay."""
    paths, plain, replayed = _planted()
    card = Card(theme, 548, "A port with one mistake: how far off is each tensor?")
    starts = [next(i for i, path in enumerate(paths) if f"encoder.layer.{n}." in path) for n in range(5)]
    panels = (
        (plain, "run from the input: errors are handed on"),
        (replayed, "replay: each layer on the port's own input"),
    )
    for (errors, words), top in zip(panels, (96, 336), strict=True):
        card.text(MARGIN, top - 34, words)
        axes = Axes(card, (72, top, 620, top + 160), (0, -3.4), (len(paths), 0.3))
        axes.ticks((), (-3.4, -2, -1, 0), {-3.4: "right", -2: "1%", -1: "10%", 0: "100%"}.__getitem__)
        for n, start in enumerate(starts):
            place = axes.at(start, -3.4)[0]
            card.line(((place, top), (place, top + 160)), theme.rule, 1)
            card.note(place + 4, top + 166, f"L{n + 1}")
        for i, error in enumerate(errors):
            off = error > 1e-6
            card.dot(*axes.at(i, max(math.log10(error), -3.2) if off else -3.4), 4 if off else 3, RED if off else GREEN)
    card.note(620, 522, "tensors in order of execution", anchor="ra")
    return card.image


def time_spent(theme: Theme) -> Image.Image:
    """Where the reference spends its time, beside where the multiplications are."""
    card = Card(theme, 460, "Where the time goes, and where the multiplications are")
    macs = _macs()
    for i, (kind, spent) in enumerate(SPENT.items()):
        y = 64 + 54 * i
        card.text(MARGIN, y + 18, kind, anchor="lm")
        shares = ((spent / sum(SPENT.values()), ORANGE), (macs.get(kind, 0) / sum(macs.values()), SKY))
        for row, (share, color) in enumerate(shares):
            width = 330 * share / 0.8
            card.bar(236, y + 20 * row, width, 17, color)
            card.note(240 + width, y + 9 + 20 * row, f"{share:.0%}", 15, "lm")
    card.key(MARGIN, 396, ORANGE, "of the time, in the reference engine")
    card.key(MARGIN, 424, SKY, "of the MACs")
    return card.image


def _macs() -> dict[str, float]:
    """The MACs of xx_small at 256 x 256 by kind, as chapter 8 counts them."""
    config = NetworkConfig(**VARIANTS["xx_small"])
    everything = summarize(config, "classifier", (256, 256)).macs
    stages = zip((2, 4, 3), (256, 64, 16), config.hidden_sizes, strict=True)  # layers, N, D
    products = sum(layers * 4 * 2 * N * N * D for layers, N, D in stages)
    neck = config.neck_hidden_sizes
    wide = ((neck[0], 128, 1), (neck[1], 64, 1), (neck[2], 64, 2), (neck[2], 32, 1), (neck[3], 16, 1), (neck[4], 8, 1))
    depthwise = sum(9 * config.expanded_channels(c) * side * side * times for c, side, times in wide)
    return {
        "1 x 1 and 3 x 3\nconvolutions, linear": everything - products - depthwise,
        "depthwise 3 x 3": depthwise,
        "attention": products,
    }


def measure(rounds: int = 10) -> dict[str, float]:
    """What ``SPENT`` holds: the median milliseconds that each kind of module takes by itself, without its parts."""
    config = NetworkConfig(**VARIANTS["xx_small"])
    tensors = init_parameters(config, "classifier")
    spent: dict[str, list[float]] = defaultdict(list)
    inner: list[float] = []  # for each module that is running: the time that its parts took

    def clock(compute, x, scope, *args, **kwargs):  # type: ignore[no-untyped-def]
        inner.append(0.0)
        start = time.perf_counter()
        output = compute(x, scope, *args, **kwargs)
        whole = time.perf_counter() - start
        own = whole - inner.pop()
        if inner:
            inner[-1] += whole
        spent[_kind(compute.__name__, kwargs)][-1] += 1000 * own
        return output

    for i in range(rounds + 2):  # two to warm up
        for kind in SPENT:
            spent[kind].append(0.0)
        photo = np.random.RandomState(i).random_sample((1, 3, 256, 256)).astype(np.float32)
        classifier(photo, Scope(tensors).wrap("*", clock), config)
    return {kind: statistics.median(times[2:]) for kind, times in spent.items()}


def _kind(function: str, options: dict[str, int]) -> str:
    if function == "convolution":
        return "depthwise 3 x 3" if options.get("groups", 1) > 1 else KINDS["linear"]
    return KINDS.get(function, "sums, copies, the rest")


if __name__ == "__main__":
    for kind, milliseconds in measure().items():
        print(f"{kind.replace(chr(10), ' '):<40}{milliseconds:6.1f} ms")

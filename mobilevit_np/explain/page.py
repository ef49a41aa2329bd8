"""One photo's way through a network as a page: answer, stages, feature maps, attention.

The page stands alone (``page``). Its size is bounded whatever the network: of each stage the liveliest channels are
kept, larger maps thinned; attention gets ``ATTENTION_BYTES``, in which a layer's probabilities are float32 as they
came, or, where that's too much, 16-bit fractions of each row's largest, then for one pixel of each patch only, then for
every second patch, every fourth and so on. The page says what it holds.
"""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from .. import ops
from ..pages import assemble, coded, number, plain_name, script_json, text
from ..pipelines.classifier import Prediction, predictions
from ..pipelines.common import READING, what_it_knows
from ..pipelines.overlay import overlay
from .explanation import Explanation, Layer, Stage

ATTENTION_BYTES = 5_500_000  # of all layers together; base64 makes a third more of it
CHANNELS = 24  # of a stage, that are shown
SIDE = 64  # of a picture of a channel
PHOTO_SIDE = 640
TOP = 5  # answers
_CODES = 65535
_LEVELS = 16  # the last has a single patch of any map


def explain_page(explanation: Explanation, *, name: str = "photo", attention_bytes: int = ATTENTION_BYTES) -> str:
    """The page, as HTML. ``name`` is what the photo is called."""
    checkpoint = explanation.checkpoint
    data = {
        "stages": [_maps(stage, explanation) for stage in explanation.stages if stage.output.ndim == 3],
        "layers": _layers(explanation.layers, attention_bytes),
    }
    about = f"{checkpoint.name}, a {checkpoint.task} that {what_it_knows(checkpoint)}"
    return assemble(
        "explain.html",
        styles=("page.css", "pictures.css", "explain.css"),
        scripts=("pictures.js", "explain.js"),
        parts={
            "title": text(f"{plain_name(name)}: {_headline(explanation)}"),
            "about": text(plain_name(about)),
            "given": _given(explanation),
            "answer": _ANSWERS[checkpoint.task](explanation),
            "rows": "".join(_row(stage, explanation.stages) for stage in explanation.stages),
            "total": _total(explanation.stages),
            "seen": _image(explanation.seen, "What the network sees of the photo"),
            "data": script_json(data),
        },
    )


# -- the answer --------------------------------------------------------------------------------------------------------


def _scores(explanation: Explanation) -> list[Prediction]:
    """A classifier's answers, or the shares of the map that classes cover; highest first."""
    logits, labels = explanation.logits, explanation.checkpoint.labels
    if logits.ndim == 1:
        return list(predictions(logits, explanation.checkpoint, TOP))
    shares = np.bincount(_mask(explanation).ravel(), minlength=len(labels)) / math.prod(explanation.seen.shape[:2])
    most = np.argsort(-shares, kind="stable")[:TOP]
    return [Prediction(labels[i], int(i), float(shares[i])) for i in most if shares[i] > 0]


def _mask(explanation: Explanation) -> np.ndarray:
    """A class for each pixel that's seen: (H, W)"""
    H, W = explanation.seen.shape[:2]
    return ops.best_class_at_size(explanation.logits[None], (H, W))[0]


def _headline(explanation: Explanation) -> str:
    scores = _scores(explanation)
    if explanation.logits.ndim == 1:
        return f"{plain_name(scores[0].label)}, {scores[0].shown}"
    return ", ".join(f"{plain_name(each.label)} {each.score:.0%}" for each in scores[:3])


def _bars(explanation: Explanation) -> str:
    return "".join(
        f'<tr><th scope="row">{text(plain_name(each.label))}</th>'
        f'<td class="bar">{_bar(each.score) if each.is_probability else ""}</td><td>{each.shown}</td></tr>'
        for each in _scores(explanation)
    )


def _classes(explanation: Explanation) -> str:
    reading = READING[explanation.checkpoint.problem_type]
    note = f'<p class="note">{reading[:1].upper()}{reading[1:]}.</p>' if reading else ""
    return f'<h2>What it says</h2><table class="bars">{_bars(explanation)}</table>{note}'


def _areas(explanation: Explanation) -> str:
    mask = _mask(explanation)
    painted = overlay(explanation.seen, mask, explanation.checkpoint.labels)
    image = _image(np.asarray(painted), "The classes painted over what the network sees")
    return (
        f'<h2>What it says</h2><div class="sides"><div class="pane">{image}</div>'
        f'<table class="bars">{_bars(explanation)}</table></div>'
    )


_ANSWERS = {"classifier": _classes, "segmenter": _areas}


def _given(explanation: Explanation) -> str:
    """The photo as it was given, with a frame round what the network sees of it."""
    H, W = explanation.photo.shape[:2]
    region = explanation.region
    left, top = max(region.left, 0.0), max(region.top, 0.0)
    width, height = min(region.right, W) - left, min(region.bottom, H) - top
    frame = f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"/>'
    h, w = explanation.seen.shape[:2]
    return (
        f'<div class="pane">{_image(explanation.photo, "The photo as it was given")}'
        f'<svg viewBox="0 0 {W} {H}" preserveAspectRatio="none" aria-hidden="true">{frame}</svg></div>'
        f"<figcaption>{W} x {H} pixels. The network sees what is inside the frame, at {w} x {h}.</figcaption>"
    )


def _image(pixels: np.ndarray, words: str) -> str:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=88)
    source = base64.b64encode(buffer.getvalue()).decode("ascii")
    H, W = pixels.shape[:2]
    return f'<img src="data:image/jpeg;base64,{source}" alt="{text(words)}" width="{W}" height="{H}">'


# -- the stages --------------------------------------------------------------------------------------------------------


def _row(stage: Stage, stages: Sequence[Stage]) -> str:
    longest = max(each.seconds for each in stages)
    return (
        f'<tr><th scope="row">{stage.title}</th><td class="words">{stage.words}</td>'
        f"<td>{' x '.join(map(str, stage.output.shape))}</td><td>{stage.parameters:,}</td>"
        f"<td>{stage.macs / 1e6:,.1f}</td>"
        f'<td>{_milliseconds(stage.seconds)}</td><td class="bar">{_bar(stage.seconds / longest)}</td></tr>'
    )


def _total(stages: Sequence[Stage]) -> str:
    parameters, macs = sum(stage.parameters for stage in stages), sum(stage.macs for stage in stages)
    seconds = _milliseconds(sum(stage.seconds for stage in stages))
    return f"<td>{parameters:,}</td><td>{macs / 1e6:,.1f}</td><td>{seconds}</td>"


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


def _bar(share: float) -> str:
    return f'<svg aria-hidden="true"><rect width="{max(0.0, min(1.0, share)):.2%}" height="100%"/></svg>'


def _maps(stage: Stage, explanation: Explanation) -> dict[str, Any]:
    """The channels of a stage that vary most, as pictures of one byte for each element (see pictures.py)."""
    maps, step = _thinned(stage.output)
    C, H, W = stage.output.shape
    spread = stage.output.std(axis=(1, 2), dtype=np.float64)
    kept = [int(i) for i in np.argsort(-spread, kind="stable")[:CHANNELS]]
    labels = explanation.checkpoint.labels if stage.title == "scores" else ()
    return {
        "title": stage.title,
        "of": C,
        "size": [H, W],
        "shape": list(maps.shape[1:]),
        "step": step,
        "channels": [
            {
                "label": plain_name(labels[i]) if labels else f"channel {i}",
                "spread": number(spread[i], 2),
                "low": float(maps[i].min()),
                "high": float(maps[i].max()),
                "bytes": coded(maps[i], float(maps[i].min()), float(maps[i].max())),
            }
            for i in kept
        ],
    }


def _thinned(maps: np.ndarray) -> tuple[np.ndarray, int]:
    """Maps no larger than SIDE, of means over squares, and the side of these: (C, H, W) -> (C, H', W')"""
    C, H, W = maps.shape
    step = -(-max(H, W) // SIDE)
    if step == 1:
        return maps.astype(np.float64), 1
    whole = np.pad(maps.astype(np.float64), ((0, 0), (0, -H % step), (0, -W % step)), mode="edge")
    return whole.reshape(C, whole.shape[1] // step, step, whole.shape[2] // step, step).mean(axis=(2, 4)), step


# -- attention ---------------------------------------------------------------------------------------------------------


def _layers(layers: Sequence[Layer], budget: int) -> list[dict[str, Any]]:
    """Each layer's probabilities, in the most detail that all of them have room for."""
    levels = [0] * len(layers)

    def size(i: int) -> int:
        return _cost(layers[i], levels[i])

    while sum(map(size, range(len(layers)))) > budget:
        worst = max((i for i in range(len(layers)) if levels[i] < _LEVELS), key=size, default=None)
        if worst is None:
            break
        levels[worst] += 1
    return [_layer(layer, level) for layer, level in zip(layers, levels, strict=True)]


def _detail(layer: Layer, level: int) -> tuple[int, int, int]:
    """Bytes of a probability, how many positions in a patch are kept, and the step from one kept patch to the next."""
    P = len(layer.probabilities)
    return (4 if level == 0 else 2), (P if level < 2 else 1), 2 ** max(0, level - 2)


def _cost(layer: Layer, level: int) -> int:
    width, places, step = _detail(layer, level)
    nh, nw = layer.patches
    rows = places * layer.probabilities.shape[1] * -(-nh // step) * -(-nw // step)
    return rows * (width * nh * nw + 4)


def _layer(layer: Layer, level: int) -> dict[str, Any]:
    """(P, h, N, N) as (places, rows, columns, heads, N), flat: who looks first, whom it looks at last."""
    width, places, step = _detail(layer, level)
    (nh, nw), (P, heads, N, _) = layer.patches, layer.probabilities.shape
    kept = layer.probabilities[:places].reshape(places, heads, nh, nw, N)[:, :, ::step, ::step]
    kept = kept.transpose(0, 2, 3, 1, 4).astype(np.float32)  # (P, h, nh, nw, N) -> (P, nh, nw, h, N)
    largest = kept.max(axis=-1, keepdims=True)
    if width == 2:
        kept = np.rint(kept / np.maximum(largest, np.finfo(np.float32).tiny) * np.float32(_CODES)).astype(np.uint16)
    return {
        "title": layer.title,
        "path": layer.path,
        "patches": [nh, nw],
        "side": round(P**0.5),
        "places": places,
        "step": step,
        "heads": heads,
        "width": width,
        "probabilities": _base64(kept),
        "largest": _base64(largest) if width == 2 else "",
    }


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.astype(array.dtype.newbyteorder("<")).tobytes()).decode("ascii")

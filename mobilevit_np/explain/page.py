"""One photo's way through a network as a page: answer, stages, feature maps, attention.

The page stands alone (``pages``). Its size is bounded whatever the network: of each stage the liveliest channels are
kept, larger maps thinned. Of attention it holds queries and keys, and makes the probabilities itself: those would be
many times as much, and grow with the square of the photo. Where all layers' queries and keys are more than
``ATTENTION_BYTES``, the largest are kept for one pixel of each patch only, then not at all. The page says so.
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
from ..pages import assemble, coded, plain_name, script_json, text
from ..pipelines.classifier import Prediction, predictions
from ..pipelines.common import READING, what_it_knows
from ..pipelines.segmenter import Segmentation
from ..preprocess import Region
from .explanation import Explanation, Layer, Stage

ATTENTION_BYTES = 5_500_000  # of all queries and keys together; base64 makes a third more of it
CHANNELS = 24  # of a stage, that are shown
SIDE = 64  # of a picture of a channel
PHOTO_SIDE = 640
TOP = 5  # answers
_CODES = 32767  # the largest of 16 bits, with a sign


def explain_page(explanation: Explanation, *, name: str = "photo", attention_bytes: int = ATTENTION_BYTES) -> str:
    """The page, as HTML. ``name`` is what the photo is called."""
    checkpoint = explanation.checkpoint
    layers = _layers(explanation.layers, attention_bytes)
    data = {
        "stages": [_maps(stage, explanation) for stage in explanation.stages if stage.output.ndim == 3],
        "layers": layers,
    }
    segmentation = _segmentation(explanation) if checkpoint.task == "segmenter" else None
    scores = _scores(explanation, segmentation)
    about = f"{checkpoint.name}, a {checkpoint.task} that {what_it_knows(checkpoint)}"
    return assemble(
        "explain.html",
        styles=("page.css", "pictures.css", "explain.css"),
        scripts=("pictures.js", "explain.js"),
        parts={
            "title": text(f"{plain_name(name)}: {_headline(scores, segmentation)}"),
            "about": text(plain_name(about)),
            "given": _given(explanation),
            "answer": _answer(explanation, scores, segmentation),
            "rows": "".join(_row(stage, explanation.stages) for stage in explanation.stages),
            "total": _total(explanation.stages),
            "seen": _image(explanation.seen, "What the network sees of the photo"),
            "left_out": _left_out(explanation.layers, layers),
            "data": script_json(data),
        },
    )


# -- the answer --------------------------------------------------------------------------------------------------------


def _segmentation(explanation: Explanation) -> Segmentation:
    """What a segmenter says of the part of the photo that it sees, at that part's own size."""
    top, left, bottom, right = _rounded(explanation.region)
    part, logits = explanation.photo[top:bottom, left:right], explanation.logits
    mask = ops.best_class_at_size(logits[None], (bottom - top, right - left), dtype=np.uint16)[0]
    return Segmentation(mask, logits, explanation.checkpoint.labels, part)


def _rounded(region: Region) -> tuple[int, int, int, int]:
    return round(region.top), round(region.left), round(region.bottom), round(region.right)


def _scores(explanation: Explanation, segmentation: Segmentation | None) -> list[Prediction]:
    """A classifier's answers, or the shares of the photo that classes cover; highest first."""
    labels = explanation.checkpoint.labels
    if segmentation is None:
        return list(predictions(explanation.logits, explanation.checkpoint, TOP))
    return [Prediction(label, labels.index(label), share) for label, share in segmentation.areas.items()][:TOP]


def _headline(scores: Sequence[Prediction], segmentation: Segmentation | None) -> str:
    if segmentation is None:
        return f"{plain_name(scores[0].label)}, {scores[0].shown}"
    return ", ".join(f"{plain_name(each.label)} {each.score:.0%}" for each in scores[:3])


def _answer(explanation: Explanation, scores: Sequence[Prediction], segmentation: Segmentation | None) -> str:
    rows = "".join(
        f'<tr><th scope="row">{text(plain_name(each.label))}</th>'
        f'<td class="bar">{_bar(each.score) if each.is_probability else ""}</td><td>{each.shown}</td></tr>'
        for each in scores
    )
    bars = f'<table class="bars">{rows}</table>'
    if segmentation:
        painted = _image(np.asarray(segmentation.overlay()), "The classes painted over what the network sees")
        return f'<h2>What it says</h2><div class="sides"><div class="pane">{painted}</div>{bars}</div>'
    reading = READING[explanation.checkpoint.problem_type]
    note = f'<p class="note">{reading[:1].upper()}{reading[1:]}.</p>' if reading else ""
    return f"<h2>What it says</h2>{bars}{note}"


def _given(explanation: Explanation) -> str:
    """The photo as it was given, with a frame round what the network sees of it where that isn't all."""
    H, W = explanation.photo.shape[:2]
    h, w = explanation.seen.shape[:2]
    region, frame, seen, windows = explanation.region, "", "all of it", ""
    if _rounded(region) != (0, 0, H, W):
        left, top = max(region.left, 0.0), max(region.top, 0.0)
        width, height = min(region.right, W) - left, min(region.bottom, H) - top
        frame = (
            f'<svg viewBox="0 0 {W} {H}" preserveAspectRatio="none" aria-hidden="true">'
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}"/></svg>'
        )
        seen = "what is inside the frame"
        if explanation.checkpoint.task == "segmenter":
            windows = " A photo longer than 2:1 is segmented in overlapping windows; this is the middle one."
    return (
        f'<div class="pane">{_image(explanation.photo, "The photo as it was given")}{frame}</div>'
        f"<figcaption>{W} x {H} pixels. The network sees {seen}, at {w} x {h}.{windows}</figcaption>"
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
        f'<td class="output">{" x ".join(map(str, stage.output.shape))}</td><td>{stage.parameters:,}</td>'
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
    """The channels of a stage that vary most, as pictures of one byte for each element (``pages.coded``)."""
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
    """The layers in the most detail that all of them have room for: every pixel of a patch, the first, or none."""
    places = [len(layer.queries) for layer in layers]

    def size(i: int) -> int:
        return 4 * places[i] * layers[i].queries[0].size  # two numbers of 16 bits

    while sum(map(size, range(len(layers)))) > budget:
        largest = max(range(len(layers)), key=size)
        places[largest] = min(1, places[largest] - 1)
    return [_layer(layer, count) for layer, count in zip(layers, places, strict=True) if count]


def _layer(layer: Layer, places: int) -> dict[str, Any]:
    """Queries and keys as 16-bit fractions of each channel's largest: (P, N, D) -> (places, N, D), flat."""
    P, _, D = layer.queries.shape
    kept = [each[:places].astype(np.float64) for each in (layer.queries, layer.keys)]
    units = [np.maximum(np.abs(each).max(axis=(0, 1)), np.finfo(np.float32).tiny) / _CODES for each in kept]
    queries, keys = (np.rint(each / unit).astype("<i2") for each, unit in zip(kept, units, strict=True))
    return {
        "title": layer.title,
        "path": layer.path,
        "patches": layer.patches,
        "side": round(P**0.5),
        "places": places,
        "heads": layer.heads,
        "queries": _base64(queries),
        "keys": _base64(keys),
        "scale": _base64((units[0] * units[1] / math.sqrt(D // layer.heads)).astype("<f4")),  # of their product
    }


def _base64(array: np.ndarray) -> str:
    return base64.b64encode(array.tobytes()).decode("ascii")


def _left_out(layers: Sequence[Layer], kept: Sequence[dict[str, Any]]) -> str:
    titles = {layer["title"] for layer in kept}
    missing = "; ".join(layer.title for layer in layers if layer.title not in titles)
    return f" Left out, to keep this page small: {missing}." if missing else ""

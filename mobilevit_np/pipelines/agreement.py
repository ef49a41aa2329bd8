"""How far apart two checkpoints' answers to the same photos are.

This tells what a change of the weights costs: quantized ones against those they were made from. Photos with a label in
their name, as in the Oxford-IIIT Pet set (``Abyssinian_12.jpg``), also tell how often each is right.

Explained in tutorials/00-ten-lines.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..checkpoints.configurations import REGRESSION, SINGLE_LABEL
from ..errors import MobileViTError
from .classifier import Classifier
from .common import scores_of
from .segmenter import Segmenter

_LABELED = re.compile(r"(.+)_\d+")
_DRAWN_SIDE, _DRAWN_DETAIL = 256, 8


@dataclass(frozen=True)
class Difference:
    """Two answers to one photo: over a classifier's classes, or over those of every cell of a segmenter's map."""

    error: float  # the largest |difference| of the logits
    magnitude: float  # the largest |logit| before
    # The share of equal answers: among the best classes of all cells (a classifier has one cell), or, with multiple
    # labels, among the yes and no of all classes; a regression has neither.
    unchanged: float | None
    probability_change: float | None  # the mean |change| in that of the class that was best, or of all classes
    right: tuple[bool, bool] | None  # before and after, if the photo's name has its class's label


@dataclass(frozen=True)
class Agreement:
    """Many differences, summed up; ``right`` holds the shares before and after, of the ``labeled`` photos."""

    photos: int
    logits_error: float  # the largest |difference| over the largest magnitude
    unchanged: float | None
    probability_change: float | None
    labeled: int
    right: tuple[float, float] | None


def differences(
    before: Classifier | Segmenter, after: Classifier | Segmenter, images: Sequence[Any]
) -> Iterator[Difference | MobileViTError]:
    """For each image, in order, the difference of its answers, or the error that kept it from one."""
    answers = zip(images, before.stream(iter(images)), after.stream(iter(images)), strict=True)
    for image, (_, first), (_, second) in answers:
        if isinstance(first, MobileViTError):
            yield first
        elif isinstance(second, MobileViTError):
            yield second
        else:
            problem_type = before.checkpoint.problem_type
            label = label_in_name(image, before.labels) if problem_type == SINGLE_LABEL else None
            yield _difference(first.logits, second.logits, label, problem_type)


def _difference(before: np.ndarray, after: np.ndarray, label: int | None, problem_type: str) -> Difference:
    """The difference of two answers' logits, (K) or (K, H', W')."""
    cells = [logits.reshape(len(logits), -1).T.astype(np.float64) for logits in (before, after)]  # (cells, K)
    best = [some.argmax(axis=1) for some in cells]
    scores = [scores_of(some, problem_type) for some in cells]
    same, moved = (cells[0] > 0) == (cells[1] > 0), np.abs(scores[1] - scores[0])
    if problem_type == SINGLE_LABEL:
        same, moved = best[0] == best[1], np.take_along_axis(moved, best[0][:, None], axis=1)
    answers = problem_type != REGRESSION
    return Difference(
        error=float(np.abs(cells[1] - cells[0]).max()),
        magnitude=float(np.abs(cells[0]).max()),
        unchanged=float(same.mean()) if answers else None,
        probability_change=float(moved.mean()) if answers else None,
        right=None if label is None or before.ndim > 1 else (bool(best[0][0] == label), bool(best[1][0] == label)),
    )


def agreement(found: Iterable[Difference]) -> Agreement | None:
    """The differences, summed up; None if there are none."""
    found = list(found)
    if not found:
        return None
    judged = [difference.right for difference in found if difference.right is not None]
    right = np.mean(judged, axis=0).tolist() if judged else None
    return Agreement(
        photos=len(found),
        logits_error=max(difference.error for difference in found)
        / (max(difference.magnitude for difference in found) or 1),
        unchanged=_mean(difference.unchanged for difference in found),
        probability_change=_mean(difference.probability_change for difference in found),
        labeled=len(judged),
        right=(right[0], right[1]) if right else None,
    )


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def label_in_name(image: Any, labels: Sequence[str]) -> int | None:
    """The class whose label, in any case, comes before the number in a photo's file name; None if none does."""
    if not isinstance(image, (str, os.PathLike)):
        return None
    match = _LABELED.fullmatch(os.path.splitext(os.path.basename(os.fspath(image)))[0])
    wanted = match and _plain(match[1])
    return next((index for index, label in enumerate(labels) if _plain(label) == wanted), None)


def _plain(label: str) -> str:
    return label.replace("_", " ").casefold()


def drawn_photos(count: int) -> list[Image.Image]:
    """Soft blotches of color, the same every time, to use without photos. Networks see little in them."""
    random = np.random.default_rng(0)
    blotches = random.integers(0, 256, (count, _DRAWN_DETAIL, _DRAWN_DETAIL, 3), np.uint8)
    size = (_DRAWN_SIDE, _DRAWN_SIDE)
    return [Image.fromarray(some).resize(size, Image.Resampling.BICUBIC) for some in blotches]

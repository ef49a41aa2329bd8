"""Photo in, names out.

Explained in tutorials/00-ten-lines.md.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ..checkpoints import Checkpoint
from ..checkpoints.configurations import REGRESSION, SINGLE_LABEL
from ..config import MAX_ATTENTION_BYTES, probability_bytes
from ..errors import InputError, MobileViTError
from ..ops.arguments import check_whole_number
from ..preprocess import Profile, decode, output_size, preprocess, with_channels
from .common import Pipeline, attempt, check_answer, check_memory, check_size, scores_of, several
from .prefetch import in_batches, prefetch

BATCH_SIZE = 8  # photos run together: enough to fill matrix products, few enough to keep memory small
BATCH_PIXELS = BATCH_SIZE * 256**2  # of inputs larger than the published networks', fewer are run together


@dataclass(frozen=True)
class Prediction:
    """One class: its label, its place in the logits, and its score.

    ``score`` is a probability: that of the class among all, or, with multiple labels, that of a yes. A regression's is
    the number itself, and ``is_probability`` is False.
    """

    label: str
    index: int
    score: float
    is_probability: bool = True

    @property
    def probability(self) -> float:
        """The score, if it's a probability. Raises InputError for a regression's, which isn't."""
        if not self.is_probability:
            raise InputError("a regression gives numbers, not probabilities; use score in place of probability")
        return self.score

    @property
    def shown(self) -> str:
        """The score for people: 87.3%, or a regression's number to six digits."""
        return f"{self.score:.1%}" if self.is_probability else f"{self.score:.6g}"


@dataclass(frozen=True)
class Classification:
    """What the classifier says of one photo: the best classes, best first, and the network's numbers for all: (K)

    ``problem_type`` says what the scores are: for single_label_classification probabilities that sum to 1, for
    multi_label_classification each class's own probability, for regression the logits.
    """

    predictions: tuple[Prediction, ...]
    logits: np.ndarray
    problem_type: str = SINGLE_LABEL

    @property
    def label(self) -> str:
        """The best class's label."""
        return self.predictions[0].label


def predictions(logits: np.ndarray, checkpoint: Checkpoint, top: int) -> tuple[Prediction, ...]:
    """The ``top`` classes with the highest scores, highest first, by the checkpoint's ``problem_type``: (K) -> top"""
    kind = checkpoint.problem_type
    scores = scores_of(logits, kind)
    best = np.argsort(-scores, kind="stable")[:top]
    return tuple(Prediction(checkpoint.labels[i], int(i), float(scores[i]), kind != REGRESSION) for i in best)


class Classifier(Pipeline):
    """A classifier ready for photos: ``Classifier.from_pretrained("apple/mobilevit-small")("cat.jpg", top=5)``."""

    task = "classifier"

    def __call__(self, images: Any, top: int = 5) -> Any:
        """Classify one image, or a list of them: a Classification, or a list of Classifications.

        An image is a path, bytes, an open file, a PIL image or a uint8 array (H, W, 3). ``top`` is the number of
        classes to name. Raises ImageError for the first image that can't be read; ``stream`` goes on to the next
        instead.
        """
        return self._answers(images, lambda each: self.stream(each, top))

    def stream(
        self, images: Iterable[Any], top: int = 5, batch_size: int = BATCH_SIZE
    ) -> Generator[tuple[Any, Classification | MobileViTError], None, None]:
        """Each image, in order, with its Classification, or with the error that kept it from one.

        Takes a batch of images at a time, and prepares the next batch while the network runs, so that a folder of any
        size needs the memory of two batches' inputs and of the few photos being decoded. The source is never asked for
        more than that; an error in it is raised after the answers before it. To stop early, leave the loop or
        ``close()`` what this returns: no thread is left behind. Raises InputError if ``top`` or ``batch_size`` is under
        1, and for a single path or photo.
        """
        check_whole_number("top", top, at_least=1)
        check_whole_number("batch_size", batch_size, at_least=1)
        return self._stream(several(images), top, batch_size)

    def _stream(
        self, source: Iterator[Any], top: int, batch_size: int
    ) -> Generator[tuple[Any, Classification | MobileViTError], None, None]:
        with closing(prefetch(partial(attempt, self._prepare), source, batch_size)) as prepared:
            for batch in in_batches(prepared, batch_size):
                images, pixel_values = zip(*batch, strict=True)
                yield from zip(images, self._classify(pixel_values, top), strict=True)

    def _prepare(self, image: Any) -> np.ndarray:
        with ExitStack() as until:  # the photo's memory counts until the photo is gone
            photo = with_channels(decode(image, until=until), self.checkpoint.config.num_channels)
            size = _input_size(photo.shape, self.profile)
            check_size(*size)
            check_memory(*size, self.checkpoint)
            return preprocess(photo, self.profile, dtype=self.checkpoint.dtype)

    def _classify(
        self, prepared: Sequence[np.ndarray | MobileViTError], top: int
    ) -> list[Classification | MobileViTError]:
        """Run the readable ones, those of the same size together, and put the answers in order."""
        results: list[Any] = list(prepared)
        by_shape: dict[tuple[int, ...], list[int]] = {}
        for i, pixel_values in enumerate(prepared):
            if not isinstance(pixel_values, MobileViTError):
                by_shape.setdefault(pixel_values.shape, []).append(i)
        for shape, indices in by_shape.items():
            each = probability_bytes(shape[2], shape[3], self.checkpoint.config, self.checkpoint.dtype)
            together = max(1, min(BATCH_PIXELS // (shape[2] * shape[3]), MAX_ATTENTION_BYTES // each))
            for start in range(0, len(indices), together):
                some = indices[start : start + together]
                rows = attempt(self._logits, [results[i] for i in some])
                for i, row in zip(some, [rows] * len(some) if isinstance(rows, MobileViTError) else rows, strict=True):
                    results[i] = row if isinstance(row, MobileViTError) else attempt(self._answer, row, top)
        return results

    def _logits(self, prepared: Sequence[np.ndarray]) -> np.ndarray:
        return self._network(np.concatenate(prepared))

    def _answer(self, logits: np.ndarray, top: int) -> Classification:
        check_answer(logits, self.checkpoint)
        return Classification(predictions(logits, self.checkpoint, top), logits, self.checkpoint.problem_type)


def _input_size(photo_size: tuple[int, ...], profile: Profile) -> tuple[int, int]:
    """The size (H, W) at which the network sees a photo."""
    height, width = photo_size[:2]
    return profile.crop or ((height, width) if profile.size is None else output_size(height, width, profile.size))

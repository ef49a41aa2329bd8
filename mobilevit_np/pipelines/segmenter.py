"""Photo in, a class for every pixel of it out.

transformers crops a photo to a square before segmenting it, so the mask covers only its middle. Here the network sees
all of the photo. Its short side becomes the size the network was trained for, the other side follows, both rounded to
multiples of 32; a photo longer than 2:1 is seen in overlapping windows, whose logits are averaged. The mask comes back
at the photo's own size. Memory is bounded whatever the photo: windows are cut from it before they're enlarged, and the
mask is made strip by strip.

Explained in tutorials/00-ten-lines.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from .. import ops
from ..errors import InputError, MobileViTError
from ..preprocess import Profile, decode, preprocess, resize_photo, with_channels
from .common import MAX_PIXELS, Pipeline, attempt, check_answer, check_memory, check_size, several
from .overlay import indexed_mask, overlay, pixel_counts
from .prefetch import prefetch

_MULTIPLE = 32  # of the sides, so that the whole backbone halves them without a remainder
_WINDOW_ASPECT = 2  # beyond this aspect the photo is cut into windows of this aspect
_MAX_ASPECT = 64  # beyond this aspect it's refused: that would be over 48 windows


@dataclass(frozen=True)
class Segmentation:
    """What the segmenter says of one photo.

    ``mask`` holds a class number for each pixel, at the photo's own size: (H, W), uint8 (uint16 beyond 256 classes).
    ``logits`` are the scores it was made from, at 1/output_stride of the network's input: (K, H', W').
    """

    mask: np.ndarray
    logits: np.ndarray
    labels: Sequence[str]
    photo: np.ndarray

    @property
    def areas(self) -> dict[str, float]:
        """The fraction of the photo that each class covers, largest first; classes that don't occur are left out."""
        found: Counter[str] = Counter()
        for label, count in zip(self.labels, pixel_counts(self.mask, len(self.labels)).tolist(), strict=True):
            if count:
                found[label] += count  # several classes may have the same label
        return {label: count / self.mask.size for label, count in found.most_common()}

    def overlay(self) -> Image.Image:
        """The photo with its classes tinted, outlined and named."""
        return overlay(self.photo, self.mask, self.labels)

    def mask_image(self) -> Image.Image:
        """The mask as an indexed-color image: pixel values are class numbers."""
        return indexed_mask(self.mask, len(self.labels))


class Segmenter(Pipeline):
    """A segmenter ready for photos: ``Segmenter.from_pretrained()("cat.jpg").overlay().save("overlay.png")``."""

    task = "segmenter"

    def __call__(self, images: Any) -> Any:
        """Segment one image, or a list of them: a Segmentation, or a list of Segmentations.

        An image is a path, bytes, an open file, a PIL image or a uint8 array (H, W, 3). Raises ImageError for the first
        image that can't be read; ``stream`` goes on to the next instead.
        """
        return self._answers(images, self.stream)

    def stream(self, images: Iterable[Any]) -> Generator[tuple[Any, Segmentation | MobileViTError], None, None]:
        """Each image, in order, with its Segmentation, or with the error that kept it from one.

        The next photo is decoded while this one is segmented. The source is never asked for more than that; an error in
        it is raised after the answers before it. Raises InputError for a single path or photo.
        """
        return self._stream(several(images))

    def _stream(self, source: Iterator[Any]) -> Generator[tuple[Any, Segmentation | MobileViTError], None, None]:
        with closing(prefetch(partial(attempt, decode), source, 1)) as photos:
            yield from map(self._answered, photos)  # the variables of a loop would keep a large photo

    def _answered(self, decoded: tuple[Any, np.ndarray | MobileViTError]) -> tuple[Any, Segmentation | MobileViTError]:
        image, photo = decoded
        return image, photo if isinstance(photo, MobileViTError) else attempt(self._segment, photo)

    def _segment(self, photo: np.ndarray) -> Segmentation:
        logits = self._whole_logits(with_channels(photo, self.checkpoint.config.num_channels))
        dtype = np.uint8 if len(self.labels) <= 256 else np.uint16
        mask = ops.best_class_at_size(logits[None], (photo.shape[0], photo.shape[1]), dtype=dtype)[0]
        return Segmentation(mask, logits, self.labels, photo)

    def _whole_logits(self, photo: np.ndarray) -> np.ndarray:
        """Logits over the whole photo, window by window, averaged where windows overlap: (K, H', W')"""
        size, longest = network_size(photo.shape[:2], self.profile)
        check_memory(min(size[0], longest), min(size[1], longest), self.checkpoint)
        stride = self.checkpoint.config.output_stride
        H, W = (-(-side // stride) for side in size)
        dtype = np.result_type(self.checkpoint.dtype, np.float32)  # float16 would be rounded at every sum
        total, seen = np.zeros((len(self.labels), H, W), dtype), np.zeros((H, W), dtype)
        rest = replace(self.profile, size=None, crop=None)
        for top, left, height, width in windows(size, longest):
            part = None if (height, width) == size else (top, left, height, width)
            window = resize_photo(photo, size, self.profile.resample, part)
            pixel_values = preprocess(window, rest, dtype=self.checkpoint.dtype)
            logits = self._network(pixel_values)[0]
            rows = slice(top // stride, top // stride + logits.shape[1])
            columns = slice(left // stride, left // stride + logits.shape[2])
            total[:, rows, columns] += logits
            seen[rows, columns] += 1
        check_answer(total, self.checkpoint)
        return (total / seen).astype(self.checkpoint.dtype, copy=False)


def network_size(photo_size: tuple[int, ...], profile: Profile) -> tuple[tuple[int, int], int]:
    """The size (H, W) at which the network sees the whole photo, and the longest side of one window.

    The short side becomes what the profile crops to (or resizes to, if it doesn't crop), the other follows, both in
    multiples of 32; a profile that squashes is obeyed. Raises InputError for a photo longer than 64:1, and if a window
    would be too big.
    """
    if profile.size is not None and not isinstance(profile.size, int):
        check_size(*profile.size)
        return profile.size, max(profile.size)
    H, W = photo_size
    short_side = min(profile.crop) if profile.crop else profile.size or min(H, W)
    short_side = max(_MULTIPLE, round(short_side / _MULTIPLE) * _MULTIPLE)
    check_size(short_side, short_side)
    height, width = (max(short_side, round(side * short_side / min(H, W) / _MULTIPLE) * _MULTIPLE) for side in (H, W))
    if max(height, width) > short_side * _MAX_ASPECT:
        raise InputError(f"a photo of {W}x{H} is too long and thin to segment; cut it into pieces of at most 64:1")
    return (height, width), min(short_side * _WINDOW_ASPECT, MAX_PIXELS // short_side // _MULTIPLE * _MULTIPLE)


def windows(size: tuple[int, int], longest: int) -> Iterator[tuple[int, int, int, int]]:
    """(top, left, height, width) of windows that cover ``size``, none longer than ``longest``.

    Neighbors overlap by about a third.
    """
    for top, height in _spans(size[0], longest):
        for left, width in _spans(size[1], longest):
            yield top, left, height, width


def _spans(side: int, longest: int) -> list[tuple[int, int]]:
    """(start, length) of evenly spread spans that cover ``side``, starting at multiples of 32."""
    if side <= longest:
        return [(0, side)]
    count = -(-(side - longest) * 3 // (longest * 2)) + 1
    last = (side - longest) // _MULTIPLE
    return [(round(i * last / (count - 1)) * _MULTIPLE, longest) for i in range(count)]

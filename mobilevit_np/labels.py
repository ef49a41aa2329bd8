"""The class names of the two data sets that the published checkpoints were trained on.

The names are in the order of the network's outputs: ImageNet-1k by sorted WordNet synset, each with all the synonyms
of its synset ("tabby, tabby cat"); PASCAL VOC 2012 in its own order, with the background first.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

VOC_LABELS: tuple[str, ...] = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "dining table", "dog", "horse", "motorbike", "person", "potted plant", "sheep", "sofa", "train", "tv/monitor",
)  # fmt: skip
LABEL_COUNTS = {"classifier": 1000, "segmenter": len(VOC_LABELS)}  # of the published networks


@cache
def imagenet_labels() -> tuple[str, ...]:
    """The 1000 class names of ImageNet-1k, in the order of the network's outputs. Read from the package once."""
    text = Path(__file__).with_name("data").joinpath("imagenet-1k.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


def labels_for(count: int, *, segmenter: bool = False) -> tuple[str, ...]:
    """Names for a network of ``count`` classes that comes without any.

    ImageNet's for a classifier with 1000, VOC's for a segmenter with 21, otherwise the class numbers as text.
    """
    if segmenter and count == len(VOC_LABELS):
        return VOC_LABELS
    if not segmenter and count == len(imagenet_labels()):
        return imagenet_labels()
    return tuple(str(index) for index in range(count))

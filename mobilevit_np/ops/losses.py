"""The four losses of transformers' heads.

Inference needs none; a port author comparing training losses does. All return a scalar in the logits' dtype.

Explained in tutorials/08-the-whole-classifier.md; a gradient in tutorials/14-learning.md.
"""

from __future__ import annotations

import numpy as np

from ..errors import InputError
from .arguments import arithmetic, check_whole_number
from .resize import resize_bilinear

Labels = np.ndarray  # under a name of its own, since @arithmetic asks every ``np.ndarray`` to hold floats


@arithmetic
def mean_squared_error(logits: np.ndarray, labels: Labels) -> np.ndarray:
    """Regression: the mean of the squared differences.

    (...), (...) -> ()

    No predictions give NaN. dtype: that of ``logits``. Raises InputError if the shapes differ. Source:
    ``torch.nn.MSELoss``.
    """
    _check_labels(labels, "fiub")
    if logits.shape != labels.shape:
        raise InputError(f"regression labels of shape {labels.shape} don't match predictions of shape {logits.shape}")
    return _mean(np.square(logits - labels.astype(logits.dtype, copy=False)))


@arithmetic
def cross_entropy(logits: np.ndarray, labels: Labels, *, ignore_index: int = -100) -> np.ndarray:
    """One of C classes: minus the labeled one's log-probability, averaged over labels that aren't ``ignore_index``.

    (B, C, ...), (B, ...) -> ()

    If all labels are ignored it's NaN, as in PyTorch. dtype: that of ``logits``. Raises InputError for labels that
    aren't whole numbers, or no class's. Source: ``torch.nn.CrossEntropyLoss``.
    """
    _check_labels(labels, "iu")
    check_whole_number("ignore_index", ignore_index)
    if logits.ndim < 2:
        raise InputError(f"logits must have an axis of classes after the batch; they are of shape {logits.shape}")
    if labels.shape != logits.shape[:1] + logits.shape[2:]:
        raise InputError(f"labels of shape {labels.shape} don't match logits of shape {logits.shape}")
    counted = labels != ignore_index
    if not counted.any():
        return _mean(logits[:0])
    if not 0 <= labels[counted].min() <= labels[counted].max() < logits.shape[1]:
        raise InputError(f"a label lies outside 0..{logits.shape[1] - 1} (and isn't the ignored {ignore_index})")
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_probabilities = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    index = np.where(counted, labels, 0).astype(np.intp)[:, None]  # (B, ...) -> (B, 1, ...)
    picked = np.take_along_axis(log_probabilities, index, axis=1)[:, 0]
    return -picked[counted].mean()


@arithmetic
def binary_cross_entropy_with_logits(logits: np.ndarray, labels: Labels) -> np.ndarray:
    """Any number of C classes, each with a yes or no of its own, averaged over all.

    (...), (...) -> ()

    -(y log s + (1-y) log(1-s)) with s = sigmoid(x), in the form that can't overflow: max(x, 0) - xy + log(1 + e^-|x|).

    No logits give NaN. dtype: that of ``logits``. Raises InputError if the shapes differ. Source:
    ``torch.nn.BCEWithLogitsLoss``.
    """
    _check_labels(labels, "fiub")
    if logits.shape != labels.shape:
        raise InputError(f"multi-label targets of shape {labels.shape} don't match logits of shape {logits.shape}")
    losses = np.maximum(logits, 0) - logits * labels.astype(logits.dtype, copy=False)
    return _mean(losses + np.log1p(np.exp(-np.abs(logits))))


@arithmetic
def semantic_segmentation_loss(logits: np.ndarray, labels: Labels, *, ignore_index: int = 255) -> np.ndarray:
    """Cross entropy of every pixel, after resizing the logits to the labels' size.

    (B, C, H, W), (B, H', W') -> ()

    dtype: that of ``logits``. Raises InputError as ``cross_entropy``. Source: transformers'
    MobileViTForSemanticSegmentation.
    """
    _check_labels(labels, "iu")
    if labels.ndim != 3:
        raise InputError(f"segmentation labels must be (B, H, W), one class per pixel, not of shape {labels.shape}")
    size = (labels.shape[1], labels.shape[2])
    return cross_entropy(resize_bilinear(logits, size), labels, ignore_index=ignore_index)


def _check_labels(labels: Labels, kinds: str) -> None:
    if not isinstance(labels, np.ndarray):
        raise InputError(f"labels must be a NumPy array, not {type(labels).__name__}")
    if labels.dtype.kind not in kinds:
        what = "whole numbers, one class each" if kinds == "iu" else "numbers"
        raise InputError(f"labels must be {what}, not {labels.dtype}")


def _mean(losses: np.ndarray) -> np.ndarray:
    """The mean; NaN if there are none, as in PyTorch and without NumPy's warning."""
    return losses.mean() if losses.size else np.array(np.nan, losses.dtype)[()]

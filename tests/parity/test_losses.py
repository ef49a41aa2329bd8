"""The losses against transformers', in all their forms, on the same logits: float64 to 1e-12, float32 to 1e-5.

Through the classes, so that the rule that chooses the loss is compared too.
"""

import drawing
import numpy as np
import pytest
import torch
from oracle import LIMITS, TORCH_DTYPES, Case, error

from mobilevit_np.huggingface import MobileViTConfig, MobileViTForImageClassification, MobileViTForSemanticSegmentation

rng = np.random.default_rng(0)
CLASSES = {"classifier": MobileViTForImageClassification, "segmenter": MobileViTForSemanticSegmentation}
CLASSIFICATION = {  # (num_labels, problem_type, labels)
    "regression": (1, None, rng.normal(size=3)),
    "regression of a column": (1, None, rng.normal(size=(3, 1))),
    "regression of several": (4, "regression", rng.normal(size=(3, 4))),
    "one class each": (5, None, np.array([0, 4, 2])),
    "one class each, in a column": (5, None, np.array([[0], [4], [2]])),
    "one class each, named": (5, "single_label_classification", np.array([1, 1, 3])),
    "one ignored": (5, None, np.array([0, -100, 2])),
    "all ignored": (5, None, np.array([-100, -100, -100])),
    "yes or no": (4, None, rng.integers(0, 2, (3, 4)).astype(np.float64)),
    "yes or no, in between": (4, None, rng.random((3, 4))),
    "yes or no, named": (4, "multi_label_classification", rng.integers(0, 2, (3, 4)).astype(np.float64)),
    "yes or no for one class": (1, "multi_label_classification", np.array([[0.0], [1.0], [0.25]])),
}
SEGMENTATION = {  # (num_labels, ignored, labels)
    "at the image's size": (5, 255, rng.integers(0, 5, (2, 48, 64))),
    "at an odd size": (5, 255, rng.integers(0, 5, (2, 37, 53))),
    "smaller than the logits": (5, 255, rng.integers(0, 5, (2, 2, 1))),
    "some ignored": (5, 255, np.where(rng.random((2, 48, 64)) < 0.3, 255, rng.integers(0, 5, (2, 48, 64)))),
    "all ignored": (5, 255, np.full((2, 48, 64), 255)),
    "another ignored": (2, 1, rng.integers(0, 2, (2, 48, 64))),
    "a negative ignored": (
        2,
        -100,
        rng.integers(0, 2, (2, 48, 64)) - 100 * (rng.random((2, 48, 64)) < 0.5).astype(int),
    ),
}
SEGMENTATION["a negative ignored"][2][SEGMENTATION["a negative ignored"][2] < 0] = -100


def compare(task: str, labels: np.ndarray, shape: tuple[int, int, int, int], dtype: type, **values) -> None:
    case = Case(task, **drawing.CUT_DOWN, **values)
    ours = CLASSES[task](MobileViTConfig(**drawing.CUT_DOWN, **values), tensors=drawing.cast(case.tensors, dtype))
    pixel_values = drawing.draw_pixels(shape).astype(dtype)
    labels = labels.astype(dtype) if labels.dtype.kind == "f" else labels
    model = case.model.to(TORCH_DTYPES[dtype])
    case.load(model)
    with torch.no_grad():
        theirs = model(torch.from_numpy(pixel_values), labels=torch.from_numpy(labels)).loss.numpy()
    loss = ours(pixel_values, labels=labels).loss
    assert loss.shape == ()
    assert loss.dtype == dtype
    if np.isnan(theirs):
        assert np.isnan(loss)
    else:
        assert error(theirs, loss) <= LIMITS[dtype]


@pytest.mark.parametrize("form", CLASSIFICATION)
@pytest.mark.parametrize("dtype", LIMITS)
def test_classification(form, dtype):
    num_labels, problem_type, labels = CLASSIFICATION[form]
    compare("classifier", labels, (3, 3, 32, 32), dtype, num_labels=num_labels, problem_type=problem_type)


@pytest.mark.parametrize("form", SEGMENTATION)
@pytest.mark.parametrize("dtype", LIMITS)
def test_segmentation(form, dtype):
    num_labels, ignored, labels = SEGMENTATION[form]
    values = {"num_labels": num_labels, "semantic_loss_ignore_index": ignored, "output_stride": 16}
    compare("segmenter", labels, (2, 3, 48, 64), dtype, **values)


def test_some_losses_are_nan():
    with np.errstate(all="ignore"):
        assert np.isnan(torch.nn.functional.cross_entropy(torch.ones(1, 2), torch.tensor([-100])).item())

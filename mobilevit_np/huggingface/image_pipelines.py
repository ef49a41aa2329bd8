"""``pipeline("image-classification", model=...)``: photos in, answers in transformers' form out.

The results are those of the model on its processor's output, as in transformers. That stretches the mask of a crop
over the whole photo; ``Segmenter`` segments the whole photo instead.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from .. import ops
from ..checkpoints import config_fields
from ..checkpoints.configurations import MULTI_LABEL, REGRESSION, SINGLE_LABEL, problem_type_of, task_of
from ..checkpoints.shipped import DEFAULTS
from ..errors import InputError
from ..ops.arguments import check_whole_number
from ..preprocess import decode
from ..preprocess.decoding import is_many
from .image_processing import MobileViTImageProcessor
from .keywords import LOADING, sorted_out
from .modeling import MobileViTForImageClassification, MobileViTForSemanticSegmentation
from .pretrained import MobileViTPreTrainedModel
from .tensors import dtype_asked

_IDLE = {"batch_size", "num_workers", "timeout", "framework", "tokenizer", "pipeline_class"}
_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "softmax": ops.softmax,
    "sigmoid": ops.sigmoid,
    "none": lambda logits: logits,
}
_BATCH = 4  # axes of an array that holds several photos
_USUAL = {SINGLE_LABEL: "softmax", MULTI_LABEL: "sigmoid", REGRESSION: "none"}


class ImagePipeline(ABC):
    """A model and its processor, called with a photo or a list of photos: paths, bytes, PIL images, arrays."""

    task: ClassVar[str]
    opens: ClassVar[type[MobileViTPreTrainedModel]]
    parameters: ClassVar[frozenset[str]]

    def __init__(self, model: Any, image_processor: MobileViTImageProcessor, **usual: Any) -> None:
        if not isinstance(model, self.opens):
            raise InputError(f"{self.task} takes a {self.opens.__name__}, not a {type(model).__name__}")
        self.model = model
        self.image_processor = self.feature_extractor = image_processor
        self.device = model.device
        self._usual = self._known(usual)

    def __call__(self, inputs: Any = None, **parameters: Any) -> Any:
        """The answer for one photo, a list of them for a list or a batch array, a generator for another iterable.

        ``parameters`` are the task's, replacing those that ``pipeline`` was given. Raises InputError, ImageError.
        """
        inputs = parameters.pop("images", inputs)
        if inputs is None:
            raise InputError("there is no photo: give a path, bytes, a PIL image or an array, or a list of these")
        chosen = {**self._usual, **self._known(parameters)}
        if isinstance(inputs, (list, tuple)) or np.ndim(inputs if hasattr(inputs, "__array__") else 0) == _BATCH:
            return [self._answer(each, **chosen) for each in inputs]
        if is_many(inputs):
            return (self._answer(each, **chosen) for each in inputs)
        return self._answer(inputs, **chosen)

    def _known(self, parameters: dict[str, Any]) -> dict[str, Any]:
        if unknown := sorted(parameters.keys() - self.parameters - _IDLE):
            known = ", ".join(sorted(self.parameters))
            raise InputError(f"{self.task} takes no {', '.join(unknown)}; it takes {known}")
        return {name: value for name, value in parameters.items() if name in self.parameters and value is not None}

    def _run(self, photo: Any) -> Any:
        return self.model(**self.image_processor(photo, return_tensors="np"), return_dict=True)

    @abstractmethod
    def _answer(self, image: Any, **parameters: Any) -> list[dict[str, Any]]:
        """The answer for one photo, in the task's own shape."""


class ImageClassificationPipeline(ImagePipeline):
    """``[{"label": ..., "score": ...}, ...]``, best first: ``top_k`` of them (5).

    ``function_to_apply`` turns logits into scores: "softmax", "sigmoid" or "none"; by default ``problem_type`` says.
    """

    task = "image-classification"
    opens = MobileViTForImageClassification
    parameters = frozenset({"top_k", "function_to_apply"})

    def _answer(self, image: Any, **parameters: Any) -> list[dict[str, Any]]:
        config, function = self.model.config, parameters.get("function_to_apply")
        kind = problem_type_of({"problem_type": config.problem_type}, config.num_labels)
        name = str(getattr(function, "value", function) or _USUAL[kind]).lower()
        if name not in _FUNCTIONS:
            raise InputError(f"function_to_apply must be one of {', '.join(_FUNCTIONS)}, not {name!r:.40}")
        top_k = parameters.get("top_k", 5)
        check_whole_number("top_k", top_k, at_least=1)
        outputs = self._run(image if hasattr(image, "__array__") else decode(image))
        scores = _FUNCTIONS[name](outputs.logits[0])
        best = np.argsort(-scores, kind="stable")[:top_k]
        return [{"label": config.id2label[int(i)], "score": float(scores[i])} for i in best]


class ImageSegmentationPipeline(ImagePipeline):
    """``[{"label": ..., "score": None, "mask": ...}, ...]``, one for each class found.

    ``mask`` is a PIL image of the photo's size, 255 where the class is and 0 elsewhere. ``subtask`` is "semantic".
    """

    task = "image-segmentation"
    opens = MobileViTForSemanticSegmentation
    parameters = frozenset({"subtask", "threshold", "mask_threshold", "overlap_mask_area_threshold"})

    def _answer(self, image: Any, **parameters: Any) -> list[dict[str, Any]]:
        if (subtask := parameters.get("subtask")) not in (None, "semantic"):
            raise InputError(f"this network doesn't do subtask {subtask!r:.40}, only semantic segmentation")
        photo = decode(image)
        outputs = self._run(photo)
        (found,) = self.image_processor.post_process_semantic_segmentation(outputs, [photo.shape[:2]])
        labels = self.model.config.id2label
        return [
            {"score": None, "label": labels[int(i)], "mask": Image.fromarray((found == i).astype(np.uint8) * 255)}
            for i in np.unique(found)
        ]


PIPELINES: dict[str, type[ImagePipeline]] = {
    each.task: each for each in (ImageClassificationPipeline, ImageSegmentationPipeline)
}


def pipeline(
    task: str | None = None,
    model: Any = None,
    config: Any = None,
    *,
    image_processor: Any = None,
    feature_extractor: Any = None,
    processor: Any = None,
    device: Any = None,
    dtype: Any = None,
    torch_dtype: Any = None,
    engine: str = "reference",
    model_kwargs: dict[str, Any] | None = None,
    **keywords: Any,
) -> ImagePipeline:
    """A model with its processor, ready for photos: ``pipeline("image-classification", model=...)(photo, top_k=3)``.

    ``task`` is "image-classification" or "image-segmentation", by default the model's. ``model`` is a model, or what
    ``from_pretrained`` opens, by default the shipped one; ``image_processor`` (``feature_extractor`` and ``processor``
    are other names for it) likewise, by default the model's. ``keywords`` are ``from_pretrained``'s, or the task's
    parameters. Raises InputError, and as ``from_pretrained`` does.
    """
    if device != -1:  # which is the CPU there
        dtype_asked(device)
    place = {name: keywords.pop(name) for name in LOADING & keywords.keys()}
    task = task or _task_of(model, place)
    if task not in PIPELINES:
        raise InputError(f"there is no pipeline {task!r:.60} here; there are {', '.join(PIPELINES)}")
    kind = PIPELINES[task]
    if model is None:
        model = DEFAULTS[kind.opens.task]
    processor = image_processor or feature_extractor or processor or _origin(model)
    if not isinstance(model, MobileViTPreTrainedModel):
        options = {"config": config, "dtype": dtype, "torch_dtype": torch_dtype, "engine": engine, **place}
        model = kind.opens.from_pretrained(model, **options | (model_kwargs or {}))
    if not isinstance(processor, MobileViTImageProcessor):
        processor = MobileViTImageProcessor.from_pretrained(processor, **place)
    return kind(model, processor, **keywords)


def _origin(model: Any) -> Any:
    """What the model's processor is opened from. Raises InputError if the model wasn't opened from anywhere."""
    if not isinstance(model, MobileViTPreTrainedModel):
        return model
    if not model.name_or_path:
        raise InputError("this model wasn't opened from anywhere; give its image_processor, too")
    return model.name_or_path


def _task_of(model: Any, place: dict[str, Any]) -> str:
    """The task of a model, or of what its config.json calls it. Raises InputError if neither tells."""
    if isinstance(model, MobileViTPreTrainedModel):
        task: str | None = model.task
    else:
        task = None if model is None else task_of(config_fields(model, **sorted_out(place)[0]))
    for name, kind in PIPELINES.items():
        if task == kind.opens.task:
            return name
    raise InputError(f"nothing tells which pipeline is meant; give a task, {' or '.join(PIPELINES)}")

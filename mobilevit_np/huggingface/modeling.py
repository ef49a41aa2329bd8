"""The three models of transformers' API: what is called is translated, an engine computes.

A model is its configuration and its tensors; neither changes when it's
called, so threads may share one.
"""

from __future__ import annotations

import os
import warnings
from abc import ABC
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import numpy as np

from .. import ops
from ..checkpoints import (
    check_tensors,
    count_parameters,
    init_parameters,
    open_checkpoint,
    parameter_shapes,
    save_checkpoint,
)
from ..checkpoints.saving import pooling_note, settings_beside
from ..config import GLOBAL_POOLS, check_pixel_values
from ..engines import Network, compile_network
from ..errors import InputError, MobileViTWarning
from ..formats.dtypes import float_type
from ..formats.files import read_json
from ..formats.hub import PREPROCESSOR_FILE
from ..preprocess.settings import flip_said
from ..scope import Scope
from .configuration import MobileViTConfig
from .keywords import settings_only
from .outputs import BaseModelOutputWithPooling, ImageClassifierOutput, ModelOutput, SemanticSegmenterOutput

Answer = ModelOutput | tuple[Any, ...]
Model = TypeVar("Model", bound="MobileViTPreTrainedModel")


class MobileViTPreTrainedModel(ABC):
    """What the three models share: parameters, files, and a forward pass that can be listened to.

    ``tensors`` are the parameters under the names of a checkpoint; without them, they're drawn from ``seed``. The
    numbers are computed in their dtype, and ``pixel_values`` are cast to it. Raises ConfigError where the
    configuration describes no network, CheckpointError where the tensors don't fit it, InputError for a dtype that
    nothing can be drawn in.
    """

    config_class = MobileViTConfig
    base_model_prefix = "mobilevit"
    main_input_name = "pixel_values"
    task: ClassVar[str]
    expand_output = True  # whether the backbone ends in its 1x1 convolution

    def __init__(
        self,
        config: MobileViTConfig,
        *,
        tensors: Mapping[str, np.ndarray] | None = None,
        seed: int = 0,
        dtype: Any = np.float32,
        engine: str = "reference",
    ) -> None:
        if not isinstance(config, MobileViTConfig):
            raise InputError(
                f"a model takes a MobileViTConfig, not a {type(config).__name__}; from_pretrained opens files"
            )
        config.validate()
        _ = ops.ACTIVATIONS[config.hidden_act]  # an unknown one is an error here, not at the first call
        self.config = config
        if tensors is None:
            tensors = init_parameters(config, self.task, seed, float_type(dtype), expand_output=self.expand_output)
        else:
            shapes = parameter_shapes(config, self.task, expand_output=self.expand_output)
            tensors = check_tensors(tensors, shapes, where=f"what {type(self).__name__} was given")
        self._tensors = MappingProxyType({name: _frozen(tensor) for name, tensor in tensors.items()})
        self._scope = Scope(self._tensors)
        self._engine = engine
        self._network = self._compile(self._scope)
        self._preprocessing: dict[str, Any] | None = None  # what must be saved with weights that take RGB

    @classmethod
    def from_pretrained(
        cls: type[Model],
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        config: MobileViTConfig | None = None,
        dtype: Any = None,
        torch_dtype: Any = None,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        engine: str = "reference",
        **overrides: Any,
    ) -> Model:
        """The model of a folder, a file, a shipped name or a hub id, in ``dtype``, computed by ``engine``.

        Without ``dtype``, or with "auto", it's the file's, float16 and bfloat16 widened to float32: transformers keeps
        them, but NumPy has no bfloat16. A float16 model computes in float32 and answers in float16. ``torch_dtype`` is
        the older name of ``dtype``. ``overrides`` replace fields of its configuration, ``config`` the whole. A bare
        model leaves a head's tensors out, with a warning. Raises CheckpointError, ConfigError, InputError,
        MissingExtraError.
        """
        overrides = settings_only(overrides)
        options = cls._options(overrides)
        _check_overrides(overrides)
        dtype = _one_dtype(dtype, torch_dtype)
        checkpoint = open_checkpoint(
            pretrained_model_name_or_path, task=cls.task, dtype=dtype, revision=revision, cache=cache_dir
        )
        if config is None:
            config = MobileViTConfig.from_dict(checkpoint.config_fields, **overrides)
        elif overrides:
            raise InputError(f"{', '.join(overrides)}: give a whole config or fields of it, not both")
        if "expand_output" in options and options["expand_output"] is None:
            options["expand_output"] = checkpoint.expand_output
        model = cls(config, tensors=checkpoint.tensors, engine=engine, **options)
        model._preprocessing = settings_beside(checkpoint)
        return model

    @classmethod
    def _options(cls, overrides: dict[str, Any]) -> dict[str, Any]:
        """Take out of ``overrides`` what is the model's and not its configuration's."""
        return {}

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> None:
        """Write model.safetensors and config.json into a folder, whole or not at all. Raises OutputError.

        Weights that take RGB, as timm's, get a preprocessor_config.json that says so, unless one that does is there.
        transformers averages whatever ``global_pool`` is: one line of warning where it's not "avg".
        """
        values = {**self.config.to_dict(), "architectures": [self._architecture()], "dtype": self.dtype.name}
        values.pop("torch_dtype", None)  # the older name of dtype: what it says is where the numbers came from
        if self.config.global_pool != GLOBAL_POOLS[0] and self.task != "segmenter":
            warnings.warn(pooling_note(self.config.global_pool), MobileViTWarning, stacklevel=2)
        path, settings = Path(save_directory, PREPROCESSOR_FILE), self._preprocessing
        if settings is not None and path.is_file() and flip_said(read_json(path)) == flip_said(settings):
            settings = None
        save_checkpoint(save_directory, self._tensors, values, settings)

    @classmethod
    def _architecture(cls) -> str:
        return cls.__name__.removeprefix("TF")

    def state_dict(self) -> Mapping[str, np.ndarray]:
        """The tensors by name. They can't be written to: a model never changes."""
        return self._tensors

    @property
    def scope(self) -> Scope:
        """The root of the parameters, to listen to the network or wrap parts of it (see ``scope.Scope``)."""
        return self._scope

    @property
    def dtype(self) -> np.dtype:
        """What the numbers are computed in."""
        return next(tensor.dtype for tensor in self._tensors.values() if tensor.dtype.kind == "f")

    @property
    def num_labels(self) -> int:
        """How many classes the head has."""
        return self.config.num_labels

    def num_parameters(self) -> int:
        """How many numbers training would change."""
        return count_parameters(self._tensors)

    def eval(self: Model) -> Model:
        """The model itself: it's always in evaluation mode."""
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.num_parameters():,} parameters, {self.dtype})"

    def trace(self, pixel_values: Any) -> dict[str, np.ndarray]:
        """Every activation of one forward pass by its path, in order of execution; ``""`` is a head's own output.

        (B, C, H, W) -> {path: array}

        The paths are those that PyTorch's forward hooks would name, and ``unfolding``, ``folding`` and
        ``probabilities``. Raises InputError as a call does.
        """
        seen: dict[str, np.ndarray] = {}

        def keep(path: str, output: np.ndarray) -> None:
            seen[path] = output.copy()

        self._compile(self._scope.listen(keep))(self._pixels(pixel_values))
        return seen

    def _forward(
        self, pixel_values: Any, output_hidden_states: bool | None, output_attentions: bool | None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """The network's output, and the fields of the answer that were asked for beside it."""
        attentions: list[np.ndarray] = []

        def keep(_: str, probabilities: np.ndarray) -> None:
            attentions.append(probabilities.astype(self.dtype, copy=False))

        want_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        want_attentions = self.config.output_attentions if output_attentions is None else output_attentions
        network, states = self._network, None
        if want_attentions:
            network = self._compile(self._scope.listen(keep, "*.probabilities"))
        if want_states:
            output, states = network(self._pixels(pixel_values), hidden_states=True)
        else:
            output = network(self._pixels(pixel_values))
        return output, {
            "hidden_states": None if states is None else tuple(states),
            "attentions": tuple(attentions) if want_attentions else None,
        }

    def _compile(self, scope: Scope) -> Network:
        """This model's network in its engine. Raises InputError where that can't be listened to, or isn't there."""
        return compile_network(self._engine, self.task, scope, self.config)

    def _pixels(self, pixel_values: Any) -> np.ndarray:
        if pixel_values is None:
            raise InputError("You have to specify pixel_values: a float batch (B, C, H, W), as the processor makes it")
        pixels = _array(pixel_values, "pixel_values")
        check_pixel_values(pixels, self.config)
        return pixels.astype(self.dtype, copy=False)

    def _answer(self, output: ModelOutput, return_dict: bool | None) -> Answer:
        return output if (self.config.return_dict if return_dict is None else return_dict) else output.to_tuple()


class MobileViTModel(MobileViTPreTrainedModel):
    """The backbone without a head: the last feature map and its mean.

    With ``expand_output=False`` the last 1x1 convolution is left out (``pooler_output`` is then None).
    """

    task = "backbone"

    def __init__(
        self,
        config: MobileViTConfig,
        expand_output: bool = True,
        *,
        tensors: Mapping[str, np.ndarray] | None = None,
        seed: int = 0,
        dtype: Any = np.float32,
        engine: str = "reference",
    ) -> None:
        self.expand_output = expand_output
        super().__init__(config, tensors=tensors, seed=seed, dtype=dtype, engine=engine)

    @classmethod
    def _options(cls, overrides: dict[str, Any]) -> dict[str, Any]:
        return {"expand_output": overrides.pop("expand_output", None)}

    def _compile(self, scope: Scope) -> Network:
        return compile_network(self._engine, self.task, scope, self.config, expand_output=self.expand_output)

    def __call__(
        self,
        pixel_values: Any = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        output_attentions: bool | None = None,
    ) -> Answer:
        """(B, C, H, W) -> last_hidden_state (B, E, H', W'), pooler_output (B, E), hidden_states, attentions

        Raises InputError where ``pixel_values`` are missing or don't fit, or ``output_attentions`` is asked of an
        engine that can't be listened to.
        """
        last, rest = self._forward(pixel_values, output_hidden_states, output_attentions)
        pooled = ops.global_pool(last, self.config.global_pool) if self.expand_output else None
        output = BaseModelOutputWithPooling(last_hidden_state=last, pooler_output=pooled, **rest)
        return self._answer(output, return_dict)


class MobileViTForImageClassification(MobileViTPreTrainedModel):
    """The backbone, its mean over the map, and one linear layer: a raw score per class."""

    task = "classifier"

    def __call__(
        self,
        pixel_values: Any = None,
        output_hidden_states: bool | None = None,
        labels: Any = None,
        return_dict: bool | None = None,
        output_attentions: bool | None = None,
    ) -> Answer:
        """(B, C, H, W), labels (B) or (B, K) -> loss (), logits (B, K), hidden_states, attentions

        Raises InputError where ``pixel_values`` are missing or don't fit, labels don't fit, or ``output_attentions`` is
        asked of an engine that can't be listened to.
        """
        logits, rest = self._forward(pixel_values, output_hidden_states, output_attentions)
        loss = None if labels is None else classification_loss(logits, _array(labels, "labels"), self.config)
        return self._answer(ImageClassifierOutput(loss=loss, logits=logits, **rest), return_dict)


class MobileViTForSemanticSegmentation(MobileViTPreTrainedModel):
    """The backbone and a DeepLabV3 head: a raw score per class and place, at 1/output_stride of the size."""

    task = "segmenter"
    expand_output = False

    def __call__(
        self,
        pixel_values: Any = None,
        labels: Any = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        output_attentions: bool | None = None,
    ) -> Answer:
        """(B, C, H, W), labels (B, Y, X) -> loss (), logits (B, K, H', W'), hidden_states, attentions

        Raises InputError where ``pixel_values`` are missing or don't fit, labels don't fit or there is one class
        only, or ``output_attentions`` is asked of an engine that can't be listened to.
        """
        if labels is not None and self.config.num_labels == 1:
            raise InputError("The number of labels should be greater than one: with one there is nothing to tell apart")
        logits, rest = self._forward(pixel_values, output_hidden_states, output_attentions)
        loss = None if labels is None else segmentation_loss(logits, _array(labels, "labels"), self.config)
        return self._answer(SemanticSegmenterOutput(loss=loss, logits=logits, **rest), return_dict)


def classification_loss(logits: np.ndarray, labels: np.ndarray, config: MobileViTConfig) -> np.ndarray:
    """The loss that ``config.problem_type`` names; without one, what the labels look like decides.

    (B, K), (B) or (B, K) -> ()

    One class: squared error. Labels of 32 or 64 bit whole numbers: cross entropy, -100 ignored. Anything else: a yes
    or no for each class. Raises InputError where the labels don't fit. Source: transformers'
    ForSequenceClassificationLoss.
    """
    problem = config.problem_type
    if problem is None:
        single = config.num_labels > 1 and labels.dtype in (np.int64, np.int32)
        several = "single_label_classification" if single else "multi_label_classification"
        problem = "regression" if config.num_labels == 1 else several
    if problem == "single_label_classification":
        return ops.cross_entropy(logits.reshape(-1, config.num_labels), labels.reshape(-1))
    if problem == "multi_label_classification":
        return ops.binary_cross_entropy_with_logits(logits, labels)
    return ops.mean_squared_error(
        *((logits.squeeze(), labels.squeeze()) if config.num_labels == 1 else (logits, labels))
    )


def segmentation_loss(logits: np.ndarray, labels: np.ndarray, config: MobileViTConfig) -> np.ndarray:
    """Cross entropy of every pixel, the logits blown up to the labels; ``semantic_loss_ignore_index`` doesn't count.

    (B, K, H', W'), (B, Y, X) -> ()
    """
    if labels.ndim != 3 or labels.shape[0] != logits.shape[0]:
        raise InputError(
            f"segmentation labels must be ({logits.shape[0]}, H, W), one class per pixel, not {labels.shape}"
        )
    return ops.semantic_segmentation_loss(logits, labels, ignore_index=config.semantic_loss_ignore_index)


def _array(values: Any, name: str) -> np.ndarray:
    """``values`` as an array of numbers, whatever offers itself as one."""
    try:
        array = np.asarray(values)
    except Exception as error:  # another library's __array__ may raise anything
        raise InputError(f"{name} can't be taken as an array: {str(error)[:200]}") from None
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} must be an array of numbers, not a {type(values).__name__} of {array.dtype}")
    return array


def _one_dtype(dtype: Any, torch_dtype: Any) -> Any:
    """What both names ask for: torch's dtypes by NumPy's names, None for that of the file."""
    if dtype is not None and torch_dtype is not None:
        raise InputError("torch_dtype is the older name of dtype; give one of them")
    wanted = torch_dtype if dtype is None else dtype
    if str(wanted).startswith("torch."):
        return str(wanted).removeprefix("torch.")
    return None if isinstance(wanted, str) and wanted == "auto" else wanted


def _frozen(tensor: np.ndarray) -> np.ndarray:
    view = tensor.view()
    view.flags.writeable = False
    return view


def _check_overrides(overrides: Mapping[str, Any]) -> None:
    known = {field.name for field in fields(MobileViTConfig)} | {"id2label", "label2id"}
    if unknown := sorted(overrides.keys() - known):
        raise InputError(
            f"from_pretrained takes no {', '.join(unknown)}; it takes config, dtype (or torch_dtype), revision, "
            "cache_dir and fields of the configuration"
        )

"""The three models of transformers' API: they translate calls and answers, an engine computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import ops
from ..checkpoints.configurations import MULTI_LABEL, REGRESSION, SINGLE_LABEL
from ..engines import Network, compile_network
from ..errors import InputError
from ..scope import Scope
from .configuration import MobileViTConfig
from .outputs import BaseModelOutputWithPooling, ImageClassifierOutput, SemanticSegmenterOutput
from .pretrained import Answer, MobileViTPreTrainedModel
from .tensors import as_numbers


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
    def _options(cls, keywords: dict[str, Any]) -> dict[str, Any]:
        return {"expand_output": keywords.pop("expand_output", None)}

    def _compile(self, scope: Scope) -> Network:
        return compile_network(self._engine, self.task, scope, self.config, expand_output=self.expand_output)

    def forward(
        self,
        pixel_values: Any = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        output_attentions: bool | None = None,
    ) -> Answer:
        """(B, C, H, W) -> last_hidden_state (B, E, H', W'), pooler_output (B, E), hidden_states, attentions

        Raises InputError if ``pixel_values`` are missing or don't fit, or for ``output_attentions`` of an engine that
        can't be listened to.
        """
        last, rest = self._forward(pixel_values, output_hidden_states, output_attentions)
        pooled = ops.global_pool(last, self.config.global_pool) if self.expand_output else None
        output = BaseModelOutputWithPooling(last_hidden_state=last, pooler_output=pooled, **rest)
        return self._answer(output, return_dict)


class MobileViTForImageClassification(MobileViTPreTrainedModel):
    """The backbone, its mean over the map, and one linear layer: logits for each class."""

    task = "classifier"
    mobilevit = MobileViTPreTrainedModel.base_model

    def forward(
        self,
        pixel_values: Any = None,
        output_hidden_states: bool | None = None,
        labels: Any = None,
        return_dict: bool | None = None,
        output_attentions: bool | None = None,
    ) -> Answer:
        """(B, C, H, W), labels (B) or (B, K) -> loss (), logits (B, K), hidden_states, attentions

        Raises InputError if ``pixel_values`` are missing, these or the labels don't fit, or for ``output_attentions``
        of an engine that can't be listened to.
        """
        logits, rest = self._forward(pixel_values, output_hidden_states, output_attentions)
        loss = None if labels is None else classification_loss(logits, as_numbers(labels, "labels"), self.config)
        return self._answer(ImageClassifierOutput(loss=loss, logits=logits, **rest), return_dict)


class MobileViTForSemanticSegmentation(MobileViTPreTrainedModel):
    """The backbone and a DeepLabV3 head: logits for each class and place, at 1/output_stride of the input's size."""

    task = "segmenter"
    expand_output = False
    mobilevit = MobileViTPreTrainedModel.base_model

    def forward(
        self,
        pixel_values: Any = None,
        labels: Any = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        output_attentions: bool | None = None,
    ) -> Answer:
        """(B, C, H, W), labels (B, Y, X) -> loss (), logits (B, K, H', W'), hidden_states, attentions

        Raises InputError if ``pixel_values`` are missing, these or the labels don't fit, there are labels for a single
        class, or for ``output_attentions`` of an engine that can't be listened to.
        """
        if labels is not None and self.config.num_labels == 1:
            raise InputError("The number of labels should be greater than one: with one there is nothing to tell apart")
        logits, rest = self._forward(pixel_values, output_hidden_states, output_attentions)
        loss = None
        if labels is not None:
            ignored = self.config.semantic_loss_ignore_index
            loss = ops.semantic_segmentation_loss(logits, as_numbers(labels, "labels"), ignore_index=ignored)
        return self._answer(SemanticSegmenterOutput(loss=loss, logits=logits, **rest), return_dict)


def classification_loss(logits: np.ndarray, labels: np.ndarray, config: MobileViTConfig) -> np.ndarray:
    """The loss that ``config.problem_type`` names; without one, what the labels look like decides.

    (B, K), (B) or (B, K) -> ()

    One class: squared error. Labels of 32- or 64-bit integers: cross entropy, -100 ignored. Any others: binary cross
    entropy, a yes or no for each class. Raises InputError if the labels don't fit. Source: transformers'
    ForSequenceClassificationLoss.
    """
    problem = config.problem_type
    if problem is None and config.num_labels == 1:
        problem = REGRESSION
    elif problem is None:
        problem = SINGLE_LABEL if config.num_labels > 1 and labels.dtype in (np.int64, np.int32) else MULTI_LABEL
    if problem == SINGLE_LABEL:
        return ops.cross_entropy(logits.reshape(-1, config.num_labels), labels.reshape(-1))
    if problem == MULTI_LABEL:
        return ops.binary_cross_entropy_with_logits(logits, labels)
    if config.num_labels == 1:
        logits, labels = logits.squeeze(), labels.squeeze()
    return ops.mean_squared_error(logits, labels)

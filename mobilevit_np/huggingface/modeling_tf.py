"""The models under their TensorFlow names, called like Keras models.

The networks and files are those of ``modeling``; TensorFlow isn't needed. As in transformers, images and maps have
their channels first. Only the call differs: the inputs may come in one dictionary, list or tuple, there is
``training``, and the loss has one dimension, (1,).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from ..errors import InputError
from .modeling import MobileViTForImageClassification, MobileViTForSemanticSegmentation, MobileViTModel


class EagerArray(np.ndarray):
    """An array that converts to a number if it holds one, whatever its dimensions, as TensorFlow's tensors do."""

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def numpy(self) -> np.ndarray:
        """The plain array."""
        return self.view(np.ndarray)


class _KerasCalls:
    """A Keras-like call around the model's own; ``call_order`` is the order of the inputs in a list."""

    call_order: ClassVar[tuple[str, ...]]

    def __call__(self, inputs: Any = None, *others: Any, **named: Any) -> Any:
        """Call with keywords, or with one dictionary, list or tuple of the inputs first, in ``call_order``.

        The output is that of the model without ``TF``, except for the loss, (1,). Raises InputError as that does, and
        for ``training=True`` and inputs of other names.
        """
        arguments = self._arguments(inputs, others, named)
        if arguments.pop("training", False):
            raise InputError("training=True isn't possible: these models only predict; call with training=False")
        want_dict = arguments.pop("return_dict", None)
        output = super().__call__(**arguments, return_dict=True)  # type: ignore[misc]
        values = {name: _eager(value) for name, value in output.items()}
        if "loss" in values:
            values["loss"] = values["loss"].reshape(1)
        return self._answer(type(output)(**values), want_dict)  # type: ignore[attr-defined]

    def _arguments(self, inputs: Any, others: tuple[Any, ...], named: dict[str, Any]) -> dict[str, Any]:
        if isinstance(inputs, Mapping):
            first = dict(inputs)
        elif isinstance(inputs, (list, tuple)):
            first = self._in_order(inputs)
        else:
            first = {} if inputs is None else {"pixel_values": inputs}
        rest = self._in_order((None, *others))
        arguments = {**first, **rest, **named}
        if len(arguments) != len(first) + len(rest) + len(named):
            raise InputError("an input was given twice; give each one once, in the dictionary or as a keyword")
        if unknown := sorted(arguments.keys() - {*self.call_order, "output_attentions"}):
            raise InputError(f"there is no input {', '.join(unknown)}; there are {', '.join(self.call_order)}")
        return arguments

    def _in_order(self, values: Any) -> dict[str, Any]:
        if len(values) > len(self.call_order):
            raise InputError(
                f"{len(values)} inputs were given, and there are {len(self.call_order)}: {self.call_order}"
            )
        return {name: value for name, value in zip(self.call_order, values, strict=False) if value is not None}


class TFMobileViTModel(_KerasCalls, MobileViTModel):
    """The backbone without a head; see MobileViTModel."""

    call_order = ("pixel_values", "output_hidden_states", "return_dict", "training")


class TFMobileViTForImageClassification(_KerasCalls, MobileViTForImageClassification):
    """The classifier; see MobileViTForImageClassification."""

    call_order = ("pixel_values", "output_hidden_states", "labels", "return_dict", "training")


class TFMobileViTForSemanticSegmentation(_KerasCalls, MobileViTForSemanticSegmentation):
    """The segmenter; see MobileViTForSemanticSegmentation."""

    call_order = ("pixel_values", "labels", "output_hidden_states", "return_dict", "training")


def _eager(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_eager(item) for item in value)
    return np.asarray(value).view(EagerArray)

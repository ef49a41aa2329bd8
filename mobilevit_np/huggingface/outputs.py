"""What a model answers: fields by attribute, key and position, as in transformers.

``outputs.logits``, ``outputs["logits"]`` and ``outputs[0]`` are the same array. Fields that weren't asked for read as
None, and stand neither in ``keys()`` nor in the tuple: ``outputs[0]`` is the loss where there is one.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ..errors import InputError


class ModelOutput(dict[str, Any]):
    """A dictionary whose order is that of ``fields``, also indexable by attribute and by position.

    Raises InputError for a field it doesn't have.
    """

    fields: ClassVar[tuple[str, ...]] = ()

    def __init__(self, **values: Any) -> None:
        super().__init__()
        for name, value in values.items():
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if name not in self.fields:
            raise InputError(f"{type(self).__name__} has no field {name!r}, but {', '.join(self.fields)}")
        values = {**self, name: value}
        self.clear()  # set again from the first, so that the order is that of the fields, whatever was set last
        super().update({field: values[field] for field in self.fields if values.get(field) is not None})

    def __getitem__(self, key: str | int | slice) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __getattr__(self, name: str) -> Any:
        if name in type(self).fields:
            return self.get(name)
        raise AttributeError(f"{type(self).__name__} has no field {name!r}, but {', '.join(type(self).fields)}")

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that aren't None, in order."""
        return tuple(self.values())


class BaseModelOutputWithPooling(ModelOutput):
    """A bare model's answer.

    ``last_hidden_state`` (B, C, H', W'); ``pooler_output`` (B, C), its mean over the map, or None without the
    expansion; ``hidden_states``, five of (B, Ci, Hi, Wi); ``attentions``, nine of (B*P, h, N, N).
    """

    fields = ("last_hidden_state", "pooler_output", "hidden_states", "attentions")


class ImageClassifierOutput(ModelOutput):
    """A classifier's answer.

    ``loss`` () with labels; ``logits`` (B, K); ``hidden_states``, five of (B, Ci, Hi, Wi); ``attentions``, nine of
    (B*P, h, N, N).
    """

    fields = ("loss", "logits", "hidden_states", "attentions")


class SemanticSegmenterOutput(ModelOutput):
    """A segmenter's answer.

    ``loss`` () with labels; ``logits`` (B, K, H', W'), smaller than the image by the output stride;
    ``hidden_states``, five of (B, Ci, Hi, Wi); ``attentions``, nine of (B*P, h, N, N).
    """

    fields = ("loss", "logits", "hidden_states", "attentions")

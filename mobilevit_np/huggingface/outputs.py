"""The models' outputs: dataclasses whose fields are read by attribute, key and position, as in transformers.

``outputs.logits``, ``outputs["logits"]`` and ``outputs[0]`` are the same array. Fields that weren't asked for are None,
and aren't in ``keys()`` or in the tuple: ``outputs[0]`` is the loss if there is one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from ..errors import InputError


@dataclass(init=False, repr=False, eq=False)
class ModelOutput(dict[str, Any]):
    """A dataclass that is a dictionary too, in the order of its fields, and indexable by position.

    The fields are given by position or by name, all in one dictionary, or as pairs of name and value. Raises InputError
    for a field it doesn't have.
    """

    def __init__(self, *values: Any, **named: Any) -> None:
        names = _names(self)
        given = dict(zip(names, values, strict=False))
        if len(values) > len(names) or given.keys() & named.keys():
            raise InputError(f"{type(self).__name__} takes {', '.join(names)}, each once")
        for name, value in {**dict.fromkeys(names), **given, **named}.items():
            self[name] = value
        self.__post_init__()

    def __post_init__(self) -> None:
        """Take the fields out of the first, if they were given all in one."""
        first, *others = _names(self) or [""]
        whole = getattr(self, first, None)
        if any(getattr(self, name) is not None for name in others) or (pairs := _pairs(whole)) is None:
            return
        self[first] = None
        for name, value in pairs:
            self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        names = _names(self)
        if name not in names:
            raise InputError(f"{type(self).__name__} has no field {name!r}, but {', '.join(names)}")
        object.__setattr__(self, name, value)
        values = {**self, name: value}
        super().clear()  # and set again, so that the order is that of the fields, whatever was set last
        super().update({field: values[field] for field in names if values.get(field) is not None})

    def __getitem__(self, key: Any) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"{type(self).__name__} has no field {name!r}, but {', '.join(_names(self))}")

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def _never(self, *_: Any, **__: Any) -> NoReturn:
        raise InputError(f"the fields of a {type(self).__name__} are set one by one, and none is taken out")

    __delitem__ = pop = popitem = setdefault = update = clear = _never

    def to_tuple(self) -> tuple[Any, ...]:
        """The fields that aren't None, in order."""
        return tuple(self.values())


def _names(output: ModelOutput) -> list[str]:
    return [field.name for field in dataclasses.fields(output)]


def _pairs(whole: Any) -> list[tuple[str, Any]] | None:
    """The names and values that were given all in one; None if it's a field's own value."""
    if isinstance(whole, Mapping):
        return list(whole.items())
    if not isinstance(whole, Iterable) or hasattr(whole, "__array__"):
        return None
    pairs = list(whole) if isinstance(whole, (list, tuple)) else []
    if not pairs or not all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
        return None
    return pairs if isinstance(pairs[0][0], str) else None


@dataclass(init=False, repr=False, eq=False)
class BaseModelOutputWithPooling(ModelOutput):
    """A bare model's output.

    ``last_hidden_state`` (B, C, H', W'); ``pooler_output`` (B, C), its mean over the map, or None without the
    expansion; ``hidden_states``, five of (B, Ci, Hi, Wi); ``attentions``, nine of (B*P, h, N, N).
    """

    last_hidden_state: Any = None
    pooler_output: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass(init=False, repr=False, eq=False)
class ImageClassifierOutput(ModelOutput):
    """A classifier's output.

    ``loss`` () with labels; ``logits`` (B, K); ``hidden_states``, five of (B, Ci, Hi, Wi); ``attentions``, nine of
    (B*P, h, N, N).
    """

    loss: Any = None
    logits: Any = None
    hidden_states: Any = None
    attentions: Any = None


@dataclass(init=False, repr=False, eq=False)
class SemanticSegmenterOutput(ModelOutput):
    """A segmenter's output.

    ``loss`` () with labels; ``logits`` (B, K, H', W'), smaller than the image by the output stride;
    ``hidden_states``, five of (B, Ci, Hi, Wi); ``attentions``, nine of (B*P, h, N, N).
    """

    loss: Any = None
    logits: Any = None
    hidden_states: Any = None
    attentions: Any = None

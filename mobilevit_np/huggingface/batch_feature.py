"""An image processor's output: a dictionary whose entries are attributes, too."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .tensors import convert, dtype_asked, kind_of


class BatchFeature(dict[str, Any]):
    """``inputs["pixel_values"]``, ``inputs.pixel_values``, ``model(**inputs)``.

    ``tensor_type`` is a processor's ``return_tensors``: each list of arrays becomes one tensor.
    """

    def __init__(self, data: Mapping[str, Any] | None = None, tensor_type: Any = None, **more: Any) -> None:
        super().__init__(data or {}, **more)
        self.convert_to_tensors(tensor_type)

    @property
    def data(self) -> dict[str, Any]:
        """The entries, as a plain dictionary."""
        return dict(self)

    def convert_to_tensors(self, tensor_type: Any = None) -> BatchFeature:
        """Make each entry one tensor, in place. Raises InputError, MissingExtraError as ``tensors.convert``."""
        if (kind := kind_of(tensor_type)) is not None:
            self.update({name: convert(values, kind) for name, values in self.items()})
        return self

    def to(self, *places: Any, **options: Any) -> BatchFeature:
        """PyTorch's tensors go where their own ``to`` sends them; arrays stay, floats in the dtype asked for.

        In place, and integers keep their dtype, as in transformers. Raises InputError for a device other than the CPU,
        if there are arrays.
        """
        moved = {name: _moved(value, places, options) for name, value in self.items()}
        self.update(moved)
        return self

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no {name!r} here; there are {list(self)}") from None


def _moved(value: Any, places: tuple[Any, ...], options: dict[str, Any]) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(each, places, options) for each in value)
    if isinstance(value, np.ndarray):
        dtype = dtype_asked(*places, options.get("device"), options.get("dtype"))
        return value if dtype is None or value.dtype.kind != "f" else value.astype(dtype)
    if not hasattr(value, "is_floating_point"):
        return value
    if not value.is_floating_point():
        places = tuple(place for place in places if not str(place).startswith("torch."))
        options = {name: each for name, each in options.items() if name != "dtype"}
    return value.to(*places, **options) if places or options else value

"""Other frameworks' tensors, in and out.

Whatever has ``__array__`` is taken as an array. With ``return_tensors`` a framework's own tensors are returned: it's
imported only then. The outputs of models are always NumPy arrays.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import InputError, MissingExtraError
from ..formats.dtypes import float_type


class Framework(NamedTuple):
    """The module to import, its function that makes a tensor from an array, and the package to install."""

    module: str
    function: str
    package: str


FRAMEWORKS = {
    "pt": Framework("torch", "from_numpy", "torch"),
    "tf": Framework("tensorflow", "convert_to_tensor", "tensorflow"),
    "jax": Framework("jax.numpy", "asarray", "jax"),
}
KINDS = (None, "np", *FRAMEWORKS)  # of return_tensors


def kind_of(return_tensors: Any) -> str | None:
    """``return_tensors`` as text, transformers' enumeration included. Raises InputError for no such kind."""
    kind = getattr(return_tensors, "value", return_tensors)
    if kind is not None and (not isinstance(kind, str) or kind not in KINDS):
        raise InputError(
            f'return_tensors={kind!r:.40} is not made here: use "np", "pt", "tf" or "jax", or leave it out for a list'
        )
    return kind


def convert(images: Sequence[Any], kind: str | None) -> Any:
    """Arrays of one shape as one tensor of that kind: B of (...) -> (B, ...); without a kind, as they are.

    Raises InputError if the shapes differ, MissingExtraError if the framework isn't installed.
    """
    if kind is None:
        return images
    shapes = sorted({np.shape(image) for image in images})
    if len(shapes) > 1:
        raise InputError(
            f"images of shapes {shapes[0]} and {shapes[1]} can't make one array: "
            "set do_center_crop, or leave return_tensors out"
        )
    stacked = np.stack(images)
    return stacked if kind == "np" else _maker(kind)(stacked)


def _maker(kind: str) -> Any:
    module, function, package = FRAMEWORKS[kind]
    try:
        return getattr(importlib.import_module(module), function)
    except ImportError:
        raise MissingExtraError(
            f'return_tensors="{kind}" makes tensors of {package}, which isn\'t here: pip install {package}, or use '
            '"np", which the models take as well'
        ) from None


def as_numbers(values: Any, name: str) -> np.ndarray:
    """``values``, which may be any framework's tensor, as an array of numbers; bfloat16, which NumPy lacks, as float32.

    A PyTorch tensor that carries a gradient gives its values. Raises InputError for anything that isn't numbers, and
    for a tensor on another device.
    """
    try:
        values = values.detach() if hasattr(values, "detach") else values
        if str(getattr(values, "dtype", "")) == "torch.bfloat16":
            values = values.float()
        array = np.asarray(values)
    except Exception as error:  # another library's __array__ may raise anything
        raise InputError(f"{name} can't be taken as an array: {str(error)[:200]}") from None
    if array.dtype.name == "bfloat16":  # as JAX and TensorFlow lend it to NumPy
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name} are numbers in an array, not a {type(values).__name__} of {array.dtype}")
    return array


def as_tensors(state_dict: Any) -> dict[str, np.ndarray]:
    """A state_dict's tensors by name, as ``as_numbers`` takes them. Raises InputError for anything else."""
    if not isinstance(state_dict, Mapping):
        raise InputError(f"state_dict must hold tensors by name, not be a {type(state_dict).__name__}")
    return {name: as_numbers(tensor, name) for name, tensor in state_dict.items()}


class Device(str):
    """Where numbers are computed: "cpu", with the ``type`` that PyTorch's devices have."""

    type = "cpu"


CPU = Device("cpu")


def dtype_asked(*places: Any) -> np.dtype | None:
    """The dtype among the arguments of a ``to``, devices and dtypes as PyTorch takes them; None if there is none.

    Raises InputError for a device other than the CPU, and as ``numpy_dtype``.
    """
    found = None
    for place in places:
        if place is None:
            continue
        if isinstance(place, (np.dtype, type)) or str(place).startswith("torch."):
            found = numpy_dtype(place)
        elif str(place).partition(":")[0] != CPU:
            raise InputError(f"there is no device {str(place)!r:.40} here: NumPy computes on the CPU")
    return found


def numpy_dtype(dtype: Any) -> np.dtype:
    """A dtype, PyTorch's and JAX's included, as NumPy's. Raises InputError unless it's float32, float64 or float16."""
    name = str(dtype).removeprefix("torch.") if str(dtype).startswith("torch.") else getattr(dtype, "__name__", dtype)
    if name == "bfloat16" or str(dtype) == "bfloat16":
        raise InputError("NumPy has no bfloat16; give float32, which holds its numbers exactly")
    return float_type(name if isinstance(name, str) else dtype)

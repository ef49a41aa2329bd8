"""A PyTorch port's activations, as forward hooks on its modules see them, and its parameters.

``hook_names`` knows the modules' names in transformers', timm's and ml-cvnets' models.

Explained in tutorials/11-is-my-port-right.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...errors import InputError
from ..file import PIXELS, Golden
from ..hook_names import name_of_whole
from ..identity import parameter_name
from .collecting import METHODS, first_of, framework, input_of, keep_call

_AGAIN = ("Dropout", "Identity", "Flatten", "ModuleList")  # repeat their input, or output nothing
_TELLING = ("attention.dropout", "attn.attn_drop", "bn.drop")  # except these: probabilities, and a norm not activated


def record_torch(model: Any, source: Golden | np.ndarray) -> dict[str, np.ndarray]:
    """Run a model on a golden's input (or pixel values): every module's output, by the module's name.

    A second call's output has ``#2`` after the module's name. The parameters come first, as ``parameters/MODULE/NAME``.
    The model's own output is called ``logits``, or ``mobilevit`` if it's transformers' without a head. The input takes
    the dtype and the device of the model's first parameter. The model is left as it was.
    Raises InputError for a model in training mode (call ``eval()`` first), MissingExtraError without torch.
    """
    torch = framework("torch", "torch")
    if model.training:
        raise InputError("the model is in training mode, where dropout and batch norm differ; call model.eval()")
    pixels = torch.from_numpy(input_of(source)).to(next(iter(model.parameters())))
    seen = {**_parameters(model), PIXELS: _array(pixels)}
    with torch.no_grad(), _hooks(model, seen), _methods(model, seen):
        model(pixels)
    return seen


def _parameters(model: Any) -> dict[str, np.ndarray]:
    """Parameters and statistics, without BatchNorm's counters."""
    return {
        parameter_name(module, leaf): _array(tensor)
        for name, tensor in model.state_dict().items()
        if hasattr(tensor, "dtype") and tensor.is_floating_point()
        for module, _, leaf in [name.rpartition(".")]
    }


@contextmanager
def _hooks(model: Any, seen: dict[str, np.ndarray]) -> Iterator[None]:
    whole = name_of_whole(name for name, _ in model.named_modules())
    handles = [
        module.register_forward_hook(_hook(seen, name or whole))
        for name, module in model.named_modules()
        if type(module).__name__ not in _AGAIN or name.endswith(_TELLING)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def _methods(model: Any, seen: dict[str, np.ndarray]) -> Iterator[None]:
    """The methods replaced for a while by ones that keep their output."""
    before = []
    for name, module in model.named_modules():
        for method in METHODS:
            if hasattr(module, method):
                before.append((module, method, vars(module).get(method)))
                path = f"{name}.{method}".lstrip(".")
                setattr(module, method, _watched(getattr(module, method), _keeper(seen, path)))
    try:
        yield
    finally:
        for module, method, own in before:
            delattr(module, method) if own is None else setattr(module, method, own)


def _watched(compute: Callable[..., Any], keep: Callable[[Any], None]) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        output = compute(*arguments, **options)
        keep(output)
        return output

    return call


def _hook(seen: dict[str, np.ndarray], path: str) -> Callable[[Any, Any, Any], None]:
    keep = _keeper(seen, path)
    return lambda module, given, output: keep(output)


def _keeper(seen: dict[str, np.ndarray], path: str) -> Callable[[Any], None]:
    return lambda output: keep_call(seen, path, _array(first_of(output)))


def _array(tensor: Any) -> np.ndarray:
    """A copy as an array; bfloat16, which NumPy lacks, as float32, which holds its numbers exactly."""
    tensor = tensor.detach().cpu()
    array: np.ndarray = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()
    return array.copy()

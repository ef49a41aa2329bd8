"""Import timm and transformers where torchvision has no compiled operators for this build of PyTorch.

Both import torchvision, which registers fake kernels for its C++ operators as it loads; where the operators are missing
(a CPU build of PyTorch beside torchvision's CUDA build) that raises. Nothing here uses them, so they are skipped.
"""

from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

import torch


def timm() -> ModuleType:
    with _torchvision_without_operators():
        return import_module("timm")


def transformers() -> ModuleType:
    with _torchvision_without_operators():
        module = import_module("transformers")
        import_module("transformers.models.mobilevit.modeling_mobilevit")  # transformers imports lazily: do it here
        return module


@contextmanager
def _torchvision_without_operators():
    register_fake = torch.library.register_fake

    def skip_torchvision(op, func=None, **options):
        if isinstance(op, str) and op.startswith("torchvision::"):
            return func if func is not None else (lambda decorated: decorated)
        return register_fake(op, func, **options)

    torch.library.register_fake = skip_torchvision
    try:
        yield
    finally:
        torch.library.register_fake = register_fake

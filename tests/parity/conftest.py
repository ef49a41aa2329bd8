"""Parity tests compare with live oracles: they need the ``parity`` extra, and none of them may be skipped."""

import torch
from nothing_skipped import pytest_sessionfinish as pytest_sessionfinish

_register_fake = torch.library.register_fake


def _without_torchvision(op, func=None, **options):
    # torchvision has no CPU build for every torch; its operators' fakes then fail to register, and timm and
    # transformers, which need none of these operators, would not import.
    if isinstance(op, str) and op.startswith("torchvision::"):
        return func if func is not None else (lambda wrapped: wrapped)
    return _register_fake(op, func, **options) if func is not None else _register_fake(op, **options)


torch.library.register_fake = _without_torchvision
torch.set_num_threads(1)  # on a busy machine two threads wait for each other a hundred times longer than they work

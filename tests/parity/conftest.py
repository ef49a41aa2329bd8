"""Parity tests compare with live oracles: they need the ``parity`` extra, and none of them may be skipped."""

import pytest
import torch
from bench.with_transformers import skip_torchvisions_fakes
from nothing_skipped import pytest_sessionfinish as pytest_sessionfinish

skip_torchvisions_fakes()
torch.set_num_threads(1)  # on a busy machine two threads wait for each other a hundred times longer than they work


@pytest.fixture(autouse=True)
def same_weights_in_every_run():
    """What an oracle draws for itself, such as the kernels of timm's models, comes from PyTorch's own generator."""
    torch.manual_seed(0)

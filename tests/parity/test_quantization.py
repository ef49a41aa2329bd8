"""Our int8 files in transformers' hands: refused, where it could have taken the steps for the weights."""

import pytest
from tiny import save_tiny
from transformers import MobileViTForImageClassification

from mobilevit_np.checkpoints import quantization, quantize


def test_transformers_refuses_what_it_would_misread(tmp_path, monkeypatch):
    monkeypatch.setattr(quantization, "MIN_SIZE", 0)  # all weights of a tiny network are small
    quantize(save_tiny(tmp_path / "w"), tmp_path / "int8")
    with pytest.raises((RuntimeError, OSError)):  # a shape that doesn't fit; in 4.x, metadata without "format"
        MobileViTForImageClassification.from_pretrained(tmp_path / "int8")
    assert MobileViTForImageClassification.from_pretrained(tmp_path / "w") is not None

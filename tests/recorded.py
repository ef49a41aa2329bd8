"""The fixtures recorded from transformers (tests/fixtures/record_transformers.py), and our own trace beside them."""

import functools
import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy
from parameters import digest, draw, photo

from mobilevit_np.config import NetworkConfig
from mobilevit_np.model import NETWORKS
from mobilevit_np.preprocess import PROFILES, preprocess
from mobilevit_np.scope import Scope

FIXTURES = Path(__file__).parent / "fixtures"
NAMES = ["classifier", "everything_else", "segmenter_16", "segmenter_8", "tokens_as_features"]
MOST = 256  # values kept of an activation
PROFILE = PROFILES["huggingface-classifier"]


@dataclass
class Recorded:
    """One network as transformers computed it."""

    head: str
    config: NetworkConfig
    pixel_values: np.ndarray
    parameters: dict[str, np.ndarray]
    modules: list[str]  # paths in order of execution; "" is the whole network
    outputs: dict[str, np.ndarray]  # each as ``sample`` leaves it

    def scope(self, dtype: object = np.float64) -> Scope:
        return Scope({name: value.astype(dtype) for name, value in self.parameters.items()})

    def trace(self, scope: Scope) -> dict[str, np.ndarray]:
        """Every activation of our network, in order of execution, thinned as those recorded are."""
        found: dict[str, np.ndarray] = {}
        dtype = scope["mobilevit.conv_stem.convolution.weight"].dtype
        listening = scope.listen(lambda path, output: found.__setitem__(path, sample(output)))
        NETWORKS[self.head](self.pixel_values.astype(dtype), listening, self.config)
        return found


@functools.cache
def load(name: str) -> Recorded:
    about = json.loads((FIXTURES / f"transformers_{name}.json").read_text())
    config, head = NetworkConfig(**about["config"]), about["head"]
    batch, _, *size = about["input"]
    parameters, pixel_values = draw(config, head), photo(config, tuple(size), batch)
    assert digest(pixel_values, *parameters.values()) == about["sha256"], f"{name}: other parameters were drawn"
    outputs = safetensors.numpy.load((FIXTURES / f"transformers_{name}.safetensors").read_bytes())
    outputs[""] = outputs.pop("logits")
    return Recorded(head, config, pixel_values, parameters, about["modules"], outputs)


def drawn_photo(height: int = 300, width: int = 350) -> np.ndarray:
    """A photo of nothing: (H, W, 3), uint8."""
    return (np.random.RandomState(3).random_sample((height, width, 3)) * 256).astype(np.uint8)


def assert_pixel_values(scope: Scope) -> None:
    """Preprocessing gives transformers' pixel values, to the last bit (float32)."""
    expected = safetensors.numpy.load((FIXTURES / "transformers_preprocessing.safetensors").read_bytes())
    found = preprocess(drawn_photo(), PROFILE, scope)
    assert found.dtype == np.float32
    assert list(found.shape) == expected["shape"].tolist(), f"pixel values have shape {found.shape}"
    off = np.abs(sample(found) - expected["pixel_values"]).max()
    assert off == 0, f"pixel values are off by {off:.2e}"


def sample(output: np.ndarray) -> np.ndarray:
    """``output``, or where it's large every n-th of its values, flat: n shares no factor with any axis, so that all
    rows, columns and channels are seen. (What is left out flows into maps that are kept whole.)"""
    if output.size <= MOST:
        return output.copy()
    step = -(-output.size // MOST)
    while any(math.gcd(step, length) > 1 for length in output.shape if length > 1):
        step += 1
    return output.ravel()[::step].copy()

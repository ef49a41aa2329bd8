"""Floor 5.5. What is run in a race of networks: the network, its weights, its inputs. Imports checkpoints, floor 0."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...checkpoints import draw_parameters
from ...checkpoints.inference import IMAGE_SIZE, OUTPUT_STRIDE
from ...config import VARIANTS, NetworkConfig
from ...labels import LABEL_COUNTS

SIZES = IMAGE_SIZE  # what the published ones are shown
_PATCHES = 8  # of one colour, along each side of an input


@dataclass(frozen=True)
class Cell:
    """One line of the tables: a network, and the batch of inputs that it's given at a time."""

    variant: str
    task: str = "classifier"
    batch: int = 1
    size: int = 256

    def __str__(self) -> str:
        return f"{self.variant} {self.task}, {self.batch} x {self.size}x{self.size}"

    @property
    def config(self) -> NetworkConfig:
        """The published network's numbers."""
        return NetworkConfig(
            **VARIANTS[self.variant], num_labels=LABEL_COUNTS[self.task], output_stride=OUTPUT_STRIDE[self.task]
        )

    def tensors(self) -> dict[str, np.ndarray]:
        """Drawn weights with which every activation is of order 1; the same in every process."""
        return draw_parameters(self.config, self.task)

    def pixel_values(self, draw: int) -> np.ndarray:
        """Input number ``draw``, the same in every process: patches of colour under noise, in 0..1.

        Noise alone would make all inputs alike to the network, and an answer to the wrong one hard to tell.
        """
        random = np.random.default_rng([draw, self.batch, self.size])
        place = np.arange(self.size) * _PATCHES // self.size
        colours = random.random((self.batch, 3, _PATCHES, _PATCHES), np.float32)
        noise = random.random((self.batch, 3, self.size, self.size), np.float32)
        pixel_values: np.ndarray = 0.7 * colours[:, :, place[:, None], place] + 0.3 * noise
        return pixel_values

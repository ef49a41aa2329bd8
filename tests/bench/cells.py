"""What is run in a race of networks: the network, its weights, its inputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mobilevit_np.checkpoints import init_parameters
from mobilevit_np.checkpoints.inference import OUTPUT_STRIDE
from mobilevit_np.config import VARIANTS, NetworkConfig
from mobilevit_np.labels import LABEL_COUNTS

_PATCHES = 8  # of one color, along each side of an input


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
        return init_parameters(self.config, self.task)

    def pixel_values(self, draw: int) -> np.ndarray:
        """Input number ``draw``, the same in every process: patches of color under noise, in 0..1, contiguous.

        Noise alone would make all inputs alike to the network, and an answer to the wrong one hard to tell.
        """
        random = np.random.default_rng([draw, self.batch, self.size])
        place = np.arange(self.size) * _PATCHES // self.size
        colors = random.random((self.batch, 3, _PATCHES, _PATCHES), np.float32)
        noise = random.random((self.batch, 3, self.size, self.size), np.float32)
        # ``take``, as colors[:, :, place[:, None], place] lies in memory channels last, which PyTorch follows
        pixel_values: np.ndarray = 0.7 * colors.take(place, axis=2).take(place, axis=3) + 0.3 * noise
        return pixel_values

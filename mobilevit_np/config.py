"""The numbers a MobileViT is built from.

``NetworkConfig`` holds what the computation reads, and the size of photo it was trained on. The names and defaults are
those of transformers' MobileViTConfig (the small variant); ``huggingface.MobileViTConfig`` adds the rest of that class
(labels, dropout rates, files). ``VARIANTS`` are the three sizes of the paper (table 4 of arXiv 2110.02178).

Explained in tutorials/08-the-whole-classifier.md.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import ConfigError, InputError

if TYPE_CHECKING:
    import numpy as np

TASKS = ("classifier", "segmenter", "backbone")
TRANSFORMER_DEPTHS = (2, 4, 3)  # transformer layers in L3, L4 and L5, in every variant
STAGE_2_DEPTH = 3  # inverted residuals in L2; L1 has one
MAX_ATTENTION_BYTES = 1 << 30  # of one array of attention probabilities; the softmax holds about three at a time
BATCH_NORM_EPS = 1e-5  # fixed in every published implementation; TensorFlow's default is 1e-3, a common port mistake

GLOBAL_POOLS = ("avg", "max", "avgmax")  # before the classifier: the mean (everywhere but in timm), or timm's other two

VARIANTS: dict[str, dict[str, Any]] = {
    "xx_small": {
        "hidden_sizes": [64, 80, 96],
        "neck_hidden_sizes": [16, 16, 24, 48, 64, 80, 320],
        "expand_ratio": 2.0,
    },
    "x_small": {
        "hidden_sizes": [96, 120, 144],
        "neck_hidden_sizes": [16, 32, 48, 64, 80, 96, 384],
        "expand_ratio": 4.0,
    },
    "small": {
        "hidden_sizes": [144, 192, 240],
        "neck_hidden_sizes": [16, 32, 64, 96, 128, 160, 640],
        "expand_ratio": 4.0,
    },
}


def check_task(task: str) -> str:
    """``task`` itself. Raises InputError unless it's one of ``TASKS``."""
    if task not in TASKS:
        raise InputError(f"task must be one of {', '.join(TASKS)}, not {task!r}")
    return task


def make_divisible(value: float, divisor: int = 8) -> int:
    """``value`` rounded to a multiple of ``divisor``, never down by more than a tenth (MobileNet's rule)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


@dataclass
class NetworkConfig:
    """The numbers a MobileViT is built from, in transformers' names and with its defaults (the small variant).

    Raises ConfigError, when built and on ``validate()``, if they describe no network.
    """

    num_channels: int = 3
    image_size: int | Sequence[int] = 256  # the side, or (height, width), it was trained on; the network takes any
    patch_size: int = 2
    hidden_sizes: Sequence[int] = field(default_factory=lambda: [144, 192, 240])  # transformer widths, L3..L5
    neck_hidden_sizes: Sequence[int] = field(  # channels after the stem, L1..L5, and after the expansion
        default_factory=lambda: [16, 32, 64, 96, 128, 160, 640]
    )
    num_attention_heads: int = 4
    mlp_ratio: float = 2.0
    expand_ratio: float = 4.0
    hidden_act: str | Callable[[np.ndarray], np.ndarray] = "silu"  # in ops.ACTIVATIONS, or an elementwise function
    conv_kernel_size: int = 3
    output_stride: int = 32  # photo side over last map's side; at 16 L5 doesn't halve, at 8 nor does L4, and L5 dilates
    layer_norm_eps: float = 1e-5
    qkv_bias: bool = True
    aspp_out_channels: int = 256
    atrous_rates: Sequence[int] = field(default_factory=lambda: [6, 12, 18])
    num_labels: int = 1000
    global_pool: str = "avg"  # one of GLOBAL_POOLS: timm's field; transformers always averages

    def __post_init__(self) -> None:
        self.validate()

    def validate(self) -> None:
        """Raise ConfigError, naming the field, unless the numbers describe a network that can be built."""
        for name, length in _LENGTHS.items():
            values = getattr(self, name)
            if not isinstance(values, (list, tuple)) or len(values) != length:
                raise ConfigError(f"{name} must be a list of {length} whole numbers, not {values!r}")
            for value in values:
                _check_count(name, value)
        for name in _COUNTS:
            _check_count(name, getattr(self, name))
        sides = self.image_size if isinstance(self.image_size, (list, tuple)) else (self.image_size, self.image_size)
        if len(sides) != 2 or not all(_is_whole(side, 1, _MAX) for side in sides):
            raise ConfigError(
                f"image_size must be a whole number from 1 to {_MAX}, or two of them (height, width), "
                f"not {self.image_size!r:.80}"
            )
        for name in ("mlp_ratio", "expand_ratio", "layer_norm_eps"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < 1e6:
                raise ConfigError(f"{name} must be a positive number, not {value!r}")
        check_num_labels(self.num_labels)
        act = self.hidden_act
        if not isinstance(act, Hashable) or not (isinstance(act, str) or callable(act)):
            raise ConfigError(f"hidden_act must be an activation's name, or a function, not {act!r:.80}")
        if self.global_pool not in GLOBAL_POOLS:
            raise ConfigError(
                f"global_pool must be one of {', '.join(GLOBAL_POOLS)}, not {self.global_pool!r:.80}: no other pooling "
                "is supported"
            )
        self._validate_together()

    def _validate_together(self) -> None:
        if self.output_stride not in (8, 16, 32):
            raise ConfigError(f"output_stride must be 8, 16 or 32, not {self.output_stride!r}")
        if self.conv_kernel_size % 2 == 0:
            raise ConfigError(f"conv_kernel_size must be odd (padding is symmetric), not {self.conv_kernel_size}")
        for width in self.hidden_sizes:
            if width % self.num_attention_heads:
                raise ConfigError(
                    f"hidden size {width} is not a multiple of num_attention_heads {self.num_attention_heads}"
                )
            if int(width * self.mlp_ratio) < 1:
                raise ConfigError(f"mlp_ratio {self.mlp_ratio} leaves hidden size {width} no feed-forward width")

    def expanded_channels(self, in_channels: int) -> int:
        """The width of an inverted residual between its 1x1 convolutions."""
        return make_divisible(round(in_channels * self.expand_ratio))

    def feed_forward_size(self, hidden_size: int) -> int:
        """The width of the feed-forward's middle."""
        return int(hidden_size * self.mlp_ratio)

    @property
    def downsampling(self) -> tuple[tuple[int, int], ...]:
        """(stride, dilation) of the first inverted residual of L3, L4 and L5."""
        return {
            32: ((2, 1), (2, 1), (2, 1)),
            16: ((2, 1), (2, 1), (1, 1)),
            8: ((2, 1), (1, 1), (1, 2)),
        }[self.output_stride]


def plain_fields(config: NetworkConfig) -> dict[str, Any]:
    """The fields as config.json has them; ``global_pool`` only if it isn't the mean, as it is in transformers."""
    fields = {
        name: list(value) if isinstance(value, tuple) else value for name, value in dataclasses.asdict(config).items()
    }
    if config.global_pool == GLOBAL_POOLS[0]:
        del fields["global_pool"]
    return fields


def check_num_labels(number: int) -> None:
    """Raise ConfigError unless a network can have so many classes."""
    if not _is_whole(number, 0, _MAX):
        raise ConfigError(f"num_labels must be a whole number from 0 to {_MAX}, not {number!r}")


def check_pixel_values(pixel_values: np.ndarray, config: NetworkConfig) -> None:
    """Raise InputError unless ``pixel_values`` is a float batch with the network's channels.

    (B, C, H, W) -> None
    """
    if pixel_values.ndim != 4:
        raise InputError(f"pixel_values must be a batch (B, C, H, W), not an array of shape {pixel_values.shape}")
    if pixel_values.dtype.kind != "f":
        raise InputError(
            f"pixel_values must be float, in 0..1; they are {pixel_values.dtype}: preprocess the image first"
        )
    if pixel_values.shape[1] != config.num_channels:
        raise InputError(
            f"pixel_values of shape {pixel_values.shape} have {pixel_values.shape[1]} channels on axis 1, "
            f"and this network takes {config.num_channels} (channels come first: B, C, H, W)"
        )
    if 0 in pixel_values.shape:
        raise InputError(f"pixel_values of shape {pixel_values.shape} hold no pixels")


def probability_bytes(height: int, width: int, config: NetworkConfig, dtype: np.dtype) -> int:
    """The bytes of one photo's attention probabilities in L3, which has the most: its map is an eighth of the photo."""
    tokens = math.prod(-(-side // (8 * config.patch_size)) for side in (height, width))
    return config.patch_size**2 * config.num_attention_heads * tokens**2 * dtype.itemsize


_LENGTHS = {"hidden_sizes": 3, "neck_hidden_sizes": 7, "atrous_rates": 3}
_COUNTS = (
    "num_channels", "patch_size", "num_attention_heads", "conv_kernel_size", "output_stride", "aspp_out_channels",
)  # fmt: skip
_MAX = 1 << 20  # no width or count of a real network comes near; keeps a hostile config.json from asking for the sky
_MAX_OF = {"patch_size": 256, "atrous_rates": 256}  # maps are padded to these, and no tensor's shape limits them


def _check_count(name: str, value: object) -> None:
    limit = _MAX_OF.get(name, _MAX)
    if not _is_whole(value, 1, limit):
        raise ConfigError(f"{name} takes whole numbers from 1 to {limit}, not {value!r}")


def _is_whole(value: object, first: int, last: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and first <= value <= last

"""The configuration of a network from the shapes of its tensors, if no config.json gives it.

Widths, ratios, kernel sizes and the number of classes show in the shapes. The rest is taken by convention, and a note
says so: heads (4), patch size (2), output stride (32 for a classifier, 16 for a segmenter), atrous rates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..config import TRANSFORMER_DEPTHS, VARIANTS, make_divisible
from ..errors import CheckpointError
from ..ops import ACTIVATIONS
from .parameter_names import PREFIX

Shapes = Mapping[str, tuple[int, ...]]
OUTPUT_STRIDE = {"classifier": 32, "backbone": 32, "segmenter": 16}
IMAGE_SIZE = {"classifier": 256, "backbone": 256, "segmenter": 512}
_ENCODER = f"{PREFIX}encoder.layer"
_EXPANSION = f"{PREFIX}conv_1x1_exp.convolution.weight"


def infer_task(names: Mapping[str, Any]) -> str:
    """What a file under Hugging Face's names holds: ``classifier``, ``segmenter`` or ``backbone``."""
    if any(name.startswith("segmentation_head.") for name in names):
        return "segmenter"
    return "classifier" if any(name.startswith("classifier.") for name in names) else "backbone"


def infer_variant(config: Mapping[str, Any]) -> str | None:
    """``xx_small``, ``x_small`` or ``small`` if the widths are that variant's, else None."""
    for variant, fields in VARIANTS.items():
        # A segmenter's file may say anything about the expansion, which it doesn't have.
        if all(list(config.get(name, ()))[:6] == value[:6] for name, value in fields.items() if name != "expand_ratio"):
            return variant if config.get("expand_ratio") == fields["expand_ratio"] else None
    return None


def infer_config(shapes: Shapes, task: str) -> tuple[dict[str, Any], list[str]]:
    """(the fields of a NetworkConfig, notes on what was taken by convention) from ``{Hugging Face name: shape}``.

    Raises CheckpointError if the tensors needed for that are missing or have shapes that no MobileViT has.
    """
    necks = [
        _size(shapes, f"{PREFIX}conv_stem.convolution.weight", 0, 4),
        _size(shapes, f"{_ENCODER}.0.layer.0.reduce_1x1.convolution.weight", 0, 4),
        _size(shapes, f"{_ENCODER}.1.layer.0.reduce_1x1.convolution.weight", 0, 4),
        *(_size(shapes, f"{_ENCODER}.{i}.downsampling_layer.reduce_1x1.convolution.weight", 0, 4) for i in (2, 3, 4)),
    ]
    hidden = [_size(shapes, f"{_ENCODER}.{i}.conv_1x1.convolution.weight", 0, 4) for i in (2, 3, 4)]
    config: dict[str, Any] = {
        "num_channels": _size(shapes, f"{PREFIX}conv_stem.convolution.weight", 1, 4),
        "hidden_sizes": hidden,
        "neck_hidden_sizes": necks,
        "expand_ratio": _expand_ratio(shapes, necks),
        "mlp_ratio": _mlp_ratio(shapes, hidden),
        "conv_kernel_size": _size(shapes, f"{_ENCODER}.2.conv_kxk.convolution.weight", 2, 4),
        "qkv_bias": f"{_ENCODER}.2.transformer.layer.0.attention.attention.query.bias" in shapes,
        "hidden_act": _activation(shapes),
        "num_attention_heads": next(heads for heads in (4, 2, 1) if all(width % heads == 0 for width in hidden)),
        "patch_size": 2,
        "output_stride": OUTPUT_STRIDE[task],
        "image_size": IMAGE_SIZE[task],
    }
    notes = [
        f"output stride {config['output_stride']}, patch size 2 and {config['num_attention_heads']} attention heads "
        "are taken by convention: a file without config.json doesn't say"
    ]
    necks.append(_expansion(shapes, config))
    config.update(_head(shapes, task))
    return config, notes


def infer_classes(shapes: Shapes, task: str) -> int | None:
    """How many classes the head has; None for a bare model."""
    name = {"classifier": "classifier.weight", "segmenter": "segmentation_head.classifier.convolution.weight"}.get(task)
    return _size(shapes, name, 0, 2 if task == "classifier" else 4) if name else None


def _head(shapes: Shapes, task: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if (classes := infer_classes(shapes, task)) is not None:
        found["num_labels"] = classes
    if task == "segmenter":
        found["aspp_out_channels"] = _size(shapes, "segmentation_head.aspp.project.convolution.weight", 0, 4)
        found["atrous_rates"] = [6, 12, 18]
    return found


def _size(shapes: Shapes, name: str, axis: int, dimensions: int) -> int:
    shape = shapes.get(name)
    if shape is None:
        raise CheckpointError(
            f"it lacks the tensor {name!r}, without which there is no MobileViT; the file isn't whole"
        )
    if len(shape) != dimensions or not 0 < shape[axis] <= 1 << 20:
        raise CheckpointError(f"its tensor {name!r} has the shape {shape!s:.80}, which no MobileViT has")
    return shape[axis]


def _expansion(shapes: Shapes, config: Mapping[str, Any]) -> int:
    """The seventh neck size. A segmenter lacks the layer: its variant's, else 4 times the sixth, as in all variants."""
    if _EXPANSION in shapes:
        return _size(shapes, _EXPANSION, 0, 4)
    variant = infer_variant(config)
    return VARIANTS[variant]["neck_hidden_sizes"][6] if variant else 4 * config["neck_hidden_sizes"][5]


def _expand_ratio(shapes: Shapes, necks: Sequence[int]) -> float:
    """A ratio that gives the widths of all inverted residuals; the published ones first."""
    places = [".0.layer.0", ".1.layer.0", ".1.layer.1", *(f".{i}.downsampling_layer" for i in (2, 3, 4))]
    inputs = [necks[0], necks[1], necks[2], *necks[2:5]]
    widths = [_size(shapes, f"{_ENCODER}{place}.expand_1x1.convolution.weight", 0, 4) for place in places]
    quarters = [quarter / 4 for quarter in range(1, 65)]
    exact = [width / channels for channels, width in zip(inputs, widths, strict=True)]
    for ratio in (2.0, 4.0, *quarters, *exact):
        if all(make_divisible(round(c * ratio)) == width for c, width in zip(inputs, widths, strict=True)):
            return ratio
    raise CheckpointError(f"its inverted residuals are {widths} wide for {inputs} channels: no expand_ratio does that")


def _mlp_ratio(shapes: Shapes, hidden: Sequence[int]) -> float:
    """A ratio that gives the feed-forward widths of all three stages: 2 if it does, else one with few digits."""
    name = "transformer.layer.0.intermediate.dense.weight"
    middles = [_size(shapes, f"{_ENCODER}.{i + 2}.{name}", 0, 2) for i in range(len(TRANSFORMER_DEPTHS))]
    lowest = max(middle / width for middle, width in zip(middles, hidden, strict=True))
    for ratio in (2.0, *(round(lowest + 0.5 * 10**-digits, digits) for digits in range(13)), lowest):
        if all(int(width * ratio) == middle for middle, width in zip(middles, hidden, strict=True)):
            return ratio
    raise CheckpointError(f"its feed-forwards are {middles} wide for widths {list(hidden)}: no mlp_ratio does that")


def _activation(shapes: Shapes) -> str:
    """SiLU, as in every published one, unless the file holds an activation's parameters."""
    for act, (_, parameters) in ACTIVATIONS.items():
        if parameters and all(f"{PREFIX}conv_stem.activation.{leaf}" in shapes for leaf in parameters):
            return act
    return "silu"

"""The trainable twins: timm's MobileViT-XXS as it stands, and with a DeepLabV3 head on top.

NumPy cannot train, so the recipe trains a PyTorch network that computes the same function, and `export.py` renames its
weights to Hugging Face's layout and proves the two equal. timm's network is used because its initialization trains
from scratch; transformers' starts its BatchNorm weights near 0 and does not get off the ground.

All twins take float32 RGB in 0..1, shape (B, 3, H, W); the export reverses the stem's input axis, because Hugging Face
weights expect BGR.
"""

import os
from pathlib import Path

import safetensors.torch
import torch
from torch import nn
from torch.nn import functional as F

import oracles

VARIANT = "mobilevit_xxs"
BACKBONE_CHANNELS = 80  # of the L5 map, which the segmentation head reads
ASPP_CHANNELS = 256
ATROUS_RATES = (6, 12, 18)
# Beside this script, in float16, with timm's names, expecting RGB: the results of the two pretrainings.
SMALL_PHOTOS = "pretrained-xx-small.safetensors"  # on 70,000 small photos of Tiny ImageNet's 200 classes
DISTILLED = "distilled-xx-small.safetensors"  # from there on, by distill.py


def backbone(num_classes: int) -> nn.Module:
    """timm's MobileViT-XXS with a fresh classifier of `num_classes` outputs."""
    return oracles.timm().create_model(VARIANT, num_classes=num_classes).to(memory_format=torch.channels_last)


def set_output_stride(network: nn.Module, output_stride: int) -> nn.Module:
    """Let L5 keep L4's resolution (16) or halve it (32); the weights are the same either way.

    Only the depthwise convolution of L5's inverted residual changes. timm's own `output_stride` argument would also
    dilate the 3x3 in front of the transformer, which neither Hugging Face nor the paper's code does.
    """
    strides = {32: (2, 2), 16: (1, 1)}
    network.stages[4][0].conv2_kxk.conv.stride = strides[output_stride]
    return network


class ConvNormReLU(nn.Sequential):
    """A bias-free convolution that keeps H and W, BatchNorm, ReLU: every layer of the head but the last."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 1, dilation: int = 1):
        padding = (kernel - 1) // 2 * dilation
        convolution = nn.Conv2d(c_in, c_out, kernel, padding=padding, dilation=dilation, bias=False)
        super().__init__(convolution, nn.BatchNorm2d(c_out), nn.ReLU())


class DeepLabV3Head(nn.Module):
    """Atrous spatial pyramid pooling, then a 1x1 classifier: (B, C, H, W) -> (B, classes, H, W)."""

    def __init__(self, c_in: int, classes: int, dropout: float = 0.1):
        super().__init__()
        self.branches = nn.ModuleList([ConvNormReLU(c_in, ASPP_CHANNELS)])
        self.branches.extend(ConvNormReLU(c_in, ASPP_CHANNELS, 3, rate) for rate in ATROUS_RATES)
        self.pooled = ConvNormReLU(c_in, ASPP_CHANNELS)
        self.project = ConvNormReLU(5 * ASPP_CHANNELS, ASPP_CHANNELS)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(ASPP_CHANNELS, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        height_width = x.shape[-2:]
        pooled = self.pooled(x.mean((2, 3), keepdim=True))  # (B, 256, 1, 1)
        pooled = F.interpolate(pooled, size=height_width, mode="bilinear", align_corners=False)
        pyramid = torch.cat([branch(x) for branch in self.branches] + [pooled], dim=1)  # (B, 1280, H, W)
        return self.classifier(self.dropout(self.project(pyramid)))


class Segmenter(nn.Module):
    """MobileViT-XXS at output stride 16 with a DeepLabV3 head; the classifier's last expansion is not used."""

    def __init__(self, classes: int):
        super().__init__()
        self.backbone = set_output_stride(backbone(num_classes=0), 16)
        self.head = DeepLabV3Head(BACKBONE_CHANNELS, classes).to(memory_format=torch.channels_last)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = self.backbone.stages(self.backbone.stem(images))  # (B, 80, H/16, W/16)
        return self.head(x)


def load_backbone(network: nn.Module, weights: dict[str, torch.Tensor]) -> nn.Module:
    """Copy pretrained weights into `network`, all but the classifier, whose classes are others."""
    kept = {name: value for name, value in weights.items() if not name.startswith("head.")}
    return _load(network, kept, but=("head.",))


def load_whole(network: nn.Module, weights: dict[str, torch.Tensor]) -> nn.Module:
    """Copy a twin's weights into `network`, all but what an export leaves out: counters, an unused expansion."""
    return _load(network, weights, but=("backbone.final_conv.",))


def _load(network: nn.Module, weights: dict[str, torch.Tensor], *, but: tuple[str, ...]) -> nn.Module:
    missing, unexpected = network.load_state_dict(weights, strict=False)
    strangers = [name for name in [*missing, *unexpected] if not name.startswith(but)]
    strangers = [name for name in strangers if not name.endswith("num_batches_tracked")]
    if strangers:
        raise ValueError(f"these weights do not fit this network: {strangers[:5]}")
    return network


def load_halves(name: str, state_folder: Path | None = None) -> dict[str, torch.Tensor]:
    """Weights that `save_halves` wrote, as float32: of the state folder, else those beside this script."""
    usual = ([state_folder / name] if state_folder else []) + [Path(__file__).with_name(name)]
    file = next((path for path in usual if path.exists()), None)
    if file is None:
        raise SystemExit(f"no {name}: the stage before this one makes it (see README.md)")
    return {name: value.float() for name, value in safetensors.torch.load_file(file).items()}


def save_halves(weights: dict[str, torch.Tensor], file: Path) -> None:
    """Write the weights as float16 safetensors, without BatchNorm's step counters, which inference ignores."""
    values = {name: value for name, value in weights.items() if value.is_floating_point()}
    beside = file.with_suffix(".part")
    safetensors.torch.save_file({name: value.half().contiguous() for name, value in values.items()}, beside)
    beside.chmod(0o644)  # safetensors makes files for their owner alone
    os.replace(beside, file)

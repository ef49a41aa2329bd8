"""Augmentation of whole batches as tensors.

Photo by photo in Python it would cost a third of the training time on a small machine; as tensors it costs a few
percent. Images are float32 RGB in 0..1, (B, 3, H, W); every function draws from the generator it is given, so that a
resumed run repeats itself. The draws are made on the CPU, whatever device the images are on, so that they are the same.
"""

import math

import torch
from torch.nn import functional as F


def uniform(shape: tuple[int, ...], low: float, high: float, source: torch.Generator) -> torch.Tensor:
    return torch.empty(shape).uniform_(low, high, generator=source)


def random_crop_maps(
    batch: int, scale: tuple[float, float], source: torch.Generator, aspect: float = 4 / 3, turn: float = 0.0
) -> torch.Tensor:
    """Affine maps (B, 2, 3) of random resized crops, half of them mirrored.

    `scale` bounds the share of the photo's area that is kept, `aspect` the change of the width-to-height ratio,
    `turn` the rotation in degrees. A map sends output coordinates to input coordinates, both in -1..1.
    """
    area = uniform((batch,), *scale, source)
    ratio = uniform((batch,), -math.log(aspect), math.log(aspect), source).exp()
    width = (area * ratio).sqrt().clamp(max=1)
    height = (area / ratio).sqrt().clamp(max=1)
    centre_x = uniform((batch,), -1, 1, source) * (1 - width)
    centre_y = uniform((batch,), -1, 1, source) * (1 - height)
    mirror = torch.randint(0, 2, (batch,), generator=source) * 2.0 - 1
    angle = uniform((batch,), -1, 1, source) * math.radians(turn)
    cos, sin = angle.cos(), angle.sin()
    rows = [cos * width * mirror, -sin * height, centre_x, sin * width * mirror, cos * height, centre_y]
    return torch.stack(rows, dim=1).view(batch, 2, 3)


def crop(images: torch.Tensor, maps: torch.Tensor, size: int, mode: str = "bilinear") -> torch.Tensor:
    """Cut the regions `maps` out of `images` and resize them to size x size: (B, C, H, W) -> (B, C, size, size)."""
    grid = F.affine_grid(maps.to(images.device), [len(images), images.shape[1], size, size], align_corners=False)
    return F.grid_sample(images, grid, mode=mode, padding_mode="border", align_corners=False)


def jitter_colour(images: torch.Tensor, strength: float, source: torch.Generator) -> torch.Tensor:
    """Random brightness, contrast and saturation, each by a factor in 1 - strength .. 1 + strength."""
    factors = uniform((3, len(images), 1, 1, 1), 1 - strength, 1 + strength, source)
    brightness, contrast, saturation = factors.to(images.device)
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * saturation
    level = images.mean((1, 2, 3), keepdim=True)
    return ((images - level) * contrast + level * brightness).clamp_(0, 1)


def soften(labels: torch.Tensor, classes: int, smoothing: float) -> torch.Tensor:
    """Integer labels (B,) to smoothed distributions (B, classes)."""
    return F.one_hot(labels, classes).float() * (1 - smoothing) + smoothing / classes


def mix(images: torch.Tensor, targets: torch.Tensor, source: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Mixup (arXiv 1710.09412) or CutMix (arXiv 1905.04899) of the batch with its own reverse, drawn evenly."""
    share = uniform((1,), 0, 1, source).item()
    if torch.rand(1, generator=source).item() < 0.5:
        share = 0.5 * share  # mixup keeps one photo in the majority
        images = images * (1 - share) + images.flip(0) * share
    else:
        height, width = images.shape[-2:]
        side = math.sqrt(share * 0.5)
        cut_height, cut_width = int(height * side), int(width * side)
        top = int(uniform((1,), 0, height - cut_height + 1, source).item())
        left = int(uniform((1,), 0, width - cut_width + 1, source).item())
        box = (..., slice(top, top + cut_height), slice(left, left + cut_width))
        mixed = images.clone()
        mixed[box] = images.flip(0)[box]
        images, share = mixed, cut_height * cut_width / (height * width)
    return images, targets * (1 - share) + targets.flip(0) * share

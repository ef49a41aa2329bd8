"""Augmentation of whole batches as tensors.

Photo by photo in Python it would cost a third of the training time on a small machine; as tensors it costs a few
percent. Images are float32 RGB in 0..1, (B, 3, H, W); every function draws from the generator it is given, so that a
resumed run repeats itself. The draws are made on the CPU, whatever device the images are on, so that they are the same.
"""

import io
import math

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

WORN_SIDES = (80, 170)  # of 224; no photo of any source was smaller than the larger by much


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
    center_x = uniform((batch,), -1, 1, source) * (1 - width)
    center_y = uniform((batch,), -1, 1, source) * (1 - height)
    return _maps(width, height, center_x, center_y, turn, source)


def _maps(width, height, center_x, center_y, turn: float, source: torch.Generator) -> torch.Tensor:
    """Maps (B, 2, 3) to regions of half sides and centers (B,), turned by up to `turn` degrees, half mirrored."""
    batch = len(width)
    mirror = torch.randint(0, 2, (batch,), generator=source) * 2.0 - 1
    angle = uniform((batch,), -1, 1, source) * math.radians(turn)
    cos, sin = angle.cos(), angle.sin()
    rows = [cos * width * mirror, -sin * height, center_x, sin * width * mirror, cos * height, center_y]
    return torch.stack(rows, dim=1).view(batch, 2, 3)


def random_placement_maps(
    batch: int,
    scale: tuple[float, float],
    shift: float,
    source: torch.Generator,
    aspect: float = 4 / 3,
    turn: float = 0.0,
) -> torch.Tensor:
    """Affine maps (B, 2, 3) that enlarge or shrink whole photos and move them about, half of them mirrored.

    `scale` bounds the enlargement (evenly in its logarithm), `shift` how far the middle moves, of the side. What is
    looked at may lie outside of the photo: see `crop`'s border.
    """
    zoom = uniform((batch,), math.log(scale[0]), math.log(scale[1]), source).exp()
    ratio = uniform((batch,), -math.log(aspect) / 2, math.log(aspect) / 2, source).exp()
    center = uniform((2, batch), -2 * shift, 2 * shift, source)
    return _maps(ratio / zoom, 1 / (zoom * ratio), center[0], center[1], turn, source)


def wear(photos: torch.Tensor, share: float, source: torch.Generator) -> torch.Tensor:
    """A share of the photos as if they'd been shrunk, saved as JPEG and enlarged: uint8 (B, H, W, 3) -> the same.

    Photos from different places differ in sharpness and compression, and so would give away where they are from, and
    with it, often, what they show. After this, those of every place look alike.
    """
    worn = photos.clone()
    drawn = torch.rand(4, len(photos), generator=source).tolist()
    for i, (whether, size, quality, filter_) in enumerate(zip(*drawn, strict=True)):
        if whether < share:
            photo, side = (
                Image.fromarray(photos[i].numpy()),
                round(WORN_SIDES[0] * (WORN_SIDES[1] / WORN_SIDES[0]) ** size),
            )
            file = io.BytesIO()
            photo.resize((side, side), Image.Resampling.BILINEAR).save(file, "JPEG", quality=round(50 + 45 * quality))
            enlarge = Image.Resampling.BILINEAR if filter_ < 0.5 else Image.Resampling.BICUBIC
            worn[i] = torch.from_numpy(np.array(Image.open(file).resize(photo.size, enlarge)))
    return worn


def whole_maps(batch: int) -> torch.Tensor:
    """Maps (B, 2, 3) that keep photos as they are."""
    return torch.eye(2, 3).expand(batch, 2, 3)


def crop(images: torch.Tensor, maps: torch.Tensor, size: int, border: str = "border") -> torch.Tensor:
    """Cut the regions `maps` out of `images` and resize them to size x size: (B, C, H, W) -> (B, C, size, size).

    What lies outside repeats the border's pixels, or mirrors the photo (`border="reflection"`).
    """
    grid = F.affine_grid(maps.to(images.device), [len(images), images.shape[1], size, size], align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode=border, align_corners=False)


def jitter_color(images: torch.Tensor, strength: float, source: torch.Generator) -> torch.Tensor:
    """Random brightness, contrast and saturation, each by a factor in 1 - strength .. 1 + strength."""
    factors = uniform((3, len(images), 1, 1, 1), 1 - strength, 1 + strength, source)
    brightness, contrast, saturation = factors.to(images.device)
    gray = images.mean(1, keepdim=True)
    images = gray + (images - gray) * saturation
    level = images.mean((1, 2, 3), keepdim=True)
    return ((images - level) * contrast + level * brightness).clamp_(0, 1)


def mix(images: torch.Tensor, source: torch.Generator) -> tuple[torch.Tensor, float]:
    """Mixup (arXiv 1710.09412) or CutMix (arXiv 1905.04899) of the batch with its own reverse, drawn evenly.

    Gives the images, and the reverse's share of them: that of its labels in the loss.
    """
    share = uniform((1,), 0, 1, source).item()
    if torch.rand(1, generator=source).item() < 0.5:
        share = 0.5 * share  # mixup keeps one photo in the majority
        return images * (1 - share) + images.flip(0) * share, share
    height, width = images.shape[-2:]
    side = math.sqrt(share * 0.5)
    cut_height, cut_width = int(height * side), int(width * side)
    top = int(uniform((1,), 0, height - cut_height + 1, source).item())
    left = int(uniform((1,), 0, width - cut_width + 1, source).item())
    box = (..., slice(top, top + cut_height), slice(left, left + cut_width))
    mixed = images.clone()
    mixed[box] = images.flip(0)[box]
    return mixed, cut_height * cut_width / (height * width)

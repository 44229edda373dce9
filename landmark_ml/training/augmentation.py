"""Augmentation of whole batches as tensors: one resampling, then cheap arithmetic.

Photos are uint8 [N, 3, S, S], each squashed to a square, with their aspect ratios (width / height).
Crop, zoom, rotation and mirroring are one affine map for each photo, so a batch is resampled once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

OVERSAMPLING = 1.3
"""Side of the stored squares as a multiple of the crop's; larger squares would alias."""
_SIZE_STEP = 32
_FULL_SIZE_FROM = 0.75


@dataclass(frozen=True)
class Augmentation:
    """Strength of each step and the side of the crops in pixels.

    start_size: side of the crops at first; they grow to `size` in steps of 32 pixels and have it
    for the last quarter of the training. 0: always `size`. Source: Howard, fast.ai's progressive
    resizing, 2018.
    """

    size: int
    start_size: int = 0
    min_crop: float = 0.35
    max_ratio: float = 4 / 3
    degrees: float = 5.0
    color_jitter: float = 0.3
    erasing: float = 0.0

    def __call__(
        self, photos: Tensor, aspects: Tensor, generator: torch.Generator, progress: float = 1.0
    ) -> Tensor:
        """uint8 [N, 3, S, S] and aspects [N] to float [N, 3, side, side] from 0 to 255.

        progress: share of the training done, 0 to 1; it decides the side.
        """
        sized = replace(self, size=self.size_at(progress), start_size=0)
        images = random_resized_crop(photos, aspects, sized, generator)
        if self.color_jitter:
            images = jitter_colors(images, self.color_jitter, generator)
        if self.erasing:
            images = erase_boxes(images, self.erasing, generator)
        return images

    def size_at(self, progress: float) -> int:
        """Side of the crops after this share of the training."""
        if not self.start_size:
            return self.size
        grown = self.start_size + (self.size - self.start_size) * progress / _FULL_SIZE_FROM
        return min(self.size, max(self.start_size, round(grown / _SIZE_STEP) * _SIZE_STEP))


def random_resized_crop(
    photos: Tensor, aspects: Tensor, options: Augmentation, generator: torch.Generator
) -> Tensor:
    """Crop, rotate and mirror each photo differently: float [N, 3, size, size] from 0 to 255.

    Area and ratio are those in the unsquashed photo. Source: Szegedy et al., Going deeper with
    convolutions, CVPR 2015.
    """
    count, log_ratio = len(photos), math.log(options.max_ratio)
    area = _uniform(count, options.min_crop, 1.0, generator)
    ratio = torch.exp(_uniform(count, -log_ratio, log_ratio, generator))
    half_width = (area * ratio / aspects).sqrt().clamp(max=1.0)
    half_height = (area / ratio * aspects).sqrt().clamp(max=1.0)
    across = (1 - half_width) * _uniform(count, -1, 1, generator)
    down = (1 - half_height) * _uniform(count, -1, 1, generator)
    mirror = 1 - 2 * torch.randint(0, 2, (count,), generator=generator)
    angle = torch.deg2rad(_uniform(count, -options.degrees, options.degrees, generator))
    cos, sin = torch.cos(angle), torch.sin(angle)
    top = torch.stack([half_width * mirror * cos, -half_width * sin, across], dim=1)
    bottom = torch.stack([half_height * mirror * sin, half_height * cos, down], dim=1)
    theta = torch.stack([top, bottom], dim=1)
    grid = functional.affine_grid(
        theta, [count, 3, options.size, options.size], align_corners=False
    )
    return functional.grid_sample(
        photos.float(), grid, padding_mode="reflection", align_corners=False
    )


def jitter_colors(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Random brightness, contrast, saturation and warmth of each image, from 0 to 255."""

    def factor(share: float = 1.0) -> Tensor:
        spread = min(strength * share, 0.99)
        return _uniform(len(images), 1 - spread, 1 + spread, generator).view(-1, 1, 1, 1)

    grey = images.mean(dim=1, keepdim=True)
    contrast, brightness, saturation = factor(), factor(), factor()
    warmth = torch.cat([factor(0.3) for _ in range(3)], dim=1)
    level = grey.mean(dim=(2, 3), keepdim=True)
    colored = torch.lerp(grey, images, saturation)
    return ((colored - level) * contrast + level * brightness).mul(warmth).clamp(0, 255)


def erase_boxes(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Fill a box of some images with their mean color.

    Source: Zhong et al., Random erasing data augmentation, AAAI 2020.
    """
    height, width = images.shape[2:]
    chosen = torch.rand(len(images), generator=generator) < probability
    for index in chosen.nonzero().flatten().tolist():
        tall, wide, down, across = _uniform(4, 0, 1, generator).tolist()
        box_height = int(height * (0.15 + 0.35 * tall))
        box_width = int(width * (0.15 + 0.35 * wide))
        top, left = int(down * (height - box_height)), int(across * (width - box_width))
        mean = images[index].mean(dim=(1, 2))[:, None, None]
        images[index, :, top : top + box_height, left : left + box_width] = mean
    return images


def _uniform(count: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.empty(count).uniform_(low, high, generator=generator)

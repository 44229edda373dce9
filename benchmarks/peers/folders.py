"""Photos of a task through torchvision's own folders and transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

if TYPE_CHECKING:
    from benchmarks.peers.contract import Task


TO_TENSOR = (
    v2.PILToTensor(),
    v2.ToDtype(torch.float32, scale=True),
    # The lite networks of timm take pixels from -1 to 1.
    v2.Normalize([0.5] * 3, [0.5] * 3),
)


def cut_at_the_centre(side: int) -> v2.Compose:
    """What torchvision's references do with photos to judge on: float32 [3, side, side]."""
    return v2.Compose([v2.Resize(round(side / 0.875)), v2.CenterCrop(side), *TO_TENSOR])


def image_folder(task: Task, side: str) -> ImageFolder:
    """Photos of `train` randomly cropped and flipped, of `test` cut at the centre."""
    if side == "test":
        return ImageFolder(task.data / side, cut_at_the_centre(task.resolution))
    crop = [v2.RandomResizedCrop(task.resolution), v2.RandomHorizontalFlip()]
    return ImageFolder(task.data / side, v2.Compose([*crop, *TO_TENSOR]))

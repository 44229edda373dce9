"""Photos of a task through torchvision's own folders and transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

if TYPE_CHECKING:
    from benchmarks.peers.contract import Task


def image_folder(task: Task, side: str) -> ImageFolder:
    """Photos of `train` randomly cropped and flipped, of `test` resized and cut at the centre."""
    crop = (
        [v2.RandomResizedCrop(task.resolution), v2.RandomHorizontalFlip()]
        if side == "train"
        else [v2.Resize(round(task.resolution / 0.875)), v2.CenterCrop(task.resolution)]
    )
    # The lite networks of timm take pixels from -1 to 1.
    scale = [
        v2.PILToTensor(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.5] * 3, [0.5] * 3),
    ]
    return ImageFolder(task.data / side, v2.Compose([*crop, *scale]))

"""What both phases learn from: the photos of a side, the output each stands for, their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from landmark_ml.data import NOT_A_LANDMARK

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from landmark_ml.config import TrainConfig
    from landmark_ml.data import Dataset, Photo, Split


@dataclass(frozen=True)
class ValidationLogits:
    """What the trained network says of the validation photos, to calibrate it by."""

    logits: Tensor
    targets: Tensor


def num_outputs(dataset: Dataset) -> int:
    """Landmarks, and one output more when training photos show none of them."""
    has_background = bool(dataset.distractors("train") and dataset.distractors("val"))
    return dataset.num_classes + has_background


def photos_of(split: Split, dataset: Dataset) -> tuple[Photo, ...]:
    """Photos of a split; those of no landmark only where there is an output for them."""
    every = dataset.split(split)
    if num_outputs(dataset) > dataset.num_classes:
        return every
    return tuple(photo for photo in every if photo.label != NOT_A_LANDMARK)


def targets_of(photos: Sequence[Photo], dataset: Dataset) -> Tensor:
    """Class of each photo; those of no landmark get the output after the last landmark."""
    background = dataset.num_classes
    return torch.tensor(
        [background if photo.label == NOT_A_LANDMARK else photo.label for photo in photos]
    )


def seeded_generator(config: TrainConfig) -> torch.Generator:
    """Generator of the order of the photos and of their augmentation."""
    return torch.Generator().manual_seed(config.seed)

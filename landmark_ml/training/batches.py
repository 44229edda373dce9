"""What the network learns from: photos of a split, their targets, and mini-batches of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from landmark_ml.data import NOT_A_LANDMARK
from landmark_ml.training.distributed import ALONE, Processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from landmark_ml.data import Dataset, Photo, Split
    from landmark_ml.training.augmentation import Augmentation


def num_outputs(dataset: Dataset) -> int:
    """One output for each landmark, and one for the background where photos of it can teach it."""
    has_background = bool(dataset.distractors("train") and dataset.distractors("val"))
    return dataset.num_classes + has_background


def photos_of(split: Split, dataset: Dataset) -> tuple[Photo, ...]:
    """Photos of a split; distractors only where the network has an output for them."""
    photos = dataset.split(split)
    if num_outputs(dataset) > dataset.num_classes:
        return photos
    return tuple(photo for photo in photos if photo.label != NOT_A_LANDMARK)


def targets_of(photos: Sequence[Photo], dataset: Dataset) -> Tensor:
    """Class of each photo, int64 [N]; distractors get the output after the last landmark."""
    background = dataset.num_classes
    return torch.tensor(
        [background if photo.label == NOT_A_LANDMARK else photo.label for photo in photos]
    )


class Batches(Protocol):
    """Pairs of inputs [B, …] and targets int64 [B], a new pass at every iteration."""

    generator: torch.Generator | None
    progress: float

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...


class Rows(Protocol):
    """Inputs [N, …] by their numbers: a tensor in memory, or pixels mapped from the disk."""

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: Tensor, /) -> Tensor: ...


@dataclass
class TensorBatches:
    """Batches of inputs that are in memory or mapped from the disk.

    inputs: [N, …]; targets: int64 [N]. generator: shuffles, and drops the last uneven batch; None
    keeps the order and every photo. augment: turns the inputs and aspects [B] of a batch into
    training inputs; needs a generator. progress: share of the training done before this pass.
    processes: each takes its part of every shuffled batch of batch_size photos, or every count-th
    photo of those in order. Raises ValueError when a batch cannot be divided evenly.
    """

    inputs: Rows
    targets: Tensor
    batch_size: int
    generator: torch.Generator | None = None
    augment: Augmentation | None = None
    aspects: Tensor | None = None
    progress: float = 0.0
    processes: Processes = ALONE

    def __post_init__(self) -> None:
        total, count = len(self.inputs), self.processes.count
        if total != len(self.targets) or not total:
            raise ValueError(
                f"{total} inputs and {len(self.targets)} targets: give one target for each of at"
                " least one input"
            )
        if self.augment is not None and (self.generator is None or self.aspects is None):
            raise ValueError("augment needs a generator to draw from and the aspects of the photos")
        # timm's mixup pairs a batch with its own mirror, so every part must be even.
        even = 2 * count
        if count > 1 and self.generator is not None and self.batch_size % even:
            raise ValueError(
                f"a batch of {self.batch_size} photos cannot be divided evenly among {count}"
                f" processes; give a multiple of {even}: it is the batch of all processes together"
            )
        if count > 1 and total < even:
            raise ValueError(f"{total} photos are too few for {count} processes; start fewer")
        largest = min(self.batch_size, total)
        self.batch_size = max(1, largest - largest % even)

    def __len__(self) -> int:
        if self.generator is not None:
            return len(self.inputs) // self.batch_size
        return math.ceil(len(self._in_order()) / self._part_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.generator is None:
            for chosen in torch.split(self._in_order(), self._part_size):
                yield self.inputs[chosen], self.targets[chosen]
            return
        order = torch.randperm(len(self.inputs), generator=self.generator)
        for step in range(len(self)):
            chosen = self._part(order[step * self.batch_size : (step + 1) * self.batch_size])
            inputs = self.inputs[chosen]
            if self.augment is not None and self.aspects is not None:
                draws = self._own_draws(self.generator)
                inputs = self.augment(inputs, self.aspects[chosen], draws, self.progress)
            yield inputs, self.targets[chosen]

    @property
    def _part_size(self) -> int:
        return max(1, self.batch_size // self.processes.count)

    def _in_order(self) -> Tensor:
        """Every count-th photo, from this process's rank on."""
        return torch.arange(len(self.inputs))[self.processes.rank :: self.processes.count]

    def _part(self, batch: Tensor) -> Tensor:
        """Part of a batch for this process: from both ends, as mixup pairs it with its mirror."""
        if self.processes.count == 1:
            return batch
        half, rank = self._part_size // 2, self.processes.rank
        start, mirrored = rank * half, len(batch) - (rank + 1) * half
        return torch.cat([batch[start : start + half], batch[mirrored : mirrored + half]])

    def _own_draws(self, shared: torch.Generator) -> torch.Generator:
        """Generator of this process: all draw the same seed for a batch, each adds its rank."""
        if self.processes.count == 1:
            return shared
        seed = int(torch.randint(2**62, (1,), generator=shared))
        return torch.Generator().manual_seed(seed + self.processes.rank)

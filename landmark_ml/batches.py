"""Mini-batches in memory: cached features or pixels, the training loop takes either."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from landmark_ml.transforms import Augmentation


class Batches(Protocol):
    """Pairs of inputs [B, …] and targets int64 [B], a new pass at every iteration."""

    generator: torch.Generator | None
    progress: float

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]: ...


@dataclass
class TensorBatches:
    """Batches cut from tensors in memory.

    inputs: [N, …]; targets: int64 [N]. generator: shuffles and drops the last, uneven batch; None
    keeps the order and every photo. augment: from inputs and aspects [N] of a batch to its
    training inputs; needs a generator. progress: share of the training done before this pass.
    """

    inputs: Tensor
    targets: Tensor
    batch_size: int
    generator: torch.Generator | None = None
    augment: Augmentation | None = None
    aspects: Tensor | None = None
    progress: float = 0.0

    def __post_init__(self) -> None:
        if len(self.inputs) != len(self.targets) or not len(self.inputs):
            raise ValueError(
                f"{len(self.inputs)} inputs and {len(self.targets)} targets: give one target for"
                " each of at least one input"
            )
        if self.augment is not None and (self.generator is None or self.aspects is None):
            raise ValueError("augment needs a generator to draw from and the aspects of the photos")
        # timm's mixup pairs a batch with its own mirror and needs an even number.
        largest = min(self.batch_size, len(self.inputs))
        self.batch_size = max(1, largest - largest % 2)

    def __len__(self) -> int:
        count = len(self.inputs) / self.batch_size
        return math.ceil(count) if self.generator is None else math.floor(count)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.arange(len(self.inputs))
        if self.generator is not None:
            order = torch.randperm(len(self.inputs), generator=self.generator)
        for step in range(len(self)):
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield self._training_inputs(chosen), self.targets[chosen]

    def _training_inputs(self, chosen: Tensor) -> Tensor:
        inputs = self.inputs[chosen]
        if self.augment is None or self.generator is None or self.aspects is None:
            return inputs
        return self.augment(inputs, self.aspects[chosen], self.generator, self.progress)

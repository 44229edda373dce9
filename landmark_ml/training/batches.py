"""Mini-batches in memory: cached features or pixels, the training loop takes either."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch

from landmark_ml.training.processes import ALONE, Processes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from landmark_ml.training.augmentation import Augmentation


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
    """Batches cut from inputs that all are at hand.

    inputs: [N, …]; targets: int64 [N]. generator: shuffles and drops the last, uneven batch; None
    keeps the order and every photo. augment: from inputs and aspects [N] of a batch to its
    training inputs; needs a generator. progress: share of the training done before this pass.
    processes: each gets its part of every shuffled batch of batch_size photos, or every count-th
    photo of those in order. Raises ValueError when a batch does not part evenly.
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
        if len(self.inputs) != len(self.targets) or not len(self.inputs):
            raise ValueError(
                f"{len(self.inputs)} inputs and {len(self.targets)} targets: give one target for"
                " each of at least one input"
            )
        if self.augment is not None and (self.generator is None or self.aspects is None):
            raise ValueError("augment needs a generator to draw from and the aspects of the photos")
        # timm's mixup pairs a batch with its own mirror and needs an even number.
        even = 2 * self.processes.count
        if self.processes.count > 1:
            self._check_parts(even)
        largest = min(self.batch_size, len(self.inputs))
        self.batch_size = max(1, largest - largest % even)

    def __len__(self) -> int:
        if self.generator is None:
            return math.ceil(len(self._own_photos()) / self._own_size)
        return len(self.inputs) // self.batch_size

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for chosen in self._in_order() if self.generator is None else self._shuffled():
            yield self._training_inputs(chosen), self.targets[chosen]

    @property
    def _own_size(self) -> int:
        return max(1, self.batch_size // self.processes.count)

    def _own_photos(self) -> Tensor:
        return torch.arange(len(self.inputs))[self.processes.rank :: self.processes.count]

    def _in_order(self) -> Iterator[Tensor]:
        yield from torch.split(self._own_photos(), self._own_size)

    def _shuffled(self) -> Iterator[Tensor]:
        order = torch.randperm(len(self.inputs), generator=self.generator)
        half, rank = self._own_size // 2, self.processes.rank
        for step in range(len(self)):
            chosen = order[step * self.batch_size : (step + 1) * self.batch_size]
            if self.processes.count > 1:
                # From both ends, so that mixup pairs the same photos as in one process.
                start, mirrored = rank * half, len(chosen) - (rank + 1) * half
                first, last = chosen[start : start + half], chosen[mirrored : mirrored + half]
                chosen = torch.cat([first, last])
            yield chosen

    def _training_inputs(self, chosen: Tensor) -> Tensor:
        inputs = self.inputs[chosen]
        if self.augment is None or self.generator is None or self.aspects is None:
            return inputs
        own = self._own_draws(self.generator)
        return self.augment(inputs, self.aspects[chosen], own, self.progress)

    def _own_draws(self, shared: torch.Generator) -> torch.Generator:
        """Draws of this process: all draw the same seed for a batch, each adds its rank."""
        if self.processes.count == 1:
            return shared
        seed = int(torch.randint(2**62, (1,), generator=shared))
        return torch.Generator().manual_seed(seed + self.processes.rank)

    def _check_parts(self, even: int) -> None:
        count = self.processes.count
        if self.generator is not None and self.batch_size % even:
            raise ValueError(
                f"a batch of {self.batch_size} photos does not part evenly among {count} processes;"
                f" give a multiple of {even}: it is the batch of all processes together"
            )
        if len(self.inputs) < even:
            raise ValueError(
                f"{len(self.inputs)} photos are too few for {count} processes; start fewer"
            )

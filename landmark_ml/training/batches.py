"""What the network learns from: photos of a split, their targets, and augmented batches."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from landmark_ml.data import NOT_A_LANDMARK, Dataset, Photo, Split
from landmark_ml.networks.rejection import Rows
from landmark_ml.training.devices import ON_CPU, Compute

_AHEAD = 2
"""Batches that are read while one is trained on."""


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


@dataclass
class TensorBatches:
    """Batches on the device of compute, of inputs that are in memory or on disk.

    A GPU trains on one while the next are read. inputs: [N, …]; targets: int64 [N] or
    probabilities [N, outputs]. generator: shuffles, and drops the last uneven batch; None keeps the
    order and every photo. augment: turns the inputs and aspects [B] of a batch into training
    inputs, on the device; needs a generator. progress: share of the training done before this pass.
    Each of compute.processes takes its part of every shuffled batch of batch_size photos, or every
    count-th photo of those in order. Raises ValueError when a batch cannot be divided evenly.
    """

    inputs: Rows
    targets: Tensor
    batch_size: int
    generator: torch.Generator | None = None
    augment: Augmentation | None = None
    aspects: Tensor | None = None
    progress: float = 0.0
    compute: Compute = ON_CPU

    def __post_init__(self) -> None:
        total, count = len(self.inputs), self.compute.processes.count
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
            in_order = torch.split(self._in_order(), self._part_size)
            for _, inputs, targets in self._read(in_order):
                yield inputs, targets
            return
        draws, processes = self.generator, self.compute.processes
        for chosen, stored, targets in self._read(self._shuffled(draws)):
            inputs = stored
            if self.augment is not None and self.aspects is not None:
                if processes.count > 1:
                    # All draw the same seed for a batch, and each adds its rank.
                    seed = int(torch.randint(2**62, (1,), generator=self.generator))
                    draws = torch.Generator().manual_seed(seed + processes.rank)
                inputs = self.augment(stored, self.aspects[chosen], draws, self.progress)
            yield inputs, targets

    def _shuffled(self, generator: torch.Generator) -> list[Tensor]:
        """Which photos are in each batch of this process."""
        processes, half = self.compute.processes, self._part_size // 2
        order = torch.randperm(len(self.inputs), generator=generator)
        batches = torch.split(order[: len(self) * self.batch_size], self.batch_size)
        if processes.count == 1:
            return list(batches)
        # From both ends, as mixup pairs a batch with its mirror.
        start, mirrored = processes.rank * half, self.batch_size - (processes.rank + 1) * half
        return [torch.cat([each[start:][:half], each[mirrored:][:half]]) for each in batches]

    def _read(self, batches: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Which photos, their inputs and their targets; for a GPU read ahead by a thread."""

        def read(chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            inputs, targets = self.inputs[chosen], self.targets[chosen]
            return chosen, self.compute.pin(inputs), self.compute.pin(targets)

        if self.compute.device.type == "cpu":
            # All cores compute: another thread would only take turns with them.
            yield from map(read, batches)
            return

        def send(found: Future[tuple[Tensor, Tensor, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
            chosen, inputs, targets = found.result()
            return chosen, self.compute.send(inputs), self.compute.send(targets)

        ahead = deque[Future[tuple[Tensor, Tensor, Tensor]]]()
        with ThreadPoolExecutor(1) as pool:
            for batch in batches:
                ahead.append(pool.submit(read, batch))
                if len(ahead) > _AHEAD:
                    yield send(ahead.popleft())
            yield from map(send, ahead)

    @property
    def _part_size(self) -> int:
        return max(1, self.batch_size // self.compute.processes.count)

    def _in_order(self) -> Tensor:
        """Every count-th photo, from this process's rank on."""
        processes = self.compute.processes
        return torch.arange(len(self.inputs))[processes.rank :: processes.count]


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
    theta = _placed(torch.stack([top, bottom], dim=1), photos)
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
        drawn = _uniform(len(images), 1 - spread, 1 + spread, generator)
        return _placed(drawn.view(-1, 1, 1, 1), images)

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


def _placed(drawn: Tensor, images: Tensor) -> Tensor:
    """What was drawn on the CPU, the same for every device, beside the images."""
    if images.is_cuda:
        drawn = drawn.pin_memory()
    return drawn.to(images.device, non_blocking=True)

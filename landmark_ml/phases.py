"""The two phases of training, a head on cached features and the whole network on pixels.

Both end in the same `fit`; they differ by the batches they hand it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from landmark_ml.batches import TensorBatches
from landmark_ml.datasets import NOT_A_LANDMARK, manifest_digest
from landmark_ml.devices import Compute, one_thread
from landmark_ml.engine import fit, predict_logits
from landmark_ml.features import FeatureCache, compute_features
from landmark_ml.freezing import freeze_early_stages
from landmark_ml.head import Head
from landmark_ml.pixel_store import PixelStore
from landmark_ml.pixels import load_served, load_squashed
from landmark_ml.trainer import FitOptions
from landmark_ml.transforms import OVERSAMPLING, Augmentation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from landmark_ml.batches import Rows
    from landmark_ml.config import TrainConfig
    from landmark_ml.datasets import Dataset, Photo
    from landmark_ml.engine import EpochSaver
    from landmark_ml.models import LandmarkNetwork
    from landmark_ml.processes import Processes

    OnEpochEnd = Callable[[dict[str, float]], None]
    # Features [views, N, F] of photos, as `view_features` gives them.
    ViewFeatures = Callable[[LandmarkNetwork, Sequence[Photo], TrainConfig, Compute], Tensor]

# Heads are small: moving their batches to another device would cost more than it saves.
_CPU = Compute(torch.device("cpu"), bf16=False)


@dataclass(frozen=True)
class ValidationLogits:
    """What the trained network says of the validation photos, to calibrate it by."""

    logits: Tensor
    targets: Tensor


def num_outputs(dataset: Dataset) -> int:
    """Landmarks, and one output more when training photos show none of them."""
    has_background = bool(dataset.distractors("train") and dataset.distractors("val"))
    return dataset.num_classes + has_background


def view_features(
    model: LandmarkNetwork, photos: Sequence[Photo], config: TrainConfig, compute: Compute
) -> Tensor:
    """Features [views, N, F] of photos, from the cache on disk where it has them."""
    cache = FeatureCache(Path(config.cache_dir))
    return torch.from_numpy(compute_features(model, photos, config.views, compute, cache))


def train_head(
    model: LandmarkNetwork,
    dataset: Dataset,
    config: TrainConfig,
    compute: Compute,
    on_epoch_end: OnEpochEnd,
    features: ViewFeatures = view_features,
) -> ValidationLogits:
    """Train the classifier on features of the frozen backbone and write it into the network."""
    train_photos, val_photos = _photos(dataset, "train"), _photos(dataset, "val")
    found = features(model, (*train_photos, *val_photos), config, compute)
    train, val = found[:, : len(train_photos)], found[:, len(train_photos) :]
    train_targets, val_targets = _targets(train_photos, dataset), _targets(val_photos, dataset)
    # View 0 is the photo as it is served: what to choose and to calibrate by.
    held_out = TensorBatches(val[0], val_targets, config.batch_size)
    options = _head_options(config, dataset)
    head, best = _fit_head(
        train, train_targets, held_out, options, config, num_outputs(dataset), on_epoch_end
    )
    validation = ValidationLogits(*predict_logits(head, held_out, _CPU))
    # Fine-tuning goes on from this head and chooses by validation photos it must not have seen.
    if config.refit and not config.finetune_epochs:
        targets = torch.cat([train_targets, val_targets])
        # As long as validation showed to be good, no longer.
        chosen = replace(options, epochs=int(best["epoch"]) + 1, patience=0)
        head, _ = _fit_head(found, targets, None, chosen, config, num_outputs(dataset), _ignore)
    head.fold_into(model.classifier)
    return validation


def finetune(
    model: LandmarkNetwork,
    dataset: Dataset,
    config: TrainConfig,
    compute: Compute,
    on_epoch_end: OnEpochEnd,
    saver: EpochSaver | None = None,
) -> ValidationLogits:
    """Train the network or its last stages on pixels; saver keeps its state after each epoch.

    Called by all of compute.processes at once.
    """
    compute.processes.agree(manifest_digest(dataset), "photos and their sides")
    train, val = _pixel_batches(model, dataset, config, compute.processes)
    freeze_early_stages(model, config.unfreeze)
    compute.place(model)
    fit(model, train, val, _finetune_options(config, dataset), compute, on_epoch_end, saver)
    # Calibrated in full precision, as it is served.
    return ValidationLogits(*predict_logits(model, val, compute.exact))


def _pixel_batches(
    model: LandmarkNetwork, dataset: Dataset, config: TrainConfig, processes: Processes
) -> tuple[TensorBatches, TensorBatches]:
    """Augmented training batches and validation batches as served, decoded once on each host."""
    train_photos, val_photos = _photos(dataset, "train"), _photos(dataset, "val")
    side = config.train_resolution or model.preprocessing.resolution
    augmentation = create_augmentation(config, side)
    store = PixelStore(Path(config.cache_dir))
    with processes.first_on_host():
        squares, aspects = load_training_squares(train_photos, augmentation, config.framing, store)
        val_pixels = load_served(val_photos, model.preprocessing, store)
    train = TensorBatches(
        squares,
        _targets(train_photos, dataset),
        config.finetune_batch_size,
        _generator(config),
        augmentation,
        aspects,
        processes=processes,
    )
    val = TensorBatches(
        val_pixels,
        _targets(val_photos, dataset),
        config.finetune_batch_size,
        processes=processes,
    )
    return train, val


def _fit_head(
    features: Tensor,
    targets: Tensor,
    val: TensorBatches | None,
    options: FitOptions,
    config: TrainConfig,
    outputs: int,
    on_epoch_end: OnEpochEnd,
) -> tuple[Head, dict[str, float]]:
    """Head trained on features [views, N, F] and targets [N], and the metrics of its epoch."""
    inputs = features.flatten(0, 1)
    head = Head(inputs, outputs, config.drop_rate)
    batches = TensorBatches(
        inputs, targets.repeat(len(features)), config.batch_size, _generator(config)
    )
    # Steps of a millisecond: on several threads most of them went into waiting for one another.
    with one_thread():
        best = fit(head, batches, val, options, _CPU, on_epoch_end)
    return head, best


def _ignore(_: dict[str, float]) -> None:
    """A refit has no validation photos left to judge its epochs by."""


def load_training_squares(
    photos: Sequence[Photo],
    augmentation: Augmentation,
    framing: str,
    store: PixelStore | None = None,
) -> tuple[Rows, Tensor]:
    """What the augmentation takes: uint8 [N, 3, side, side] and the aspect of its crops [N]."""
    squares, aspects = load_squashed(photos, round(augmentation.size * OVERSAMPLING), store)
    # A network that is served squashed photos learns from squares of those.
    return squares, torch.ones_like(aspects) if framing == "squash" else aspects


def create_augmentation(config: TrainConfig, size: int) -> Augmentation:
    """Augmentation of training crops of `size` pixels."""
    return Augmentation(
        size=size,
        start_size=config.start_resolution,
        min_crop=config.min_crop,
        color_jitter=config.color_jitter,
        erasing=config.erasing,
    )


def _photos(dataset: Dataset, side: str) -> tuple[Photo, ...]:
    every = dataset.train if side == "train" else dataset.val
    if num_outputs(dataset) > dataset.num_classes:
        return every
    return tuple(photo for photo in every if photo.label != NOT_A_LANDMARK)


def _targets(photos: Sequence[Photo], dataset: Dataset) -> Tensor:
    """Class of each photo; those of no landmark get the output after the last landmark."""
    background = dataset.num_classes
    return torch.tensor(
        [background if photo.label == NOT_A_LANDMARK else photo.label for photo in photos]
    )


def _generator(config: TrainConfig) -> torch.Generator:
    return torch.Generator().manual_seed(config.seed)


def _head_options(config: TrainConfig, dataset: Dataset) -> FitOptions:
    return FitOptions(
        name="head",
        num_classes=dataset.num_classes,
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        weight_decay=config.weight_decay,
        warmup_epochs=config.warmup_epochs,
        label_smoothing=config.label_smoothing,
        clip_grad=config.clip_grad,
        patience=config.patience,
    )


def _finetune_options(config: TrainConfig, dataset: Dataset) -> FitOptions:
    return FitOptions(
        name="fine-tune",
        num_classes=dataset.num_classes,
        epochs=config.finetune_epochs,
        learning_rate=config.finetune_learning_rate,
        weight_decay=config.finetune_weight_decay,
        layer_decay=config.layer_decay,
        optimizer=config.optimizer,
        warmup_epochs=config.warmup_epochs,
        label_smoothing=config.label_smoothing,
        mixup=config.mixup,
        cutmix=config.cutmix,
        mix_probability=config.mix_probability,
        ema_decay=config.ema_decay,
        clip_grad=config.clip_grad,
        patience=config.patience,
    )

"""The fine-tuning phase: the network or its last stages on augmented pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from landmark_ml.config import user_path
from landmark_ml.networks.freezing import freeze_early_stages
from landmark_ml.training.augmentation import OVERSAMPLING, Augmentation
from landmark_ml.training.batches import TensorBatches
from landmark_ml.training.loop import fit, predict_logits
from landmark_ml.training.optim import FitOptions
from landmark_ml.training.pixel_cache import PixelStore
from landmark_ml.training.pixels import load_served, load_squashed
from landmark_ml.training.targets import ValidationLogits, photos_of, seeded_generator, targets_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from landmark_ml.config import TrainConfig
    from landmark_ml.data import Dataset, Photo
    from landmark_ml.networks.create import LandmarkNetwork
    from landmark_ml.training.batches import Rows
    from landmark_ml.training.devices import Compute
    from landmark_ml.training.loop import EpochSaver
    from landmark_ml.training.processes import Processes

    OnEpochEnd = Callable[[dict[str, float]], None]


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
    train_photos, val_photos = photos_of("train", dataset), photos_of("val", dataset)
    side = config.train_resolution or model.preprocessing.resolution
    augmentation = create_augmentation(config, side)
    store = PixelStore(user_path(config.cache_dir))
    with processes.first_on_host():
        squares, aspects = load_training_squares(train_photos, augmentation, config.framing, store)
        val_pixels = load_served(val_photos, model.preprocessing, store)
    train = TensorBatches(
        squares,
        targets_of(train_photos, dataset),
        config.finetune_batch_size,
        seeded_generator(config),
        augmentation,
        aspects,
        processes=processes,
    )
    val = TensorBatches(
        val_pixels,
        targets_of(val_photos, dataset),
        config.finetune_batch_size,
        processes=processes,
    )
    return train, val


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
        val_interval=config.val_interval,
    )

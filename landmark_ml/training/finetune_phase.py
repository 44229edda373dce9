"""The fine-tuning phase: the network or its last stages on augmented pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from landmark_ml.config import user_path
from landmark_ml.networks.create import check_takes
from landmark_ml.networks.freezing import early_stages, freeze_early_stages
from landmark_ml.training.augmentation import OVERSAMPLING, Augmentation
from landmark_ml.training.batches import TensorBatches, photos_of, targets_of
from landmark_ml.training.cache import load_served, load_squashed
from landmark_ml.training.loop import fit, predict_logits
from landmark_ml.training.optim import finetune_state

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor

    from landmark_ml.config import TrainConfig
    from landmark_ml.data import Dataset, Photo
    from landmark_ml.inference.preprocessing import Preprocessing
    from landmark_ml.networks.create import LandmarkNetwork
    from landmark_ml.training.batches import Rows
    from landmark_ml.training.checkpoint import RunSaver
    from landmark_ml.training.devices import Compute
    from landmark_ml.training.loop import OnEpochEnd


def check_finetuning(model: LandmarkNetwork, config: TrainConfig) -> None:
    """Refuse crops that the network cannot take and more stages than it has, before any training.

    Raises ValueError, which names the parameter to change.
    """
    if not config.finetune_epochs:
        return
    full = config.train_resolution or model.preprocessing.resolution
    if config.start_resolution > full:
        raise ValueError(
            f"start_resolution is {config.start_resolution} and the training crops grow to {full};"
            " give at most that, or 0"
        )
    for name, size in (("start_resolution", config.start_resolution), ("train_resolution", full)):
        if size:
            check_takes(model, config.backbone, size, f"another {name}")
    early_stages(model, config.unfreeze)


def finetune(
    model: LandmarkNetwork,
    dataset: Dataset,
    config: TrainConfig,
    compute: Compute,
    on_epoch_end: OnEpochEnd | None = None,
    saver: RunSaver | None = None,
) -> tuple[Tensor, Tensor]:
    """Train the network or its last stages on pixels; saver keeps the state after each epoch.

    All of compute.processes call this together. Returns logits [N, outputs] and targets [N] of the
    validation photos, to calibrate by.
    """
    processes, batch_size = compute.processes, config.finetune_batch_size
    train_photos, val_photos = photos_of("train", dataset), photos_of("val", dataset)
    cache = user_path(config.cache_dir)
    with processes.first_on_host():
        augmentation, squares, aspects = load_augmented(
            train_photos, config, model.preprocessing, cache
        )
        val_pixels = load_served(val_photos, model.preprocessing, cache)
    order = torch.Generator().manual_seed(config.seed)
    targets = targets_of(train_photos, dataset)
    train = TensorBatches(
        squares, targets, batch_size, order, augmentation, aspects, processes=processes
    )
    val = TensorBatches(
        val_pixels, targets_of(val_photos, dataset), batch_size, processes=processes
    )
    freeze_early_stages(model, config.unfreeze)
    compute.place(model)
    state = finetune_state(model, config, compute, len(train))
    fit(state, train, val, config, dataset.num_classes, on_epoch_end, saver)
    # Calibrated in full precision, as it is served.
    return predict_logits(model, val, compute.exact)


def load_augmented(
    photos: Sequence[Photo],
    config: TrainConfig,
    preprocessing: Preprocessing,
    cache: Path | None = None,
) -> tuple[Augmentation, Rows, Tensor]:
    """The configured augmentation and what it takes: squares uint8 [N, 3, side, side], aspects [N].

    cache: folder that keeps the squares; None holds them in memory.
    """
    augmentation = Augmentation(
        size=config.train_resolution or preprocessing.resolution,
        start_size=config.start_resolution,
        min_crop=config.min_crop,
        color_jitter=config.color_jitter,
        erasing=config.erasing,
    )
    squares, aspects = load_squashed(photos, round(augmentation.size * OVERSAMPLING), cache)
    if config.framing == "squash":
        # A network that is served squashed photos learns from square crops of those.
        aspects = torch.ones_like(aspects)
    return augmentation, squares, aspects

"""The head phase: a classifier on the cached features of a frozen backbone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import torch

from landmark_ml.config import user_path
from landmark_ml.networks.head import Head
from landmark_ml.training.batches import TensorBatches
from landmark_ml.training.devices import Compute, one_thread
from landmark_ml.training.features import FeatureCache, compute_features
from landmark_ml.training.loop import fit, predict_logits
from landmark_ml.training.optim import FitOptions
from landmark_ml.training.targets import (
    ValidationLogits,
    num_outputs,
    photos_of,
    seeded_generator,
    targets_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from landmark_ml.config import TrainConfig
    from landmark_ml.data import Dataset, Photo
    from landmark_ml.networks.create import LandmarkNetwork

    OnEpochEnd = Callable[[dict[str, float]], None]

# Heads are small: moving their batches to another device would cost more than it saves.
_CPU = Compute(torch.device("cpu"), bf16=False)


class ViewFeatures(Protocol):
    """Gives features [views, N, F] of photos, as `view_features` does."""

    def __call__(
        self,
        model: LandmarkNetwork,
        photos: Sequence[Photo],
        config: TrainConfig,
        compute: Compute,
        /,
    ) -> Tensor:
        """Features of each view of each photo."""


def view_features(
    model: LandmarkNetwork, photos: Sequence[Photo], config: TrainConfig, compute: Compute
) -> Tensor:
    """Features [views, N, F] of photos, from the cache on disk where it has them."""
    cache = FeatureCache(user_path(config.cache_dir))
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
    train_photos, val_photos = photos_of("train", dataset), photos_of("val", dataset)
    found = features(model, (*train_photos, *val_photos), config, compute)
    train, val = found[:, : len(train_photos)], found[:, len(train_photos) :]
    train_targets, val_targets = targets_of(train_photos, dataset), targets_of(val_photos, dataset)
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
        inputs, targets.repeat(len(features)), config.batch_size, seeded_generator(config)
    )
    # Steps of a millisecond: on several threads most of them went into waiting for one another.
    with one_thread():
        best = fit(head, batches, val, options, _CPU, on_epoch_end)
    return head, best


def _ignore(_: dict[str, float]) -> None:
    """A refit has no validation photos left to judge its epochs by."""


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

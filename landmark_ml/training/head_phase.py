"""The head phase: a classifier on the cached features of a frozen backbone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from landmark_ml.networks.head import Head
from landmark_ml.training.batches import TensorBatches, num_outputs, photos_of, targets_of
from landmark_ml.training.devices import Compute, one_thread
from landmark_ml.training.features import compute_features
from landmark_ml.training.loop import fit, predict_logits
from landmark_ml.training.optim import head_state

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from landmark_ml.config import TrainConfig
    from landmark_ml.data import Dataset, Photo
    from landmark_ml.networks.create import LandmarkNetwork
    from landmark_ml.training.loop import OnEpochEnd

    # As `compute_features`: features [views, N, F] of photos.
    ViewFeatures = Callable[[LandmarkNetwork, Sequence[Photo], TrainConfig, Compute], Tensor]

# Heads are small: moving their batches to another device would cost more than it saves.
_CPU = Compute(torch.device("cpu"), bf16=False)


def train_head(
    model: LandmarkNetwork,
    dataset: Dataset,
    config: TrainConfig,
    compute: Compute,
    on_epoch_end: OnEpochEnd | None = None,
    features: ViewFeatures = compute_features,
) -> tuple[Tensor, Tensor]:
    """Train the classifier on features of the frozen backbone and write it into the network.

    Returns logits [N, outputs] and targets [N] of the validation photos, to calibrate by.
    """
    train_photos, val_photos = photos_of("train", dataset), photos_of("val", dataset)
    found = features(model, (*train_photos, *val_photos), config, compute)
    targets = targets_of((*train_photos, *val_photos), dataset)
    count, outputs = len(train_photos), num_outputs(dataset)

    def fit_head(
        rows: Tensor, labels: Tensor, val: TensorBatches | None, epochs: int
    ) -> tuple[Head, dict[str, float]]:
        inputs = rows.flatten(0, 1)
        head = Head(inputs, outputs, config.drop_rate)
        order = torch.Generator().manual_seed(config.seed)
        batches = TensorBatches(inputs, labels.repeat(len(rows)), config.batch_size, order)
        # A step takes a millisecond; several threads would mostly wait for one another.
        with one_thread():
            state = head_state(head, config, _CPU, epochs, len(batches))
            watch = on_epoch_end if val is not None else None
            best = fit(state, batches, val, config, dataset.num_classes, watch)
        return head, best

    # View 0 is the photo as it is served, so it chooses the epoch and calibrates.
    val = TensorBatches(found[0, count:], targets[count:], config.batch_size)
    head, best = fit_head(found[:, :count], targets[:count], val, config.epochs)
    validation = predict_logits(head, val, _CPU)
    # Fine-tuning continues from this head and must not have seen the validation photos.
    if config.refit and not config.finetune_epochs:
        head, _ = fit_head(found, targets, None, int(best["epoch"]) + 1)
    head.fold_into(model.classifier)
    return validation

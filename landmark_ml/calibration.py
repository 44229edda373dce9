"""Confidence that means what it says, and the threshold below which there is no landmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from sklearn.metrics import roc_curve
from torch.nn import functional

from landmark_ml.export import landmark_score

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_RECALL = 0.95


@dataclass(frozen=True)
class Calibration:
    """temperature divides the logits; photos whose score is below threshold show no landmark."""

    temperature: float
    threshold: float


def calibrate(logits: Tensor, targets: Tensor, num_classes: int) -> Calibration:
    """Fit both on validation logits [N, outputs] and targets [N] (num_classes: no landmark)."""
    temperature = fit_temperature(logits, targets)
    probabilities = torch.softmax(logits / temperature, dim=1)[:, :num_classes]
    scores = landmark_score(probabilities, logits.shape[1]).numpy()
    shows_one = (targets < num_classes).numpy()
    return Calibration(temperature, choose_threshold(scores, shows_one))


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """Temperature of the lowest cross-entropy.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    grid = torch.logspace(-1.5, 1.0, 251)
    losses = torch.stack([functional.cross_entropy(logits / t, targets) for t in grid])
    return float(grid[losses.argmin()])


def choose_threshold(scores: NDArray[np.floating], shows_one: NDArray[np.bool_]) -> float:
    """Score that best parts landmark photos from others (Youden's J), keeping 95% recall.

    Without other photos it keeps 95% of the landmark photos.
    """
    floor = float(np.quantile(scores[shows_one], 1 - _RECALL))
    if shows_one.all():
        return floor
    false_positives, recall, thresholds = roc_curve(shows_one, scores)
    best = float(thresholds[np.argmax(recall - false_positives)])
    return min(best, floor) if np.isfinite(best) else floor

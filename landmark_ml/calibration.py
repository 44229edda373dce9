"""Confidence that means what it says, and the threshold below which there is no landmark."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from sklearn.metrics import roc_curve
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_RECALL = 0.95
_LOG_TEMPERATURES = (math.log(0.02), math.log(20.0))


@dataclass(frozen=True)
class Calibration:
    """temperature divides the logits; photos whose score is below threshold show no landmark."""

    temperature: float
    threshold: float


def calibrate(logits: Tensor, targets: Tensor, num_classes: int) -> Calibration:
    """Fit both on validation logits [N, outputs] and targets [N] (num_classes: no landmark)."""
    temperature = fit_temperature(logits, targets)
    probabilities = torch.softmax(logits / temperature, dim=1)[:, :num_classes]
    has_background = logits.shape[1] > num_classes
    scores = (probabilities.sum(dim=1) if has_background else probabilities.amax(dim=1)).numpy()
    shows_one = (targets < num_classes).numpy()
    return Calibration(temperature, choose_threshold(scores, shows_one))


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """Temperature of the lowest cross-entropy.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        return float(functional.cross_entropy(scaled, targets))

    found = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded")
    return math.exp(float(found.x))


def choose_threshold(scores: NDArray[np.floating], shows_one: NDArray[np.bool_]) -> float:
    """Score that best parts landmark photos from others (Youden's J), keeping 95% recall.

    Without other photos it keeps 95% of the landmark photos.
    """
    # An interpolated quantile would lie above more than 5% of few photos.
    floor = float(np.quantile(scores[shows_one], 1 - _RECALL, method="lower"))
    if shows_one.all():
        return floor
    false_positives, recall, thresholds = roc_curve(shows_one, scores)
    best = float(thresholds[np.argmax(recall - false_positives)])
    return min(best, floor) if np.isfinite(best) else floor

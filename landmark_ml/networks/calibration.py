"""Confidence that means what it says, and the threshold below which there is no landmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from landmark_ml.networks.temperature import fit_temperature

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_RECALL = 0.95
_LET_THROUGH = 0.01
_PRECISION = 0.95
_SURE_ENOUGH = 0.5


@dataclass(frozen=True)
class Calibration:
    """temperature divides the logits; photos whose score is below threshold show no landmark.

    min_confidence: confidence from which an answer names its landmark; below it the city or the
    country is answered where that is surer. 0 always names the landmark.
    """

    temperature: float
    threshold: float
    min_confidence: float = 0.0


def calibrate(logits: Tensor, targets: Tensor, num_classes: int) -> Calibration:
    """Fit all three on logits [N, outputs] and targets [N] of validation photos.

    A target of num_classes is a photo of no landmark.
    """
    temperature = fit_temperature(logits, targets)
    probabilities = torch.softmax(logits / temperature, dim=1)[:, :num_classes]
    scores = landmark_scores(probabilities).numpy()
    shows_one = (targets < num_classes).numpy()
    correct = (probabilities.argmax(dim=1) == targets).numpy()[shows_one]
    return Calibration(
        temperature,
        choose_threshold(scores, shows_one),
        choose_min_confidence(scores[shows_one], correct),
    )


def landmark_scores(probabilities: Tensor) -> Tensor:
    """How surely photos show one of the landmarks: [N], 0 to 1, of calibrated [N, landmarks].

    The largest probability. It is low where the background speaks, where several landmarks do and
    where none does, so it tells everyday photos and landmarks that were never seen. The graph of
    `export` computes the same; what else was measured stands in experiments/tried.md.
    """
    return probabilities.amax(dim=1)


def choose_threshold(scores: NDArray[np.floating], shows_one: NDArray[np.bool_]) -> float:
    """Lowest score of a landmark photo that at most 1% of the others reach, keeping 95% recall.

    One more than was seen may reach it (Laplace's rule of succession), so fewer than 99 others
    cannot show that it is 1%: then, as without others, it keeps 95% of the landmark photos.
    scores, shows_one: [N].
    """
    landmarks, others = np.sort(scores[shows_one]), np.sort(scores[~shows_one])
    # An interpolated quantile would lie above more than 5% of few photos.
    floor = float(np.quantile(landmarks, 1 - _RECALL, method="lower"))
    if not len(others):
        return floor
    reached = len(others) - np.searchsorted(others, landmarks)
    let_through = (reached + 1) / (len(others) + 1)
    strict = landmarks[let_through <= _LET_THROUGH]
    return min(float(strict[0]), floor) if len(strict) else floor


def choose_min_confidence(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> float:
    """Lowest confidence from which 95% of the answers on landmark photos are right, at most 0.5.

    confidence, correct: [N]. What is calibrated and above 0.5 is likelier right than wrong, so it
    is always said; 0 where all answers together are right that often.
    """
    order = np.argsort(-confidence, kind="stable")
    precision = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    precise = np.flatnonzero(precision >= _PRECISION)
    if len(precise) and precise[-1] == len(order) - 1:
        return 0.0
    lowest = float(confidence[order[precise[-1]]]) if len(precise) else _SURE_ENOUGH
    return min(lowest, _SURE_ENOUGH)

"""Confidence that matches accuracy, and the threshold below which a photo shows no landmark."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.optimize import brentq, minimize_scalar
from torch.nn import functional

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

_RECALL = 0.95
_FALSE_POSITIVES = 0.01
_PRECISION = 0.95
_LARGEST_MIN_CONFIDENCE = 0.5
_LOG_TEMPERATURES = (math.log(0.02), math.log(20.0))


@dataclass(frozen=True)
class Calibration:
    """temperature divides the logits; photos whose score is below threshold show no landmark.

    min_confidence: confidence from which an answer names its landmark; below it the city or the
    country is answered where that is more certain. 0 always names the landmark.
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


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """Temperature of the lowest cross-entropy of logits [N, outputs] and targets [N].

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017. The mean confidence
    stays at most (N + 1) / (N + 2), all that N right answers can show (Laplace's rule of
    succession): where all are right, the loss alone would ask for certainty.
    """
    log_temperature = _best_log_temperature(logits, targets)
    limit = (len(logits) + 1) / (len(logits) + 2)

    def excess(log_temperature: float) -> float:
        probabilities = torch.softmax(logits / math.exp(log_temperature), dim=1)
        return float(probabilities.amax(dim=1).mean()) - limit

    highest = _LOG_TEMPERATURES[1]
    if excess(log_temperature) > 0:
        if excess(highest) > 0:
            log_temperature = highest
        else:
            log_temperature = float(brentq(excess, log_temperature, highest))
    return math.exp(log_temperature)


def calibrated_loss(logits: Tensor, targets: Tensor) -> float:
    """Cross-entropy at its best temperature: what is wrong with logits apart from their scale.

    Label smoothing and few steps make logits small, long training makes them large. Served models
    are calibrated, so neither should decide between two epochs. The loss stays above 0 where all
    answers are right: else the first such epoch would be kept, whatever came after it.
    """
    scaled = logits.double() / math.exp(_best_log_temperature(logits, targets))
    rivals = scaled - scaled.gather(1, targets[:, None])
    odds = rivals.scatter(1, targets[:, None], -math.inf).logsumexp(dim=1)
    # log(1 + odds); torch's own cross-entropy rounds its smallest values to 0.
    return float(functional.softplus(odds).mean())


def landmark_scores(probabilities: Tensor) -> Tensor:
    """How certain it is that a photo shows a landmark: [N] from calibrated [N, landmarks].

    The largest probability. It is low where the background or several landmarks compete, so it
    detects everyday photos and landmarks that were never seen. `export` puts the same into the
    graph; experiments/tried.md lists what else was measured.
    """
    return probabilities.amax(dim=1)


def choose_threshold(scores: NDArray[np.floating], shows_one: NDArray[np.bool_]) -> float:
    """Lowest score of a landmark photo that at most 1% of the distractors reach, at 95% recall.

    Assumes one distractor more than were seen (Laplace's rule of succession), so fewer than 99
    cannot show that it is 1%: then, as without any, it keeps 95% of the landmark photos.
    scores, shows_one: [N].
    """
    landmarks, distractors = np.sort(scores[shows_one]), np.sort(scores[~shows_one])
    # An interpolated quantile would lie above more than 5% of few photos.
    floor = float(np.quantile(landmarks, 1 - _RECALL, method="lower"))
    if not len(distractors):
        return floor
    reached = len(distractors) - np.searchsorted(distractors, landmarks)
    false_positives = (reached + 1) / (len(distractors) + 1)
    strict = landmarks[false_positives <= _FALSE_POSITIVES]
    return min(float(strict[0]), floor) if len(strict) else floor


def choose_min_confidence(confidence: NDArray[np.floating], correct: NDArray[np.bool_]) -> float:
    """Lowest confidence from which 95% of the answers on landmark photos are right, at most 0.5.

    confidence, correct: [N]. A calibrated answer above 0.5 is likelier right than wrong, so it is
    always given. 0 where that share of all answers is right.
    """
    order = np.argsort(-confidence, kind="stable")
    precision = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    precise = np.flatnonzero(precision >= _PRECISION)
    if not len(precise):
        return _LARGEST_MIN_CONFIDENCE
    if precise[-1] == len(order) - 1:
        return 0.0
    return min(float(confidence[order[precise[-1]]]), _LARGEST_MIN_CONFIDENCE)


def _best_log_temperature(logits: Tensor, targets: Tensor) -> float:
    def loss(log_temperature: float) -> float:
        return float(functional.cross_entropy(logits / math.exp(log_temperature), targets))

    found = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded")
    # Where all answers are right the loss falls with the temperature, below float32's precision.
    return _LOG_TEMPERATURES[0] if found.fun < 1e-6 else float(found.x)

"""The temperature that makes logits mean what they say, and the loss that is left with it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from scipy.optimize import brentq, minimize_scalar
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

_LOG_TEMPERATURES = (math.log(0.02), math.log(20.0))
_ALL_RIGHT = 1e-6


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """Temperature of the lowest cross-entropy of logits [N, outputs] and targets [N].

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017. It is never so low that
    the mean confidence passes (N + 1) / (N + 2), which is all that N right answers can show
    (Laplace's rule of succession): where all are right, no doubt at all has the lowest loss.
    """
    return math.exp(_no_surer_than_shown(logits, _best_log_temperature(logits, targets)))


def calibrated_loss(logits: Tensor, targets: Tensor) -> float:
    """Cross-entropy at its best temperature: what is wrong with logits apart from their scale.

    Label smoothing and few steps make logits small, long training makes them large; what is served
    is calibrated, so neither should decide between two epochs. It stays above 0 where all is right:
    else the first epoch of that kind would be kept, whatever came after it.
    """
    scaled = logits.double() / math.exp(_best_log_temperature(logits, targets))
    rivals = scaled - scaled.gather(1, targets[:, None])
    odds = rivals.scatter(1, targets[:, None], -math.inf).logsumexp(dim=1)
    # log(1 + odds), whose smallest values torch's own cross-entropy rounds to 0.
    return float(functional.softplus(odds).mean())


def _best_log_temperature(logits: Tensor, targets: Tensor) -> float:
    def loss(log_temperature: float) -> float:
        return float(functional.cross_entropy(logits / math.exp(log_temperature), targets))

    found = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded")
    # Where all is right the loss falls with the temperature to the end, below what float32 shows.
    return _LOG_TEMPERATURES[0] if found.fun < _ALL_RIGHT else float(found.x)


def _no_surer_than_shown(logits: Tensor, log_temperature: float) -> float:
    """The same, or the lowest at which N photos' mean confidence is at most (N + 1) / (N + 2)."""
    most = (len(logits) + 1) / (len(logits) + 2)

    def excess(log_temperature: float) -> float:
        probabilities = torch.softmax(logits / math.exp(log_temperature), dim=1)
        return float(probabilities.amax(dim=1).mean()) - most

    if excess(log_temperature) <= 0:
        return log_temperature
    highest = _LOG_TEMPERATURES[1]
    return highest if excess(highest) > 0 else float(brentq(excess, log_temperature, highest))

"""The temperature that makes logits mean what they say, and the loss that is left with it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scipy.optimize import minimize_scalar
from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

_LOG_TEMPERATURES = (math.log(0.02), math.log(20.0))


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """Temperature of the lowest cross-entropy of logits [N, outputs] and targets [N].

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """

    def loss(log_temperature: float) -> float:
        scaled = logits / math.exp(log_temperature)
        return float(functional.cross_entropy(scaled, targets))

    found = minimize_scalar(loss, bounds=_LOG_TEMPERATURES, method="bounded")
    return math.exp(float(found.x))


def calibrated_loss(logits: Tensor, targets: Tensor) -> float:
    """Cross-entropy at the best temperature: what is wrong with logits apart from their scale.

    Label smoothing and few steps make logits small, long training makes them large; what is served
    is calibrated, so neither should decide between two epochs.
    """
    return float(functional.cross_entropy(logits / fit_temperature(logits, targets), targets))

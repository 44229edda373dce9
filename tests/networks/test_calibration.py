"""Temperature and least confidence: what was put in comes out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from landmark_ml.networks import export
from landmark_ml.networks.export import (
    calibrate,
    calibrated_loss,
    choose_min_confidence,
    fit_temperature,
)
from tests.tiny_networks import score_of_probability


def honest_logits(count: int, num_outputs: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits whose softmax is the true probability of each target."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(count, num_outputs, generator=generator)
    targets = torch.multinomial(logits.softmax(dim=1), 1, generator=generator).flatten()
    return logits, targets


def right_logits(count: int, classes: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Logits that are right for every photo, by margins that differ."""
    targets = torch.arange(count) % classes
    margins = torch.linspace(3, 9, count)[:, None]
    return margins * torch.nn.functional.one_hot(targets, outputs), targets


@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_temperature_recovers_a_known_scale(scale: float) -> None:
    logits, targets = honest_logits(6000, 5)
    assert fit_temperature(logits * scale, targets) == pytest.approx(scale, rel=0.08)


@pytest.mark.parametrize("outputs", [4, 5])
def test_twenty_right_answers_are_no_proof_of_certainty(outputs: int) -> None:
    logits, targets = right_logits(20, 4, outputs)
    found = calibrate(logits, targets, 4, score_of_probability(0.5))
    confidence = torch.softmax(logits / found.temperature, dim=1).amax(dim=1)
    assert float(confidence.mean()) == pytest.approx(21 / 22, abs=1e-4)


def test_among_epochs_without_errors_the_most_confident_is_best() -> None:
    logits, targets = right_logits(20, 4, 4)
    losses = [calibrated_loss(scale * logits, targets) for scale in (0.2, 0.5, 1.0)]
    assert losses == sorted(losses, reverse=True)
    assert len(set(losses)) == 3


def test_a_part_of_the_photos_finds_the_temperature_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    logits, targets = honest_logits(6000, 5)
    every = calibrated_loss(logits, targets)
    monkeypatch.setattr(export, "_MOST_FITTED", 5000)
    some = calibrated_loss(logits, targets)
    assert some != every
    assert some == pytest.approx(every, rel=2e-3)


def test_answers_from_the_least_confidence_up_are_right_19_times_in_20() -> None:
    confidence = np.linspace(0.01, 0.4, 100)
    correct = np.arange(100) >= 40
    limit = choose_min_confidence(confidence, correct)
    assert correct[confidence >= limit].mean() >= 0.95
    assert correct[confidence >= limit - 0.005].mean() < 0.95


def test_a_model_that_is_right_that_often_always_names_the_landmark() -> None:
    correct = np.arange(100) >= 4
    assert choose_min_confidence(np.linspace(0.3, 1, 100), correct) == 0


@pytest.mark.parametrize("right", [False, True])
def test_what_is_likelier_right_than_wrong_is_always_said(right: bool) -> None:
    confidence = np.array([0.99, 0.9, 0.8, 0.7])
    assert choose_min_confidence(confidence, np.array([right, False, True, False])) == 0.5

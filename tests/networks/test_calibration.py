"""Temperature and threshold: what was put in comes out, and recall is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from landmark_ml.networks.export import (
    calibrate,
    calibrated_loss,
    choose_min_confidence,
    choose_threshold,
    fit_temperature,
    landmark_scores,
)


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


def scores_of(logits: Tensor, temperature: float, num_classes: int) -> Tensor:
    return landmark_scores(torch.softmax(logits / temperature, dim=1)[:, :num_classes])


def test_a_score_falls_with_the_background_and_with_rival_landmarks() -> None:
    sure, everyday, torn, lost = scores_of(
        torch.tensor([[9.0, 0, 0, 0], [5.0, 0, 0, 9.0], [9.0, 9.0, 0, 0], [1.0, 1, 1, 1]]), 1.0, 3
    )
    assert sure > 0.99
    # A photo torn between two landmarks has the background beaten and may show a third.
    assert everyday < lost < torn < sure


def test_a_score_of_a_certain_answer_stays_a_number() -> None:
    logits = torch.tensor([[500.0, 0, -500.0], [-500.0, -500.0, 500.0]])
    assert scores_of(logits, 1.0, 2).tolist() == [1, 0]


@pytest.mark.parametrize("scale", [0.25, 1.0, 4.0])
def test_temperature_recovers_a_known_scale(scale: float) -> None:
    logits, targets = honest_logits(6000, 5)
    assert fit_temperature(logits * scale, targets) == pytest.approx(scale, rel=0.08)


@pytest.mark.parametrize("outputs", [4, 5])
def test_twenty_right_answers_are_no_proof_of_certainty(outputs: int) -> None:
    logits, targets = right_logits(20, 4, outputs)
    found = calibrate(logits, targets, 4)
    confidence = torch.softmax(logits / found.temperature, dim=1).amax(dim=1)
    assert float(confidence.mean()) == pytest.approx(21 / 22, abs=1e-4)
    scores = scores_of(logits, found.temperature, 4)
    assert found.threshold < 0.99
    assert float((scores >= found.threshold).float().mean()) >= 0.95


def test_among_epochs_without_errors_the_most_confident_is_best() -> None:
    logits, targets = right_logits(20, 4, 4)
    losses = [calibrated_loss(scale * logits, targets) for scale in (0.2, 0.5, 1.0)]
    assert losses == sorted(losses, reverse=True)
    assert len(set(losses)) == 3


@pytest.mark.parametrize("background", [False, True])
def test_calibrated_threshold_keeps_95_percent_of_the_landmarks(background: bool) -> None:
    logits, targets = honest_logits(400, 4 + background, seed=1)
    found = calibrate(logits, targets, 4)
    kept = scores_of(logits, found.temperature, 4)[targets < 4] >= found.threshold
    assert float(kept.float().mean()) >= 0.95
    assert 0 < found.threshold < 1


def test_threshold_rejects_background_that_stands_apart() -> None:
    targets = torch.tensor([0, 1, 2] * 20)
    logits = 8 * torch.eye(3)[targets]
    logits += 0.5 * torch.randn(60, 3, generator=torch.Generator().manual_seed(2))
    found = calibrate(logits, targets, 2)
    accepted = scores_of(logits, found.temperature, 2) >= found.threshold
    assert not accepted[targets == 2].any()
    assert float(accepted[targets < 2].float().mean()) >= 0.95


@pytest.mark.parametrize("count", [1, 5, 10, 21, 30, 333])
def test_recall_is_kept_on_few_photos_too(count: int) -> None:
    scores = np.random.default_rng(count).random(count)
    threshold = choose_threshold(scores, np.ones(count, dtype=bool))
    assert (scores >= threshold).mean() >= 0.95


def test_threshold_separates_what_can_be_separated() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.4, 0.3])
    shows_one = np.array([True, True, True, False, False])
    assert 0.4 < choose_threshold(scores, shows_one) <= 0.7


def test_one_photo_in_a_hundred_of_no_landmark_may_pass() -> None:
    landmarks, others = np.linspace(0.2, 1.0, 200), np.linspace(0.0, 0.21, 200)
    scores = np.r_[landmarks, others]
    threshold = choose_threshold(scores, np.arange(400) < 200)
    assert (others >= threshold).mean() <= 0.01
    assert (landmarks >= threshold).mean() > 0.98


def test_few_photos_of_no_landmark_cannot_show_that_one_in_a_hundred_passes() -> None:
    landmarks, others = np.linspace(0.5, 1.0, 100), np.linspace(0.0, 0.4, 20)
    threshold = choose_threshold(np.r_[landmarks, others], np.arange(120) < 100)
    assert 0.95 <= (landmarks >= threshold).mean() <= 0.96


def test_threshold_keeps_recall_where_others_score_higher() -> None:
    landmarks, others = np.linspace(0.1, 0.5, 40), np.linspace(0.6, 0.9, 40)
    scores = np.r_[landmarks, others]
    threshold = choose_threshold(scores, np.arange(80) < 40)
    assert np.isfinite(threshold)
    assert (landmarks >= threshold).mean() >= 0.95


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

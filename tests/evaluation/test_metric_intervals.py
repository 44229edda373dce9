"""Intervals of a small set of photos: a resample may miss one kind of them altogether."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from landmark_ml.data import NOT_A_LANDMARK, Photo
from landmark_ml.evaluation.metric_intervals import metric_intervals
from landmark_ml.evaluation.metrics import expected_calibration_error
from landmark_ml.evaluation.predictions import Evaluation

METRICS = {"top5", "macro_f1", "ece", "gap", "landmarks_tagged", "within_25_km"}
OF_BOTH_KINDS = {"auroc", "distractors_tagged"}


def evaluated(labels: list[int]) -> Evaluation:
    """Photos whose landmark is answered rightly, each with its own confidence."""
    sure = np.linspace(0.9, 0.6, len(labels))
    scores = np.array([0.8 if label >= 0 else 0.1 for label in labels])
    return Evaluation(
        photos=tuple(
            Photo(Path(f"{i}.jpg"), label, f"{i}", 8, 8) for i, label in enumerate(labels)
        ),
        classes=("Tower", "Castle"),
        probabilities=np.stack([sure, 1 - sure], axis=1),
        landmark_scores=scores,
        accepted=scores > 0.5,
        ms_per_photo=1.0,
    )


def honest(seed: int) -> Evaluation:
    """Photos that are answered rightly as often as their confidence says: the true ECE is 0."""
    rng = np.random.default_rng(seed)
    sure = rng.uniform(0.55, 0.95, 300)
    found = evaluated((rng.random(300) > sure).astype(int).tolist())
    return replace(found, probabilities=np.stack([sure, 1 - sure], axis=1))


def intervals(labels: list[int]) -> dict[str, float]:
    kilometres = np.where(np.array(labels) == NOT_A_LANDMARK, np.nan, 0.0)
    return metric_intervals(evaluated(labels), kilometres, 100, 0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("labels", [[0] * 9 + [NOT_A_LANDMARK], [0] + [NOT_A_LANDMARK] * 9])
def test_a_resample_that_misses_a_kind_of_photos_is_left_out(labels: list[int]) -> None:
    found = intervals(labels)
    assert set(found) == {
        f"{name}_{end}" for name in METRICS | OF_BOTH_KINDS for end in ("low", "high")
    }
    assert np.isfinite(list(found.values())).all()
    assert (found["auroc_low"], found["auroc_high"]) == (1, 1)
    assert (found["distractors_tagged_low"], found["distractors_tagged_high"]) == (0, 0)


def test_without_distractors_nothing_is_said_of_them() -> None:
    assert set(intervals([0, 0, 1])) == {
        f"{name}_{end}" for name in METRICS for end in ("low", "high")
    }


def test_where_no_place_is_known_nothing_is_said_of_kilometres() -> None:
    found = metric_intervals(evaluated([0, 0, 1]), np.full(3, np.nan), 100, 0)
    assert not any(name.startswith("within") for name in found)


def test_the_noise_of_resampling_does_not_count_as_calibration_error() -> None:
    lows = [metric_intervals(honest(seed), np.zeros(300), 100, 0)["ece_low"] for seed in range(10)]
    # By percentiles the mean low end was 0.035, and some intervals left out what was measured.
    assert np.mean(lows) < 0.01


@pytest.mark.parametrize("seed", range(10))
def test_the_interval_of_the_calibration_error_holds_what_was_measured(seed: int) -> None:
    answered = honest(seed)
    found = metric_intervals(answered, np.zeros(300), 100, 0)
    measured = expected_calibration_error(answered.confidence, answered.correct)
    assert 0 <= found["ece_low"] <= measured <= found["ece_high"]

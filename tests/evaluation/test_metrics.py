"""Metrics against values worked out by hand and against scikit-learn's, and their intervals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score, top_k_accuracy_score

from landmark_ml.data import NOT_A_LANDMARK
from landmark_ml.evaluation import metrics
from landmark_ml.evaluation.judge import Predictions
from landmark_ml.evaluation.metrics import METRICS, Metric, measure, shown, summary_names
from landmark_ml.evaluation.significance import wilson_interval
from tests.evaluation.made_up_predictions import predictions

NOTHING = np.empty(0)


def of_labels(labels: list[int]) -> Predictions:
    """Photos all answered with the tower, each with its own confidence."""
    sure = np.linspace(0.9, 0.6, len(labels))
    return predictions(labels, np.stack([sure, 1 - sure], axis=1).tolist())


@pytest.fixture
def answered() -> Predictions:
    """Two of four landmark photos right, and a photo of no landmark that is not tagged."""
    probabilities = [
        [0.7, 0.1, 0.1, 0.1],
        [0.2, 0.6, 0.1, 0.1],
        [0.05, 0.9, 0.03, 0.02],
        [0.3, 0.1, 0.2, 0.4],
        [0.28, 0.24, 0.26, 0.22],
    ]
    said = [
        {"landmark_score": 0.8 * max(row), "is_landmark": max(row) >= 0.5} for row in probabilities
    ]
    labels = [0, 2, 0, 3, NOT_A_LANDMARK]
    return predictions(labels, probabilities, said, ("Tower", "Castle", "Arch", "Port"))


def test_the_metrics_of_photos_with_distractors(answered: Predictions) -> None:
    found = measure(answered)
    assert (found["top1"], found["top3"], found["top5"]) == (0.5, 1.0, 1.0)
    assert (found["top1_low"], found["top1_high"]) == wilson_interval(2, 4)
    assert (found["photos"], found["distractors"]) == (4, 1)
    assert (found["landmarks_tagged"], found["distractors_tagged"]) == (0.75, 0.0)
    assert (found["auroc"], found["fpr_at_95_recall"]) == (1.0, 0.0)
    # By confidence the answers are wrong, right, wrong, right, then a distractor's.
    assert found["gap"] == pytest.approx((1 / 2 + 2 / 4) / 4)
    # A landmark that was answered and that no photo shows does not count.
    assert found["macro_f1"] == pytest.approx((2 / 3 + 0 + 1) / 3)
    assert found["aurc"] == pytest.approx((1 + 1 / 2 + 2 / 3 + 2 / 4 + 3 / 5) / 5)
    assert found["coverage_at_5_percent_risk"] == 0
    # Neither levels, places nor unseen landmarks were among the answers.
    assert not [name for name in found if "level" in name or "km" in name or "unseen" in name]


def test_what_was_not_photographed_is_not_measured(answered: Predictions) -> None:
    found = measure(answered.take(answered.shows_landmark))
    assert found["distractors"] == 0
    assert not {"auroc", "fpr_at_95_recall", "distractors_tagged"} & set(found)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_top_k_agrees_with_scikit_learn(k: int) -> None:
    rng = np.random.default_rng(k)
    scores, labels = rng.random((200, 7)), rng.integers(0, 7, 200)
    names = [str(label) for label in range(7)]
    found = measure(predictions(labels.tolist(), scores.tolist(), classes=names))
    expected = top_k_accuracy_score(labels, scores, k=k, labels=range(7))
    assert found[f"top{k}"] == pytest.approx(expected)


def test_equal_scores_give_exactly_k_hits_a_photo() -> None:
    even = predictions([0, 1, 2, 3], [[0.25] * 4] * 4, classes=("a", "b", "c", "d"))
    assert measure(even)["top3"] == 0.75


def test_gap_by_hand() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    correct = np.array([True, False, True, False])
    # (1/1 + 2/3) over three landmark photos; the fourth answer was on a distractor.
    assert metrics.global_average_precision(confidence, correct, 3) == pytest.approx(5 / 9)


def test_confident_distractors_lower_gap_and_modest_ones_do_not() -> None:
    correct = np.array([True, True, False])
    modest = metrics.global_average_precision(np.array([0.9, 0.8, 0.1]), correct, 2)
    confident = metrics.global_average_precision(np.array([0.9, 0.8, 0.99]), correct, 2)
    assert modest == 1.0
    assert confident == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_gap_is_average_precision_where_every_answer_counts() -> None:
    rng = np.random.default_rng(3)
    confidence, correct = rng.random(300), rng.random(300) < 0.7
    expected = average_precision_score(correct, confidence)
    found = metrics.global_average_precision(confidence, correct, int(correct.sum()))
    assert found == pytest.approx(expected)


def test_tied_confidences_keep_the_order_of_the_photos() -> None:
    correct = np.array([True, False, True])
    tied = metrics.global_average_precision(np.full(3, 0.5), correct, 3)
    assert tied == pytest.approx((1 + 2 / 3) / 3)


def test_ece_by_hand() -> None:
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.3, 0.3])
    correct = np.array([True, True, True, False, True, False])
    # Two of the bins hold photos: |0.9 - 0.75| on four, |0.3 - 0.5| on two.
    expected = (4 * 0.15 + 2 * 0.2) / 6
    found = metrics.expected_calibration_error(confidence, correct)
    assert found == pytest.approx(expected)


def test_certain_and_right_has_no_calibration_error() -> None:
    assert metrics.expected_calibration_error(np.ones(5), np.ones(5, dtype=bool)) == 0.0
    assert metrics.expected_calibration_error(np.ones(5), np.zeros(5, dtype=bool)) == 1.0


def test_rejection_of_separate_and_of_equal_scores() -> None:
    landmarks, others = np.array([0.9, 0.8]), np.array([0.1, 0.2, 0.3])
    assert metrics.auroc(landmarks, others) == 1.0
    assert metrics.fpr_at_95_recall(landmarks, others) == 0.0
    assert metrics.auroc(np.full(4, 0.5), np.full(4, 0.5)) == 0.5
    assert metrics.fpr_at_95_recall(np.full(4, 0.5), np.full(4, 0.5)) == 1.0


def test_rejection_agrees_with_scikit_learn_and_with_counting() -> None:
    rng = np.random.default_rng(5)
    landmarks, others = rng.normal(1.5, 1, 200), rng.normal(0, 1, 150)
    truth = np.r_[np.ones(200), np.zeros(150)]
    expected = roc_auc_score(truth, np.r_[landmarks, others])
    assert metrics.auroc(landmarks, others) == pytest.approx(expected)
    threshold = np.sort(landmarks)[10]  # 190 of 200 are at or above it
    found = metrics.fpr_at_95_recall(landmarks, others)
    assert found == pytest.approx((others >= threshold).mean())


def test_false_positives_are_read_at_95_recall_on_a_straight_curve() -> None:
    steps = np.arange(40, dtype=float)
    # Each step brings one landmark and one other photo: a diagonal with a point at 0.95.
    assert metrics.fpr_at_95_recall(steps, steps) == pytest.approx(0.95)


def test_what_is_not_defined_is_nan() -> None:
    none = NOTHING.astype(bool)
    assert math.isnan(metrics.global_average_precision(NOTHING, none, 0))
    assert math.isnan(metrics.expected_calibration_error(NOTHING, none))
    for measure_scores in (metrics.auroc, metrics.fpr_at_95_recall):
        assert math.isnan(measure_scores(NOTHING, np.ones(2)))
        assert math.isnan(measure_scores(np.ones(2), NOTHING))


def test_risk_falls_where_only_confident_answers_are_given() -> None:
    coverage, risk = metrics.risk_coverage(
        np.array([0.2, 0.9, 0.6, 0.4]),
        np.array([False, True, True, False]),
        np.array([True, True, True, False]),
    )
    # Of the three landmark photos; the everyday photo is a wrong answer.
    assert coverage.tolist() == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1])
    assert risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 2])


def test_unplaced_photos_are_within_no_distance() -> None:
    placed = replace(of_labels([0] * 5), kilometres=np.array([0.5, 20.0, 900.0, np.inf, np.nan]))
    found = measure(placed)
    assert (found["within_1_km"], found["within_25_km"], found["within_2500_km"]) == (
        0.25,
        0.5,
        0.75,
    )
    assert (found["median_km"], found["placed"]) == (20, 0.75)
    nowhere = measure(replace(placed, kilometres=np.full(5, np.inf)))
    assert (nowhere["within_2500_km"], nowhere["placed"]) == (0, 0)
    assert "median_km" not in nowhere


def test_unseen_landmarks_are_measured_apart(answered: Predictions) -> None:
    unseen = of_labels([NOT_A_LANDMARK] * 3)
    found = measure(replace(answered, unseen=unseen))
    assert (found["unseen_photos"], found["unseen_tagged"]) == (3, 0)
    assert (found["unseen_auroc"], found["unseen_fpr_at_95_recall"]) == (1, 0)
    assert found["photos"] == 4


BOOTSTRAPPED = {name for name, metric in METRICS.items() if metric.interval == "bootstrap"}
OF_BOTH_KINDS = {"auroc", "distractors_tagged"}


def bootstrapped(labels: list[int], resamples: int = 100) -> set[str]:
    kilometres = np.where(np.array(labels) == NOT_A_LANDMARK, np.nan, 0.0)
    found = measure(replace(of_labels(labels), kilometres=kilometres), resamples=resamples)
    assert np.isfinite(list(found.values())).all()
    return {name for name in BOOTSTRAPPED if f"{name}_low" in found and f"{name}_high" in found}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("labels", [[0] * 9 + [NOT_A_LANDMARK], [0] + [NOT_A_LANDMARK] * 9])
def test_a_resample_that_misses_a_kind_of_photos_does_not_count(labels: list[int]) -> None:
    assert bootstrapped(labels) == BOOTSTRAPPED
    found = measure(of_labels(labels), resamples=100)
    assert (found["auroc_low"], found["auroc_high"]) == (1, 1)
    assert (found["distractors_tagged_low"], found["distractors_tagged_high"]) == (0, 0)


def test_without_distractors_nothing_is_said_of_them() -> None:
    assert bootstrapped([0, 0, 1]) == BOOTSTRAPPED - OF_BOTH_KINDS


def test_without_resamples_there_is_no_bootstrap() -> None:
    assert bootstrapped([0, 0, 1], resamples=0) == set()


def test_the_interval_of_a_share_is_that_of_theory() -> None:
    right = of_labels([0] * 300 + [1] * 100)
    tagged = replace(right, accepted=np.arange(400) < 300)
    _, low, high = metrics.bootstrap(tagged, ["landmarks_tagged"])["landmarks_tagged"]
    margin = 1.96 * np.sqrt(0.75 * 0.25 / 400)
    assert (low, high) == pytest.approx((0.75 - margin, 0.75 + margin), abs=0.01)


def honest(seed: int) -> Predictions:
    """Photos that are answered rightly as often as their confidence says: the true ECE is 0."""
    rng = np.random.default_rng(seed)
    sure = rng.uniform(0.55, 0.95, 300)
    labels = (rng.random(300) > sure).astype(int).tolist()
    return predictions(labels, np.stack([sure, 1 - sure], axis=1).tolist())


def test_the_noise_of_resampling_does_not_count_as_calibration_error() -> None:
    found = [metrics.bootstrap(honest(seed), ["ece"], 100)["ece"] for seed in range(10)]
    # By percentiles the mean low end was 0.035, and some intervals left out what was measured.
    assert np.mean([low for _, low, _ in found]) < 0.01
    for seed, (value, low, high) in enumerate(found):
        assert 0 <= low <= value == measure(honest(seed))["ece"] <= high


def test_a_metric_is_shown_with_its_unit_and_interval() -> None:
    assert shown({"top1": 0.95, "top1_low": 0.9, "top1_high": 1.0}, "top1") == (
        "0.950 (0.900 to 1.000)"
    )
    assert shown({"landmarks_tagged": 0.25}, "landmarks_tagged") == "25.0%"
    assert shown({"ms_per_photo": 4.0}, "ms_per_photo") == "4.0 ms"
    assert shown({}, "top1") == "n/a"


def test_an_added_metric_is_measured_and_shown(
    answered: Predictions, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = Metric("all photos", "", lambda p: float(len(p.labels)), "{:.0f}", on="cards")
    monkeypatch.setitem(METRICS, "all_photos", photos)
    found = measure(answered)
    assert found["all_photos"] == 5
    assert "all_photos" in summary_names(found)
    assert shown(found, "all_photos") == "5"


def test_gap_and_ece_are_compared_on_the_same_resamples() -> None:
    rng = np.random.default_rng(0)
    labels = [0] * 30 + [1] * 30 + [-1] * 20

    def model(right: float) -> Predictions:
        chance = rng.uniform(0.5, 1, len(labels))
        best = [0 if label < 0 or rng.random() < right else 1 - label for label in labels]
        return predictions(
            labels,
            [(p, 1 - p) if b == 0 else (1 - p, p) for p, b in zip(chance, best, strict=True)],
        )

    first, second = model(0.9), model(0.7)
    found = metrics.bootstrap(first, ("gap", "ece"), against=second)
    values: dict[str, list[float]] = {"gap": [], "ece": []}
    for _ in range(1500):
        rows = rng.integers(80, size=80)
        for name, drawn in values.items():
            of = metrics.METRICS[name].of
            assert of is not None
            drawn.append(of(first.take(rows)) - of(second.take(rows)))
    for name, (value, low, high) in found.items():
        of = metrics.METRICS[name].of
        assert of is not None
        assert value == pytest.approx(of(first) - of(second))
        ends = np.quantile(values[name], (0.025, 0.975))
        if name == "ece":
            ends = 2 * value - ends[::-1]
        assert (low, high) == pytest.approx(ends, abs=0.02)
    assert metrics.bootstrap(first, ["gap"], 100, against=first)["gap"] == (0.0, 0.0, 0.0)

"""Metrics against values worked out by hand and against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score, top_k_accuracy_score

from landmark_ml.evaluation import metrics

NOTHING = np.empty(0)


def test_top_k_counts_a_label_among_the_k_best() -> None:
    scores = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.2, 0.5, 0.3]])
    labels = np.array([0, 1, 0])
    assert metrics.accuracy(scores, labels) == pytest.approx(1 / 3)
    assert metrics.accuracy(scores, labels, 2) == pytest.approx(2 / 3)
    assert metrics.topk_correct(scores, labels, 2).tolist() == [True, True, False]


def test_more_candidates_than_classes_are_all_classes() -> None:
    assert metrics.accuracy(np.array([[0.9, 0.1]]), np.array([1]), k=5) == 1.0


@pytest.mark.parametrize("k", [1, 2, 3])
def test_accuracy_agrees_with_scikit_learn(k: int) -> None:
    rng = np.random.default_rng(k)
    scores, labels = rng.random((200, 7)), rng.integers(0, 7, 200)
    expected = top_k_accuracy_score(labels, scores, k=k, labels=range(7))
    assert metrics.accuracy(scores, labels, k) == pytest.approx(expected)


def test_equal_scores_give_exactly_k_hits_a_photo() -> None:
    scores, labels = np.full((4, 4), 0.25), np.arange(4)
    hits = sum(metrics.topk_correct(scores, np.full(4, label), 2)[0] for label in labels)
    assert hits == 2


@pytest.mark.parametrize(
    ("share", "count", "low", "high"),
    [
        (0.5, 10, 0.2366, 0.7634),
        (0.0, 10, 0.0, 0.2775),
        (1.0, 10, 0.7225, 1.0),
        (0.9, 522, 0.8713, 0.9229),
    ],
)
def test_wilson_interval_of_known_shares(share: float, count: int, low: float, high: float) -> None:
    assert metrics.wilson_interval(share, count) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize("count", [1, 10, 25, 27, 100, 183, 522])
def test_the_interval_holds_the_share_it_is_of(count: int) -> None:
    for right in (0, 1, count):
        low, high = metrics.wilson_interval(right / count, count)
        assert 0 <= low <= right / count <= high <= 1


def test_more_photos_narrow_the_interval() -> None:
    few, many = metrics.wilson_interval(0.8, 20), metrics.wilson_interval(0.8, 2000)
    assert few[0] < many[0] < 0.8 < many[1] < few[1]


def test_gap_by_hand() -> None:
    confidence = np.array([0.9, 0.8, 0.7, 0.6])
    correct = np.array([True, False, True, False])
    # (1/1 + 2/3) over three landmark photos; the fourth answer was on a photo of none.
    assert metrics.global_average_precision(confidence, correct, 3) == pytest.approx(5 / 9)


def test_confident_distractors_cost_gap_and_modest_ones_do_not() -> None:
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
    # Bins of one tenth: |0.9 - 0.75| on four photos, |0.3 - 0.5| on two.
    expected = (4 * 0.15 + 2 * 0.2) / 6
    found = metrics.expected_calibration_error(confidence, correct, 10)
    assert found == pytest.approx(expected)


def test_certain_and_right_has_no_calibration_error() -> None:
    assert metrics.expected_calibration_error(np.ones(5), np.ones(5, dtype=bool)) == 0.0
    assert metrics.expected_calibration_error(np.ones(5), np.zeros(5, dtype=bool)) == 1.0


def test_rejection_of_parted_and_of_equal_scores() -> None:
    parted = metrics.rejection(np.array([0.9, 0.8]), np.array([0.1, 0.2, 0.3]))
    assert parted == {"auroc": 1.0, "fpr_at_95_recall": 0.0}
    equal = metrics.rejection(np.full(4, 0.5), np.full(4, 0.5))
    assert equal == {"auroc": 0.5, "fpr_at_95_recall": 1.0}


def test_rejection_agrees_with_scikit_learn_and_with_counting() -> None:
    rng = np.random.default_rng(5)
    landmarks, others = rng.normal(1.5, 1, 200), rng.normal(0, 1, 150)
    found = metrics.rejection(landmarks, others)
    truth = np.r_[np.ones(200), np.zeros(150)]
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, np.r_[landmarks, others]))
    threshold = np.sort(landmarks)[10]  # 190 of 200 are at or above it
    assert found["fpr_at_95_recall"] == pytest.approx((others >= threshold).mean())


def test_false_positives_are_read_at_95_recall_on_a_straight_curve() -> None:
    steps = np.arange(40, dtype=float)
    # Each step brings one landmark and one other photo: a diagonal with a point at 0.95.
    assert metrics.rejection(steps, steps)["fpr_at_95_recall"] == pytest.approx(0.95)


def test_per_class_table_by_hand() -> None:
    labels, predictions = np.array([0, 0, 0, 1, 1]), np.array([0, 0, 1, 1, 1])
    table = metrics.per_class_table(labels, predictions, ["a", "b", "c"])
    assert table["landmark"].tolist() == ["a", "b", "c"]
    assert table["photos"].tolist() == [3, 2, 0]
    assert table["precision"].tolist() == pytest.approx([1.0, 2 / 3, 0.0])
    assert table["recall"].tolist() == pytest.approx([2 / 3, 1.0, 0.0])
    assert table["f1"].tolist() == pytest.approx(
        f1_score(labels, predictions, labels=[0, 1, 2], average=None, zero_division=0.0).tolist()
    )


def test_nothing_to_judge_is_an_error_not_a_number() -> None:
    none = NOTHING.astype(bool)
    with pytest.raises(ValueError, match="0 photos"):
        metrics.accuracy(np.empty((0, 3)), NOTHING.astype(int))
    with pytest.raises(ValueError, match="at least 1 photo and count is 0"):
        metrics.wilson_interval(0.5, 0)
    with pytest.raises(ValueError, match="at least 1 photo"):
        metrics.global_average_precision(NOTHING, none, 0)
    with pytest.raises(ValueError, match="0 photos"):
        metrics.expected_calibration_error(NOTHING, none)


def test_rejection_needs_both_kinds_of_photos() -> None:
    with pytest.raises(ValueError, match="0 show a landmark and 2 show none"):
        metrics.rejection(NOTHING, np.ones(2))
    with pytest.raises(ValueError, match="2 show a landmark and 0 show none"):
        metrics.rejection(np.ones(2), NOTHING)


def test_risk_falls_where_only_sure_answers_are_given() -> None:
    coverage, risk = metrics.risk_coverage(
        np.array([0.2, 0.9, 0.6, 0.4]), np.array([False, True, True, False])
    )
    assert coverage.tolist() == [0.25, 0.5, 0.75, 1]
    assert risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 2])


def test_unplaced_photos_are_within_no_distance() -> None:
    found = metrics.location_metrics(np.array([0.5, 20.0, 900.0, np.inf]))
    assert (found["within_1_km"], found["within_25_km"], found["within_2500_km"]) == (
        0.25,
        0.5,
        0.75,
    )
    assert (found["median_km"], found["placed"]) == (20, 0.75)
    assert "median_km" not in metrics.location_metrics(np.array([np.inf]))


def test_where_nobody_knows_the_place_nobody_is_wrong() -> None:
    known = np.array([0.5, np.inf])
    found = metrics.location_metrics(np.array([np.nan, *known, np.nan]))
    assert found == metrics.location_metrics(known)
    assert metrics.location_metrics(np.array([np.nan])) == {}

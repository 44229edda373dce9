"""95% intervals of what is measured of a model: each metric again on resampled photos."""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from landmark_ml.evaluation import metrics
from landmark_ml.evaluation.intervals import bootstrap_intervals

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from landmark_ml.evaluation.predictions import Evaluation

    Rows = NDArray[np.intp]
    Statistic = Callable[[Rows], float]


def metric_intervals(
    evaluation: Evaluation, kilometres: NDArray[np.float64], resamples: int, seed: int
) -> dict[str, float]:
    """Ends of the intervals as `<name>_low` and `<name>_high`.

    kilometres: those of `placement.kilometres_off`.
    """
    statistics, photos = _statistics(evaluation, kilometres), len(evaluation.photos)
    found = bootstrap_intervals(statistics, photos, resamples=resamples, seed=seed)
    if "ece" in found:
        found["ece"] = _turned_round(statistics["ece"](np.arange(photos)), found["ece"])
    lows = {f"{name}_low": low for name, (low, _) in found.items()}
    return lows | {f"{name}_high": high for name, (_, high) in found.items()}


def _turned_round(measured: float, interval: tuple[float, float]) -> tuple[float, float]:
    """The basic bootstrap interval for a percentile one, of what cannot be negative.

    Resampling makes bins noisier, and ECE counts noise as error: it lies above what was measured,
    by about as much as that lies above the truth. Where nearly all resamples lie above, both ends
    would lie below what was measured and is shown beside them, so they are widened to it. Source:
    Davison and Hinkley, Bootstrap Methods and their Application, 1997, 5.2.
    """
    low, high = interval
    return min(measured, max(0.0, 2 * measured - high)), max(measured, 2 * measured - low)


def _statistics(evaluation: Evaluation, kilometres: NDArray[np.float64]) -> Mapping[str, Statistic]:
    """What gets an interval by the bootstrap, as functions of rows of the evaluation."""
    shows, scores = evaluation.shows_landmark, evaluation.landmark_scores
    statistics = {
        name: _if_drawn(statistic, shows) for name, statistic in _on_landmarks(evaluation).items()
    }
    known = ~np.isnan(kilometres)
    if known.any():
        within = partial(_share, kilometres <= 25, known)
        statistics["within_25_km"] = _if_drawn(within, known)
    if shows.all():
        return statistics

    def auroc(rows: Rows) -> float:
        kept = shows[rows]
        return metrics.rejection(scores[rows[kept]], scores[rows[~kept]])["auroc"]

    tagged = partial(_share, evaluation.accepted, ~shows)
    return statistics | {
        "auroc": _if_drawn(auroc, shows, ~shows),
        "distractors_tagged": _if_drawn(tagged, ~shows),
    }


def _on_landmarks(evaluation: Evaluation) -> Mapping[str, Statistic]:
    """Those that need one photo of a landmark or more."""
    shows, correct = evaluation.shows_landmark, evaluation.correct
    labels, predictions = evaluation.labels, evaluation.predictions
    confidence = evaluation.confidence

    def of_landmarks(measure: Statistic) -> Statistic:
        return lambda rows: measure(rows[shows[rows]])

    def gap(rows: Rows) -> float:
        landmarks = int(shows[rows].sum())
        return metrics.global_average_precision(confidence[rows], correct[rows], landmarks)

    top5 = metrics.topk_correct(evaluation.probabilities, labels, 5)
    return {
        "top5": partial(_share, top5, shows),
        "macro_f1": of_landmarks(lambda r: metrics.macro_f1(labels[r], predictions[r])),
        "ece": of_landmarks(
            lambda r: metrics.expected_calibration_error(confidence[r], correct[r])
        ),
        "gap": gap,
        "landmarks_tagged": partial(_share, evaluation.accepted, shows),
    }


def _share(values: NDArray[np.bool_], kind: NDArray[np.bool_], rows: Rows) -> float:
    return float(values[rows[kind[rows]]].mean())


def _if_drawn(statistic: Statistic, *kinds: NDArray[np.bool_]) -> Statistic:
    """NaN on a resample without a photo of one of the kinds: nothing is defined there."""

    def guarded(rows: Rows) -> float:
        drawn = all(kind[rows].any() for kind in kinds)
        return statistic(rows) if drawn else math.nan

    return guarded

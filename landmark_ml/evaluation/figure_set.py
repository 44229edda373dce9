"""The figures of an evaluation, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from landmark_ml import figures
from landmark_ml.evaluation.predictions import mistakes, sample_answers

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from landmark_ml.evaluation.judge import EvaluationReport


def evaluation_figures(report: EvaluationReport) -> dict[str, Figure]:
    """Every figure that the photos allow, in the order of the page."""
    evaluation = report.evaluation
    shows = evaluation.shows_landmark
    confidence, correct = evaluation.confidence, evaluation.correct
    labels, predictions = evaluation.labels[shows], evaluation.predictions[shows]
    drawn = {
        "reliability": figures.reliability_diagram(
            confidence[shows], correct[shows], ece=report.metrics["ece"]
        ),
        "risk_coverage": figures.risk_coverage_curve(confidence, correct),
    }
    if not np.isnan(report.kilometres).all():
        drawn["location_error"] = figures.location_error(report.kilometres)
    if not report.corruptions.empty:
        drawn["robustness"] = figures.robustness_bars(report.corruptions)
    others = {}
    if not shows.all():
        others["no landmark"] = evaluation.landmark_scores[~shows]
    if report.unseen is not None:
        others["unseen landmark"] = report.unseen.landmark_scores
    accepted = evaluation.accepted
    for name, scores in others.items():
        # The threshold is not among the answers; between those kept and those not is as good.
        threshold = _between(evaluation.landmark_scores, accepted)
        drawn[f"rejection_{name.replace(' ', '_')}"] = figures.rejection_histogram(
            evaluation.landmark_scores[shows], scores, threshold, name
        )
    drawn["confusion_matrix"] = figures.confusion_matrix(labels, predictions, evaluation.classes)
    drawn["per_class"] = figures.per_class_table(report.classes[report.classes["photos"] > 0])
    drawn["worst_mistakes"] = figures.worst_mistakes(mistakes(evaluation), photos=len(labels))
    drawn["answers"] = figures.answer_gallery(sample_answers(evaluation))
    return drawn


def _between(scores: NDArray[np.float64], accepted: NDArray[np.bool_]) -> float:
    """A score from which photos are accepted: the lowest that was."""
    return float(scores[accepted].min()) if accepted.any() else float(scores.max())

"""A report as people read it: a short table, every figure, and both on one HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from landmark_ml.evaluation.metrics import LOCATION_LIMITS_KM, METRICS, risk_coverage, shown
from landmark_ml.figures.confidence import rejection_histogram, reliability_diagram
from landmark_ml.figures.confusion import confusion_matrix
from landmark_ml.figures.html import Picture, render
from landmark_ml.figures.results import (
    location_error,
    per_class_table,
    risk_coverage_curve,
    robustness_bars,
)
from landmark_ml.figures.thumbnails import Answer, answer_gallery, worst_mistakes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.figure import Figure

    from landmark_ml.evaluation.judge import Report
    from landmark_ml.evaluation.predictions import Predictions

_SHOWN_ANSWERS = 12


def summary_table(report: Report) -> list[tuple[str, str]]:
    """Rows (caption, value with its 95% interval) of everything that was measured."""
    found = report.metrics
    return [(METRICS[name].caption, shown(found, name)) for name in METRICS if name in found]


def report_figures(report: Report) -> dict[str, Figure]:
    """Every figure that the photos allow, by name, in the order of the page."""
    found, classes = report.predictions, report.predictions.per_class()
    shows = found.shows_landmark
    labels, best = found.labels[shows], found.best[shows]
    drawn = {
        "reliability": reliability_diagram(
            found.confidence[shows], found.correct[shows], ece=report.metrics["ece"]
        ),
        "risk_coverage": risk_coverage_curve(*risk_coverage(found.confidence, found.correct)),
    }
    if not np.isnan(found.kilometres).all():
        drawn["location_error"] = location_error(found.kilometres, LOCATION_LIMITS_KM)
    if not report.corruptions.empty:
        drawn["robustness"] = robustness_bars(report.corruptions)
    # Answers do not hold the threshold; the lowest score that was accepted takes its place.
    scores = found.landmark_scores
    threshold = float(scores[found.accepted].min() if found.accepted.any() else scores.max())
    others = {}
    if not shows.all():
        others["no landmark"] = scores[~shows]
    if found.unseen is not None:
        others["unseen landmark"] = found.unseen.landmark_scores
    for name, other_scores in others.items():
        drawn[f"rejection_{name.replace(' ', '_')}"] = rejection_histogram(
            scores[shows], other_scores, threshold, name
        )
    drawn["confusion_matrix"] = confusion_matrix(labels, best, found.classes)
    drawn["per_class"] = per_class_table(classes[classes["photos"] > 0])
    answers = [shown_answer(found, row) for row in np.flatnonzero(shows).tolist()]
    mistakes = [answer for answer in answers if not answer.correct]
    drawn["worst_mistakes"] = worst_mistakes(mistakes, photos=len(labels))
    first_of_label = dict(reversed([(answer.label, answer) for answer in answers]))
    some = [first_of_label[name] for name in found.classes if name in first_of_label]
    drawn["answers"] = answer_gallery(some[:_SHOWN_ANSWERS])
    return drawn


def shown_answer(found: Predictions, row: int) -> Answer:
    """The best answer to a photo of a landmark, as a figure shows it."""
    answer = found.answers[row]["candidates"][0]
    return Answer(
        path=found.photos[row].path,
        label=found.classes[found.labels[row]],
        landmark=found.classes[found.best[row]],
        confidence=float(found.confidence[row]),
        where=", ".join(filter(None, (answer.get("city"), answer.get("country")))),
    )


def render_page(facts: Mapping[str, str], report: Report, figures: Mapping[str, Figure]) -> str:
    """HTML of an evaluation; facts: what was judged, and on which photos."""
    return render(
        "evaluation.html",
        facts=facts,
        metrics=report.metrics,
        rows=summary_table(report),
        meanings=[metric for name, metric in METRICS.items() if name in report.metrics],
        pictures=[
            Picture.of(
                name.replace("rejection_", "rejection: ").replace("_", " ").capitalize(), figure
            )
            for name, figure in figures.items()
        ],
    )

"""An evaluation as people read it: a short table, every figure and a page, in a run of its own."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from landmark_ml.config import EvaluateConfig
from landmark_ml.data import split_digest
from landmark_ml.evaluation.judge import HeldOutPhotos, JudgeOptions, Report, choose_photos, judge
from landmark_ml.evaluation.metrics import LOCATION_LIMITS_KM, METRICS, risk_coverage, shown
from landmark_ml.evaluation.model_process import open_served
from landmark_ml.figures.html import Picture, render
from landmark_ml.figures.results import (
    Answer,
    answer_gallery,
    confusion_matrix,
    location_error,
    per_class_table,
    rejection_curve,
    reliability_diagram,
    risk_coverage_curve,
    robustness_bars,
    worst_mistakes,
)
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.tracking import run as tracking
from landmark_ml.tracking.read_runs import fetch_manifest, fetch_model

PAGE, METRICS_FILE = "evaluation.html", "evaluation.json"
_SHOWN_ANSWERS = 12


@dataclass(frozen=True, eq=False)
class EvaluationResult:
    """What was measured, and where the run and the page are."""

    run_id: str
    location: str
    page: str
    model: str
    photos: HeldOutPhotos
    report: Report


def run_evaluation(config: EvaluateConfig) -> EvaluationResult:
    """Judge the configured model on the configured photos, as a run of its own.

    Raises ValueError for a model or a dataset that is not there, and when no photo is left that
    the model was not trained on.
    """
    name = f"evaluate-{config.model.removeprefix('models:/').replace('/', '-')}"
    tags = {"kind": "evaluate", "model": config.model}
    with (
        tracking.start_run(config, name, tags) as run,
        tempfile.TemporaryDirectory() as folder,
    ):
        scratch = Path(folder)
        model = fetch_model(config.model, scratch)
        photos = choose_photos(
            config, fetch_manifest(model.run_id, scratch), every=config.photos == "all"
        )
        gazetteer = Gazetteer.of_dataset(photos.dataset.root, config.places)
        options = JudgeOptions(
            unseen_apart=True,
            resamples=config.resamples,
            corrupted_photos=config.corrupted_photos,
            timed_photos=100,
            seed=config.seed,
        )
        with open_served(model.folder, scratch, config.threads) as asked:
            report = judge(asked, photos.photos, photos.dataset.classes, gazetteer, options)
        judged = replace(photos.dataset, train=(), val=(), test=photos.photos)
        logged = run.log_dataset(judged, "test")
        metrics = {f"eval/{name}": value for name, value in report.metrics.items()}
        run.log_metrics(metrics, model_id=model.model_id, dataset=logged)
        run.log_table(report.predictions.table(), "answers")
        run.log_table(report.predictions.per_class(), "per_class")
        if not report.corruptions.empty:
            run.log_table(report.corruptions, "corruptions")
        figures = report_figures(report)
        for name, figure in figures.items():
            run.log_figure(figure, name)
        facts = {
            "model": model.uri,
            "model_id": model.model_id or "",
            "trained_by_run": model.run_id or "",
            "data": photos.dataset.name,
            "split": photos.split,
            "photos_digest": split_digest(photos.photos, photos.dataset.classes),
            "left_out": str(photos.left_out),
            "not_known": photos.unchecked,
        }
        run.set_tags(facts)
        content = {**facts, "metrics": report.metrics}
        run.log_text(json.dumps(content, indent=1, ensure_ascii=False), METRICS_FILE)
        rows = summary_table(report)
        page = render(
            PAGE,
            facts=facts,
            metrics=report.metrics,
            rows=rows,
            meanings=[metric for name, metric in METRICS.items() if name in report.metrics],
            pictures=[
                Picture.of(name.replace("_", " ").capitalize(), figure)
                for name, figure in figures.items()
            ],
        )
        run.log_text(page, PAGE)
        lines = [f"| {name} | {value} |" for name, value in rows]
        table = "\n".join(["| measure | value (95% interval) |", "|---|---|", *lines])
        run.describe(f"### {model.uri} on {photos.dataset.name}\n\n{table}")
        return EvaluationResult(
            run.run_id, run.location, run.artifact_uri(PAGE), config.model, photos, report
        )


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
    scores, others = found.landmark_scores, dict[str, NDArray[np.float64]]()
    asked = [found]
    if found.unseen is not None:
        others["landmarks never learned"] = found.unseen.landmark_scores
        asked.append(found.unseen)
    if not shows.all():
        others["photos of no landmark"] = scores[~shows]
    if others:
        # Answers do not hold the threshold; the lowest score that was accepted takes its place.
        accepted = np.concatenate([one.landmark_scores[one.accepted] for one in asked])
        threshold = float(accepted.min(initial=np.inf))
        drawn["rejection_curve"] = rejection_curve(scores[shows], others, threshold)
    drawn["confusion_matrix"] = confusion_matrix(labels, best, found.classes)
    drawn["per_class"] = per_class_table(classes[classes["photos"] > 0])
    answers = []
    for row in np.flatnonzero(shows).tolist():
        first = found.answers[row]["candidates"][0]
        answers.append(
            Answer(
                path=found.photos[row].path,
                label=found.classes[found.labels[row]],
                landmark=found.classes[found.best[row]],
                confidence=float(found.confidence[row]),
                where=", ".join(filter(None, (first.get("city"), first.get("country")))),
            )
        )
    mistakes = [answer for answer in answers if not answer.correct]
    drawn["worst_mistakes"] = worst_mistakes(mistakes, photos=len(labels))
    first_of_label = dict(reversed([(answer.label, answer) for answer in answers]))
    some = [first_of_label[name] for name in found.classes if name in first_of_label]
    drawn["answers"] = answer_gallery(some[:_SHOWN_ANSWERS])
    return drawn

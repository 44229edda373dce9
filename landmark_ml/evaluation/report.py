"""An evaluation as people read it: a short table, every figure and a page, logged to a run."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from mlflow.data.pandas_dataset import PandasDataset
from numpy.typing import NDArray

from landmark_ml.config import EvaluateConfig
from landmark_ml.data import NOT_A_LANDMARK, split_digest
from landmark_ml.data.places import open_gazetteer
from landmark_ml.evaluation.judge import (
    HeldOutPhotos,
    JudgeOptions,
    Predictions,
    Report,
    choose_photos,
    judge,
)
from landmark_ml.evaluation.metrics import (
    METRICS,
    Metric,
    calibration_bins,
    shown,
    summary_names,
)
from landmark_ml.evaluation.model_process import open_served
from landmark_ml.figures.html import Picture, render
from landmark_ml.figures.results import (
    NONE,
    Answer,
    answer_gallery,
    confusion_matrix,
    rejection_curve,
    reliability_diagram,
    worst_mistakes,
)
from landmark_ml.tracking import run as tracking
from landmark_ml.tracking.read_runs import EVALUATION, fetch_manifest, fetch_model
from landmark_ml.tracking.run import Run

PAGE = "evaluation.html"
_SHOWN_ANSWERS, _SHOWN_LANDMARKS = 12, 40
_GROUPS = {
    "top1": "How often it is right",
    "gap": "What its confidence means",
    "auroc": "Photos it should not tag",
    "landmark_level": "How finely it answers",
    "within_1_km": "Where it places photos",
    "top1_clean": "Damaged photos",
    "ms_per_photo": "Speed and memory",
    "photos": "What it was judged on",
}
"""Headings of the page's table, each by the first metric below it."""
_HEADINGS = {
    "answers": "What it answers",
    "worst_mistakes": "Its worst mistakes",
    "confusion_matrix": "What it takes for what",
    "reliability": "Does its confidence mean what it says?",
    "rejection_curve": "What another threshold would tag",
}


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
    """Judge the configured model on the configured photos; the outcome is a run of its own.

    Raises ValueError for a model or a dataset that is not there, and when no photo is left that
    the model was not trained on: then there is no run.
    """
    tracking.connect()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        model = fetch_model(config.model, scratch)
        photos = choose_photos(
            config, fetch_manifest(model.run_id, scratch), every=config.photos == "all"
        )
        gazetteer = open_gazetteer(photos.dataset, config.places)
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
    name = f"evaluate-{model.uri.removeprefix('models:/').replace('/', '-')}-{judged.name}"
    with tracking.start_run(config, name, {"kind": "evaluate"}) as run:
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
        log_judged(run, "eval", report, facts, run.log_dataset(judged, "test"), config.seed)
        run.log_table(report.predictions.table(), "answers")
        if not report.corruptions.empty:
            run.log_table(report.corruptions, "corruptions")
        lines = [f"| {name} | {value} |" for name, value in summary_table(report)]
        table = "\n".join(["| measure | value (95% interval) |", "|---|---|", *lines])
        run.describe(f"### {model.uri} on {photos.dataset.name}\n\n{table}")
        return EvaluationResult(
            run.run_id, run.location, mlflow.get_artifact_uri(PAGE), model.uri, photos, report
        )


def log_judged(
    run: Run,
    prefix: str,
    report: Report,
    facts: Mapping[str, str],
    photos: PandasDataset,
    seed: int = 0,
) -> None:
    """Log a report to a run: metrics linked to model and photos, per_class.csv, figures, the page.

    prefix: of the metrics' names. Those of cards and receipts become metrics of MLflow, which
    draws a chart for each; `evaluation.json` holds all of them with intervals and counts, after
    the facts about model and photos. seed: chooses the photos of the figure of answers.
    """
    metrics = {f"{prefix}/{name}": report.metrics[name] for name in summary_names(report.metrics)}
    mlflow.log_metrics(metrics, model_id=facts["model_id"] or None, dataset=photos)
    mlflow.log_text(
        json.dumps({**facts, "metrics": report.metrics}, indent=1, ensure_ascii=False), EVALUATION
    )
    run.log_table(report.predictions.per_class(), "per_class")
    figures = report_figures(report, seed)
    logged = {name: run.log_figure(draw, name) for name, draw in figures.items()}
    pictures = [Picture.of(_HEADINGS[name], figure) for name, figure in logged.items() if figure]
    mlflow.log_text(evaluation_page(report, pictures, facts), PAGE)


def summary_table(report: Report) -> list[tuple[str, str]]:
    """Rows (caption, value with its 95% interval) of everything that was measured."""
    found = report.metrics
    return [(METRICS[name].caption, shown(found, name)) for name in METRICS if name in found]


def weakest_landmarks(found: Predictions, most: int) -> pd.DataFrame:
    """The landmarks with the lowest recall, of those with a mistake, as people read it.

    Columns landmark, photos, recall, precision; the last two are texts with their 95% intervals.
    """
    table = found.per_class()
    faulty = table[(table["photos"] > 0) & (table[["recall", "precision"]].min(axis=1) < 1)]
    shown = faulty.sort_values(["recall", "precision"], kind="stable").head(most)
    scores = {
        score: [
            f"{value:.2f} ({low:.2f} to {high:.2f})"
            for value, low, high in shown[[score, f"{score}_low", f"{score}_high"]].to_numpy()
        ]
        for score in ("recall", "precision")
    }
    return shown[["landmark", "photos"]].assign(**scores)


def evaluation_page(report: Report, pictures: list[Picture], facts: Mapping[str, str]) -> str:
    """HTML of what was measured, in groups, and the pictures; nothing is fetched.

    facts: what was judged, of the tags that `run_evaluation` sets; `model` and `data` at least.
    """
    groups: dict[str, list[tuple[Metric, str, str]]] = {}
    title = ""
    for name, metric in METRICS.items():
        title = _GROUPS.get(name, title)
        if name in report.metrics:
            value, _, interval = shown(report.metrics, name).partition(" (")
            groups.setdefault(title, []).append((metric, value, interval.rstrip(")")))
    return render(
        PAGE,
        facts=facts,
        metrics=report.metrics,
        groups=groups,
        weakest=weakest_landmarks(report.predictions, _SHOWN_LANDMARKS),
        pictures=pictures,
    )


def report_figures(report: Report, seed: int = 0) -> dict[str, Callable[[], Figure]]:
    """What draws every figure that the photos allow, by name, in the order of the page.

    seed: chooses the photos of `answers`.
    """
    found = report.predictions
    shows, named = found.shows_landmark, names_landmark(found)
    rng = np.random.default_rng(seed)
    landmarks, others = (rng.permutation(np.flatnonzero(kind)) for kind in (shows, ~shows))
    chosen = [*landmarks[: _SHOWN_ANSWERS - bool(len(others))], *others[:1]]
    mistakes = answers_of(found, np.flatnonzero(named & ~found.correct))
    bins = calibration_bins(found.confidence[shows], found.correct[shows])
    said = np.where(named, found.best, NOT_A_LANDMARK)
    drawn: dict[str, Callable[[], Figure]] = {
        "answers": lambda: answer_gallery(answers_of(found, chosen), seed=seed),
        "worst_mistakes": lambda: worst_mistakes(mistakes, photos=len(found.photos)),
        "confusion_matrix": lambda: confusion_matrix(found.labels, said, found.classes),
        "reliability": lambda: reliability_diagram(bins, ece=report.metrics["ece"]),
    }
    scores, apart = found.landmark_scores, dict[str, NDArray[np.float64]]()
    asked = [found]
    if found.unseen is not None:
        apart["landmarks never learned"] = found.unseen.landmark_scores
        asked.append(found.unseen)
    if not shows.all():
        apart["photos of no landmark"] = scores[~shows]
    if apart:
        # Answers do not hold the threshold; the lowest score that was accepted takes its place.
        accepted = np.concatenate([one.landmark_scores[one.accepted] for one in asked])
        threshold = float(accepted.min(initial=np.inf))
        drawn["rejection_curve"] = lambda: rejection_curve(scores[shows], apart, threshold)
    return drawn


def names_landmark(found: Predictions) -> NDArray[np.bool_]:
    """Whether each answer names a landmark, not a city, a country or nothing: bool [N]."""
    named: NDArray[np.bool_] = found.accepted & np.isin(found.levels, ("", "landmark"))
    return named


def answers_of(found: Predictions, rows: Iterable[int]) -> list[Answer]:
    """Answers as figures show them."""
    named, classes = names_landmark(found), [*found.classes, ""]
    return [
        Answer(
            path=found.photos[row].path,
            label=classes[found.labels[row]],
            said=classes[found.best[row]] if named[row] else found.said[row] or NONE,
            named=bool(named[row]),
            confidence=float(found.confidence[row]),
            where=found.where[row],
        )
        for row in rows
    ]

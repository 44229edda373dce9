"""Judge a logged model on a dataset and leave all that was measured in MLflow."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_ml.data import split_digest
from landmark_ml.evaluation.held_out import HeldOutPhotos, choose_photos
from landmark_ml.evaluation.judge import JudgeOptions, Report, judge
from landmark_ml.evaluation.model_process import open_served
from landmark_ml.evaluation.page import render_page, report_figures, summary_table
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.tracking import run as tracking
from landmark_ml.tracking.fetch import fetch_manifest, fetch_model

if TYPE_CHECKING:
    from landmark_ml.config import EvaluateConfig

PAGE, METRICS_FILE = "evaluation.html", "evaluation.json"


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
            "checked_against_training": str(photos.checked),
        }
        run.set_tags(facts)
        content = {**facts, "metrics": report.metrics}
        run.log_text(json.dumps(content, indent=1, ensure_ascii=False), METRICS_FILE)
        run.log_text(render_page(facts, report, figures), PAGE)
        rows = [f"| {name} | {value} |" for name, value in summary_table(report)]
        table = "\n".join(["| measure | value (95% interval) |", "|---|---|", *rows])
        run.describe(f"### {model.uri} on {photos.dataset.name}\n\n{table}")
        return EvaluationResult(
            run.run_id, run.location, run.artifact_uri(PAGE), config.model, photos, report
        )

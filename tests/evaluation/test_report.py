"""A logged model is judged in its own process; what was measured stands in MLflow and on a page."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from experiments import evaluate
from landmark_ml.config import EvaluateConfig
from landmark_ml.evaluation.report import EvaluationResult, report_figures, run_evaluation
from tests.colour_artifact import log_artifact
from tests.colour_photos import write_colour
from tests.figures.figure_reading import says

# A process of its own, every figure and every corruption take longer than a few seconds.
pytestmark = pytest.mark.slow

FOLDERS = {
    "Tour_Eiffel": 0,
    "Chateau_dIf": 1,
    "Nowhere": 2,
    "Unseen_Place": -1,
    "not_landmarks": -1,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("judged") / "colours"
    for start, (folder, label) in enumerate(FOLDERS.items()):
        for index in range(8):
            write_colour(root / folder / f"{index}.png", label, 100 * start + index)
    # One tower is shown as a castle, so that not everything is right.
    write_colour(root / "Tour_Eiffel" / "castle.png", 1, 999)
    return root


@pytest.fixture(scope="module")
def result(root: Path, tracking_uri: str) -> EvaluationResult:
    config = EvaluateConfig(
        data=str(root),
        model=log_artifact(tracking_uri).model_uri,
        photos="all",
        corrupted_photos=25,
        resamples=50,
    )
    return run_evaluation(config)


def test_everything_is_measured_and_linked_to_the_model(result: EvaluationResult) -> None:
    run = mlflow.get_run(result.run_id)
    found = run.data.metrics
    assert run.info.status == "FINISHED"
    assert found["eval/top1"] == 24 / 25
    # Charts of MLflow are for what runs are compared by.
    assert not [name for name in found if name.endswith(("_low", "_high", "photos", "distractors"))]
    every = mlflow.artifacts.load_dict(f"{run.info.artifact_uri}/evaluation.json")["metrics"]
    assert every["photos"] == 25
    assert every["distractors"] == 8
    assert every["top1"] == 24 / 25
    assert every["auroc"] == 1
    assert 0 <= every["ece_low"] <= every["ece"] <= every["ece_high"] <= 1
    assert every["top1_clean"] == 24 / 25
    assert every["peak_mb"] >= every["loaded_mb"] > 50
    assert 0 < every["ms_per_photo"] <= every["p99_ms"]
    assert every["photos_per_second"] > 0
    # 9 photos show the tower, one of them far away; "Nowhere" has no place and does not count.
    assert every["within_25_km"] == 16 / 17
    # A slow run also holds MLflow's metrics of the system.
    assert {key.removeprefix("eval/") for key in found if key.startswith("eval/")} <= set(every)
    logged = mlflow.get_logged_model(run.data.tags["model_id"])
    assert {metric.key for metric in logged.metrics or ()} >= {"eval/top1", "eval/gap"}
    assert "trained on some of these photos" in run.data.tags["not_known"]


def test_landmarks_never_learned_are_judged_apart(result: EvaluationResult) -> None:
    found = result.report.metrics
    assert found["unseen_photos"] == 8
    assert found["unseen_auroc"] == 1
    assert found["unseen_tagged"] == 0
    table = result.report.predictions.table()
    assert len(table) == 33
    assert "Tour_Eiffel/castle.png" in set(table["file"])


def test_the_curve_counts_the_same_photos_as_the_metrics(result: EvaluationResult) -> None:
    found = result.report.predictions
    assert found.unseen is not None
    # The lowest score that is accepted may be that of a photo which should not be.
    scores = np.linspace(0.1, 0.45, 8)
    unseen = replace(found.unseen, landmark_scores=scores, accepted=scores > 0.4)
    tagged = replace(found, unseen=unseen)
    figure = report_figures(replace(result.report, predictions=tagged))["rejection_curve"]()
    assert says(figure, "12.5% of landmarks never learned")
    none = replace(found, accepted=np.zeros_like(found.accepted))
    figure = report_figures(replace(result.report, predictions=none))["rejection_curve"]()
    assert says(figure, "Tagged at the threshold: 0.0% of known landmarks")


def test_page_figures_and_tables_are_in_the_run(result: EvaluationResult) -> None:
    page = Path(mlflow.artifacts.download_artifacts(f"runs:/{result.run_id}/evaluation.html"))
    text = page.read_text(encoding="utf-8")
    figures = {
        item.path.removeprefix("figures/").removesuffix(".png")
        for item in mlflow.MlflowClient().list_artifacts(result.run_id, "figures")
    }
    assert figures == {
        "answers",
        "confusion_matrix",
        "rejection_curve",
        "reliability",
        "worst_mistakes",
    }
    assert text.count("data:image/png;base64,") == len(figures)
    assert "0.960" in text
    assert "is not known" in text
    assert text.index("How often it is right") < text.index("Speed and memory")
    assert "Landmark photos answered right" in text
    content: dict[str, Any] = json.loads(
        mlflow.artifacts.load_text(f"runs:/{result.run_id}/evaluation.json")
    )
    assert content["metrics"]["top1"] == 24 / 25
    corruptions = mlflow.artifacts.load_text(f"runs:/{result.run_id}/corruptions.csv")
    assert len(corruptions.splitlines()) == 9


def test_the_terminal_says_the_same(
    result: EvaluationResult, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate.print_evaluation(result)
    printed = capsys.readouterr().out
    assert "on 25 landmark photos and 8 without a landmark (colours)" in printed
    assert "top-1 " in printed
    assert "0.960 (" in printed
    assert result.run_id in printed
    said = json.loads(evaluate.to_json(result))
    assert said["metrics"]["top1"] == result.report.metrics["top1"]


def test_a_model_that_is_not_there_is_named_and_leaves_no_run(
    tracking_uri: str, root: Path
) -> None:
    before = mlflow.search_runs(search_all_experiments=True, output_format="list")
    with pytest.raises(ValueError, match=r"model 'nothing/1' cannot be read"):
        run_evaluation(EvaluateConfig(data=str(root), model="nothing/1"))
    assert len(mlflow.search_runs(search_all_experiments=True, output_format="list")) == len(before)

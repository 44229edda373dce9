"""Inspecting a dataset leaves figures, inputs, manifest and findings in a run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import mlflow
import numpy as np
import pytest

from experiments import data, recipes
from landmark_ml.config import DataConfig
from landmark_ml.data import manifest_digest, read_manifest
from landmark_ml.reports.dataset_report import InspectionResult, run_inspection
from tests.photo_folders import write_two_classes

if TYPE_CHECKING:
    from pathlib import Path

    from landmark_ml.config import TrainConfig


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_two_classes(tmp_path_factory.mktemp("inspection") / "photos")
    (root / "3.Stonehenge" / "broken.jpg").write_bytes(b"no photo at all")
    return root


@pytest.fixture(scope="module")
def result(root: Path, tracking_uri: str) -> InspectionResult:
    return run_inspection(DataConfig(data=str(root), max_unreadable=0.0), recipes.transfer())


def test_the_run_is_finished_and_says_what_was_found(result: InspectionResult) -> None:
    run = mlflow.get_run(result.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "data-photos"
    assert run.data.metrics["data/unreadable"] == 1
    assert run.data.metrics["data/refused"] == 1
    assert run.data.metrics["data/small"] == 2
    assert "broken.jpg`: not_an_image" in run.data.tags["mlflow.note.content"]
    assert run.inputs is not None
    assert [item.dataset.name for item in run.inputs.dataset_inputs] == [
        "photos-train",
        "photos-val",
        "photos-test",
    ]


def test_the_figures_are_pictures_of_the_dataset(result: InspectionResult) -> None:
    figures = ("samples", "class_counts", "image_sizes", "channels", "augmented")
    for name in figures:
        uri = f"runs:/{result.run_id}/figures/data_{name}.png"
        picture = np.asarray(mlflow.artifacts.load_image(uri).convert("L"))
        assert picture.std() > 5, name


def test_manifest_and_findings_can_be_read_back(result: InspectionResult, tmp_path: Path) -> None:
    uri = f"runs:/{result.run_id}/split_manifest.json"
    path = mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path))
    restored = read_manifest(tmp_path / "split_manifest.json", result.dataset.root)
    assert path.endswith("split_manifest.json")
    assert manifest_digest(restored) == manifest_digest(result.dataset)
    table = mlflow.artifacts.load_text(f"runs:/{result.run_id}/findings.csv")
    assert len(table.splitlines()) == 1 + len(result.findings.found)


def test_a_failed_inspection_says_why(tmp_path: Path, tracking_uri: str) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        run_inspection(DataConfig(data=str(tmp_path / "nowhere")), recipes.transfer())
    last = mlflow.search_runs(search_all_experiments=True, max_results=1, output_format="list")[0]
    assert last.info.status == "FAILED"
    assert "does not exist" in last.data.tags["error"]


def test_the_entry_point_prints_a_summary(
    result: InspectionResult, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[DataConfig] = []

    def inspect(config: DataConfig, training: TrainConfig) -> InspectionResult:
        asked.append(config)
        return result

    monkeypatch.setattr(data, "run_inspection", inspect)
    monkeypatch.setattr(sys, "argv", ["data", "--data=photos", "--places=", "--seed=3"])
    data.main()
    printed = capsys.readouterr().out
    assert asked == [DataConfig(data="photos", places="", seed=3)]
    assert "photos: 2 classes, 12 train" in printed
    assert "- Unreadable files: 1 (" in printed
    assert "run 'data-photos'" in printed

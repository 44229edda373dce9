"""Look at a dataset before training on it: its figures, its manifest and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_ml.data import SPLITS
from landmark_ml.data.opening import open_dataset
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.networks.create import create_preprocessing
from landmark_ml.reports import training_report as reporting
from landmark_ml.reports.findings import inspect_dataset
from landmark_ml.tracking import run as tracking
from landmark_ml.training.devices import seed_everything

if TYPE_CHECKING:
    from landmark_ml.config import DataConfig, TrainConfig
    from landmark_ml.data import Dataset
    from landmark_ml.reports.findings import Findings


@dataclass(frozen=True)
class InspectionResult:
    """The dataset as training would see it, what is wrong with it, and where the run is."""

    run_id: str
    location: str
    dataset: Dataset
    findings: Findings


def run_inspection(config: DataConfig, training: TrainConfig) -> InspectionResult:
    """Log figures, inputs, manifest and findings of a dataset to a run.

    training: whose resolution and augmentation the figures show. Any share of unreadable files is
    reported, not refused. Raises ValueError for a dataset that cannot be opened.
    """
    name = f"data-{Path(config.data).name}"
    with tracking.start_run(config, name, {"kind": "data"}) as run:
        seed_everything(config.seed)
        dataset = open_dataset(replace(config, max_unreadable=1.0))
        for split in SPLITS:
            run.log_dataset(dataset, split)
        run.log_manifest(dataset)
        reporting.log_dataset_figures(run, dataset, training, create_preprocessing(training))
        gazetteer = Gazetteer.of_dataset(dataset.root, config.places)
        findings = inspect_dataset(dataset, gazetteer, config.max_unreadable)
        run.log_table(findings.table(), "findings")
        run.log_metrics({f"data/{key}": count for key, count in findings.counts().items()})
        run.describe(f"### {describe_dataset(dataset)}\n\n{findings.summary()}")
        return InspectionResult(run.run_id, run.location, dataset, findings)


def describe_dataset(dataset: Dataset) -> str:
    """One line: name, classes, photos of landmarks a side, photos of none."""
    others = sum(len(dataset.distractors(split)) for split in SPLITS)
    return (
        f"{dataset.name}: {dataset.num_classes} classes, {len(dataset.landmarks('train'))} train,"
        f" {len(dataset.landmarks('val'))} val, {len(dataset.landmarks('test'))} test photos,"
        f" {others} of no landmark"
    )

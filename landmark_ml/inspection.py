"""Look at a dataset before training on it: its figures, its manifest and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from landmark_ml import figures, reporting, tracking
from landmark_ml.datasets import dataset_options, open_dataset
from landmark_ml.findings import inspect_dataset
from landmark_ml.models import ModelOptions, create_model
from landmark_ml.phases import create_augmentation
from landmark_ml.pixels import load_squashed
from landmark_ml.places import Gazetteer
from landmark_ml.seeding import seed_everything
from landmark_ml.transforms import OVERSAMPLING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from landmark_ml.config import DataConfig, TrainConfig
    from landmark_ml.datasets import Dataset, Side
    from landmark_ml.findings import Findings

AUGMENTED_PHOTOS = 6
AUGMENTED_VIEWS = 4


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
    with tracking.start_run(config, name, {"recipe": "data"}) as run:
        seed_everything(config.seed)
        options = replace(dataset_options(config), max_unreadable=1.0)
        dataset = open_dataset(config.data, options)
        sides: tuple[Side, ...] = ("train", "val", "test")
        for side in sides:
            run.log_dataset(dataset, side)
        run.log_manifest(dataset)
        resolution = input_resolution(training)
        reporting.log_dataset_figures(run, dataset, target=resolution)
        run.log_figure(augmented_figure(dataset, training, resolution), "data_augmented")
        gazetteer = Gazetteer.of_dataset(dataset.root, config.places)
        findings = inspect_dataset(dataset, gazetteer, config.max_unreadable)
        run.log_table(findings.table(), "findings")
        run.log_metrics({f"data/{key}": count for key, count in findings.counts().items()})
        run.describe(f"### {describe_dataset(dataset)}\n\n{findings.summary()}")
        return InspectionResult(run.run_id, run.location, dataset, findings)


def describe_dataset(dataset: Dataset) -> str:
    """One line: name, classes, photos of landmarks a side, photos of none."""
    others = sum(len(dataset.distractors(side)) for side in ("train", "val", "test"))
    return (
        f"{dataset.name}: {dataset.num_classes} classes, {len(dataset.landmarks('train'))} train,"
        f" {len(dataset.landmarks('val'))} val, {len(dataset.landmarks('test'))} test photos,"
        f" {others} of no landmark"
    )


def input_resolution(training: TrainConfig) -> int:
    """Side in pixels of the square that the configured network sees."""
    options = ModelOptions(
        training.backbone, num_outputs=1, weights="random", resolution=training.resolution
    )
    return create_model(options).preprocessing.resolution


def augmented_figure(dataset: Dataset, training: TrainConfig, resolution: int) -> Figure:
    """Show a few training photos, one a column, each as several epochs would see it."""
    photos = dataset.landmarks("train")
    rng = np.random.default_rng(training.seed)
    chosen = [photos[i] for i in rng.permutation(len(photos))[:AUGMENTED_PHOTOS]]
    augment = create_augmentation(training, resolution)
    squares, aspects = load_squashed(chosen, round(resolution * OVERSAMPLING))
    generator = torch.Generator().manual_seed(training.seed)
    crops = augment(
        squares.repeat(AUGMENTED_VIEWS, 1, 1, 1), aspects.repeat(AUGMENTED_VIEWS), generator
    )
    pixels = crops.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    titles = [dataset.classes[photo.label] for photo in chosen]
    return figures.augmented_batch(pixels, titles * AUGMENTED_VIEWS)

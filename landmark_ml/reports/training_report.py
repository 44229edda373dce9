"""What a run shows: figures of its data, its curves and the evaluation of its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from landmark_ml import figures
from landmark_ml.data import split_digest
from landmark_ml.evaluation.predictions import (
    Evaluation,
    answers_table,
    mistakes,
    per_class,
    sample_answers,
    summarize,
)
from landmark_ml.networks.size import count_macs, count_parameters
from landmark_ml.reports.model_card import NetworkFacts, model_card
from landmark_ml.training.features import view_pixels
from landmark_ml.training.finetune_phase import create_augmentation, load_training_squares

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from landmark_ml.config import TrainConfig
    from landmark_ml.data import Dataset, Photo
    from landmark_ml.inference.preprocessing import Preprocessing
    from landmark_ml.networks.create import LandmarkNetwork
    from landmark_ml.tracking.run import Run
    from landmark_ml.training.augmentation import Augmentation


SHOWN_PHOTOS = 6
SHOWN_VIEWS = 4


@dataclass(frozen=True)
class Report:
    """Test metrics (`test/top1` …), the model card, and the tags of a registered version."""

    metrics: dict[str, float]
    card: str
    version_tags: dict[str, str]


def network_facts(model: LandmarkNetwork, artifact: Path, num_classes: int) -> NetworkFacts:
    """Size and cost of a network and of its exported artifact."""
    return NetworkFacts(
        parameters=count_parameters(model),
        macs=count_macs(model),
        resolution=model.preprocessing.resolution,
        artifact_bytes=sum(file.stat().st_size for file in artifact.iterdir()),
        has_background=model.classifier.out_features > num_classes,
    )


def model_params(config: TrainConfig, facts: NetworkFacts) -> dict[str, str]:
    """Parameters shown beside a logged model."""
    return {
        "recipe": config.recipe,
        "backbone": config.backbone,
        "data": config.data,
        "resolution": str(facts.resolution),
        **_costs(facts),
    }


def log_dataset_figures(
    run: Run, dataset: Dataset, config: TrainConfig, preprocessing: Preprocessing
) -> None:
    """Samples, counts, sizes and colours of a dataset, and its photos as training sees them."""
    run.log_figure(figures.sample_grid(dataset), "data_samples")
    run.log_figure(figures.class_counts(dataset), "data_class_counts")
    run.log_figure(
        figures.image_sizes(dataset, target=preprocessing.resolution), "data_image_sizes"
    )
    run.log_figure(figures.channel_statistics(dataset), "data_channels")
    run.log_figure(_training_figure(dataset, config, preprocessing), "data_augmented")


def log_history(run: Run, history: Sequence[dict[str, float]]) -> None:
    """Learning curves over all phases."""
    run.log_figure(figures.learning_curves(history), "learning_curves")


def log_evaluation(
    run: Run,
    evaluation: Evaluation,
    dataset: Dataset,
    config: TrainConfig,
    model_id: str,
    facts: NetworkFacts,
) -> Report:
    """Metrics linked to model and test photos, figures, tables and the model card."""
    for side in ("train", "val"):
        run.log_dataset(dataset, side)
    test = run.log_dataset(dataset, "test")
    summary, table = summarize(evaluation), per_class(evaluation)
    metrics = {f"test/{name}": value for name, value in summary.items()}
    run.log_metrics(metrics, model_id=model_id, dataset=test)
    run.log_table(table, "per_class")
    run.log_table(answers_table(evaluation), "test_answers")
    _log_evaluation_figures(run, evaluation, summary)
    card = model_card(config, dataset, facts, summary, table)
    run.log_text(card, "model_card.md")
    run.describe(card)
    digest = split_digest(dataset.test, dataset.classes)
    run.set_tags({"test_digest": digest, **_costs(facts)})
    tags = {"test_digest": digest, "top1": repr(summary["top1"]), **model_params(config, facts)}
    return Report(metrics, card, tags)


def _costs(facts: NetworkFacts) -> dict[str, str]:
    return {
        "parameters": str(facts.parameters),
        "macs": str(facts.macs),
        "artifact_bytes": str(facts.artifact_bytes),
    }


def _log_evaluation_figures(run: Run, evaluation: Evaluation, summary: dict[str, float]) -> None:
    shows = evaluation.shows_landmark
    labels, predictions = evaluation.labels[shows], evaluation.predictions[shows]
    run.log_figure(
        figures.confusion_matrix(labels, predictions, evaluation.classes), "confusion_matrix"
    )
    run.log_figure(figures.per_class_table(per_class(evaluation)), "per_class")
    run.log_figure(
        figures.worst_mistakes(mistakes(evaluation), photos=len(labels)), "worst_mistakes"
    )
    run.log_figure(figures.answer_gallery(sample_answers(evaluation)), "answers")
    confidence, correct = evaluation.confidence[shows], evaluation.correct[shows]
    run.log_figure(
        figures.reliability_diagram(confidence, correct, ece=summary["ece"]), "reliability"
    )


def _training_figure(dataset: Dataset, config: TrainConfig, preprocessing: Preprocessing) -> Figure:
    """Show a few training photos, one a column, each as several epochs would see it.

    Fine-tuning draws its crops anew each epoch; a head learns on the same few views in all of them.
    """
    photos = dataset.landmarks("train")
    rng = np.random.default_rng(config.seed)
    chosen = [photos[i] for i in rng.permutation(len(photos))[:SHOWN_PHOTOS]]
    titles = [dataset.classes[photo.label] for photo in chosen]
    if config.finetune_epochs:
        side = config.train_resolution or preprocessing.resolution
        crops = _crops(chosen, config, create_augmentation(config, side))
        return figures.augmented_batch(crops, titles * SHOWN_VIEWS)
    shown = min(config.views, SHOWN_VIEWS)
    pixels = [
        view_pixels(preprocessing.decode(photo.path), preprocessing, view, photo.sha256)
        for view in range(shown)
        for photo in chosen
    ]
    how = "not augmented" if config.views == 1 else f"in {config.views} views"
    return figures.augmented_batch(np.stack(pixels), titles * shown, how)


def _crops(
    photos: Sequence[Photo], config: TrainConfig, augment: Augmentation
) -> NDArray[np.uint8]:
    squares, aspects = load_training_squares(photos, augment, config.framing)
    generator = torch.Generator().manual_seed(config.seed)
    repeated = torch.arange(len(photos)).repeat(SHOWN_VIEWS)
    crops = augment(squares[repeated], aspects[repeated], generator)
    pixels: NDArray[np.uint8] = crops.round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy()
    return pixels

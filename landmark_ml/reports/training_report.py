"""What a training run shows: figures of its data, and the report on its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from landmark_ml.data import split_digest
from landmark_ml.evaluation.page import report_figures
from landmark_ml.figures.dataset import channel_statistics, class_counts, image_sizes, sample_grid
from landmark_ml.networks.create import count_macs, count_parameters
from landmark_ml.reports.model_card import NetworkFacts, model_card

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

    from landmark_ml.config import TrainConfig
    from landmark_ml.data import Dataset
    from landmark_ml.evaluation.judge import Report
    from landmark_ml.networks.create import LandmarkNetwork
    from landmark_ml.tracking.run import Run


@dataclass(frozen=True)
class TrainingReport:
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


def log_dataset_figures(run: Run, dataset: Dataset, resolution: int, augmented: Figure) -> None:
    """Samples, counts, sizes and colours of a dataset, and its photos as training sees them.

    resolution: side of the square that the network sees, in pixels.
    """
    run.log_figure(sample_grid(dataset), "data_samples")
    run.log_figure(class_counts(dataset), "data_class_counts")
    run.log_figure(image_sizes(dataset, target=resolution), "data_image_sizes")
    run.log_figure(channel_statistics(dataset), "data_channels")
    run.log_figure(augmented, "data_augmented")


def log_report(
    run: Run,
    report: Report,
    dataset: Dataset,
    config: TrainConfig,
    model_id: str,
    facts: NetworkFacts,
) -> TrainingReport:
    """Metrics linked to model and test photos, figures, tables and the model card."""
    for split in ("train", "val"):
        run.log_dataset(dataset, split)
    test = run.log_dataset(dataset, "test")
    metrics = {f"test/{name}": value for name, value in report.metrics.items()}
    run.log_metrics(metrics, model_id=model_id, dataset=test)
    run.log_table(report.predictions.per_class(), "per_class")
    run.log_table(report.predictions.table(), "test_answers")
    for name, figure in report_figures(report).items():
        run.log_figure(figure, name)
    card = model_card(config, dataset, facts, report)
    run.log_text(card, "model_card.md")
    run.describe(card)
    digest, top1 = split_digest(dataset.test, dataset.classes), report.metrics["top1"]
    run.set_tags({"test_digest": digest, **_costs(facts)})
    tags = {"test_digest": digest, "top1": repr(top1), **model_params(config, facts)}
    return TrainingReport(metrics, card, tags)


def _costs(facts: NetworkFacts) -> dict[str, str]:
    return {
        "parameters": str(facts.parameters),
        "macs": str(facts.macs),
        "artifact_bytes": str(facts.artifact_bytes),
    }

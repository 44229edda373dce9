"""What a training run shows: figures of its data, the report on its model, and the model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import mlflow

from landmark_ml.config import TrainConfig
from landmark_ml.data import SPLITS, Dataset, split_digest
from landmark_ml.evaluation.judge import Report
from landmark_ml.evaluation.metrics import METRICS, shown, summary_names
from landmark_ml.evaluation.report import log_judged, weakest_landmarks
from landmark_ml.figures.dataset import class_counts, sample_grid
from landmark_ml.figures.results import rejection_curve
from landmark_ml.inference.predictor import METADATA_FILE, Metadata, what_to_expect
from landmark_ml.networks.create import LandmarkNetwork, count_macs, count_parameters
from landmark_ml.networks.rejection import Rejection
from landmark_ml.tracking.run import Run

_OTHERS = {"unseen": "landmarks never learned", "distractors": "photos of no landmark"}


@dataclass(frozen=True)
class TrainingReport:
    """Test metrics (`test/top1` …), and what registers the model: its card and tags.

    about: what it recognises, in a sentence.
    """

    metrics: dict[str, float]
    about: str
    card: str
    version_tags: dict[str, str]


@dataclass(frozen=True)
class NetworkFacts:
    """Size, precision and cost of a network, and what it rejects.

    macs: multiply-accumulates of one photo. precision, f32_agreement: as in `Metadata`.
    """

    parameters: int
    macs: int
    resolution: int
    artifact_bytes: int
    rejection: Rejection
    precision: str = "f32"
    f32_agreement: float | None = None

    @classmethod
    def of(cls, model: LandmarkNetwork, artifact: Path, rejection: Rejection) -> NetworkFacts:
        """Facts of a network and of its exported artifact."""
        metadata = Metadata.read(artifact / METADATA_FILE)
        return cls(
            parameters=count_parameters(model),
            macs=count_macs(model),
            resolution=model.preprocessing.resolution,
            artifact_bytes=sum(file.stat().st_size for file in artifact.iterdir()),
            rejection=rejection,
            precision=metadata.precision,
            f32_agreement=metadata.f32_agreement,
        )

    @property
    def costs(self) -> dict[str, str]:
        """As tags of runs and versions."""
        names = ("parameters", "macs", "artifact_bytes", "precision")
        return {name: str(getattr(self, name)) for name in names}


def model_params(config: TrainConfig, facts: NetworkFacts) -> dict[str, str]:
    """Parameters shown beside a logged model."""
    return {
        "recipe": config.recipe,
        "backbone": config.backbone,
        "data": config.data,
        "resolution": str(facts.resolution),
        **facts.costs,
    }


def log_dataset_figures(run: Run, dataset: Dataset) -> None:
    """Samples and counts of a dataset."""
    run.log_figure(lambda: sample_grid(dataset), "data_samples")
    run.log_figure(lambda: class_counts(dataset), "data_class_counts")


def log_report(
    run: Run,
    report: Report,
    dataset: Dataset,
    config: TrainConfig,
    model_id: str,
    facts: NetworkFacts,
) -> TrainingReport:
    """What `evaluate` logs too, the answers, the curve of landmarks left out, the model card."""
    *_, test = [run.log_dataset(dataset, split) for split in SPLITS]
    digest, top1 = split_digest(dataset.test, dataset.classes), report.metrics["top1"]
    judged = {
        "model": f"models:/{model_id}",
        "model_id": model_id,
        "trained_by_run": run.run_id,
        "data": dataset.name,
        "split": "manifest",
        "photos_digest": digest,
        "left_out": "0",
        "not_known": "",
    }
    log_judged(run, "test", report, judged, test, config.seed)
    run.log_table(report.predictions.table(), "test_answers")
    rejection = facts.rejection
    others = {name: rejection.scores[kind] for kind, name in _OTHERS.items()}
    if measured := {name: scores for name, scores in others.items() if len(scores)}:
        landmarks, threshold = rejection.scores["landmarks"], rejection.threshold
        run.log_figure(
            lambda: rejection_curve(landmarks, measured, threshold), "rejection_curve_left_out"
        )
    card = model_card(config, dataset, facts, report)
    mlflow.log_text(card, "model_card.md")
    run.describe(card)
    run.set_tags({"test_digest": digest, **facts.costs})
    tags = {"test_digest": digest, "top1": repr(top1), **model_params(config, facts)}
    metrics = {f"test/{name}": value for name, value in report.metrics.items()}
    return TrainingReport(metrics, _about(dataset), card, tags)


def model_card(config: TrainConfig, dataset: Dataset, facts: NetworkFacts, report: Report) -> str:
    """Markdown shown on the run and on the registered version."""
    metrics = report.metrics
    names = summary_names(metrics)
    results = "\n".join(f"| {METRICS[name].caption} | {shown(metrics, name)} |" for name in names)
    counted = (
        f"{metrics['photos']:.0f} landmark photos, {metrics['distractors']:.0f} without a landmark"
    )
    weakest = weakest_landmarks(report.predictions, 5).to_numpy().tolist()
    rows = "\n".join(f"| {' | '.join(map(str, row))} |" for row in weakest)
    splits = ", ".join(f"{len(dataset.landmarks(s))} {s}" for s in SPLITS)
    measured_on = ""
    if len(facts.rejection.scores["unseen"]):
        measured_on = (
            " Measured on photos that a head was not trained on, with landmarks left out in turn."
            " The figure `rejection_curve_left_out` of the run shows what another `threshold`"
            " gives."
        )
    precision = f"Trained, tested and served in {facts.precision}"
    if facts.f32_agreement is not None:
        precision += (
            ", and in f32 where a processor has no instructions for it:"
            f" {facts.f32_agreement:.1%} of the validation photos get the same answer"
        )
    return f"""### {config.backbone}, recipe {config.recipe}

{_about(dataset)}

| on the test photos ({counted}) | value (95% interval) |
|---|---|
{results}

**Network.** {facts.parameters / 1e6:.1f} million parameters, {facts.macs / 1e6:.0f} million\
 multiply-accumulates a photo at {facts.resolution} px, {facts.artifact_bytes / 1e6:.1f} MB on\
 disk; initial weights: {config.weights}. {precision}.

**Data.** {splits} photos; {len(dataset.unreadable)} unreadable, {len(dataset.leaked)} left out\
 because the same or nearly the same photo is in the test or validation split,\
 {len(dataset.conflicting)} because they carry two labels.

**Weakest landmarks**

| landmark | test photos | recall | precision |
|---|---|---|---|
{rows}

**What it does not know.** By its own threshold the model\
 {what_to_expect(facts.rejection.expected)}.{measured_on}

**Limits.** It knows only these landmarks. Confidence is calibrated on photos like those it was\
 trained on.
"""


def _about(dataset: Dataset) -> str:
    return (
        f"Recognises {dataset.num_classes} landmarks of `{dataset.name}` in a photo and gives back"
        " where it was taken and which tags suit it."
    )

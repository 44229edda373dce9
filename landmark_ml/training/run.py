"""A whole training run: data, training, artifact, evaluation through the artifact, registration."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_ml import figures
from landmark_ml.config import user_path
from landmark_ml.data import manifest_digest
from landmark_ml.evaluation.predictions import evaluate_served
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.networks.calibration import calibrate
from landmark_ml.networks.create import check_known, create_model, model_options
from landmark_ml.networks.export import ArtifactInfo, export_network, shown_names
from landmark_ml.registry.register import Registered, load_served, log_model, register
from landmark_ml.reports import training_report as reporting
from landmark_ml.tracking import run as tracking
from landmark_ml.training.devices import choose_compute
from landmark_ml.training.finetune_phase import finetune
from landmark_ml.training.finetuning_checks import check_finetuning
from landmark_ml.training.head_phase import train_head, view_features
from landmark_ml.training.opened_run import open_run
from landmark_ml.training.processes import ALONE, Processes, report_lost_processes
from landmark_ml.training.resume import RunSaver, open_saver
from landmark_ml.training.seeding import seed_everything
from landmark_ml.training.shared_photos import open_photos
from landmark_ml.training.targets import num_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mlflow.models.model import ModelInfo

    from landmark_ml.config import TrainConfig
    from landmark_ml.data import Dataset
    from landmark_ml.networks.create import LandmarkNetwork
    from landmark_ml.reports.model_card import NetworkFacts
    from landmark_ml.tracking.run import Run
    from landmark_ml.training.devices import Compute
    from landmark_ml.training.head_phase import ViewFeatures
    from landmark_ml.training.targets import ValidationLogits

    OnEpochEnd = Callable[[dict[str, float]], None]
    Nominate = Callable[[ModelInfo, str, Mapping[str, str], str], Registered]


@dataclass(frozen=True)
class TrainResult:
    """What a run gave: test metrics by name (`test/top1` …) and where its traces are."""

    run_id: str
    location: str
    metrics: dict[str, float]
    model_uri: str
    registered: Registered | None
    seconds: float


@dataclass
class History:
    """Metrics of every epoch over all phases, logged as they come."""

    run: Run
    on_epoch_end: OnEpochEnd | None
    rows: list[dict[str, float]]

    def add(self, metrics: dict[str, float]) -> None:
        """Record an epoch; its step goes on where the last phase ended."""
        counts = {"epoch": float(len(self.rows)), figures.PHASE_EPOCH: metrics["epoch"]}
        row = metrics | counts
        self.rows.append(row)
        logged = {name: value for name, value in row.items() if name not in counts}
        self.run.log_metrics(logged, step=len(self.rows) - 1)
        if self.on_epoch_end is not None:
            self.on_epoch_end(row)


def run_training(
    config: TrainConfig,
    on_epoch_end: OnEpochEnd | None = None,
    processes: Processes = ALONE,
    *,
    nominate: Nominate = register,
    tags: Mapping[str, str] | None = None,
) -> TrainResult:
    """Train as the configuration says, and evaluate, log and register what would be served.

    on_epoch_end gets the metrics of each epoch; what it raises ends the run. processes: those that
    train along, this one being the first; see `distributed_training`. nominate: registers the
    model, as champion where there is none and else as challenger. tags: more of the run.
    Raises ValueError (or a subclass) for a configuration or dataset that cannot be trained on.
    """
    started = time.perf_counter()
    with open_run(config, tags or {}) as (run, checkpoints), report_lost_processes():
        check_known(config.backbone)
        seed_everything(config.seed)
        compute = choose_compute(config.device, config.threads, processes)
        recorded = tracking.read_logged_manifest(run.run_id) if config.resume else None
        dataset = open_photos(config, processes, recorded)
        check_sides(dataset)
        # Read now: a mistake in a file of places must not cost a training.
        gazetteer = Gazetteer.of_dataset(dataset.root, config.places)
        saver = open_saver(checkpoints, manifest_digest(dataset), started)
        run.log_manifest(dataset)
        run.set_tags({"processes": str(processes.count)})
        model = create_model(model_options(config, num_outputs(dataset)))
        check_finetuning(model, config)
        reporting.log_dataset_figures(run, dataset, config, model.preprocessing)
        history = History(run, on_epoch_end, saver.history)
        try:
            validation = train_network(model, dataset, config, compute, history.add, saver)
        finally:
            # An interrupted run shows what it has.
            if history.rows:
                reporting.log_history(run, history.rows)
        artifact = _export(model, validation, dataset, gazetteer, config, run)
        return _deliver(artifact, dataset, config, run, saver.started, nominate)


def train_network(
    model: LandmarkNetwork,
    dataset: Dataset,
    config: TrainConfig,
    compute: Compute,
    on_epoch_end: OnEpochEnd,
    saver: RunSaver | None = None,
    features: ViewFeatures = view_features,
) -> ValidationLogits:
    """Train a network in place, head and then pixels as far as the configuration says.

    Sees no test photo. features: where those of a frozen backbone come from. Returns what the
    network says of the validation photos.
    """
    validation = None
    # A saved fine-tuning brings the head it began with.
    if config.epochs and (saver is None or saver.state is None):
        validation = train_head(model, dataset, config, compute, on_epoch_end, features)
    if config.finetune_epochs:
        validation = finetune(model, dataset, config, compute, on_epoch_end, saver)
    if validation is None:
        raise ValueError("epochs and finetune_epochs are both 0, so nothing was trained")
    return validation


def check_sides(dataset: Dataset) -> None:
    """Refuse photos that no network could be chosen or reported by."""
    for side in ("val", "test"):
        if not dataset.landmarks(side):
            raise ValueError(
                f"{dataset.name} has no readable {side} photo of a landmark, so nothing could be"
                f" {'chosen' if side == 'val' else 'reported'} by; add photos: a class needs at"
                " least 3 that do not look the same to stand on every side"
            )


@dataclass(frozen=True)
class _Artifact:
    """A logged model, what it costs, and the landmarks as its answers spell them."""

    logged: ModelInfo
    facts: NetworkFacts
    names: list[str]


def _export(
    model: LandmarkNetwork,
    validation: ValidationLogits,
    dataset: Dataset,
    gazetteer: Gazetteer,
    config: TrainConfig,
    run: Run,
) -> _Artifact:
    """Calibrate the network, export it and log it as the model of the run."""
    calibration = calibrate(validation.logits, validation.targets, dataset.num_classes)
    info = ArtifactInfo(dataset.classes, run.run_id)
    with tempfile.TemporaryDirectory() as scratch:
        folder = export_network(
            model,
            calibration,
            info,
            gazetteer,
            folder=Path(scratch) / "artifact",
            cache=None if config.finetune_epochs else user_path(config.cache_dir),
        )
        facts = reporting.network_facts(model, folder, dataset.num_classes)
        example = dataset.landmarks("test")[0].path.read_bytes()
        logged = log_model(folder, example, reporting.model_params(config, facts))
    return _Artifact(logged, facts, shown_names(dataset.classes, gazetteer))


def _deliver(
    artifact: _Artifact,
    dataset: Dataset,
    config: TrainConfig,
    run: Run,
    started: float,
    nominate: Nominate,
) -> TrainResult:
    """Evaluate the model that was logged, through its own predict, and register it."""
    logged = artifact.logged
    served = load_served(logged.model_uri, config.threads)
    evaluation = evaluate_served(served, dataset.test, dataset.classes, artifact.names)
    report = reporting.log_evaluation(
        run, evaluation, dataset, config, logged.model_id, artifact.facts
    )
    registered = None
    if config.register:
        registered = nominate(logged, config.register, report.version_tags, report.card)
    seconds = time.perf_counter() - started
    run.log_metrics({"train_seconds": seconds})
    return TrainResult(
        run.run_id, run.location, report.metrics, logged.model_uri, registered, seconds
    )

"""A whole training run, top to bottom: photos, network, two phases, export, test, registration."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
from mlflow.models.model import ModelInfo
from safetensors.torch import save_model

from landmark_ml.config import DataConfig, TrainConfig, user_path
from landmark_ml.console import counted
from landmark_ml.data import Dataset, Split, manifest_digest, read_manifest
from landmark_ml.data.opening import find_root, open_dataset
from landmark_ml.data.places import open_gazetteer
from landmark_ml.evaluation.judge import judge
from landmark_ml.figures.results import PHASE_EPOCH, learning_curves
from landmark_ml.networks.create import (
    WEIGHTS_FILE,
    LandmarkNetwork,
    check_known,
    create_model,
)
from landmark_ml.networks.export import calibrate, compare_precisions, export_network
from landmark_ml.networks.rejection import LeftOut, fit_rejection
from landmark_ml.registry.register import Registered, load_served, log_model, register
from landmark_ml.reports import training_report as reporting
from landmark_ml.tracking import run as tracking
from landmark_ml.tracking.run import Run
from landmark_ml.training.batches import num_outputs
from landmark_ml.training.cache import compute_features
from landmark_ml.training.checkpoint import (
    Checkpoints,
    ResumeError,
    RunSaver,
    began_here,
    checkpoint_folder,
    config_digest,
    hold_run,
    open_saver,
)
from landmark_ml.training.devices import (
    ALONE,
    Compute,
    Processes,
    choose_compute,
    join_processes,
    report_lost_processes,
    seed_everything,
)
from landmark_ml.training.loop import OnEpochEnd
from landmark_ml.training.phases import (
    FeaturesOf,
    Validation,
    ask_teacher,
    check_finetuning,
    finetune,
    train_head,
)

Nominate = Callable[[ModelInfo, str, Mapping[str, str], str, str], Registered]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainResult:
    """What a run gave: test metrics by name (`test/top1` …) and where to find the rest.

    expected: which photos the model tags, see `inference.predictor.what_to_expect`. example: a test
    photo to ask it about.
    """

    run_id: str
    location: str
    metrics: dict[str, float]
    expected: dict[str, float]
    model_uri: str
    registered: Registered | None
    seconds: float
    example: Path


def run_training(
    config: TrainConfig,
    on_epoch_end: OnEpochEnd | None = None,
    processes: Processes = ALONE,
    *,
    nominate: Nominate = register,
    tags: Mapping[str, str] | None = None,
) -> TrainResult:
    """Train as the configuration says, then export, test, log and register the model.

    on_epoch_end gets the metrics of each epoch; an exception in it ends the run. processes: those
    that train along, this one being the first; see `train_together`. nominate: registers the model,
    as champion where there is none and else as challenger. tags: more tags of the run.
    Raises ValueError (or a subclass) for a configuration or dataset that cannot be trained on.
    """
    began = time.perf_counter()
    with open_run(config, tags or {}) as (run, checkpoints), report_lost_processes():
        for backbone in filter(None, (config.backbone, config.teacher)):
            check_known(backbone)
        seed_everything(config.seed)
        compute = choose_compute(
            config.device, config.threads, processes, precision=config.precision
        )

        recorded = tracking.read_logged_manifest(run.run_id) if config.resume else None
        dataset = open_photos(config, processes, recorded)
        check_splits(dataset)
        # Read now: a mistake in a file of places must not cost a training.
        gazetteer = open_gazetteer(dataset, config.places)
        saver = open_saver(checkpoints, manifest_digest(dataset), began)
        run.log_manifest(dataset)
        run.set_tags({"processes": str(processes.count)})

        model = create_model(config, num_outputs(dataset))
        check_finetuning(model, config)
        reporting.log_dataset_figures(run, dataset)

        steps = {"on frozen features": config.epochs, "on pixels": config.finetune_epochs}
        planned = [f"{counted(count, 'epoch')} {on}" for on, count in steps.items() if count]
        logger.info("training %s: %s", config.backbone, ", then ".join(planned))
        history = History(run, on_epoch_end, saver.history)
        try:
            validation = train_network(model, dataset, config, compute, history.add, saver)
        finally:
            # An interrupted run shows what it has.
            if history.rows:
                run.log_figure(lambda: learning_curves(history.rows), "learning_curves")

        logits, targets, classes = validation.logits, validation.targets, dataset.num_classes
        leave_out = validation.leave_out
        logger.info("learning what is no landmark it knows, then exporting to ONNX")
        left_out = leave_out() if leave_out else LeftOut.of_validation(logits, targets, classes)
        rejection = fit_rejection(left_out, config)
        precision = compute.served_precision
        calibration = calibrate(logits, targets, classes, rejection, precision)
        with tempfile.TemporaryDirectory() as scratch:
            folder = export_network(
                model,
                calibration,
                dataset.classes,
                run.run_id,
                gazetteer,
                folder=Path(scratch) / "artifact",
                cache=None if config.finetune_epochs else user_path(config.cache_dir),
            )
            if left_out.teaching:
                left_out.teaching.write(folder, {})
            if precision == "bf16":
                compare_precisions(folder, [photo.path for photo in dataset.landmarks("val")])
            facts = reporting.NetworkFacts.of(model, folder, rejection)
            example = dataset.landmarks("test")[0].path.read_bytes()
            logged = log_model(folder, example, reporting.model_params(config, facts))
            weights = str(Path(scratch) / WEIGHTS_FILE)
            save_model(model.network, weights)
            mlflow.log_artifact(weights)

        # What is tested is the logged model, through its own predict.
        logger.info("judging the logged model on %s", counted(len(dataset.test), "test photo"))
        served = load_served(logged.model_uri, config.threads)
        judged = judge(served, dataset.test, dataset.classes, gazetteer)
        report = reporting.log_report(run, judged, dataset, config, logged.model_id, facts)

        registered = None
        if config.model:
            registered = nominate(
                logged, config.model, report.version_tags, report.card, report.about
            )
        seconds = time.perf_counter() - saver.started
        run.log_metrics({"train_seconds": seconds})
        return TrainResult(
            run.run_id,
            run.location,
            report.metrics,
            rejection.expected,
            logged.model_uri,
            registered,
            seconds,
            dataset.landmarks("test")[0].path,
        )


def train_together(config: TrainConfig) -> TrainResult | None:
    """Train in every process that torchrun has started; the result in the first, None in others.

    The first process alone trains the head, which takes seconds, logs to MLflow, saves checkpoints,
    tests and registers. Raises ValueError (or a subclass) as `run_training` does, and when a
    process is lost.
    """
    with join_processes(config.device) as processes:
        processes.agree(config_digest(config), "parameters")
        if processes.count > 1 and not config.finetune_epochs:
            raise ValueError(
                f"{processes.count} processes have nothing to share: finetune_epochs is 0, and a"
                " head on frozen features learns in seconds in one process; start one process, or"
                " raise finetune_epochs"
            )
        if processes.is_first:
            return run_training(config, processes=processes)
        # The steps of `run_training` in which all processes take part, in the same order.
        seed_everything(config.seed)
        compute = choose_compute(
            config.device, config.threads, processes, precision=config.precision
        )
        dataset = open_photos(config, processes)
        if config.weights.startswith(("runs:/", "models:/")):
            # The first process fetches them from MLflow and shares them.
            config = replace(config, weights="random")
        finetune(create_model(config, num_outputs(dataset)), dataset, config, compute)
        return None


def train_network(
    model: LandmarkNetwork,
    dataset: Dataset,
    config: TrainConfig,
    compute: Compute,
    on_epoch_end: OnEpochEnd | None = None,
    saver: RunSaver | None = None,
    features: FeaturesOf = compute_features,
) -> Validation:
    """Train a network in place: the head, then pixels, as the configuration says.

    Sees no test photo. features: gives the features of a frozen backbone.
    """
    taught = ask_teacher(dataset, config, compute, features)
    # A saved fine-tuning brings the head it began with.
    if config.epochs and (saver is None or saver.state is None):
        validation = train_head(model, dataset, config, compute, on_epoch_end, features, taught)
    if config.finetune_epochs:
        validation = finetune(model, dataset, config, compute, on_epoch_end, saver, taught)
    return validation


@dataclass
class History:
    """Metrics of every epoch over all phases, logged as they come.

    A resumed run repeats what came after its last checkpoint; what it logged then stays as it is.
    """

    run: Run
    on_epoch_end: OnEpochEnd | None
    rows: list[dict[str, float]]

    def __post_init__(self) -> None:
        points = mlflow.MlflowClient().get_metric_history(self.run.run_id, "train/loss")
        self._last_step = max((point.step for point in points), default=-1)

    def add(self, metrics: dict[str, float]) -> None:
        """Record an epoch; steps continue over the phases."""
        counts = {"epoch": float(len(self.rows)), PHASE_EPOCH: metrics["epoch"]}
        row = metrics | counts
        self.rows.append(row)
        step = len(self.rows) - 1
        if step > self._last_step:
            logged = {name: value for name, value in row.items() if name not in counts}
            self.run.log_metrics(logged, step=step)
        if self.on_epoch_end is not None:
            self.on_epoch_end(row)


@contextlib.contextmanager
def open_run(
    config: TrainConfig, more_tags: Mapping[str, str]
) -> Iterator[tuple[Run, Checkpoints]]:
    """A new MLflow run or the one to resume, and its checkpoints, locked for this process."""
    cache = user_path(config.cache_dir)
    tags = {"recipe": config.recipe, "backbone": config.backbone}
    tags |= {"config_digest": config_digest(config), **more_tags}
    run_id = find_unfinished(config)
    with contextlib.ExitStack() as held:
        if run_id:
            # Before the run is touched: another process may be training it.
            checkpoints = held.enter_context(hold_run(cache, run_id))
        name = f"{config.recipe}-{config.backbone}-{user_path(config.data).resolve().name}"
        run = held.enter_context(tracking.start_run(config, name, tags, run_id))
        if not run_id:
            checkpoints = held.enter_context(hold_run(cache, run.run_id))
        try:
            yield run, checkpoints
        except KeyboardInterrupt:
            hint = "resume=auto resumes it" if config.finetune_epochs else "a head starts over"
            logger.warning("run %s stops here; %s", run.run_id, hint)
            raise
    # Only once the run counts as finished: until then they are all there is to resume from.
    checkpoints.remove()


def find_unfinished(config: TrainConfig) -> str | None:
    """Id of the run to resume: the one named, or with `auto` the last unfinished of its kind.

    Only a run that was trained in this cache_dir: without its checkpoints it would start over, and
    another machine may still be training it. None when `auto` finds none. Raises ValueError when
    the named run is not there, has finished, began with another configuration or elsewhere.
    """
    if not config.resume:
        return None
    digest, cache = config_digest(config), user_path(config.cache_dir)
    if config.resume != "auto":
        tracking.check_unfinished(config.resume, digest)
        if began_here(cache, config.resume):
            return config.resume
        raise ResumeError(
            f"resume={config.resume}: its checkpoints are not in"
            f" {checkpoint_folder(cache, config.resume).resolve()}; resume it in the folder and on"
            " the machine where it began, or start a new run without resume"
        )
    found = tracking.unfinished_runs(digest)
    here = next((run_id for run_id in found if began_here(cache, run_id)), None)
    if not found:
        logger.info("no unfinished run of these parameters; a new one begins")
    elif found[0] != here:
        logger.warning(
            "%s: run %s is unfinished, and its checkpoints are not in %s",
            f"resuming the older run {here}" if here else "a new run begins",
            found[0],
            checkpoint_folder(cache, found[0]).resolve(),
        )
    return here


def open_photos(config: DataConfig, processes: Processes, manifest: bytes | None = None) -> Dataset:
    """The photos in the splits that a manifest records, without one what the folder holds now.

    All processes call this together and get the same photos; one of each host reads them, and all
    hosts have them at the same path. manifest: its content; that of the first process counts.
    Raises ValueError for a dataset that cannot be opened, that lacks what the manifest records, or
    that is not the same on every host.
    """
    recorded = processes.share(manifest)

    def read() -> Dataset:
        if recorded is None:
            return open_dataset(config)
        _, root = find_root(config)
        return read_manifest(recorded, root, verify=True, threads=config.threads)

    dataset = processes.once_a_host(read)
    processes.agree(manifest_digest(dataset), "photos and their splits")
    return dataset


def check_splits(dataset: Dataset) -> None:
    """Refuse photos with nothing to validate or to test on."""
    splits: tuple[Split, ...] = ("val", "test")
    for split in splits:
        if dataset.landmarks(split):
            continue
        visited = any(photo.visit for photo in dataset.landmarks("train"))
        visits = (
            "; photos of one visit (one camera, one day) stay in one split: add some of other days,"
            " give val/ and test/ folders, or split visits with grouping=copies"
        )
        raise ValueError(
            f"{dataset.name} has no readable {split} photo of a landmark; add photos: a class"
            " needs at least 3 that do not look the same to stand in every split"
            f"{visits if visited else ''}"
        )

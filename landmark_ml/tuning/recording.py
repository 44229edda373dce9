"""A study in MLflow: one parent run, and a child run for each trial."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import LifecycleStage, Metric, Param, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE

from landmark_ml.config import to_json, to_params
from landmark_ml.tracking import run as tracking
from landmark_ml.tracking.errors import is_not_there

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from landmark_ml.config import TrainConfig, TuneConfig

_FLUSH_EVERY = 5.0
# MLflow takes no more at once.
_BATCH = 1000
_LONGEST_TAG = 4000

logger = logging.getLogger(__name__)

NotRecordedError = MlflowException
"""What is raised where MLflow does not take what is to be recorded."""


def _status(name: str) -> str:
    return RunStatus.to_string(getattr(RunStatus, name))


@dataclass
class TrialRun:
    """Child run of a trial; what it logs goes out in batches, so that a trial stays fast."""

    run_id: str
    _pending: list[Metric] = field(default_factory=list)
    _flushed: float = 0.0
    _steps: int = 0

    def add(self, metrics: Mapping[str, float]) -> None:
        """Record an epoch."""
        now = int(1000 * time.time())
        self._pending += [
            Metric(name, value, now, self._steps)
            for name, value in metrics.items()
            if name != "epoch"
        ]
        self._steps += 1
        if time.monotonic() - self._flushed > _FLUSH_EVERY:
            try:
                self._flush({})
            except MlflowException as refused:
                # Kept for the next time: an outage of a moment must not cost the trial.
                logger.warning("metrics of run %s wait: %s", self.run_id, refused)

    def end(self, state: str, metrics: Mapping[str, float], error: str = "") -> None:
        """Close the run: `complete`, `pruned`, `failed` or `interrupted`.

        What MLflow refuses is told and no more: the study knows how its trial ended, which must
        neither undo that nor hide it.
        """
        now = int(1000 * time.time())
        self._pending += [Metric(k, v, now, max(0, self._steps - 1)) for k, v in metrics.items()]
        # A pruned trial did what it should.
        ends = {"failed": "FAILED", "interrupted": "KILLED"}
        try:
            self._flush({"trial_state": state} | ({"error": error[:_LONGEST_TAG]} if error else {}))
            mlflow.MlflowClient().set_terminated(self.run_id, _status(ends.get(state, "FINISHED")))
        except MlflowException as refused:
            logger.warning("run %s of a trial was not closed: %s", self.run_id, refused)

    def _flush(self, tags: Mapping[str, str]) -> None:
        self._flushed = time.monotonic()
        client = mlflow.MlflowClient()
        for start in range(0, max(1, len(self._pending)), _BATCH):
            client.log_batch(
                self.run_id,
                metrics=self._pending[start : start + _BATCH],
                tags=[RunTag(key, value) for key, value in tags.items()],
            )
        self._pending = []


@dataclass(frozen=True)
class StudyRun:
    """Parent run of a study, shared by all its workers."""

    run_id: str

    def start_trial(self, number: int, config: TrainConfig, tags: Mapping[str, str]) -> TrialRun:
        """Open the child run of a trial, with the whole configuration it trains with."""
        client = mlflow.MlflowClient()
        run = client.create_run(
            self._parent().info.experiment_id,
            run_name=f"trial-{number:04d}",
            tags={MLFLOW_PARENT_RUN_ID: self.run_id, "trial_state": "running", **tags},
        )
        begun = TrialRun(run.info.run_id)
        try:
            params = [Param(key, value) for key, value in to_params(config).items()]
            client.log_batch(run.info.run_id, params=params)
        except MlflowException as refused:
            begun.end("failed", {}, str(refused))
            raise
        return begun

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Metrics of the whole study at a number of trials; the study goes on, so it is running."""
        client, now = mlflow.MlflowClient(), int(1000 * time.time())
        client.log_batch(self.run_id, [Metric(k, v, now, step) for k, v in metrics.items()])
        self.mark("RUNNING")

    def mark(self, status: str) -> None:
        """Set the status; `mlflow run` ends the run with its own worker, not with the last one."""
        if self._parent().info.status != _status(status):
            client = mlflow.MlflowClient()
            if status == "RUNNING":
                client.update_run(self.run_id, _status(status))
            else:
                client.set_terminated(self.run_id, _status(status))

    def log_text(self, text: str, path: str) -> None:
        """Text as an artifact."""
        mlflow.MlflowClient().log_text(self.run_id, text, path)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tags of the parent run."""
        log = [RunTag(key, value) for key, value in tags.items()]
        mlflow.MlflowClient().log_batch(self.run_id, tags=log)

    def set_parameters(self, prefix: str, values: Mapping[str, str]) -> None:
        """Tags `<prefix>.<name>`, in place of all that are called so."""
        client, tags = mlflow.MlflowClient(), {f"{prefix}.{k}": v for k, v in values.items()}
        for key in self._parent().data.tags:
            if key.startswith(f"{prefix}.") and key not in tags:
                _delete_tag(client, self.run_id, key)
        self.set_tags(tags)

    def describe(self, text: str) -> None:
        """Markdown shown at the top of the run's page."""
        self.set_tags({MLFLOW_RUN_NOTE: text})

    @property
    def experiment_id(self) -> str:
        """Experiment that the run and its children belong to."""
        return str(self._parent().info.experiment_id)

    @property
    def location(self) -> str:
        """Where a person finds the run."""
        info = self._parent().info
        experiment = mlflow.get_experiment(info.experiment_id).name
        return f"experiment {experiment!r}, run {info.run_name!r} ({self.run_id})"

    @contextlib.contextmanager
    def experiment(self) -> Iterator[None]:
        """Runs opened in here belong to the experiment of the study."""
        name = mlflow.get_experiment(self._parent().info.experiment_id).name
        before = os.environ.get("MLFLOW_EXPERIMENT_NAME")
        os.environ["MLFLOW_EXPERIMENT_NAME"] = name
        try:
            yield
        finally:
            os.environ.pop("MLFLOW_EXPERIMENT_NAME")
            if before is not None:
                os.environ["MLFLOW_EXPERIMENT_NAME"] = before

    def _parent(self) -> mlflow.entities.Run:
        return mlflow.get_run(self.run_id)


def _delete_tag(client: mlflow.MlflowClient, run_id: str, key: str) -> None:
    """Delete a tag unless another worker was first."""
    try:
        client.delete_tag(run_id, key)
    except MlflowException as error:
        if not is_not_there(error):
            raise


def tracking_uri() -> str:
    """Address of the MLflow that records, as the environment says."""
    tracking.connect()
    return str(mlflow.get_tracking_uri())


def take_launched() -> str | None:
    """Id of the run that `mlflow run` opened for this process; later runs are then new ones."""
    return os.environ.pop("MLFLOW_RUN_ID", None)


def create_study_run(config: TuneConfig, study: str, launched: str | None) -> StudyRun:
    """New parent run, or the one that `mlflow run` opened for this worker."""
    client = mlflow.MlflowClient()
    if launched is None:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", tracking.DEFAULT_EXPERIMENT)
        experiment = mlflow.set_experiment(name)
        launched = client.create_run(experiment.experiment_id).info.run_id
    run = client.get_run(launched)
    client.set_experiment_tag(run.info.experiment_id, *tracking.EXPERIMENT_KIND)
    client.set_tag(launched, "mlflow.runName", f"tune-{study}")
    params = tracking.missing_params(config, run)
    client.log_batch(
        launched,
        params=[Param(key, value) for key, value in params.items()],
        tags=[RunTag("kind", "tune"), RunTag("study", study)],
    )
    client.log_text(launched, to_json(config), "config.json")
    return StudyRun(launched)


def join_study_run(run_id: str, study: str, launched: str | None) -> StudyRun:
    """Parent run of a study that began earlier or elsewhere.

    Raises ValueError when it is not in this MLflow.
    """
    client = mlflow.MlflowClient()
    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if not is_not_there(error):
            raise
        raise ValueError(
            f"study {study!r} is recorded in run {run_id}, which this MLflow does not have; give"
            " all workers the same MLFLOW_TRACKING_URI, or a new study"
        ) from None
    if run.info.lifecycle_stage == LifecycleStage.DELETED:
        raise ValueError(
            f"study {study!r} is recorded in run {run_id}, which was deleted; restore it in the"
            " MLflow UI, or give a new study"
        )
    if launched and launched != run_id:
        client.set_tag(launched, "resumed_run", run_id)
    return StudyRun(run_id)


def end_silent_trial(run_id: str) -> None:
    """Close the child run of a trial whose process died."""
    TrialRun(run_id).end("failed", {}, "its process died")

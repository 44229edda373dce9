"""A study in MLflow: a parent run, a child run for each trial, and one for the tested winner."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import mlflow
from mlflow.entities import LifecycleStage, Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from landmark_ml.config import TrainConfig, TuneConfig, to_json, to_params
from landmark_ml.tracking import run as tracking
from landmark_ml.tracking.read_runs import find_run
from landmark_ml.training.checkpoint import began_here

logger = logging.getLogger(__name__)

BEST_TRIAL = "best_trial"
"""Tag: the number of the best trial, on the parent run and on each run that tested one."""
_FLUSH_SECONDS = 5.0
_PATIENCE_SECONDS = 600.0
# Limits of MLflow: metrics per request, characters per tag.
_BATCH = 1000
_LONGEST_TAG = 4000


@dataclass
class TrialRun:
    """Child run of a trial. It logs in batches, so that recording does not slow the trial down."""

    run_id: str
    _params: list[Param] = field(default_factory=list)
    _pending: list[Metric] = field(default_factory=list)
    _flushed: float = 0.0
    _answered: float = field(default_factory=time.monotonic)
    _steps: int = 0

    def add(self, metrics: Mapping[str, float]) -> None:
        """Record an epoch; raises MlflowException when MLflow has not answered for ten minutes."""
        now = int(1000 * time.time())
        values = [Metric(k, v, now, self._steps) for k, v in metrics.items() if k != "epoch"]
        self._pending += values
        self._steps += 1
        if time.monotonic() - self._flushed > _FLUSH_SECONDS:
            try:
                self._flush({})
            except MlflowException as refused:
                if time.monotonic() - self._answered > _PATIENCE_SECONDS:
                    raise
                # They are sent with the next ones, so a trial survives a short outage.
                logger.warning("metrics of run %s wait: %s", self.run_id, refused)

    def end(self, state: str, metrics: Mapping[str, float] | None = None, error: str = "") -> None:
        """Close the run; state: `complete`, `pruned`, `failed` or `interrupted`.

        An outage is only logged: the study knows how its trial ended.
        """
        now, step = int(1000 * time.time()), max(0, self._steps - 1)
        self._pending += [Metric(k, v, now, step) for k, v in (metrics or {}).items()]
        # A pruned trial did what it should.
        status = {"failed": "FAILED", "interrupted": "KILLED"}.get(state, "FINISHED")
        try:
            self._flush({"trial_state": state} | ({"error": error[:_LONGEST_TAG]} if error else {}))
            mlflow.MlflowClient().set_terminated(self.run_id, status)
        except MlflowException as refused:
            logger.warning("run %s of a trial was not closed: %s", self.run_id, refused)

    def _flush(self, tags: Mapping[str, str]) -> None:
        self._flushed = time.monotonic()
        for start in range(0, max(1, len(self._pending)), _BATCH):
            mlflow.MlflowClient().log_batch(
                self.run_id,
                metrics=self._pending[start : start + _BATCH],
                params=self._params,
                tags=[RunTag(key, value) for key, value in tags.items()],
            )
            self._params = []
        self._pending = []
        self._answered = time.monotonic()


@dataclass(frozen=True)
class StudyRun:
    """Parent run of a study, shared by all its workers."""

    run_id: str

    def start_trial(self, number: int, config: TrainConfig, tags: Mapping[str, str]) -> TrialRun:
        """Open the child run of a trial; its configuration is sent with its first metrics.

        Raises MlflowException when MLflow does not answer.
        """
        run = mlflow.MlflowClient().create_run(
            mlflow.get_run(self.run_id).info.experiment_id,
            run_name=f"trial-{number:04d}",
            tags={MLFLOW_PARENT_RUN_ID: self.run_id, "trial_state": "running", **tags},
        )
        params = [Param(key, value) for key, value in to_params(config).items()]
        return TrialRun(run.info.run_id, params)

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Log metrics of the whole study; step: the number of trials so far."""
        now = int(1000 * time.time())
        values = [Metric(key, value, now, step) for key, value in metrics.items()]
        mlflow.MlflowClient().log_batch(self.run_id, values)
        self.mark("RUNNING")

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags of the parent run."""
        values = [RunTag(key, value) for key, value in tags.items()]
        mlflow.MlflowClient().log_batch(self.run_id, tags=values)

    def mark(self, status: str) -> None:
        """Set the status of the run; `mlflow run` sets it too, as soon as its own worker ends."""
        client = mlflow.MlflowClient()
        if client.get_run(self.run_id).info.status == status:
            return
        if status == "RUNNING":
            client.update_run(self.run_id, status)
        else:
            client.set_terminated(self.run_id, status)

    def test_tags(self, best_trial: int) -> dict[str, str]:
        """Tags by which a run that tests a best trial is found again."""
        return {MLFLOW_PARENT_RUN_ID: self.run_id, BEST_TRIAL: str(best_trial)}

    def find_test(self, best_trial: int, config_digest: str, cache: Path) -> Run | None:
        """The run that tested the configuration of a trial, or one that can be resumed; else None.

        cache: of this machine; a test is resumed only where its checkpoints lie. Unless the test
        has finished, all other unfinished tests are closed. The caller holds the lock of the study,
        so no worker is at any of them.
        """
        tests: list[Run] = mlflow.search_runs(
            [mlflow.get_run(self.run_id).info.experiment_id],
            f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{self.run_id}' and tags.{BEST_TRIAL} != ''",
            order_by=["attributes.start_time DESC"],
            output_format="list",
        )
        wanted = {BEST_TRIAL: str(best_trial), "config_digest": config_digest}
        ours = [run for run in tests if wanted.items() <= run.data.tags.items()]
        finished = next((run for run in ours if run.info.status == "FINISHED"), None)
        if finished:
            return finished
        resumed = next((run for run in ours if began_here(cache, run.info.run_id)), None)
        for run in tests:
            if run is not resumed and run.info.status == "RUNNING":
                mlflow.MlflowClient().set_terminated(run.info.run_id, "KILLED")
        return resumed


def open_study_run(config: TuneConfig, known: str | None) -> StudyRun:
    """Parent run of the study that the configuration names.

    known: id of the parent run of a study that began before. A new study takes the run that
    `mlflow run` opened for this process, or a new one. Raises ValueError when a known run is gone.
    """
    client = mlflow.MlflowClient()
    # Taken out of the environment, so that later runs of this process are new ones.
    launched = os.environ.pop("MLFLOW_RUN_ID", None)
    if known is not None:
        run = find_run(known)
        if run is None or run.info.lifecycle_stage == LifecycleStage.DELETED:
            raise ValueError(
                f"study {config.study!r} is recorded in run {known}, which this MLflow does not"
                " have or which was deleted; give all workers the same MLFLOW_TRACKING_URI,"
                " restore the run in the MLflow UI, or start a new study"
            )
        if launched and launched != known:
            client.set_tag(launched, "resumed_run", known)
        return StudyRun(known)
    if launched is None:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", tracking.DEFAULT_EXPERIMENT)
        launched = client.create_run(mlflow.set_experiment(name).experiment_id).info.run_id
    run = client.get_run(launched)
    client.set_experiment_tag(run.info.experiment_id, *tracking.EXPERIMENT_KIND)
    client.set_tag(launched, "mlflow.runName", f"tune-{config.study}")
    params = tracking.missing_params(config, run)
    client.log_batch(
        launched,
        params=[Param(key, value) for key, value in params.items()],
        tags=[RunTag("kind", "tune"), RunTag("study", config.study)],
    )
    client.log_text(launched, to_json(config), "config.json")
    return StudyRun(launched)

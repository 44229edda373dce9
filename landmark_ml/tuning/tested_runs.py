"""Child runs in which the configuration of a best trial is trained and tested, whoever began them.

Whoever looks for them holds the lock of the study, so that no other worker is at one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlflow
from mlflow.entities import RunStatus
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from landmark_ml.training.resume import began_here

if TYPE_CHECKING:
    from pathlib import Path

    from landmark_ml.tuning.recording import StudyRun

_BEST_TRIAL = "best_trial"


@dataclass(frozen=True)
class TestedRun:
    """A run that trained and tested the configuration of the best trial; metrics: `test/top1` …."""

    run_id: str
    model_uri: str
    metrics: dict[str, float]


def tags_of_tested_run(parent: StudyRun, best_trial: int) -> dict[str, str]:
    """Tags that such a run is found by."""
    return {MLFLOW_PARENT_RUN_ID: parent.run_id, _BEST_TRIAL: str(best_trial)}


def find_tested(parent: StudyRun, best_trial: int, config_digest: str) -> TestedRun | None:
    """The run of a trial's configuration that came to its end."""
    for run in _search(parent, "attributes.status = 'FINISHED'"):
        if _is_of(run, best_trial, config_digest):
            metrics = {k: v for k, v in run.data.metrics.items() if k.startswith("test/")}
            models = run.outputs.model_outputs if run.outputs else []
            if not models:
                continue
            model_id = models[-1].model_id
            return TestedRun(run.info.run_id, f"models:/{model_id}", metrics)
    return None


def take_unfinished(
    parent: StudyRun, best_trial: int, config_digest: str, cache: Path
) -> str | None:
    """Id of the run of a configuration whose process died; other runs left open are ended.

    cache: of this machine. A run that began with another is not taken: its checkpoints lie there.
    """
    taken: str | None = None
    for run in _search(parent, "attributes.status != 'FINISHED'"):
        is_ours = _is_of(run, best_trial, config_digest) and began_here(cache, run.info.run_id)
        if taken is None and is_ours:
            taken = str(run.info.run_id)
        elif run.info.status == RunStatus.to_string(RunStatus.RUNNING):
            killed = RunStatus.to_string(RunStatus.KILLED)
            mlflow.MlflowClient().set_terminated(run.info.run_id, killed)
    return taken


def _search(parent: StudyRun, status: str) -> list[mlflow.entities.Run]:
    """Runs that tested the best trial of their time, the newest first."""
    found: list[mlflow.entities.Run] = mlflow.search_runs(
        [parent.experiment_id],
        f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent.run_id}' and tags.{_BEST_TRIAL} != ''"
        f" and {status}",
        order_by=["attributes.start_time DESC"],
        output_format="list",
    )
    return found


def _is_of(run: mlflow.entities.Run, best_trial: int, config_digest: str) -> bool:
    tags = run.data.tags
    return (tags[_BEST_TRIAL], tags.get("config_digest")) == (str(best_trial), config_digest)

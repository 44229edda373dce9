"""What a run leaves in MLflow; the many workers of a search log theirs in `tuning.recording`."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pandas as pd
from mlflow.entities import LifecycleStage, RunStatus
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from landmark_ml.config import to_json, to_params
from landmark_ml.data import MANIFEST, label_name, split_digest, write_manifest
from landmark_ml.tracking.errors import is_not_there
from landmark_ml.tracking.fetch import fetch_manifest
from landmark_ml.tracking.signals import signals_held

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from matplotlib.figure import Figure
    from mlflow.data.pandas_dataset import PandasDataset

    from landmark_ml.config import Configuration
    from landmark_ml.data import Dataset, Split

logger = logging.getLogger(__name__)

DEFAULT_TRACKING_URI = "sqlite:///mlflow.db"
DEFAULT_EXPERIMENT = "landmarks"
# Without it the MLflow UI opens the experiment in its view for language models.
EXPERIMENT_KIND = ("mlflow.experimentKind", "custom_model_development")


@dataclass(frozen=True)
class Run:
    """An open MLflow run."""

    run_id: str

    def log_metrics(
        self,
        metrics: Mapping[str, float],
        step: int = 0,
        *,
        model_id: str | None = None,
        dataset: PandasDataset | None = None,
    ) -> None:
        """Metrics at a step; linked to a logged model and a dataset when these are given."""
        mlflow.log_metrics(dict(metrics), step=step, model_id=model_id, dataset=dataset)

    def log_dataset(self, dataset: Dataset, split: Split) -> PandasDataset:
        """Record the photos of one split as an input of the run."""
        photos = dataset.split(split)
        frame = pd.DataFrame(
            {
                "sha256": [photo.sha256 for photo in photos],
                "landmark": [label_name(photo.label, dataset.classes) for photo in photos],
                "width": [photo.width for photo in photos],
                "height": [photo.height for photo in photos],
            }
        )
        source = dataset.root.as_uri()
        digest = split_digest(photos, dataset.classes)
        logged: PandasDataset = mlflow.data.from_pandas(  # type: ignore[attr-defined]
            frame, source=source, targets="landmark", name=f"{dataset.name}-{split}", digest=digest
        )
        mlflow.log_input(logged, context=split)
        return logged

    def log_manifest(self, dataset: Dataset) -> None:
        """Record which photo is in which split, for later runs to use again."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / MANIFEST
            write_manifest(dataset, path)
            mlflow.log_artifact(str(path))

    def log_figure(self, figure: Figure, name: str) -> None:
        """Figure as `figures/<name>.png`."""
        mlflow.log_figure(figure, f"figures/{name}.png")

    def log_table(self, table: pd.DataFrame, name: str) -> None:
        """Table as `<name>.csv`."""
        mlflow.log_text(table.to_csv(index=False), f"{name}.csv")

    def log_text(self, text: str, path: str) -> None:
        """Text as an artifact."""
        mlflow.log_text(text, path)

    def artifact_uri(self, path: str) -> str:
        """Where an artifact of the run lies: a path when the store is a folder."""
        return str(mlflow.get_artifact_uri(path))

    def describe(self, text: str) -> None:
        """Markdown shown at the top of the run's page."""
        mlflow.set_tag("mlflow.note.content", text)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Tags to search runs by."""
        mlflow.set_tags(dict(tags))

    @property
    def experiment(self) -> str:
        """Name of the experiment the run belongs to."""
        return str(mlflow.get_experiment(mlflow.get_run(self.run_id).info.experiment_id).name)

    @property
    def location(self) -> str:
        """Where a person finds the run: experiment, run name and id."""
        name = mlflow.get_run(self.run_id).info.run_name
        return f"experiment {self.experiment!r}, run {name!r} ({self.run_id})"


def connect() -> None:
    """Point MLflow at the database of the environment, by default one in this folder."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(DEFAULT_TRACKING_URI)
    # Under `mlflow run` the run exists already and names its own experiment.
    if not os.environ.get("MLFLOW_RUN_ID"):
        mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", DEFAULT_EXPERIMENT))


def unfinished_runs(config_digest: str) -> list[str]:
    """Ids of the runs of a configuration that did not finish, the newest first."""
    connect()
    found = mlflow.search_runs(
        filter_string=f"tags.config_digest = '{config_digest}' and status != 'FINISHED'",
        order_by=["attributes.start_time DESC"],
        output_format="list",
    )
    return [str(run.info.run_id) for run in found]


def check_unfinished(resume: str, config_digest: str) -> None:
    """Raise ValueError for a run that is not there, has finished, or began with other values."""
    connect()
    try:
        run = mlflow.get_run(resume)
    except MlflowException as error:
        if not is_not_there(error):
            raise
        raise ValueError(f"resume={resume}: there is no such run; see the MLflow UI") from None
    if run.info.lifecycle_stage == LifecycleStage.DELETED:
        raise ValueError(f"resume={resume}: this run was deleted; restore it in the MLflow UI")
    if run.info.status == RunStatus.to_string(RunStatus.FINISHED):
        raise ValueError(f"resume={resume}: this run has finished, there is nothing to go on with")
    if run.data.tags.get("config_digest") != config_digest:
        raise ValueError(
            f"resume={resume}: this run was started with other parameters; give the ones in its"
            " config.json"
        )


def read_logged_manifest(run_id: str) -> bytes | None:
    """Content of the manifest that a run recorded; None when it recorded none."""
    with tempfile.TemporaryDirectory() as folder:
        path = fetch_manifest(run_id, Path(folder))
        return path.read_bytes() if path else None


@contextlib.contextmanager
def start_run(
    config: Configuration, run_name: str, tags: Mapping[str, str], run_id: str | None = None
) -> Iterator[Run]:
    """Open a run, record the configuration, and end it as what happened.

    run_id: an unfinished run to go on with, instead of a new one (or the one of `mlflow run`).
    A run tagged with a parent opens in the experiment of its parent.
    An exception ends it FAILED with the reason as a tag, Ctrl-C ends it KILLED.
    """
    connect()
    mlflow.enable_system_metrics_logging()  # type: ignore[no-untyped-call]
    if run_id:
        _turn_to(run_id)
    elif MLFLOW_PARENT_RUN_ID in tags:
        parent = mlflow.get_run(tags[MLFLOW_PARENT_RUN_ID])
        mlflow.set_experiment(experiment_id=parent.info.experiment_id)
    active, status = None, RunStatus.FAILED
    try:
        # Cut in between, MLflow would know a running run and this process none to end.
        with signals_held():
            # Tags with the start: a run must not be met without those that say what it is.
            active = mlflow.start_run(run_id=run_id, tags=None if run_id else dict(tags))
        if not run_id:
            _describe_run(active, config, run_name)
        yield Run(active.info.run_id)
        status = RunStatus.FINISHED
    except KeyboardInterrupt:
        status = RunStatus.KILLED
        raise
    except Exception as error:
        if active is not None:
            mlflow.set_tag("error", f"{type(error).__name__}: {error}"[:4000])
        raise
    finally:
        if active is not None:
            with signals_held():
                mlflow.end_run(RunStatus.to_string(status))


def _describe_run(active: mlflow.ActiveRun, config: Configuration, run_name: str) -> None:
    mlflow.set_tag("mlflow.runName", run_name)
    mlflow.MlflowClient().set_experiment_tag(active.info.experiment_id, *EXPERIMENT_KIND)
    mlflow.log_params(missing_params(config, active))
    mlflow.log_text(to_json(config), "config.json")


def missing_params(config: Configuration, run: mlflow.entities.Run) -> dict[str, str]:
    """Parameters that a run does not have yet.

    `mlflow run` has logged the flags as they were typed; a second spelling would raise.
    """
    known = run.data.params
    return {name: value for name, value in to_params(config).items() if name not in known}


def _turn_to(run_id: str) -> None:
    """Make ready to go on with a run: in its experiment, without the error that ended it."""
    client = mlflow.MlflowClient()
    run = client.get_run(run_id)
    mlflow.set_experiment(experiment_id=run.info.experiment_id)
    if "error" in run.data.tags:
        client.delete_tag(run_id, "error")
    launched = os.environ.get("MLFLOW_RUN_ID")
    if launched and launched != run_id:
        client.set_tag(launched, "resumed_run", run_id)

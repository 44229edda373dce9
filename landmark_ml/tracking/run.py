"""Connect to MLflow, open and end a run whatever happens in it, and log to it.

The workers of a search log their trials side by side, in `tuning.recording`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import pandas as pd
from filelock import FileLock
from mlflow.data.pandas_dataset import PandasDataset
from mlflow.entities import LifecycleStage, RunStatus, RunTag
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_PROJECT_ENTRY_POINT,
    MLFLOW_RUN_NAME,
    MLFLOW_RUN_NOTE,
)

from landmark_ml.config import Configuration, UiConfig, to_json, to_params, without_users
from landmark_ml.data import (
    LARGE_MANIFEST,
    MANIFEST,
    MOST_JSON,
    Dataset,
    Split,
    label_name,
    split_digest,
    write_manifest,
)
from landmark_ml.files import write_whole
from landmark_ml.tracking.errors import is_outage, short_waits, shown_tracking_uri
from landmark_ml.tracking.read_runs import fetch_manifest, find_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure


logger = logging.getLogger(__name__)

# Where a bare `mlflow run` opens its runs too; a project cannot choose another.
DEFAULT_EXPERIMENT = "Default"
MOST_CSV_ROWS = 10_000
"""Rows of a table that people still read in a browser or a spreadsheet."""
# Without this tag the MLflow UI opens the experiment in its view for language models.
EXPERIMENT_KIND = ("mlflow.experimentKind", "custom_model_development")


@dataclass(frozen=True)
class Run:
    """An open MLflow run."""

    run_id: str

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log metrics at a step."""
        mlflow.log_metrics(dict(metrics), step=step)

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
        logged: PandasDataset = mlflow.data.from_pandas(  # type: ignore[attr-defined]
            frame,
            source=dataset.root.as_uri(),
            targets="landmark",
            name=f"{dataset.name}-{split}",
            digest=split_digest(photos, dataset.classes),
        )
        # Else MLflow looks at every value: half a minute for a million photos.
        logged.schema = infer_signature(frame.head(1)).inputs
        mlflow.log_input(logged, context=split)
        return logged

    def log_manifest(self, dataset: Dataset) -> None:
        """Record which photo is in which split, so that later runs can use the same."""
        with tempfile.TemporaryDirectory() as folder:
            large = len(dataset.photos) > MOST_JSON
            path = Path(folder) / (LARGE_MANIFEST if large else MANIFEST)
            write_manifest(dataset, path)
            mlflow.log_artifact(str(path))

    def log_figure(self, draw: Callable[[], Figure], name: str) -> Figure | None:
        """Log a figure as `figures/<name>.png`; None, and why in the log, if it cannot be drawn.

        A trained model must not be lost for a picture of it.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"{name}.png")
            try:
                figure = draw()
                figure.savefig(path)
            except Exception:
                logger.exception("the figure %s could not be drawn; the run goes on", name)
                return None
            mlflow.log_artifact(str(path), "figures")
        return figure

    def log_table(self, table: pd.DataFrame, name: str) -> None:
        """Log a table as `<name>.csv`, one of more than 10,000 rows as `<name>.parquet`."""
        is_long = len(table) > MOST_CSV_ROWS
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, f"{name}.{'parquet' if is_long else 'csv'}")
            (table.to_parquet if is_long else table.to_csv)(path, index=False)
            mlflow.log_artifact(str(path))

    def describe(self, text: str) -> None:
        """Show Markdown at the top of the run's page."""
        mlflow.set_tag(MLFLOW_RUN_NOTE, text)

    def set_tags(self, tags: Mapping[str, str]) -> None:
        """Set tags to search runs by."""
        mlflow.set_tags(dict(tags))

    @property
    def location(self) -> str:
        """How a person finds the run: its page in the MLflow UI."""
        return page_of(self.run_id, mlflow.get_run(self.run_id).info.experiment_id)


def page_of(run_id: str, experiment_id: str, ui: str = "") -> str:
    """Address of a run's page in the MLflow UI, without a password; of all runs for an empty id.

    ui: address of the UI; empty: the tracking server's, or where `make ui` shows a database.
    """
    tracking = mlflow.get_tracking_uri()
    local = f"http://{UiConfig.host}:{UiConfig.port}"
    server = without_users(ui or (tracking if tracking.startswith("http") else local)).rstrip("/")
    path = "/".join(filter(None, ["experiments", experiment_id, "runs", run_id]))
    # Without the type, MLflow opens its view for language models, which hides figures.
    return f"{server}/#/{path}?workflowType=machine_learning"


def connect() -> None:
    """Point MLflow at the store that the environment names, by default a database in this folder.

    A server is asked first. Raises ValueError when none answers within four seconds or it wants a
    login.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri("sqlite:///mlflow.db")
    uri = mlflow.get_tracking_uri()
    if uri.startswith("sqlite:///"):
        make_database(Path(uri.removeprefix("sqlite:///").partition("?")[0]))
    try:
        if uri.startswith("http"):
            with short_waits(timeout=4):
                mlflow.MlflowClient().search_experiments(max_results=1)
        # Under `mlflow run` the run exists already and names its own experiment.
        if not os.environ.get("MLFLOW_RUN_ID"):
            with short_waits(retries=3, timeout=30):
                mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", DEFAULT_EXPERIMENT))
    except MlflowException as error:
        if error.error_code == "UNAUTHENTICATED":
            raise ValueError(
                f"the MLflow server at {shown_tracking_uri()} wants a login: give it in"
                " MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN"
            ) from error
        if not is_outage(error):
            raise
        raise ValueError(
            f"no MLflow server answers at {shown_tracking_uri()}: start it, or name another in"
            " MLFLOW_TRACKING_URI"
        ) from error


def current_experiment() -> str:
    """Name of the experiment in which runs open now."""
    if launched := os.environ.get("MLFLOW_RUN_ID"):
        return str(mlflow.get_experiment(mlflow.get_run(launched).info.experiment_id).name)
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", DEFAULT_EXPERIMENT)


def make_database(path: Path) -> None:
    """Make the database of the runs where there is none: by one process, and whole or not at all.

    MLflow creates the tables one by one in the final file: two first runs at once, or a kill, leave
    a broken database.
    """
    if path.exists() or str(path) in (".", ":memory:"):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with (
        FileLock(f"{path}.lock"),
        # MLflow keeps its files open, which Windows does not move and hardly removes.
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
    ):
        if not path.exists():
            made = Path(folder, path.name)
            mlflow.MlflowClient(f"sqlite:///{made}").search_experiments()
            write_whole(path, made.read_bytes(), scratch_name=f".{path.name}.tmp")


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
    """Raise ValueError if a run does not exist, has finished, or was started with other values."""
    connect()
    run = find_run(resume)
    if run is None:
        raise ValueError(f"resume={resume}: there is no such run; see the MLflow UI")
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
    """Open a run, log the configuration, and end the run with the status that fits.

    run_id: an unfinished run to continue, instead of a new one (or the one of `mlflow run`). A run
    tagged with a parent opens in the experiment of its parent. An exception ends the run FAILED,
    Ctrl-C ends it KILLED, with the reason as a tag and in its description. A tracking server that
    stops answering is waited for once, as long as MLflow waits; then the run stays open there.
    """
    connect()
    mlflow.enable_system_metrics_logging()  # type: ignore[no-untyped-call]
    if run_id:
        client = mlflow.MlflowClient()
        continued = client.get_run(run_id)
        mlflow.set_experiment(experiment_id=continued.info.experiment_id)
        for tag in {"error", MLFLOW_RUN_NOTE} & set(continued.data.tags):
            client.delete_tag(run_id, tag)
        launched = os.environ.get("MLFLOW_RUN_ID")
        if launched and launched != run_id:
            client.set_tag(launched, "resumed_run", run_id)
            client.set_tag(launched, MLFLOW_RUN_NAME, f"resumes-{continued.info.run_name}")
    elif MLFLOW_PARENT_RUN_ID in tags:
        parent = mlflow.get_run(tags[MLFLOW_PARENT_RUN_ID])
        mlflow.set_experiment(experiment_id=parent.info.experiment_id)
    active, status = None, RunStatus.FAILED
    try:
        # The tags come with the start: no run is ever seen without them.
        active = mlflow.start_run(run_id=run_id, tags=None if run_id else dict(tags))
        if not run_id:
            mlflow.set_tag(MLFLOW_RUN_NAME, run_name)
            mlflow.MlflowClient().set_experiment_tag(active.info.experiment_id, *EXPERIMENT_KIND)
            mlflow.log_params(missing_params(config, active))
            mlflow.log_text(to_json(config), "config.json")
        yield Run(active.info.run_id)
        status = RunStatus.FINISHED
    except (KeyboardInterrupt, Exception) as error:
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, KeyboardInterrupt):
            status, reason = RunStatus.KILLED, "interrupted by Ctrl-C or a signal"
        if active is not None:
            with contextlib.suppress(MlflowException), short_waits():
                mlflow.set_tags(_failure(reason))
        if is_outage(error):
            there = f", where run {active.info.run_id} may stay open" if active else ""
            raise MlflowException(
                f"no MLflow server answers at {shown_tracking_uri()} any more{there}; once it is"
                " back, start again, a training with resume=auto"
            ) from error
        raise
    finally:
        if active is not None:
            with contextlib.ExitStack() as stack:
                if status != RunStatus.FINISHED:
                    # Say soon what ended the run; an outage must not hide it.
                    stack.enter_context(contextlib.suppress(MlflowException))
                    stack.enter_context(short_waits(retries=3))
                mlflow.end_run(RunStatus.to_string(status))


def settle_launched(error: str = "") -> None:
    """Name and end the run that `mlflow run` made, if the command did not use it.

    It is named after the entry point. error: why the command failed; the run says it. The run stays
    even without results: `mlflow run` itself fails when it was deleted.
    """
    launched = os.environ.get("MLFLOW_RUN_ID")
    if not launched:
        return
    with contextlib.suppress(MlflowException), short_waits():
        client = mlflow.MlflowClient()
        tags = client.get_run(launched).data.tags
        # A run that the command used, or that points to a resumed one, has tags of ours.
        entry_point = tags.get(MLFLOW_PROJECT_ENTRY_POINT)
        if not entry_point or not all(tag.startswith("mlflow.") for tag in tags):
            return
        named = {MLFLOW_RUN_NAME: entry_point}
        named |= _failure(error) if error else {}
        client.log_batch(launched, tags=[RunTag(*tag) for tag in named.items()])
        status = RunStatus.FAILED if error else RunStatus.FINISHED
        client.set_terminated(launched, RunStatus.to_string(status))


def _failure(reason: str) -> dict[str, str]:
    """Tags of a run that did not finish."""
    reason = without_users(reason)[:4000]
    return {"error": reason, MLFLOW_RUN_NOTE: f"**Not finished:** {reason}"}


def missing_params(config: Configuration, run: mlflow.entities.Run) -> dict[str, str]:
    """Parameters that a run does not have yet, those left empty apart.

    `mlflow run` has logged the flags as they were typed; a second spelling would raise.
    """
    known = run.data.params
    return {name: value for name, value in to_params(config).items() if value and name not in known}

"""Read back from MLflow: finished training runs with their answers, models, split manifests."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import mlflow
import mlflow.artifacts
import mlflow.models
import pandas as pd
from mlflow.entities import Run as LoggedRun
from mlflow.exceptions import MlflowException

from landmark_ml.console import Bar
from landmark_ml.data import LARGE_MANIFEST, MANIFEST
from landmark_ml.tracking.errors import find, shown_tracking_uri

_EVALUATED = (
    "attributes.status = 'FINISHED' and metrics.`test/top1` >= 0 and tags.test_digest != ''"
)
EVALUATION = "evaluation.json"
"""Artifact of a run that judged a model: all metrics, with their intervals and counts."""
_ANSWERS = "test_answers"
_ANSWER_COLUMNS = {"sha256": str, "label": str, "correct": bool}


@dataclass(frozen=True, eq=False)
class EvaluatedRun:
    """A finished run; NaN stands for a number that was not recorded.

    started: milliseconds since 1970. metrics: by name, such as `test/top1`. answers: columns
    sha256, label and correct, a row for each test photo of a landmark. params: as logged.
    """

    run_id: str
    name: str
    recipe: str
    backbone: str
    test_digest: str
    started: int
    metrics: Mapping[str, float]
    parameters: float
    macs: float
    artifact_bytes: float
    answers: pd.DataFrame
    params: Mapping[str, str] = field(default_factory=dict)
    experiment_id: str = "0"

    def metric(self, name: str) -> float:
        """Value of a metric, NaN when the run did not measure it."""
        return self.metrics.get(name, math.nan)


@dataclass(frozen=True)
class LeftOut:
    """A run that is not compared, and why."""

    name: str
    run_id: str
    reason: str


class EvaluatedRuns(NamedTuple):
    """Runs that were read, runs that could not be, and a sentence when there are still more."""

    runs: tuple[EvaluatedRun, ...]
    left_out: tuple[LeftOut, ...]
    caution: str


def read_evaluated_runs(experiment: str, search: str = "", most: int = 20) -> EvaluatedRuns:
    """The newest `most` runs of an experiment that finished with test metrics.

    search: MLflow search string that they must meet as well. Raises ValueError when there is no
    such experiment, no such run, or the search string is not valid.
    """
    found = _find_runs(experiment, search, most + 1)
    runs: list[EvaluatedRun] = []
    left_out: list[LeftOut] = []
    for logged in Bar(found[:most], desc="read runs", unit=" runs"):
        try:
            runs.append(_read_run(logged))
        except (ValueError, OSError, MlflowException) as error:
            name = logged.info.run_name or logged.info.run_id
            reason = f"its {_ANSWERS} cannot be read: {error}"
            left_out.append(LeftOut(name, logged.info.run_id, reason))
    caution = ""
    if len(found) > most:
        caution = (
            f"There are more evaluated runs; only the newest {most:,} were read: raise most, or"
            " narrow them by filter."
        )
    return EvaluatedRuns(tuple(runs), tuple(left_out), caution)


@dataclass(frozen=True)
class LoggedModel:
    """A copy of a model and where it comes from; model_id, run_id: None when MLflow has none.

    uri: names a version, also where an alias was asked for.
    """

    uri: str
    folder: Path
    model_id: str | None
    run_id: str | None


def model_uri(model: str) -> str:
    """Address for MLflow of `name` (its champion), `name/3`, `name@alias`; any other stays."""
    if ":/" in model:
        return model
    return f"models:/{model}" if set("/@") & set(model) else f"models:/{model}@champion"


def fetch_model(model: str, scratch: Path) -> LoggedModel:
    """Copy the files of a model such as `landmarks/7` into an existing folder.

    Raises ValueError when there is no such model.
    """
    uri = model_uri(model)
    try:
        if "@" in uri:
            # The version, before the alias names another.
            name, _, alias = uri.removeprefix("models:/").partition("@")
            version = mlflow.MlflowClient().get_model_version_by_alias(name, alias)
            uri = f"models:/{name}/{version.version}"
        folder = mlflow.artifacts.download_artifacts(artifact_uri=uri, dst_path=str(scratch))
        info = mlflow.models.get_model_info(folder)
    except (MlflowException, OSError) as error:
        raise ValueError(
            f"model {model!r} cannot be read from {shown_tracking_uri()} ({error}); give one"
            " like landmarks, landmarks/7 or landmarks@challenger"
        ) from None
    return LoggedModel(uri, Path(folder), info.model_id, info.run_id)


def fetch_manifest(run_id: str | None, scratch: Path) -> Path | None:
    """Copy the split manifest of a run; None when MLflow has no such run or it logged none.

    Raises MlflowException or OSError when MLflow does not answer: a model must not be judged as if
    it had trained on no photos.
    """
    return _fetch_first(run_id, (MANIFEST, LARGE_MANIFEST), scratch) if run_id else None


def _fetch_first(run_id: str, names: Sequence[str], scratch: Path) -> Path | None:
    """Copy the first of these artifacts that a run has logged; None when it has none."""
    listed = find(lambda: mlflow.MlflowClient().list_artifacts(run_id)) or ()
    logged = {item.path for item in listed}
    name = next((name for name in names if name in logged), None)
    if name is None:
        return None
    address, folder = f"runs:/{run_id}/{name}", str(scratch)
    return Path(mlflow.artifacts.download_artifacts(address, dst_path=folder))


def find_run(run_id: str) -> LoggedRun | None:
    """A run; None when MLflow has no such run."""
    return find(lambda: mlflow.get_run(run_id))


def differing_params(runs: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Parameters in which runs differ: the values in the order of the runs, empty where not set."""
    names = sorted({name for params in runs for name in params})
    values = {name: [params.get(name, "") for params in runs] for name in names}
    return {name: found for name, found in values.items() if len(set(found)) > 1}


def _find_runs(experiment: str, search: str, most: int) -> list[LoggedRun]:
    if mlflow.get_experiment_by_name(experiment) is None:
        known = sorted(known.name for known in mlflow.search_experiments())
        raise ValueError(
            f"there is no experiment {experiment!r} at {shown_tracking_uri()}; there are:"
            f" {', '.join(known)}"
        )
    try:
        found: list[LoggedRun] = mlflow.search_runs(
            experiment_names=[experiment],
            filter_string=f"{_EVALUATED} and {search}" if search else _EVALUATED,
            order_by=["attributes.start_time DESC"],
            max_results=most,
            output_format="list",
        )
    except MlflowException as error:
        raise ValueError(
            f"filter {search!r} is not an MLflow search string ({error.message}); write one like"
            " \"tags.recipe = 'transfer'\""
        ) from None
    if not found:
        met = f" that meets {search!r}" if search else ""
        raise ValueError(
            f"experiment {experiment!r} holds no finished run with test metrics{met};"
            " train first: make transfer"
        )
    return found


def _read_run(logged: LoggedRun) -> EvaluatedRun:
    info, tags = logged.info, logged.data.tags
    answers = _read_answers(info.run_id)
    return EvaluatedRun(
        run_id=info.run_id,
        experiment_id=info.experiment_id,
        name=info.run_name or info.run_id,
        recipe=tags.get("recipe", ""),
        backbone=tags.get("backbone", ""),
        test_digest=tags["test_digest"],
        started=info.start_time,
        metrics=logged.data.metrics,
        parameters=float(tags.get("parameters", math.nan)),
        macs=float(tags.get("macs", math.nan)),
        artifact_bytes=float(tags.get("artifact_bytes", math.nan)),
        answers=answers[answers["label"] != ""].reset_index(drop=True),
        params=logged.data.params,
    )


def _read_answers(run_id: str) -> pd.DataFrame:
    """The table that `Run.log_table` logged."""
    with tempfile.TemporaryDirectory() as folder:
        path = _fetch_first(run_id, (f"{_ANSWERS}.csv", f"{_ANSWERS}.parquet"), Path(folder))
        if path is None:
            raise ValueError("the run logged none")
        if path.suffix == ".parquet":
            return pd.read_parquet(path, columns=list(_ANSWER_COLUMNS))
        # A landmark may be called "NA" or "None"; an empty label is a photo of no landmark.
        return pd.read_csv(
            path, usecols=list(_ANSWER_COLUMNS), dtype=_ANSWER_COLUMNS, keep_default_na=False
        )

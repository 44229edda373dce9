"""Training runs read back from MLflow: what they are, cost and reached, and what they answered."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from tqdm.auto import tqdm

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities import Run as LoggedRun

_EVALUATED = (
    "attributes.status = 'FINISHED' and metrics.`test/top1` >= 0 and tags.test_digest != ''"
)
_ANSWERS = "test_answers.csv"
_ANSWER_COLUMNS = {"sha256": str, "label": str, "correct": bool}
_MS_PER_MINUTE = 60_000


@dataclass(frozen=True, eq=False)
class EvaluatedRun:
    """A finished run with test metrics by name (`test/top1` …); NaN is a fact not recorded.

    `started`: milliseconds since 1970. `curve`: columns epoch, minutes since the run started, and
    val/top1. `answers`: columns sha256, label and correct, a row a test photo of a landmark.
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
    curve: pd.DataFrame
    answers: pd.DataFrame

    def metric(self, name: str) -> float:
        """Value of a metric, NaN when the run did not measure it."""
        return self.metrics.get(name, math.nan)


@dataclass(frozen=True)
class LeftOut:
    """A run that is not compared, and why."""

    name: str
    run_id: str
    reason: str


def read_evaluated_runs(
    experiment: str, search: str = "", most: int = 20
) -> tuple[list[EvaluatedRun], list[LeftOut]]:
    """Finished runs of an experiment that carry test metrics, the newest `most` of them.

    search: MLflow search string that they meet as well. Raises ValueError when there is no such
    experiment, no such run, or the search string is none.
    """
    runs: list[EvaluatedRun] = []
    left_out: list[LeftOut] = []
    found = _find_runs(experiment, search)
    for logged in tqdm(found[:most], desc="read runs", unit="run", delay=1):
        try:
            runs.append(_read_run(logged))
        except (ValueError, OSError, MlflowException) as error:
            reason = f"its {_ANSWERS} cannot be read: {error}"
            left_out.append(LeftOut(_name(logged), logged.info.run_id, reason))
    older = f"older than the newest {most}; raise most to compare it"
    left_out += [LeftOut(_name(logged), logged.info.run_id, older) for logged in found[most:]]
    return runs, left_out


def _find_runs(experiment: str, search: str) -> list[LoggedRun]:
    """Evaluated runs, newest first."""
    _check_experiment(experiment)
    try:
        found: list[LoggedRun] = mlflow.search_runs(
            experiment_names=[experiment],
            filter_string=f"{_EVALUATED} and {search}" if search else _EVALUATED,
            order_by=["attributes.start_time DESC"],
            output_format="list",
        )
    except MlflowException as error:
        raise ValueError(
            f"filter {search!r} is no MLflow search string ({error.message}); write one like"
            " \"tags.recipe = 'transfer'\""
        ) from None
    if not found:
        met = f" that meets {search!r}" if search else ""
        raise ValueError(
            f"experiment {experiment!r} holds no finished run with test metrics{met};"
            " train first: mlflow run . -e transfer"
        )
    return found


def _check_experiment(name: str) -> None:
    known = [experiment.name for experiment in mlflow.search_experiments()]
    if name not in known:
        raise ValueError(
            f"there is no experiment {name!r} at {mlflow.get_tracking_uri()}; there are:"
            f" {', '.join(sorted(known))}"
        )


def _read_run(logged: LoggedRun) -> EvaluatedRun:
    tags = logged.data.tags
    return EvaluatedRun(
        run_id=logged.info.run_id,
        name=_name(logged),
        recipe=tags.get("recipe", ""),
        backbone=tags.get("backbone", ""),
        test_digest=tags["test_digest"],
        started=logged.info.start_time,
        metrics=logged.data.metrics,
        parameters=float(tags.get("parameters", math.nan)),
        macs=float(tags.get("macs", math.nan)),
        artifact_bytes=float(tags.get("artifact_bytes", math.nan)),
        curve=_read_curve(logged),
        answers=_read_answers(logged),
    )


def _read_curve(logged: LoggedRun) -> pd.DataFrame:
    history = mlflow.MlflowClient().get_metric_history(logged.info.run_id, "val/top1")
    # A resumed run logs an epoch again; what came last counts.
    last = {point.step: point for point in sorted(history, key=lambda point: point.timestamp)}
    points = [last[step] for step in sorted(last)]
    minutes = [(point.timestamp - logged.info.start_time) / _MS_PER_MINUTE for point in points]
    return pd.DataFrame(
        {
            "epoch": [point.step for point in points],
            "minutes": minutes,
            "val/top1": [point.value for point in points],
        },
        dtype=float,
    )


def _read_answers(logged: LoggedRun) -> pd.DataFrame:
    text = mlflow.artifacts.load_text(f"{logged.info.artifact_uri}/{_ANSWERS}")
    # A landmark may be called "NA" or "None"; an empty label is a photo of no landmark.
    answers = pd.read_csv(
        io.StringIO(text),
        usecols=list(_ANSWER_COLUMNS),
        dtype=_ANSWER_COLUMNS,
        keep_default_na=False,
    )
    return answers[answers["label"] != ""].reset_index(drop=True)


def _name(logged: LoggedRun) -> str:
    name: str = logged.info.run_name or logged.info.run_id
    return name

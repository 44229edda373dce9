"""Training runs read back from MLflow: what they are, cost and reached, and what they answered."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from tqdm.auto import tqdm

from landmark_ml.tracking.errors import shown_tracking_uri

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mlflow.entities import Run as LoggedRun

Order = Literal["newest", "best"]
"""Which runs come first; best: by the top-1 that they report of themselves."""

_EVALUATED = (
    "attributes.status = 'FINISHED' and metrics.`test/top1` >= 0 and tags.test_digest != ''"
)
_NEWEST_FIRST = "attributes.start_time DESC"
_ORDERS: dict[Order, list[str]] = {
    "newest": [_NEWEST_FIRST],
    "best": ["metrics.`test/top1` DESC", _NEWEST_FIRST],
}
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


@dataclass(frozen=True, eq=False)
class EvaluatedRuns:
    """Runs read back, those that could not be, and whether there are more that were not looked at.

    order: `newest` or `best`, what those that were read were picked by.
    """

    runs: tuple[EvaluatedRun, ...]
    left_out: tuple[LeftOut, ...] = ()
    more: bool = False
    order: Order = "newest"

    @property
    def caution(self) -> str:
        """Sentence that says what was not looked at; empty when everything was."""
        if not self.more:
            return ""
        asked = len(self.runs) + len(self.left_out)
        other = {"newest": "order=best for those of the highest top-1", "best": "order=newest"}
        return (
            f"Not all evaluated runs were looked at, only the {self.order} {asked:,}: raise most,"
            f" narrow them by filter, or give {other[self.order]}."
        )


def read_evaluated_runs(
    experiment: str, search: str = "", most: int = 20, order: Order = "newest"
) -> EvaluatedRuns:
    """Finished runs of an experiment that carry test metrics: the newest, or best, `most` of them.

    search: MLflow search string that they meet as well. Raises ValueError when there is no such
    experiment, no such run, or the search string is none.
    """
    runs: list[EvaluatedRun] = []
    left_out: list[LeftOut] = []
    found = _find_runs(experiment, search, most + 1, order)
    for logged in tqdm(found[:most], desc="read runs", unit="run", delay=1):
        try:
            runs.append(_read_run(logged))
        except (ValueError, OSError, MlflowException) as error:
            reason = f"its {_ANSWERS} cannot be read: {error}"
            left_out.append(LeftOut(_name(logged), logged.info.run_id, reason))
    return EvaluatedRuns(tuple(runs), tuple(left_out), len(found) > most, order)


def _find_runs(experiment: str, search: str, most: int, order: Order) -> list[LoggedRun]:
    """Evaluated runs, the newest or best first, and no more than asked for."""
    _check_experiment(experiment)
    try:
        found: list[LoggedRun] = mlflow.search_runs(
            experiment_names=[experiment],
            filter_string=f"{_EVALUATED} and {search}" if search else _EVALUATED,
            order_by=_ORDERS[order],
            max_results=most,
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
            " train first: mlflow run . --env-manager local -e transfer"
        )
    return found


def _check_experiment(name: str) -> None:
    if mlflow.get_experiment_by_name(name) is not None:
        return
    known = sorted(experiment.name for experiment in mlflow.search_experiments())
    raise ValueError(
        f"there is no experiment {name!r} at {shown_tracking_uri()}; there are: {', '.join(known)}"
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

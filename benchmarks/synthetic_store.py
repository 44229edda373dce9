"""Thousands of runs, versions and history entries, written straight into MLflow's tables.

Through the API they would take most of an hour. What is written is what training, promotion and
rollback leave behind: the parameters of `TrainConfig`, the tags and test metrics that `compare`
reads, a model card, six curves of 20 epochs; a version for every tenth run, and an entry of the
history for each version: every fifth became champion, the others were refused. Runs share ten
artifact folders, whose answers to 522 test photos are made up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.store.model_registry.dbmodels.models import (
    SqlModelVersion,
    SqlModelVersionTag,
    SqlRegisteredModel,
    SqlRegisteredModelAlias,
)
from mlflow.store.tracking.dbmodels.models import (
    SqlLatestMetric,
    SqlMetric,
    SqlParam,
    SqlRun,
    SqlTag,
)
from sqlalchemy import create_engine, insert
from tqdm.auto import tqdm

from landmark_ml.config import TrainConfig, to_params
from landmark_ml.data import Photo
from landmark_ml.evaluation.judge import Predictions, Report
from landmark_ml.evaluation.metrics import measure
from landmark_ml.registry.history import CHAMPION, PREVIOUS, Entry, history_name, to_tags

Row = tuple[type, dict[str, Any]]
"""A table of MLflow, and what one row of it holds."""

MODEL = "synthetic"
EXPERIMENT = "synthetic"
RUNS_A_VERSION = 10
_ENTRIES_A_PROMOTION = 5
_FOLDERS = 10
_TEST_PHOTOS = 522
_LANDMARKS = tuple(f"Landmark {number}" for number in range(50))
_CONFIDENCE = 0.9
_EPOCHS = 20
_CURVES = ("train/loss", "train/top1", "train/lr", "val/loss", "val/top1", "val/top3")
_BEGAN = 1_700_000_000_000
_MINUTE = 60_000
_CHUNK = 200
_PARAMS = to_params(TrainConfig())
_TAGS = {
    "recipe": "transfer",
    "backbone": "tf_efficientnet_lite0",
    "test_digest": "made-up",
    "parameters": "3413024",
    "macs": "384000000",
    "artifact_bytes": "13900000",
    "mlflow.user": "benchmark",
    "mlflow.source.type": "LOCAL",
    "mlflow.source.name": "experiments/transfer.py",
    "mlflow.note.content": "A model card, as long as those that training writes. " * 40,
}


def made_up_report(top1: float, seed: int) -> Report:
    """Answers to as many test photos as landmarks50 has; seed: which of them are wrong."""
    rng = np.random.default_rng(seed)
    labels = np.arange(_TEST_PHOTOS) % len(_LANDMARKS)
    photos = tuple(
        Photo(Path(f"{n}.jpg"), int(label), hashlib.sha256(str(n).encode()).hexdigest(), 256, 256)
        for n, label in enumerate(labels)
    )
    wrong = rng.permutation(_TEST_PHOTOS)[round(top1 * _TEST_PHOTOS) :]
    answered = labels.copy()
    answered[wrong] = (labels[wrong] + 1) % len(_LANDMARKS)
    fields = {"landmark_score": _CONFIDENCE, "is_landmark": True}
    answers = [
        fields | {"candidates": [{"landmark": _LANDMARKS[best], "confidence": _CONFIDENCE}]}
        for best in answered
    ]
    places = [None] * len(_LANDMARKS)
    predictions = Predictions.of(photos, _LANDMARKS, _LANDMARKS, answers, places)
    metrics = measure(predictions) | {"ms_per_photo": 5.0}
    return Report(metrics, predictions, pd.DataFrame())


def fill_store(uri: str, folder: Path, runs: int) -> None:
    """Lay MLflow's tables in an empty database and fill them; folder: for the artifacts."""
    mlflow.set_tracking_uri(uri)
    root = folder / "artifacts"
    experiment = int(mlflow.create_experiment(EXPERIMENT, root.as_uri()))
    artifacts = [root / f"shared-{number}" for number in range(_FOLDERS)]
    reports = [made_up_report(0.80 + 0.01 * n, seed=n) for n in range(_FOLDERS)]
    for place, report in zip(artifacts, reports, strict=True):
        place.mkdir(parents=True)
        report.predictions.table().to_csv(place / "test_answers.csv", index=False)
    metrics = [report.metrics for report in reports]
    engine = create_engine(uri)
    with engine.begin() as connection:
        names = (MODEL, history_name(MODEL))
        connection.execute(insert(SqlRegisteredModel), [{"name": name} for name in names])
    for start in tqdm(range(0, runs, _CHUNK), desc=f"make {runs:,} runs", delay=1):
        rows: dict[type, list[dict[str, Any]]] = {}
        for number in range(start, min(runs, start + _CHUNK)):
            place, measured = artifacts[number % _FOLDERS], metrics[number % _FOLDERS]
            for table, row in _rows(number, experiment, place.as_uri(), measured):
                rows.setdefault(table, []).append(row)
        with engine.begin() as connection:
            for table, values in rows.items():
                connection.execute(insert(table), values)
    with engine.begin() as connection:
        connection.execute(insert(SqlRegisteredModelAlias), list(_aliases(runs // RUNS_A_VERSION)))
    engine.dispose()


def _rows(number: int, experiment: int, artifacts: str, metrics: dict[str, float]) -> Iterator[Row]:
    """All rows of a run, and of its version when it has one."""
    run_id = hashlib.sha256(str(number).encode()).hexdigest()[:32]
    started = _BEGAN + number * _MINUTE
    yield (
        SqlRun,
        {
            "run_uuid": run_id,
            "name": f"transfer-{number}",
            "user_id": "benchmark",
            "status": "FINISHED",
            "start_time": started,
            "end_time": started + _MINUTE,
            "artifact_uri": artifacts,
            "experiment_id": experiment,
        },
    )
    key = {"run_uuid": run_id}
    yield from ((SqlParam, {**key, "key": name, "value": v}) for name, v in _PARAMS.items())
    yield from ((SqlTag, {**key, "key": name, "value": v}) for name, v in _TAGS.items())
    tested = {f"test/{name}": value for name, value in metrics.items()} | {"train_seconds": 57.0}
    for name, value in tested.items():
        row = {**key, "key": name, "value": value, "step": 0, "timestamp": started}
        yield from ((SqlMetric, row), (SqlLatestMetric, row))
    for name in _CURVES:
        for step in range(_EPOCHS):
            point = {"value": step / _EPOCHS, "step": step, "timestamp": started + 1000 * step}
            yield SqlMetric, {**key, "key": name, **point}
        yield SqlLatestMetric, {**key, "key": name, **point}
    if number % RUNS_A_VERSION == RUNS_A_VERSION - 1:
        yield from _version_rows(1 + number // RUNS_A_VERSION, run_id, metrics["top1"])


def _version_rows(version: int, run_id: str, top1: float) -> Iterator[Row]:
    """A version, and the entry of the history that says how it was judged."""
    shared = {"version": version, "status": "READY", "current_stage": "None"}
    source = f"models:/m-{run_id}"
    tags = {**_TAGS, "top1": repr(top1)}
    entry = _entry(version)
    for name, its, run in ((MODEL, tags, run_id), (history_name(MODEL), to_tags(entry), None)):
        yield SqlModelVersion, {**shared, "name": name, "source": source, "run_id": run}
        key = {"name": name, "version": version}
        yield from ((SqlModelVersionTag, {**key, "key": k, "value": v}) for k, v in its.items())


def _entry(number: int) -> Entry:
    """Entry of a history in which each version was judged when it came."""
    promoted = [n for n in range(1, number + 1) if n % _ENTRIES_A_PROMOTION == 1]
    moves = promoted[-1] == number
    earlier = promoted[:-1] if moves else promoted
    kind = "refuse" if not moves else "promote" if earlier else "register"
    return Entry(
        kind,  # type: ignore[arg-type]
        number,
        champion=promoted[-1],
        former=tuple(promoted[:-1]),
        based_on=earlier[-1] if earlier else 0,
        reason="better top-1 failed: +0.0019 (95% -0.0153 to +0.0192), p = 0.81 on 522 photos",
        by="somebody@host",
        at="2026-01-01T00:00:00Z",
        token=f"{number:032x}",
    )


def _aliases(versions: int) -> Iterable[dict[str, Any]]:
    last = _entry(versions)
    named = {CHAMPION: last.champion, PREVIOUS: last.former[-1] if last.former else 0}
    return [
        {"name": MODEL, "alias": alias, "version": version}
        for alias, version in named.items()
        if version
    ]

"""Evaluated runs made up for tests, in memory and in MLflow."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities import Metric

from landmark_ml.tracking.read_runs import EvaluatedRun
from landmark_ml.tracking.run import DEFAULT_EXPERIMENT

STARTED = 1_700_000_000_000
MINUTE = 60_000
LANDMARKS = ("Atomium", "Petra")


def make_answers(correct: Sequence[bool]) -> pd.DataFrame:
    """Right or wrong answers on as many photos, the landmarks taking turns."""
    hashes = [hashlib.sha256(str(index).encode()).hexdigest() for index in range(len(correct))]
    labels = [LANDMARKS[index % len(LANDMARKS)] for index in range(len(correct))]
    return pd.DataFrame({"sha256": hashes, "label": labels, "correct": list(correct)})


def make_run(name: str, correct: Sequence[bool], **facts: Any) -> EvaluatedRun:
    """Build a run whose top-1 is what its answers say; facts replace its other fields."""
    top1 = sum(correct) / len(correct)
    values: dict[str, Any] = {
        "run_id": hashlib.sha256(name.encode()).hexdigest()[:32],
        "name": name,
        "recipe": "transfer",
        "backbone": "tiny",
        "test_digest": "d1",
        "started": STARTED,
        "metrics": {
            "test/top1": top1,
            "test/top3": 1.0,
            "test/ece": 0.05,
            "test/ms_per_photo": 4.0,
            "train_seconds": 90.0,
        },
        "parameters": 3.4e6,
        "macs": 384e6,
        "artifact_bytes": 13.9e6,
        "answers": make_answers(correct),
    }
    return EvaluatedRun(**values | facts)


def log_run(
    experiment: str,
    run: EvaluatedRun,
    *,
    status: str = "FINISHED",
    answers: str | None = None,
) -> str:
    """Log a run as training leaves it, photos of no landmark among its answers; return its id.

    answers: text logged in place of the run's.
    """
    client = mlflow.MlflowClient()
    tags = {
        "recipe": run.recipe,
        "backbone": run.backbone,
        "test_digest": run.test_digest,
        "parameters": str(int(run.parameters)),
        "macs": str(int(run.macs)),
        "artifact_bytes": str(int(run.artifact_bytes)),
    }
    run_id: str = client.create_run(
        _experiment_id(client, experiment),
        start_time=run.started,
        tags=tags,
        run_name=run.name,
    ).info.run_id
    metrics = [Metric(key, value, run.started, 0) for key, value in run.metrics.items()]
    client.log_batch(run_id, metrics=metrics)
    text = answers_csv(run) if answers is None else answers
    client.log_text(run_id, text, "test_answers.csv")
    client.set_terminated(run_id, status)
    return run_id


def _experiment_id(client: mlflow.MlflowClient, name: str) -> str:
    """Open an experiment; a new one keeps its artifacts beside those of the test session."""
    found = client.get_experiment_by_name(name)
    session = client.get_experiment_by_name(DEFAULT_EXPERIMENT)
    assert session is not None, "ask for the fixture tracking_uri"
    location = f"{session.artifact_location}/{name}"
    opened: str = found.experiment_id if found else client.create_experiment(name, location)
    return opened


def answers_csv(run: EvaluatedRun) -> str:
    """Answers of a run as training logs them, with one photo of no landmark on top."""
    stranger = pd.DataFrame({"sha256": ["00" * 32], "label": [""], "correct": [False]})
    table = pd.concat([stranger, run.answers], ignore_index=True)
    return table.assign(prediction="Petra", confidence=0.5).to_csv(index=False)

"""The web app in a process of its own, with two versions of a model in a registry of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlflow
import psutil

from landmark_ml.registry.register import log_model

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "load"
START_SECONDS = 120


@dataclass(frozen=True)
class App:
    """The app under load."""

    address: str
    process: psutil.Process

    def cpu(self) -> float:
        """Seconds of processor time it has spent."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


def promote(version: str) -> None:
    """Make a version the champion."""
    mlflow.MlflowClient().set_registered_model_alias(NAME, "champion", version)


@contextlib.contextmanager
def started_app(folder: Path, artifact: Path, example: bytes) -> Iterator[App]:
    """An app that answers with an artifact registered twice; ended at the end."""
    uri = f"sqlite:///{folder}/mlflow.db"
    mlflow.set_tracking_uri(uri)
    mlflow.create_experiment(NAME, str(folder / "artifacts"))
    mlflow.set_experiment(NAME)
    with mlflow.start_run():
        logged = log_model(artifact, example, {})
    for _ in range(2):
        mlflow.register_model(f"models:/{logged.model_id}", NAME)
    promote("1")
    log = folder / "app.log"
    with log.open("w") as out:
        app = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", "experiments.app", f"--model={NAME}", "--port=0", "--poll=0.5"],
            env={**os.environ, "MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": NAME},
            stdout=out,
            stderr=out,
        )
    try:
        yield App(_address(app, log), psutil.Process(app.pid))
    finally:
        app.send_signal(signal.SIGTERM)
        app.wait(60)


def _address(app: subprocess.Popen[bytes], log: Path) -> str:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and app.poll() is None:
        for line in log.read_text().splitlines():
            if line.startswith("the page"):
                return line.rpartition("/")[2]
        time.sleep(0.2)
    raise ValueError(f"the app did not start: {log.read_text()[-2000:]}")

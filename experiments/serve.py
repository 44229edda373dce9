"""`landmarks serve`: a model behind MLflow's own scoring server."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import mlflow
from mlflow.models import get_model_info

from landmark_ml.config import ServeConfig
from landmark_ml.tracking.read_runs import model_uri
from landmark_ml.tracking.run import connect


def main(config: ServeConfig) -> NoReturn:
    """Serve until Ctrl-C. Raises MlflowException when there is no such model."""
    connect()
    get_model_info(uri := model_uri(config.model))
    become_mlflow(
        *("models", "serve", "--model-uri", uri, "--env-manager", "local"),
        *("--host", config.host, "--port", str(config.port)),
    )


def become_mlflow(*arguments: str) -> NoReturn:
    """Let this process become an MLflow command on the same store, so that Ctrl-C ends it."""
    os.environ["MLFLOW_TRACKING_URI"] = mlflow.get_tracking_uri()
    # It starts uvicorn by that name.
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    os.execv(sys.executable, [sys.executable, "-m", "mlflow", *arguments])  # noqa: S606 - ours

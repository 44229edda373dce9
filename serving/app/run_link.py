"""Where a person finds the run that made a version: its page in the MLflow UI."""

from __future__ import annotations

import logging

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from landmark_ml.config import without_user

logger = logging.getLogger(__name__)

LOCAL_UI = "http://127.0.0.1:5000"
"""Where `make ui` shows a tracking database that no server stands before."""


def run_link(run_id: str, ui: str = "") -> str | None:
    """Address of a run's page in the UI given, or in that of the tracking server, for anyone.

    None when the tracking server does not know the run or cannot be asked.
    """
    tracking = mlflow.get_tracking_uri()
    base = ui or (tracking if tracking.startswith(("http://", "https://")) else LOCAL_UI)
    try:
        run = MlflowClient().get_run(run_id)
    except MlflowException as error:
        logger.warning("no link to run %s: %s", run_id, error)
        return None
    return f"{without_user(base).rstrip('/')}/#/experiments/{run.info.experiment_id}/runs/{run_id}"

"""`landmarks ui`: the runs, models and figures in the browser."""

from typing import NoReturn

import mlflow

from experiments.serve import become_mlflow
from landmark_ml.config import UiConfig
from landmark_ml.tracking.run import connect


def main(config: UiConfig) -> NoReturn:
    """Serve the MLflow UI until Ctrl-C."""
    connect()
    store = ("--backend-store-uri", mlflow.get_tracking_uri())
    become_mlflow("ui", *store, "--host", config.host, "--port", str(config.port))

"""`landmarks ui`: the runs, models and figures in the browser."""

from typing import NoReturn

import mlflow

from experiments.serve import become_mlflow
from landmark_ml.config import UiConfig, shown_host
from landmark_ml.tracking.run import connect, current_experiment, page_of


def main(config: UiConfig) -> NoReturn:
    """Serve the MLflow UI until Ctrl-C, and say where the runs are: its front page is for chats."""
    connect()
    found = mlflow.set_experiment(current_experiment())
    page = page_of("", found.experiment_id, f"http://{shown_host(config.host)}:{config.port}")
    print(f"runs  {page}", flush=True)
    store = ("--backend-store-uri", mlflow.get_tracking_uri())
    become_mlflow("ui", *store, "--host", config.host, "--port", str(config.port))

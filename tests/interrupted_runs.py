"""A dataset and a network small enough to be interrupted often, and what a run left in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import mlflow.pyfunc
import pandas as pd

from landmark_ml.config import TrainConfig
from landmark_ml.tracking import run as tracking
from landmark_ml.training.checkpoint import config_digest, hold_run
from tests.colour_photos import CLASSES, write_colour

QUICK: dict[str, Any] = {
    "backbone": "test_resnet",
    "weights": "random",
    "resolution": 32,
    "finetune_batch_size": 8,
    "finetune_learning_rate": 0.001,
    "mixup": 0.2,
    "ema_decay": 0.9,
    "model": "",
}
"""Fields of a configuration that trains in a blink, with everything on that draws at random."""


def write_colour_folders(root: Path, each: int = 10) -> Path:
    """Three classes with `each` photos to train and validate on, and three each to test on."""
    for label, name in enumerate(CLASSES):
        for index in range(each):
            write_colour(root / "train" / name / f"{index}.png", label, 1000 * label + index)
        for index in range(3):
            write_colour(root / "test" / name / f"{index}.png", label, 5000 + 1000 * label + index)
    return root


def unfinished_run(config: TrainConfig) -> str:
    """Id of a run that was started with a configuration and killed before it trained."""
    tracking.connect()
    with mlflow.start_run(tags={"config_digest": config_digest(config)}) as run:
        pass
    mlflow.MlflowClient().set_terminated(run.info.run_id, "KILLED")
    with hold_run(Path(config.cache_dir), run.info.run_id):
        pass
    return str(run.info.run_id)


def status(run_id: str) -> str:
    return str(mlflow.get_run(run_id).info.status)


def history(run_id: str, metric: str) -> dict[int, list[float]]:
    """Values logged at each step."""
    values: dict[int, list[float]] = {}
    for point in mlflow.MlflowClient().get_metric_history(run_id, metric):
        values.setdefault(point.step, []).append(point.value)
    return values


def final_metrics(run_id: str) -> dict[str, float]:
    """Last metrics of a run, without those that measure time."""
    metrics: dict[str, float] = mlflow.get_run(run_id).data.metrics
    timed = ("system/", "train_seconds", "test/ms_per_photo")
    return {
        name: value
        for name, value in metrics.items()
        if not name.startswith(timed) and not name.endswith("photos_per_second")
    }


def answers(model_uri: str, photos: Path) -> pd.DataFrame:
    """What a logged model says of every photo in a folder."""
    images = [path.read_bytes() for path in sorted(photos.rglob("*.png"))]
    served = mlflow.pyfunc.load_model(model_uri)
    found: pd.DataFrame = served.predict(pd.DataFrame({"image": images}))
    return found

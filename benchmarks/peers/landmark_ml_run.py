"""Everything that `mlflow run . -e transfer` does, from photos to a logged and judged model."""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from experiments import recipes
from landmark_ml.config import TrainConfig
from landmark_ml.training.run import run_training

if TYPE_CHECKING:
    from benchmarks.peers.contract import Stopwatch, Task


def train(task: Task, stopwatch: Stopwatch) -> None:
    """Run the recipe with an empty cache; figures, evaluation and artifact count as well."""
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{scratch}/mlflow.db"
        os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = scratch
        os.chdir(scratch)
        learned: list[dict[str, float]] = []
        # Never cut off, so never known before it is.
        stopwatch = replace(stopwatch, minutes=math.inf)
        result = run_training(_config(task, Path(scratch) / "cache"), learned.append)
        photos = sum(1 for path in (task.data / "train").glob("*/*") if path.is_file())
        stopwatch.record(result.metrics["test/top1"], photos * len(learned))


def _config(task: Task, cache: Path) -> TrainConfig:
    """The recipe as it is; from scratch for as many epochs as the peers get."""
    recipe = recipes.transfer()
    if task.recipe == "scratch":
        recipe = replace(recipes.scratch(), finetune_epochs=task.epochs)
    return replace(recipe, data=str(task.data), cache_dir=str(cache), model="")

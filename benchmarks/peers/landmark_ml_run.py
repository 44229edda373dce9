"""Everything that `mlflow run . -e transfer` does, from photos to a logged and judged model."""

from __future__ import annotations

import math
import os
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING

from experiments import recipes
from landmark_ml.training.run import run_training

if TYPE_CHECKING:
    from benchmarks.peers.contract import Stopwatch, Task


def train(task: Task, stopwatch: Stopwatch) -> None:
    """Run the recipe with an empty cache; figures, evaluation and artifact count as well."""
    recipe = recipes.transfer()
    if task.recipe == "scratch":
        # For as many epochs as the peers get.
        recipe = replace(recipes.scratch(), finetune_epochs=task.epochs)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{scratch}/mlflow.db"
        os.environ["_MLFLOW_SERVER_ARTIFACT_ROOT"] = scratch
        os.chdir(scratch)
        learned: list[dict[str, float]] = []
        # Never cut off, so never known before it is.
        stopwatch = replace(stopwatch, minutes=math.inf)
        config = replace(recipe, data=str(task.data), cache_dir=f"{scratch}/cache", model="")
        result = run_training(config, learned.append)
        photos = sum(1 for path in (task.data / "train").glob("*/*") if path.is_file())
        stopwatch.record(result.metrics["test/top1"], photos * len(learned))

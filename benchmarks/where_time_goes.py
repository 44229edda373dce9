"""`python -m benchmarks.where_time_goes transfer --data=<folder>`: the seconds of a training.

Trains a recipe with a new database and an empty cache, and prints what each part takes: wall time
of the main thread, and CPU time of all threads meanwhile.
"""

from __future__ import annotations

import os
import pkgutil
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from benchmarks.tables import table
from experiments import cli
from experiments.recipes import RECIPES

# A call within another one counts as the inner part alone.
PARTS = {
    "photos: read, near-duplicates, splits": "landmark_ml.training.run:open_photos",
    "network and its weights": "landmark_ml.training.run:create_model",
    "figures of the dataset": "landmark_ml.reports.training_report:log_dataset_figures",
    "backbone traced to ONNX and compiled": "landmark_ml.training.cache:create_extractor",
    "features: decode and network": "landmark_ml.training.cache:RowCache.load",
    "head": "landmark_ml.training.phases:fit",
    "landmarks left out": "landmark_ml.training.phases:leave_landmarks_out",
    "artifact exported": "landmark_ml.training.run:export_network",
    "model logged": "landmark_ml.training.run:log_model",
    "model loaded": "landmark_ml.training.run:load_served",
    "judge: decode and network": "landmark_ml.training.run:judge",
    "report: metrics, figures, tables": "landmark_ml.reports.training_report:log_report",
}


class Clock:
    """Wall and CPU seconds of each part, as the main thread enters and leaves it."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._inside = ["the rest: MLflow, small steps"]
        self._since = time.perf_counter(), time.process_time()

    def charge(self) -> None:
        """Charge the part that is open with the time since the last call."""
        now = time.perf_counter(), time.process_time()
        spent = self.spent[self._inside[-1]]
        spent[:] = [sum(each) - then for *each, then in zip(spent, now, self._since, strict=True)]
        self._since = now

    def timed(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, its time on the main thread charged to a part."""

        def call(*args: Any, **named: Any) -> Any:
            if threading.current_thread() is not threading.main_thread():
                return function(*args, **named)
            self.charge()
            self._inside.append(part)
            try:
                return function(*args, **named)
            finally:
                self.charge()
                self._inside.pop()

        return call


def main() -> None:
    """Train and print the table."""
    parser = cli.Parser(usage="python -m benchmarks.where_time_goes RECIPE [--NAME=VALUE ...]")
    parser.add_argument("recipe", choices=RECIPES)
    recipe = parser.parse_args(sys.argv[1:2]).recipe
    clock = Clock()

    def imports() -> Any:
        with cli.importing():
            from landmark_ml.training import run  # noqa: PLC0415 - a part that is measured

        return run

    run = clock.timed("imports", imports)()
    for part, place in PARTS.items():
        owner, _, name = place.replace(":", ".").rpartition(".")
        holder = pkgutil.resolve_name(owner)
        setattr(holder, name, clock.timed(part, getattr(holder, name)))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        flags = [*sys.argv[2:], f"--cache_dir={folder}/cache"]
        run.run_training(cli.parse(RECIPES[recipe](), flags))
        clock.charge()
    total = [sum(values) for values in zip(*clock.spent.values(), strict=True)]
    rows = [(part, *map("{:.1f}".format, spent)) for part, spent in clock.spent.items()]
    rows.append(("all", *map("{:.1f}".format, total)))
    sys.stdout.write(f"{table([recipe, 'wall s', 'CPU s'], rows)}\n")


if __name__ == "__main__":
    cli.run(main)

"""What a worker of `tune_workers` does in its process: trials whose training is a nap."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import mlflow

from landmark_ml.config import TuneConfig
from landmark_ml.tuning import join_study, suggest_config
from landmark_ml.tuning.storage import open_storage, storage_url
from landmark_ml.tuning.study import open_study
from landmark_ml.tuning.worker import TrialRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import optuna

    from landmark_ml.config import TrainConfig

EXPERIMENT = "tuned"
_EPOCHS = 20


@dataclass(frozen=True)
class Workload:
    """A study, where its runs are recorded, and how long a training takes: seconds, give or take.

    trials: of all workers together. logs: folder of what each worker says.
    """

    study: str
    storage: str
    tracking_uri: str
    workers: int
    trials: int
    seconds: float
    logs: Path

    @property
    def config(self) -> TuneConfig:
        """Search of a head, as a person would type it."""
        return TuneConfig(
            study=self.study, storage=self.storage, trials=self.trials, epochs=_EPOCHS, register=""
        )


class Napping(TrialRunner):
    """Sleeps instead of training."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def run(
        self, config: TrainConfig, on_epoch_end: Callable[[dict[str, float]], None]
    ) -> dict[str, float]:
        """A learning curve of as many epochs as a head has, and where it ends."""
        rng = random.Random(repr(config))  # noqa: S311 - no secret
        top1 = 0.9 + 0.02 * rng.random()
        for epoch in range(_EPOCHS):
            time.sleep(self.seconds * (0.5 + rng.random()) / _EPOCHS)
            share = (epoch + 1) / _EPOCHS
            curve = {
                "train/loss": 1 - share / 2,
                "val/calibrated_loss": 1 - share / 2,
                "val/top1": top1 * share,
            }
            on_epoch_end({**curve, "val/top3": share, "epoch": float(epoch)})
        return {"val/top1": top1, "val/top3": 0.97, "val/calibrated_loss": 0.4}


def work_ours(load: Workload, number: int) -> None:
    """Join the study and work until it has its trials, as `mlflow run . -e tune` does."""
    _listen(load.logs / f"ours-{number}.log")
    os.environ["MLFLOW_TRACKING_URI"] = load.tracking_uri
    os.environ["MLFLOW_EXPERIMENT_NAME"] = EXPERIMENT
    mlflow.set_tracking_uri(load.tracking_uri)
    worker = join_study(load.config, (), Napping(load.seconds))
    with _cpu_time(load.logs / f"ours-{number}.cpu"):
        worker.work()


def work_bare(load: Workload, number: int) -> None:
    """A share of the trials with Optuna alone."""
    _listen(load.logs / f"bare-{number}.log")
    config = load.config
    url = storage_url(load.storage, load.tracking_uri)
    storage = open_storage(url, config.heartbeat, lambda *_: None)
    study = open_study(config, f"{load.study}-bare", storage, number)

    def objective(trial: optuna.Trial) -> float:
        drawn = suggest_config(trial, config)
        return Napping(load.seconds).run(drawn, lambda _: None)["val/top1"]

    with _cpu_time(load.logs / f"bare-{number}.cpu"):
        study.optimize(objective, n_trials=load.trials // load.workers)


@contextlib.contextmanager
def _cpu_time(path: Path) -> Iterator[None]:
    """Write down the processor time that this process spends in here, in seconds."""
    started = time.process_time()
    yield
    path.write_text(str(time.process_time() - started), encoding="utf-8")


def _listen(log: Path) -> None:
    """Everything that this process says goes into a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file, stream.fileno())
    logging.basicConfig(level=logging.INFO, force=True)

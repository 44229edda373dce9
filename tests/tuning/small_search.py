"""A search small enough for a test: colours, a network of a few weights, trials of milliseconds."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import optuna
import timm
import torch
from mlflow.entities import Run
from optuna.study import Study

from landmark_ml.config import TuneConfig, to_params
from landmark_ml.data import Dataset
from tests.interrupted_runs import write_colour_folders

ROOT = Path(__file__).resolve().parents[2]
NO_PHOTOS = Dataset("none", Path(), (), (), (), ())


def small_search(folder: Path, **values: Any) -> TuneConfig:
    """Search for a head on photos of colours in a folder; values replace its other fields."""
    weights = folder / "weights.pth"
    if not weights.exists():
        write_colour_folders(folder / "photos")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            torch.save(timm.create_model("test_resnet").state_dict(), weights)
    defaults: dict[str, Any] = {
        "data": str(folder / "photos"),
        "cache_dir": str(folder / "cache"),
        "storage": f"sqlite:///{folder}/studies.db",
        "backbone": "test_resnet",
        "weights": str(weights),
        "resolution": 32,
        "epochs": 10,
        "trials": 4,
        "threads": 1,
        "model": "",
    }
    return replace(TuneConfig(), **defaults | values)


def start_worker(config: TuneConfig, log: Path, **environment: str) -> subprocess.Popen[bytes]:
    """The command a person would type, in a process of its own."""
    params = {k: v for k, v in to_params(config).items() if k != "recipe"}
    flags = [f"--{name}={value}" for name, value in params.items()]
    with log.open("a") as file:
        return subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "experiments", "tune", *flags],
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
            stdout=file,
            stderr=file,
        )


def load_study(config: TuneConfig) -> Study:
    return optuna.load_study(study_name=config.study, storage=config.storage)


def parent_of(study: Study) -> Run:
    return mlflow.get_run(study.user_attrs["parent_run"])


def children_of(parent: Run) -> list[Run]:
    """Runs of the trials, the first trial first."""
    found = mlflow.search_runs(
        experiment_ids=[parent.info.experiment_id],
        filter_string=f"tags.`mlflow.parentRunId` = '{parent.info.run_id}' and tags.trial != ''",
        output_format="list",
    )
    return sorted(found, key=lambda run: int(run.data.tags["trial"]))


def runs_of_the_winner(parent: Run) -> list[Run]:
    """Runs in which a best trial was tested, the first first."""
    found: list[Run] = mlflow.search_runs(
        experiment_ids=[parent.info.experiment_id],
        filter_string=f"tags.`mlflow.parentRunId` = '{parent.info.run_id}'"
        " and tags.best_trial != ''",
        order_by=["attributes.start_time ASC"],
        output_format="list",
    )
    return found

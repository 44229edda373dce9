"""`python -m benchmarks.tune_workers`: 64 workers share one study on two cores.

Each worker is a process and does what `mlflow run . -e tune` does between two trainings: claim a
trial, draw its parameters, open a child run, log and report. Only the training is simulated: it
sleeps, and its accuracy is a function of the parameters. For comparison, as many workers run bare
Optuna with the same sampler, storage and sleep: no MLflow, no lock, no limit on all trials
together. The processes are forked from one that has imported everything, to save memory.
"""

from __future__ import annotations

import argparse
import logging
import multiprocessing
import os
import random
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import optuna
from optuna.trial import TrialState

from benchmarks.databases import KINDS, open_databases
from benchmarks.tables import arguments, table, tell
from experiments.cli import run
from landmark_ml.config import TrainConfig, TuneConfig
from landmark_ml.data import Dataset
from landmark_ml.tuning import join_study, suggest_config
from landmark_ml.tuning.study import open_storage, open_study, storage_url
from landmark_ml.tuning.worker import TrialRunner

PACKAGES = ("mlflow", "optuna", "sqlalchemy", "psycopg")
_EXPERIMENT, _STUDY, _BARE_STUDY = "tuned", "many", "many-bare"
_EPOCHS = 20
_NO_PHOTOS = Dataset("none", Path(), (), (), (), ())
_LOCKED = re.compile(r"locked|OperationalError|deadlock|too many clients|TEMPORARILY_UNAVAILABLE")


@dataclass(frozen=True)
class Workload:
    """Databases of the study and its runs, and the work. trials: of all workers together.

    seconds: of a training, on average. logs: folder of what each worker prints.
    """

    storage: str
    tracking_uri: str
    workers: int
    trials: int
    seconds: float
    logs: Path

    @property
    def config(self) -> TuneConfig:
        """Search of a head, as a person would start it."""
        return TuneConfig(
            study=_STUDY, storage=self.storage, trials=self.trials, epochs=_EPOCHS, model=""
        )


Outcome = dict[str, Any]
"""Results of a study, by column of the table.

CPU ms a trial: of the workers, after they have joined. lock errors: lines of their logs.
"""


class Napping(TrialRunner):
    """Sleeps instead of training."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def run(
        self, config: TrainConfig, on_epoch_end: Callable[[dict[str, float]], None]
    ) -> dict[str, float]:
        """A learning curve with as many epochs as that of a head."""
        rng = random.Random(repr(config))  # noqa: S311 - no secret
        top1 = 0.9 + 0.02 * rng.random()
        for epoch in range(_EPOCHS):
            time.sleep(self.seconds * (0.5 + rng.random()) / _EPOCHS)
            share = (epoch + 1) / _EPOCHS
            losses = {"train/loss": 1 - share / 2, "val/calibrated_loss": 1 - share / 2}
            accuracy = {"val/top1": top1 * share, "val/top3": share}
            on_epoch_end({**losses, **accuracy, "epoch": float(epoch)})
        return {"val/top1": top1, "val/top3": 0.97, "val/calibrated_loss": 0.4}


def work_ours(load: Workload, number: int) -> None:
    """Join the study and work until it has its trials, as `mlflow run . -e tune` does."""
    _print_to(load.logs / f"ours-{number}.log")
    os.environ["MLFLOW_TRACKING_URI"] = load.tracking_uri
    os.environ["MLFLOW_EXPERIMENT_NAME"] = _EXPERIMENT
    mlflow.set_tracking_uri(load.tracking_uri)
    worker = join_study(load.config, _NO_PHOTOS, Napping(load.seconds))
    with _cpu_time(load.logs / f"ours-{number}.cpu"):
        worker.work()


def work_bare(load: Workload, number: int) -> None:
    """Run this worker's share of the trials with Optuna alone."""
    _print_to(load.logs / f"bare-{number}.log")
    config = load.config
    url = storage_url(load.storage, load.tracking_uri)
    storage = open_storage(url, config.heartbeat, lambda *_: None)
    study = open_study(replace(config, study=_BARE_STUDY), storage, number)

    def objective(trial: optuna.Trial) -> float:
        drawn = suggest_config(trial, config)
        return Napping(load.seconds).run(drawn, lambda _: None)["val/top1"]

    with _cpu_time(load.logs / f"bare-{number}.cpu"):
        study.optimize(objective, n_trials=load.trials // load.workers)


def run_workers(work: Callable[[Workload, int], None], load: Workload) -> int:
    """Run all workers at the same time; returns how many died."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.tune_workers", "mlflow.store.tracking"])
    processes = [context.Process(target=work, args=(load, n)) for n in range(load.workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return sum(process.exitcode != 0 for process in processes)


def judge(who: str, study_name: str, load: Workload, dead: int) -> Outcome:
    """Count the trials of a study, in its storage and in MLflow."""
    storage = storage_url(load.storage, load.tracking_uri)
    study = optuna.load_study(study_name=study_name, storage=storage)
    done = study.get_trials(states=(TrialState.COMPLETE,))
    began = min(trial.datetime_start for trial in done if trial.datetime_start)
    ended = max(trial.datetime_complete for trial in done if trial.datetime_complete)
    logs = "\n".join(path.read_text() for path in load.logs.glob(f"{who}-*.log"))
    spent = sum(float(path.read_text()) for path in load.logs.glob(f"{who}-*.cpu"))
    recorded = mlflow.search_runs(
        experiment_names=[_EXPERIMENT],
        filter_string=f"tags.`mlflow.parentRunId` = '{study.user_attrs.get('parent_run')}'"
        " and tags.trial_state = 'complete'",
        output_format="list",
    )
    return {
        "who": who,
        "trials/s": len(done) / (ended - began).total_seconds(),
        "CPU ms a trial": 1000 * spent / len(done),
        "complete": len(done),
        "unique": len({str(sorted(trial.params.items())) for trial in done}),
        "in MLflow": len({run.data.tags["trial"] for run in recorded}),
        "failed": len(study.get_trials(states=(TrialState.FAIL,))),
        "lock errors": sum(bool(_LOCKED.search(line)) for line in logs.splitlines()),
        "dead workers": dead,
    }


def report(kind: str, outcomes: Sequence[Outcome]) -> str:
    """Table with a row for ours and for the peer."""
    rows = [
        [value if column == "who" else f"{value:.4g}" for column, value in each.items()]
        for each in outcomes
    ]
    return table([kind, *list(outcomes[0])[1:]], rows)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print a table per database. Raises ValueError when one cannot be started."""
    parser = arguments("tune_workers", __doc__)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--trials", type=int, default=640, help="of all workers (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a training (%(default)s)")
    parser.add_argument("--databases", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--logs", type=Path, help="folder for what the workers print")
    options = parser.parse_args(argv)
    found = {kind: _measure(kind, options) for kind in options.databases}
    shown = "\n\n".join(report(kind, outcomes) for kind, outcomes in found.items())
    tell(options.out, shown, PACKAGES, workers=options.workers, outcomes=found)


def _measure(kind: str, options: argparse.Namespace) -> list[Outcome]:
    with ExitStack() as ends:
        create = open_databases(kind, ends)
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="tune-workers-")))
        runs, studies = create("runs", folder), create("studies", folder)
        mlflow.set_tracking_uri(runs)
        mlflow.create_experiment(_EXPERIMENT, (folder / "artifacts").as_uri())
        load = Workload(studies, runs, options.workers, options.trials, options.seconds, folder)
        ours = judge("ours", _STUDY, load, run_workers(work_ours, load))
        bare = judge("bare", _BARE_STUDY, load, run_workers(work_bare, load))
        if options.logs:
            options.logs.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("*.log"):
                path.rename(options.logs / f"{kind}-{path.name}")
        return [ours, bare]


@contextmanager
def _cpu_time(path: Path) -> Iterator[None]:
    """Write the seconds of CPU time that this process spends in the block."""
    started = time.process_time()
    yield
    path.write_text(str(time.process_time() - started), encoding="utf-8")


def _print_to(log: Path) -> None:
    """Send everything that this process prints into a file."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(file, stream.fileno())
    logging.basicConfig(level=logging.INFO, force=True)


if __name__ == "__main__":
    run(main)

"""`python -m benchmarks.tune_workers`: many workers at one study, on two cores.

Each worker is a process with its own connections, and does what `mlflow run . -e tune` does between
two trainings: claims a trial under the lock of the study, draws a configuration, opens a child run,
logs its parameters and learning curve, and reports. Only the training is made up: it sleeps, and
its accuracy is a function of what was drawn. The processes are forked from one that has imported
everything, so that 64 of them fit into memory. Beside them, as many bare `study.optimize` with the
same sampler, storage and sleep: no MLflow, no lock, no count of trials.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import re
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import mlflow
import optuna
from optuna.trial import TrialState

from benchmarks.databases import KINDS, open_databases
from benchmarks.made_up_search import EXPERIMENT, Workload, work_bare, work_ours
from benchmarks.servers.postgres import PostgresMissingError
from benchmarks.tables import machine, table, write_json
from landmark_ml.tuning.storage import storage_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PACKAGES = ("mlflow", "optuna", "sqlalchemy", "psycopg")
_LOCKED = re.compile(r"locked|OperationalError|deadlock|too many clients|TEMPORARILY_UNAVAILABLE")


@dataclass(frozen=True)
class Outcome:
    """What came of a study. lock_errors: lines of the workers' logs that speak of one.

    cpu_ms: processor time of the workers for each trial, after they have joined the study.
    """

    who: str
    trials_per_second: float
    cpu_ms: float
    complete: int
    unique: int
    recorded: int
    failed: int
    lock_errors: int
    dead_workers: int


def run_workers(work: Callable[[Workload, int], None], load: Workload) -> int:
    """Run all workers at once to their end; how many died."""
    context = multiprocessing.get_context("forkserver")
    # Imported once, for all that are forked from it.
    context.set_forkserver_preload(["benchmarks.made_up_search", "mlflow.store.tracking"])
    processes = [context.Process(target=work, args=(load, n)) for n in range(load.workers)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return sum(process.exitcode != 0 for process in processes)


def judge(who: str, study_name: str, load: Workload, dead: int) -> Outcome:
    """Count the trials of a study, in its storage and among the runs."""
    storage = storage_url(load.storage, load.tracking_uri)
    study = optuna.load_study(study_name=study_name, storage=storage)
    done = study.get_trials(states=(TrialState.COMPLETE,))
    began = min(trial.datetime_start for trial in done if trial.datetime_start)
    ended = max(trial.datetime_complete for trial in done if trial.datetime_complete)
    logs = "\n".join(path.read_text() for path in load.logs.glob(f"{who}-*.log"))
    spent = sum(float(path.read_text()) for path in load.logs.glob(f"{who}-*.cpu"))
    return Outcome(
        who,
        len(done) / (ended - began).total_seconds(),
        1000 * spent / len(done),
        len(done),
        len({str(sorted(trial.params.items())) for trial in done}),
        _recorded(study),
        len(study.get_trials(states=(TrialState.FAIL,))),
        sum(bool(_LOCKED.search(line)) for line in logs.splitlines()),
        dead,
    )


def _recorded(study: optuna.Study) -> int:
    """Child runs that say they are complete."""
    parent = study.user_attrs.get("parent_run")
    if parent is None:
        return 0
    found = mlflow.search_runs(
        experiment_names=[EXPERIMENT],
        filter_string=f"tags.`mlflow.parentRunId` = '{parent}' and tags.trial_state = 'complete'",
        output_format="list",
    )
    return len({run.data.tags["trial"] for run in found})


def report(kind: str, outcomes: Sequence[Outcome]) -> str:
    """A row for ours and for the peer."""
    header = {
        "trials/s": "trials_per_second",
        "CPU ms a trial": "cpu_ms",
        "complete": "complete",
        "unique": "unique",
        "in MLflow": "recorded",
        "failed": "failed",
        "lock errors": "lock_errors",
        "dead workers": "dead_workers",
    }
    rows = [
        [each.who, *(f"{getattr(each, field):.4g}" for field in header.values())]
        for each in outcomes
    ]
    return table([kind, *header], rows)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table a database; 1 when a database cannot be started."""
    options = _parser().parse_args(argv)
    found = {}
    try:
        for kind in options.databases:
            found[kind] = _measure(kind, options)
            sys.stdout.write(f"\n{report(kind, found[kind])}\n")
    except PostgresMissingError as error:
        sys.stderr.write(f"error: postgresql {error}; or give --databases sqlite\n")
        return 1
    facts = {"machine": machine(PACKAGES), "load": os.getloadavg(), "workers": options.workers}
    outcomes = {kind: [vars(each) for each in outcomes] for kind, outcomes in found.items()}
    write_json(options.out, facts | {"outcomes": outcomes})
    return 0


def _measure(kind: str, options: argparse.Namespace) -> list[Outcome]:
    with ExitStack() as ends:
        create = open_databases(kind, ends)
        folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="tune-workers-")))
        tracking_uri = create("runs", folder)
        mlflow.set_tracking_uri(tracking_uri)
        mlflow.create_experiment(EXPERIMENT, (folder / "artifacts").as_uri())
        load = Workload(
            "many",
            create("studies", folder),
            tracking_uri,
            options.workers,
            options.trials,
            options.seconds,
            folder,
        )
        ours = judge("ours", load.study, load, run_workers(work_ours, load))
        bare = judge("bare", f"{load.study}-bare", load, run_workers(work_bare, load))
        if options.logs:
            options.logs.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("*.log"):
                path.rename(options.logs / f"{kind}-{path.name}")
        return [ours, bare]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tune_workers", description=__doc__)
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--trials", type=int, default=640, help="of all workers (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of a training (%(default)s)")
    parser.add_argument("--databases", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--logs", type=Path, help="folder that keeps what the workers said")
    parser.add_argument("--out", type=Path, default=Path("build/benchmarks/tune_workers.json"))
    return parser


if __name__ == "__main__":
    sys.exit(main())

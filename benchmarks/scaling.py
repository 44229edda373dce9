"""`python -m benchmarks.scaling`: what compare, promote, rollback and history cost as runs pile up.

For each database and number of runs an MLflow of its own is filled with synthetic runs, a tenth as
many model versions and as many entries of the history (`synthetic_store` says how). Then the
commands and a plain `mlflow.search_runs` of the same experiment take turns, round after round, the
first of which is not counted. The commands are whole, with their own run, figures and report, in a
process that has imported everything. Of promote only the judging is left out: its answers are made
up, so that what is measured is what depends on the registry.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from unittest.mock import patch

import mlflow

from benchmarks.databases import KINDS, open_databases
from benchmarks.registry_commands import PEER, commands, write_photos
from benchmarks.synthetic_store import fill_store
from benchmarks.tables import arguments, in_turn, table, tell
from experiments.cli import run
from landmark_ml.tracking import run as tracking

PACKAGES = ("mlflow", "sqlalchemy", "psycopg")
_OWN_RUNS = "commands"

Rounds = dict[str, list[tuple[float, float]]]
"""Seconds of every counted round by command: by the clock, and of this process's CPU time."""


def measure(uri: str, folder: Path, runs: int, rounds: int) -> Rounds:
    """Fill an empty database and time the commands in turn."""
    fill_store(uri, folder, runs)
    mlflow.create_experiment(_OWN_RUNS, (folder / _OWN_RUNS).as_uri())
    calls = commands(write_photos(folder / "photos"))
    environment = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_EXPERIMENT_NAME": _OWN_RUNS}
    with patch.dict(os.environ, environment):
        tracking.connect()
        return in_turn(calls, rounds, f"rounds at {runs:,} runs")


def report(kind: str, found: dict[int, Rounds]) -> str:
    """Median seconds by command and number of runs; the most runs beside the fewest and PEER."""
    sizes = sorted(found)
    most = found[sizes[-1]]
    header = [f"{kind}, s", *(f"{size:,} runs" for size in sizes), "last / first", f"last / {PEER}"]
    rows = []
    for name, rounds in most.items():
        values = [_clock(found[size][name]) for size in sizes]
        cpu = median(cpu for _, cpu in rounds)
        ratios = values[-1] / values[0], values[-1] / _clock(most[PEER])
        rows.append([name, *(f"{value:.2f}" for value in (*values, *ratios, cpu))])
    return table([*header, "CPU of the last"], rows)


def _clock(rounds: Sequence[tuple[float, float]]) -> float:
    return median(seconds for seconds, _ in rounds)


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print a table a database. Raises ValueError when one cannot be started."""
    parser = arguments("scaling", __doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--databases", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--rounds", type=int, default=3, help="counted (%(default)s)")
    options = parser.parse_args(argv)
    found: dict[str, dict[int, Rounds]] = {}
    for kind in options.databases:
        found[kind] = {}
        with ExitStack() as ends:
            create = open_databases(kind, ends)
            for runs in options.runs:
                folder = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="scaling-")))
                database = create(f"runs_{runs}", folder)
                found[kind][runs] = measure(database, folder, runs, options.rounds)
    shown = "\n\n".join(report(kind, each) for kind, each in found.items())
    tell(options.out, shown, PACKAGES, seconds=found)


if __name__ == "__main__":
    run(main)

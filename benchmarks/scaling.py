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
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from unittest.mock import patch

import mlflow
import numpy as np
from mlflow.entities.model_registry import ModelVersion
from PIL import Image

from benchmarks.databases import KINDS, open_databases
from benchmarks.synthetic_store import EXPERIMENT, MODEL, fill_store, made_up_report
from benchmarks.tables import arguments, in_turn, table, tell
from experiments.cli import run
from landmark_ml.config import CompareConfig, HistoryConfig, PromoteConfig, RollbackConfig
from landmark_ml.data import Dataset
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.registry import promote as promoting
from landmark_ml.registry.candidates import Judged
from landmark_ml.registry.history import roll_back, tell_history
from landmark_ml.registry.promote import run_promotion
from landmark_ml.reports.comparison import run_comparison
from landmark_ml.tracking import run as tracking

PACKAGES = ("mlflow", "sqlalchemy", "psycopg")
PEER = "mlflow.search_runs"
_OWN_RUNS = "commands"
_CHAMPION_TOP1, _CHALLENGER_TOP1 = 0.85, 0.95

Rounds = dict[str, list[tuple[float, float]]]
"""Seconds of every counted round by command: by the clock, and of this process's CPU time."""


def measure(uri: str, folder: Path, runs: int, rounds: int) -> Rounds:
    """Fill an empty database and time the commands in turn."""
    fill_store(uri, folder, runs)
    mlflow.create_experiment(_OWN_RUNS, (folder / _OWN_RUNS).as_uri())
    calls = commands(write_photos(folder / "photos", ("Atomium", "Petra"), each=8))
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


def commands(photos: Path) -> dict[str, Callable[[int], object]]:
    """What a person would call, by name, and the peer first; photos: any small dataset."""
    return {
        PEER: lambda _: mlflow.search_runs(experiment_names=[EXPERIMENT]),
        "compare": lambda _: run_comparison(CompareConfig(experiment=EXPERIMENT)),
        "promote, newest version": lambda _: _promote(photos),
        "rollback": lambda _: roll_back(RollbackConfig(model=MODEL, reason="a benchmark")),
        "history": lambda _: tell_history(HistoryConfig(model=MODEL)),
    }


def write_photos(folder: Path, classes: Sequence[str], each: int) -> Path:
    """A dataset of a few photos of noise, which commands open and split."""
    rng = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def _promote(photos: Path) -> None:
    """Promote without judging; raises RuntimeError when nobody was promoted."""
    config = PromoteConfig(
        model=MODEL, data=str(photos), candidates="newest:1", check_requirements=False
    )
    with patch.object(promoting, "judge_version", judged_better):
        result = run_promotion(config)
    if result.entry is None:
        raise RuntimeError(f"nobody was promoted: {result.receipt.verdicts[0].stopped_by}")


def judged_better(
    version: ModelVersion, _dataset: Dataset, _gazetteer: Gazetteer, *_: object
) -> Judged:
    """A sound version with made-up answers, clearly better unless it is the champion."""
    top1 = _CHAMPION_TOP1 if "champion" in version.aliases else _CHALLENGER_TOP1
    return Judged(
        version=int(version.version),
        run_id=version.run_id or "",
        report=made_up_report(top1, seed=0),
        megabytes=14.0,
        learned=0,
    )


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

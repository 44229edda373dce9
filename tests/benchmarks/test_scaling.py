"""The benchmark of piled-up runs: what it fills a store with is what our commands read."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest

from benchmarks.scaling import PEER, main, report
from benchmarks.synthetic_store import EXPERIMENT, MODEL, fill_store
from landmark_ml.registry.history import AliasHistory
from landmark_ml.tracking.read_runs import read_evaluated_runs

RUNS = 130


@pytest.fixture(scope="module", autouse=True)
def _filled(tracking_uri: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    fill_store(tracking_uri, tmp_path_factory.mktemp("filled"), RUNS)


def test_synthetic_runs_are_those_that_training_leaves() -> None:
    assert len(mlflow.search_runs(experiment_names=[EXPERIMENT])) == RUNS
    read = read_evaluated_runs(EXPERIMENT, most=12)
    assert len(read.runs) == 12
    assert all(run.metric("test/top1") > 0 for run in read.runs)
    assert len(read.runs[0].answers) == 522
    assert read.caution


def test_the_synthetic_history_needs_no_repair() -> None:
    head, repaired = AliasHistory(MODEL).reconcile()
    assert repaired == []
    assert (head.champion, head.former) == (11, (1, 6))
    assert len(AliasHistory(MODEL).entries()) == 13


def test_the_most_runs_are_set_beside_the_fewest_and_the_peer() -> None:
    found = {
        100: {PEER: [(1.0, 0.5)], "compare": [(1.0, 0.9), (2.0, 0.9), (9.0, 0.9)]},
        10_000: {PEER: [(80.0, 20.0)], "compare": [(4.0, 1.0), (4.0, 3.0), (4.0, 2.0)]},
    }
    rows = report("sqlite", found).splitlines()
    assert "| compare | 2.00 | 4.00 | 2.00 | 0.05 | 2.00 |" in rows


@pytest.mark.slow
def test_every_command_is_timed_in_a_database_of_its_own(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    asked = ["--runs", "60", "--databases", "sqlite", "--rounds", "1", "--out", str(out)]
    before = mlflow.get_tracking_uri()
    try:
        main(asked)
    finally:
        mlflow.set_tracking_uri(before)
    timed = json.loads(out.read_text())["seconds"]["sqlite"]["60"]
    assert len(timed) == 5
    assert all(len(rounds) == 1 for rounds in timed.values())

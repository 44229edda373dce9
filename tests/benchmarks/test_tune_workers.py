"""The benchmark of many workers does the bookkeeping of a search, and counts what came of it."""

from __future__ import annotations

import json
from pathlib import Path

import mlflow
import pytest

from benchmarks.tune_workers import main, report


def test_ours_and_the_peer_get_a_row_each() -> None:
    outcomes = [{"who": "ours", "trials/s": 12.345, "unique": 640}, {"who": "bare", "trials/s": 20}]
    rows = report("sqlite", outcomes).splitlines()
    assert rows[0] == "| sqlite | trials/s | unique |"
    assert "| ours | 12.35 | 640 |" in rows


@pytest.mark.slow
def test_workers_share_the_trials_and_nobody_is_locked_out(tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    asked = ["--workers", "3", "--trials", "9", "--seconds", "0.1", "--databases", "sqlite"]
    before = mlflow.get_tracking_uri()
    try:
        main([*asked, "--out", str(out)])
    finally:
        mlflow.set_tracking_uri(before)
    ours, bare = json.loads(out.read_text())["outcomes"]["sqlite"]
    assert (ours["complete"], ours["unique"], ours["in MLflow"]) == (9, 9, 9)
    assert (ours["failed"], ours["lock errors"], ours["dead workers"]) == (0, 0, 0)
    assert (bare["who"], bare["complete"]) == ("bare", 9)
    assert ours["trials/s"] > 0

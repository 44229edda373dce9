"""How long waiting threads spin, measured: each policy beside each number of busy processes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import threads


@pytest.mark.slow
def test_every_policy_is_measured_alone_and_beside_other_work(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    given = ["--busy", "0", "1", "--seconds", "0.2", "--rounds", "1", "--out", str(out)]
    threads.main(given)
    found = json.loads(out.read_text())["steps_per_second"]
    assert found.keys() == threads.POLICIES.keys()
    assert all(row.keys() == {"0", "1"} and min(row.values()) > 0 for row in found.values())


def test_no_busy_process_is_left_behind_where_a_measurement_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start, started = subprocess.Popen, list[subprocess.Popen[Any]]()

    def popen(command: list[str], **options: Any) -> subprocess.Popen[Any]:
        ends_at_once = [sys.executable, "-c", ""]
        started.append(start(ends_at_once if "--work" in command else command, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises((ValueError, BrokenPipeError)):
        threads.measure([1], 0.1, 1)
    assert len(started) == len(threads.POLICIES) + 1
    try:
        assert started[-1].wait(10) != 0
    finally:
        started[-1].kill()

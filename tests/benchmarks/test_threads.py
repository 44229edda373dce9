"""How long waiting threads spin, measured: each policy beside each number of busy processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import threads


@pytest.mark.slow
def test_every_policy_is_measured_alone_and_beside_other_work(tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    given = ["--busy", "0", "1", "--seconds", "0.2", "--rounds", "1", "--out", str(out)]
    assert threads.main(given) == 0
    found = json.loads(out.read_text())["steps_per_second"]
    assert found.keys() == threads.POLICIES.keys()
    assert all(row.keys() == {"0", "1"} and min(row.values()) > 0 for row in found.values())

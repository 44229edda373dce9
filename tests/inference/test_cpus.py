"""Work is shared among the cores that a process may use, not all that the machine has."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from landmark_ml.inference.cpus import usable_cpus
from tests.source_tree import ROOT, modules


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_a_process_held_to_one_core_counts_one() -> None:
    code = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from landmark_ml.inference.cpus import usable_cpus
print(usable_cpus())
"""
    done = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout == "1\n", done.stderr


@pytest.mark.parametrize(("cores", "usable"), [(8, 8), (None, 1)])
def test_where_no_system_tells_all_cores_count(
    cores: int | None, usable: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    assert usable_cpus() == usable


def test_nobody_counts_cores_in_a_way_of_his_own() -> None:
    counting = [name for name, path in modules().items() if "cpu_count" in path.read_text("utf-8")]
    assert counting == ["landmark_ml.inference.cpus"]

"""Benchmarks tell what they found: a table for people, JSON for later."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.tables import machine, table, tell


def test_a_table_is_markdown_with_a_column_a_header() -> None:
    lines = table(["", "photos/s"], [["ours", "23"], ["theirs", "5"]]).splitlines()
    assert lines == ["|  | photos/s |", "| --- | ---: |", "| ours | 23 |", "| theirs | 5 |"]


def test_the_machine_names_versions_and_says_what_is_not_installed() -> None:
    facts = machine(("numpy", "no-such-package"))
    assert facts["packages"]["numpy"]
    assert facts["packages"]["no-such-package"] is None
    assert facts["cores"] >= 1


def test_findings_are_printed_and_read_back_as_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "build" / "found.json"
    tell(path, "a table", ratio=1.5)
    assert capsys.readouterr().out == "a table\n"
    assert json.loads(path.read_text(encoding="utf-8"))["ratio"] == 1.5

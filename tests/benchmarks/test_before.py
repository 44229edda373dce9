"""One command by two versions of the code, in turn and from an empty folder each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import before


def test_both_versions_run_in_empty_folders_and_are_set_beside_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "only_there.py").write_text("")
    code = (
        "import importlib.util, os, pathlib, time;"
        "assert not os.listdir('.'); pathlib.Path('left').touch();"
        "time.sleep(0.5 if importlib.util.find_spec('only_there') else 0)"
    )
    out = tmp_path / "out.json"
    given = ["--tree", str(tmp_path), "--rounds", "2", "--out", str(out), "--", "-c", code]
    before.main(given)
    runs = json.loads(out.read_text())["runs"]
    assert [len(each) for each in runs.values()] == [2, 2]
    assert min(wall for wall, _ in runs["before"]) > 0.5
    assert "| now / before | 0." in capsys.readouterr().out


def test_a_command_that_fails_says_by_which_code(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=f"{tmp_path}: exit status 3"):
        before.seconds(tmp_path, ["-c", "raise SystemExit(3)"])

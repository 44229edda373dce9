"""The benchmark of scale takes made-up photos all the way and tells how the seconds grow."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import scale


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is measured on Linux alone")
def test_every_part_is_measured_at_each_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(scale, "PHOTOS_A_LANDMARK", 20)
    monkeypatch.setattr(scale, "SHARES", (0.5, 1.0))
    scale.report(["--scan"], 240, tmp_path / "scale.json")
    rows = capsys.readouterr().out.splitlines()
    assert "120 photos | 240 photos" in rows[0]
    assert rows[0].endswith("slope |")
    parts = [row.split(" | ")[0].strip("| ") for row in rows[2:]]
    assert parts[1:5] == ["read photos", "read them again", "near-duplicates", "splits"]
    assert parts[-1] == "all"
    assert (tmp_path / "scale.json").is_file()


def test_slope_is_the_power_of_the_size() -> None:
    assert scale.slope([1, 10, 100], [2, 20, 200]) == pytest.approx(1)
    assert scale.slope([1, 10, 100], [1, 100, 10000]) == pytest.approx(2)

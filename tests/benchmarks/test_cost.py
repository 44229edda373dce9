"""Machine-hours are what was measured, multiplied."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.cost import machine_hours, main, mean_size, report


def test_hours_are_photos_over_the_rate() -> None:
    assert machine_hours(100_000_000, 100.0) == pytest.approx(277.8, abs=0.1)


def test_every_part_gets_its_hours_and_the_bytes_are_counted() -> None:
    rates = {"tagger": 100.0, "decode": 200.0, "network": 400.0}
    text = report(rates, 100_000_000, megabytes=3.0)
    assert "| tagger | 100.0 | 278 |" in text
    assert "| decoding alone | 200.0 | 139 |" in text
    assert "300 TB" in text


def test_the_size_of_the_photos_is_told(tmp_path: Path) -> None:
    for side in (1000, 2000):
        Image.new("RGB", (side, 1000)).save(tmp_path / f"{side}.jpg")
    megabytes, megapixels = mean_size(tmp_path)
    assert megapixels == 1.5
    assert 0 < megabytes < 1


@pytest.mark.usefixtures("tracking_uri")
def test_without_photos_or_a_model_it_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--photos", str(tmp_path)]) == 1
    assert "holds no photo" in capsys.readouterr().err
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")
    assert main(["--photos", str(tmp_path), "--model", "nobody"]) == 1
    assert "model=nobody is not in the registry" in capsys.readouterr().err

"""The readers that are compared read every photo, and the ratio is ours to theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PIL import Image

from benchmarks.input_pipeline import READERS, main, report

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", READERS)
def test_every_reader_reads_every_photo(name: str, tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path in paths:
        Image.new("RGB", (640, 480), (10, 200, 30)).save(path)
    assert READERS[name](paths) == 3


def test_the_ratio_is_of_medians() -> None:
    found = {"ours": [20.0, 30.0, 90.0], "torchvision": [10.0, 10.0, 1.0]}
    rows = report(found).splitlines()
    assert "| torchvision | 10.0 | 1.0 to 10.0 | 3.00 |" in rows


def test_a_folder_without_photos_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--photos", str(tmp_path)]) == 1
    assert str(tmp_path) in capsys.readouterr().err

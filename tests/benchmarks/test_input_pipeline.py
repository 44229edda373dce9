"""The readers that are compared read every photo, and the ratio is ours to theirs."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import input_pipeline
from benchmarks.input_pipeline import READERS, Read, main, measure, report, torchvision


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    found = [tmp_path / f"{number}.jpg" for number in range(3)]
    for path in found:
        Image.new("RGB", (640, 480), (10, 200, 30)).save(path)
    return found


@pytest.mark.parametrize("name", READERS)
def test_every_reader_reads_every_photo_in_every_round(name: str, paths: list[Path]) -> None:
    with READERS[name](paths) as read:
        assert [read(), read()] == [3, 3]


def test_workers_of_torchvision_stay_from_round_to_round(paths: list[Path]) -> None:
    before = _children()
    with torchvision(paths) as read:
        read()
        first = _children()
        read()
        assert _children() == first != before


def test_readers_are_made_ready_once_and_the_first_round_does_not_count(
    monkeypatch: pytest.MonkeyPatch, paths: list[Path]
) -> None:
    events: list[str] = []

    @contextmanager
    def reader(paths: Sequence[Path]) -> Iterator[Read]:
        def read() -> int:
            events.append("read")
            return len(paths)

        events.append("ready")
        yield read
        events.append("ended")

    monkeypatch.setattr(input_pipeline, "READERS", {"ours": reader})
    assert len(measure(paths, 2)["ours"]) == 2
    assert events == ["ready", "read", "read", "read", "ended"]


def test_the_ratio_is_of_medians() -> None:
    found = {"ours": [20.0, 30.0, 90.0], "torchvision": [10.0, 10.0, 1.0]}
    rows = report(found).splitlines()
    assert "| torchvision | 10.0 | 1.0 to 10.0 | 3.00 |" in rows


def test_a_folder_without_photos_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=str(tmp_path)):
        main(["--photos", str(tmp_path)])


def _children() -> set[int | None]:
    return {child.pid for child in multiprocessing.active_children()}

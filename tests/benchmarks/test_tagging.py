"""The tagger's benchmark: shares are of medians, and the library it makes has all its photos."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.tables import resident_peak_mb
from benchmarks.tagging import Speed, main, mean_size, memory_table, report, speeds
from benchmarks.tagging_memory import Peak, linked
from landmark_ml.inference.predictor import Predictor
from serving.champion import Loaded
from serving.tagging.library import Library
from tests.colour_artifact import RED, colour_photo, write_artifact


def test_the_shares_are_of_medians() -> None:
    found = {
        "decode": Speed([100, 300, 110], [8.0]),
        "network": Speed([50, 55, 60], [16.0]),
        "tagger": Speed([33, 1, 99], [25.0]),
    }
    rows = report(found).splitlines()
    assert "| decode | 110.0 | 100.0 to 300.0 | 8.0 | 253 |" in rows
    assert "| the faster of decode and network | 110.0 | 0.30 |" in rows
    assert "| the slower of the two | 55.0 | 0.60 |" in rows
    assert "| both, one after the other | 36.7 | 0.90 |" in rows


def test_every_work_is_timed_in_every_round(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(2)]
    for path in paths:
        path.write_bytes(colour_photo(RED))
    loaded = Loaded(Predictor.load(write_artifact(tmp_path / "exported")), "m", 1, "abc")
    found = speeds(loaded, paths, copies=4, rounds=2)
    assert [len(speed.rates) for speed in found.values()] == [2, 2, 2]
    assert min(speed.rate for speed in found.values()) > 0


def test_a_linked_library_is_as_large_as_asked_for(tmp_path: Path) -> None:
    paths = [tmp_path / "a.jpg", tmp_path / "b.png"]
    for path in paths:
        Image.new("RGB", (8, 8)).save(path)
    library = linked(paths, 1001, tmp_path / "library")
    found = [photo.path for photo in Library(library).walk()]
    assert len(set(found)) == 1001
    assert {path.parent.name for path in found} == {"000", "001"}


def test_memory_is_told_of_each_library() -> None:
    rows = memory_table(
        [Peak(1000, 9.6, 300.2, 401.0), Peak(4000, 40.0, 300.2, 402.4)]
    ).splitlines()
    assert rows[2:] == ["| 1,000 photos | 10 | 300 | 401 |", "| 4,000 photos | 40 | 300 | 402 |"]


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_the_peak_is_at_least_what_was_held() -> None:
    held = bytearray(50_000_000)
    held[::4096] = b"x" * len(held[::4096])
    assert 50 < resident_peak_mb() < 1_000_000


def test_the_size_of_the_photos_is_told(tmp_path: Path) -> None:
    paths = [tmp_path / f"{side}.jpg" for side in (1000, 2000)]
    for path, side in zip(paths, (1000, 2000), strict=True):
        Image.new("RGB", (side, 1000)).save(path)
    megabytes, megapixels = mean_size(paths)
    assert megapixels == 1.5
    assert 0 < megabytes < 1


@pytest.mark.usefixtures("tracking_uri")
def test_without_photos_or_a_model_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"{tmp_path} holds no photo"):
        main(["--photos", str(tmp_path)])
    Image.new("RGB", (64, 48)).save(tmp_path / "a.jpg")
    with pytest.raises(ValueError, match="model=nobody is not in the registry"):
        main(["--photos", str(tmp_path), "--model", "nobody"])

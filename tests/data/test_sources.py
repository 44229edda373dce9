"""Names become folders: drawn once, fetched once, or refused."""

from __future__ import annotations

import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from landmark_ml.config import DataConfig
from landmark_ml.data import open_dataset, postcards, sources
from tests.photo_folders import write_photo

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("data", ["postcard", "", "photos.zip"])
def test_what_is_neither_name_nor_folder_is_refused(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.zip").touch()
    with pytest.raises(ValueError, match=r"'postcards' .*'udacity50' .*a folder"):
        open_dataset(DataConfig(data=data))


def test_postcards_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw = postcards.write_postcards
    monkeypatch.setattr(
        postcards,
        "write_postcards",
        lambda folder: draw(folder, per_class=5, not_landmarks=8, test_per_class=2),
    )
    monkeypatch.setenv("HOME", str(tmp_path))
    config = DataConfig(data="postcards", cache_dir="~/cache")
    first = open_dataset(config)
    written = first.train[0].path.stat().st_mtime_ns
    second = open_dataset(config)
    assert first == second
    assert second.train[0].path.stat().st_mtime_ns == written
    assert first.name == "postcards"
    assert first.root.parent == tmp_path / "cache"
    assert len(first.landmarks("test")) == 2 * first.num_classes
    assert len(first.distractors("test")) == 4


def test_every_process_finds_the_postcards_of_the_same_code() -> None:
    ask = "from landmark_ml.data import sources; print(sources.drawing_code_digest())"
    answer = subprocess.run(  # noqa: S603 - our own interpreter and code
        [sys.executable, "-c", ask], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == sources.drawing_code_digest()


def udacity_zip(path: Path, classes: int) -> Path:
    photo = write_photo(path.parent / "photo.jpg", 0).read_bytes()
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(classes):
            for side in ("train", "test"):
                folder = f"landmark_images/{side}/{number:02d}.Place_{number}"
                archive.writestr(f"{folder}/{side}.jpg", photo)
    return path


def test_udacity50_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Path] = []

    def fetch(url: str, target: Path) -> Path:
        fetched.append(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        return udacity_zip(target, 50)

    monkeypatch.setattr(sources, "download", fetch)
    config = DataConfig(data="udacity50", cache_dir=str(tmp_path / "cache"))
    name, first = sources.find_root(config)
    _, second = sources.find_root(config)
    assert name == "udacity50"
    assert first == second
    assert len(list((first / "train").iterdir())) == 50
    assert len(fetched) == 1
    assert not fetched[0].exists()


def test_of_two_that_come_together_one_fetches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work: list[Path] = []
    together: list[int] = []

    def fetch(_: str, target: Path) -> Path:
        at_work.append(target)
        time.sleep(0.05)
        together.append(len(at_work))
        return udacity_zip(target, 50)

    monkeypatch.setattr(sources, "download", fetch)

    def find(_: int) -> tuple[str, Path]:
        return sources.find_root(DataConfig(data="udacity50", cache_dir=str(tmp_path)))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(find, range(4)))
    assert together == [1]
    assert len(set(found)) == 1


def test_an_archive_of_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "download", lambda *_: udacity_zip(tmp_path / "a.zip", 3))
    with pytest.raises(ValueError, match=r"holds 3 classes .* 50 were expected"):
        sources.find_root(DataConfig(data="udacity50", cache_dir=str(tmp_path)))

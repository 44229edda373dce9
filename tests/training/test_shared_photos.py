"""Every process of a training has the photos that the first one has."""

from __future__ import annotations

from pathlib import Path

import pytest

from landmark_ml.config import DataConfig
from landmark_ml.data import write_manifest
from landmark_ml.data.opening import open_dataset
from landmark_ml.training.devices import ALONE, Processes
from landmark_ml.training.run import open_photos
from tests.photo_folders import write_photo, write_two_classes

FOLLOWER = Processes(rank=1, count=2, local_rank=1)
ON_ANOTHER_HOST = Processes(rank=1, count=2, local_rank=0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_two_classes(tmp_path / "photos")


@pytest.fixture
def manifest(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """Content of a manifest that the first process shares with those of this test."""
    dataset = open_dataset(DataConfig(data=str(root)))
    write_manifest(dataset, tmp_path / "manifest.json")
    content = (tmp_path / "manifest.json").read_bytes()
    shared = iter([content, [dataset]])
    monkeypatch.setattr(Processes, "share", lambda *_: next(shared))
    monkeypatch.setattr(Processes, "gather", lambda *_: [])
    return content


@pytest.mark.usefixtures("manifest")
@pytest.mark.parametrize("processes", [FOLLOWER, ON_ANOTHER_HOST])
def test_a_photo_that_came_later_is_in_no_process(root: Path, processes: Processes) -> None:
    before = open_dataset(DataConfig(data=str(root)))
    write_photo(root / "3.Stonehenge" / "came_later.jpg", seed=77)
    assert open_photos(DataConfig(data=str(root)), processes) == before


@pytest.mark.usefixtures("manifest")
def test_a_host_whose_photos_have_other_content_is_refused(root: Path) -> None:
    write_photo(root / "3.Stonehenge" / "20.jpg", seed=77)
    with pytest.raises(ValueError, match=r"other content .*20\.jpg|20\.jpg.* other content"):
        open_photos(DataConfig(data=str(root)), ON_ANOTHER_HOST)


def test_the_photos_of_a_host_are_read_once(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = open_dataset(DataConfig(data=str(root)))
    shared = iter([None, [dataset]])
    monkeypatch.setattr(Processes, "share", lambda *_: next(shared))
    monkeypatch.setattr(Processes, "gather", lambda *_: [])
    nowhere = DataConfig(data=str(tmp_path / "nothing is here"))
    assert open_photos(nowhere, FOLLOWER) == dataset


def test_without_a_manifest_the_folder_is_opened(root: Path) -> None:
    assert open_photos(DataConfig(data=str(root)), ALONE) == open_dataset(
        DataConfig(data=str(root))
    )


def test_hosts_that_see_other_photos_are_refused_before_anything_is_trained(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Processes, "share", lambda _, value: value)
    monkeypatch.setattr(Processes, "gather", lambda _, value: [value, "what another host saw"])
    with pytest.raises(ValueError, match=r"photos and their splits differ .*what another host saw"):
        open_photos(DataConfig(data=str(root)), ON_ANOTHER_HOST)

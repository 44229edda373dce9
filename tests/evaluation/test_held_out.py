"""A model is judged on its own run's test photos, and never on those it was trained on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from landmark_ml.config import DataConfig
from landmark_ml.data import write_manifest
from landmark_ml.data.opening import open_dataset
from landmark_ml.evaluation.judge import choose_photos
from tests.photo_folders import write_photo, write_two_classes

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_two_classes(tmp_path / "photos")


@pytest.fixture
def manifest(root: Path, tmp_path: Path) -> Path:
    write_manifest(open_dataset(DataConfig(data=str(root))), tmp_path / "manifest.json")
    return tmp_path / "manifest.json"


def test_the_split_is_that_of_the_models_run(root: Path, manifest: Path) -> None:
    trained = open_dataset(DataConfig(data=str(root)))
    assert open_dataset(DataConfig(data=str(root), seed=7)).test != trained.test
    chosen = choose_photos(DataConfig(data=str(root), seed=7), manifest)
    assert (chosen.split, chosen.left_out, chosen.checked) == ("manifest", 0, True)
    assert chosen.photos == trained.test


def test_training_photos_are_left_out_of_another_folder(
    root: Path, manifest: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trained = {photo.sha256 for photo in open_dataset(DataConfig(data=str(root))).train}
    write_photo(root / "3.Stonehenge" / "new.jpg", seed=77)
    moved = root.rename(tmp_path / "moved")
    (moved / "16.Eiffel_Tower").rename(moved / "Eiffel_Tower")
    chosen = choose_photos(DataConfig(data=str(moved), seed=7), manifest, every=True)
    assert chosen.split == "data"
    assert not {photo.sha256 for photo in chosen.photos} & trained
    assert "new.jpg" in {photo.path.name for photo in chosen.photos}
    assert chosen.left_out + len(chosen.photos) == 21
    assert "are left out" in caplog.text


def test_nothing_but_training_photos_is_refused(root: Path, tmp_path: Path) -> None:
    dataset = open_dataset(DataConfig(data=str(root)))
    path = tmp_path / "manifest.json"
    everything = (*dataset.train, *dataset.val, *dataset.test)
    write_manifest(replace(dataset, train=everything, val=(), test=()), path)
    with pytest.raises(ValueError, match="trained on or chosen by 20 of 20"):
        choose_photos(DataConfig(data=str(root)), path, every=True)


def test_a_missing_manifest_is_reported(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    chosen = choose_photos(DataConfig(data=str(root)), None)
    assert (chosen.split, chosen.checked) == ("data", False)
    assert chosen.photos == open_dataset(DataConfig(data=str(root))).test
    assert "cannot be checked" in caplog.text


def test_a_damaged_manifest_is_as_good_as_none(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    damaged = tmp_path / "manifest.json"
    damaged.write_text('{"photos": [{}]}')
    chosen = choose_photos(DataConfig(data=str(root)), damaged, every=True)
    assert (chosen.left_out, chosen.checked) == (0, False)
    assert "is damaged" in caplog.text

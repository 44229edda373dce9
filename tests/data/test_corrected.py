"""A dataset as people corrected it: labels, everyday photos, photos from elsewhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from landmark_ml.config import DataConfig
from landmark_ml.corrections import Correction, append_corrections, read_corrections
from landmark_ml.data import NOT_A_LANDMARK, Dataset, label_name
from landmark_ml.data.corrected import list_new_landmarks
from landmark_ml.data.opening import open_dataset
from tests.photo_folders import write_photo, write_two_classes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_two_classes(tmp_path / "data")


@pytest.fixture
def corrections(tmp_path: Path) -> Path:
    return tmp_path / "tags" / "corrections.csv"


def decide(corrections: Path, photo: Path, decision: str, right: str = "", said: str = "") -> str:
    sha256 = hashlib.sha256(photo.read_bytes()).hexdigest()
    append_corrections(corrections, [Correction(sha256, str(photo), said, decision, right)])
    return sha256


def opened(root: Path, corrections: Path, tmp_path: Path) -> Dataset:
    config = DataConfig(
        data=str(root), corrections=str(corrections), cache_dir=str(tmp_path / "cache")
    )
    return open_dataset(config)


def labels(dataset: Dataset) -> dict[str, str]:
    return {photo.sha256: label_name(photo.label, dataset.classes) for photo in dataset.photos}


def test_labels_of_people_count_and_not_those_of_folders(
    root: Path, corrections: Path, tmp_path: Path
) -> None:
    tower = root / "16.Eiffel_Tower"
    # Spelled as the gazetteer knows it, and not as the folder is.
    moved = decide(corrections, root / "3.Stonehenge/20.jpg", "landmark", "la tour eiffel")
    everyday = decide(corrections, tower / "0.jpg", "no_landmark")
    wrong = decide(corrections, tower / "1.jpg", "rejected", said="Eiffel Tower")
    right = decide(corrections, tower / "2.jpg", "rejected", said="Stonehenge")
    found = labels(opened(root, corrections, tmp_path))
    assert (found[moved], found[everyday], found[right]) == ("Eiffel Tower", "", "Eiffel Tower")
    assert wrong not in found
    assert len(found) == 19


def test_photos_from_elsewhere_are_added(
    root: Path, corrections: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    library = tmp_path / "library"
    known, new, none, gone, changed = (write_photo(library / f"{n}.jpg", n) for n in range(50, 55))
    # The same file is there already, under another name.
    copy = write_photo(library / "copy.jpg", 0)
    added = decide(corrections, known, "landmark", "Stonehenge")
    mill = decide(corrections, new, "landmark", "Old Mill")
    everyday = decide(corrections, none, "no_landmark")
    for photo in (gone, changed):
        decide(corrections, photo, "landmark", "Stonehenge")
    decide(corrections, copy, "landmark", "Eiffel Tower")
    gone.unlink()
    write_photo(changed, 60)
    dataset = opened(root, corrections, tmp_path)
    found = labels(dataset)
    assert dataset.classes == ("Eiffel Tower", "Stonehenge", "Old Mill")
    assert (found[added], found[mill], found[everyday]) == ("Stonehenge", "Old Mill", "")
    assert len(dataset.photos) == 23
    assert sum(photo.label == NOT_A_LANDMARK for photo in dataset.photos) == 1
    assert "corrections: 2 photos not in the data, and gone or changed since" in caplog.text


def test_a_class_without_photos_left_is_no_class(
    root: Path, corrections: Path, tmp_path: Path
) -> None:
    for seed in range(40, 43):
        write_photo(root / "Windmill" / f"{seed}.jpg", seed)
        decide(corrections, root / "Windmill" / f"{seed}.jpg", "no_landmark")
    assert opened(root, corrections, tmp_path).classes == ("Eiffel Tower", "Stonehenge")


def test_new_landmarks_are_those_that_the_model_does_not_know(
    corrections: Path, tmp_path: Path
) -> None:
    photos = [write_photo(tmp_path / f"{seed}.jpg", seed) for seed in range(4)]
    decide(corrections, photos[0], "landmark", "Eiffel Tower")
    decide(corrections, photos[1], "landmark", "Old Mill")
    decide(corrections, photos[2], "landmark", "old mill")
    decide(corrections, photos[3], "no_landmark")
    names, files = list_new_landmarks(read_corrections(corrections), ["eiffel_tower"], 50)
    assert names == ["old mill"]
    assert [(file.path, file.label) for file in files] == [(photos[1], 0), (photos[2], 0)]
    # The newest is what was decided last, not what was mentioned last.
    decide(corrections, photos[1], "landmark", "Old Mill")
    _, files = list_new_landmarks(read_corrections(corrections), ["La tour Eiffel"], 1)
    assert [file.path for file in files] == [photos[1]]
    with pytest.raises(ValueError, match="name no landmark"):
        list_new_landmarks(read_corrections(corrections), ["Eiffel Tower", "Old Mill"], 50)

"""Findings: each fault of a dataset is named once, and a sound dataset has none."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from landmark_ml.config import DataConfig
from landmark_ml.data.opening import open_dataset
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.reports.findings import HEADLINES, Finding, Findings, inspect_dataset
from tests.photo_folders import write_class, write_photo


def write_sound(root: Path) -> Path:
    """Write two known landmarks with given sides and enough photos of each."""
    for number, name in enumerate(("Eiffel_Tower", "Stonehenge")):
        start = 100 * number
        write_class(root / "train" / name, range(start, start + 22))
        write_class(root / "val" / name, range(start + 30, start + 32))
        write_class(root / "test" / name, range(start + 40, start + 42))
    return root


def inspect(root: Path, max_unreadable: float = 0.05) -> Findings:
    dataset = open_dataset(DataConfig(data=str(root), max_unreadable=1.0))
    return inspect_dataset(dataset, Gazetteer.load(), max_unreadable)


def test_a_sound_dataset_has_no_findings(tmp_path: Path) -> None:
    findings = inspect(write_sound(tmp_path))
    assert findings.found == ()
    assert findings.summary() == "Nothing wrong found.\n"
    assert set(findings.counts().values()) == {0}
    assert list(findings.table().columns) == ["problem", "subject", "detail"]


def test_unreadable_files_are_named_with_their_code(tmp_path: Path) -> None:
    root = write_sound(tmp_path)
    (root / "train" / "Stonehenge" / "broken.jpg").write_bytes(b"no photo at all")
    (found,) = inspect(root).found
    assert found.problem == "unreadable"
    assert found.subject == "train/Stonehenge/broken.jpg"
    assert found.detail.startswith("not_an_image: ")


def test_a_name_that_is_no_utf8_is_spelled_in_letters_a_table_takes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_sound(tmp_path)
    Path(os.fsdecode(bytes(root) + b"/train/Stonehenge/caf\xe9.jpg")).touch()
    findings = inspect(root)
    assert findings.found[0].subject == "train/Stonehenge/caf\\udce9.jpg"
    assert findings.table().to_csv().encode()
    assert b"caf\\udce9.jpg" in caplog.text.encode()


def test_a_share_of_unreadable_files_that_training_refuses_is_said_first(tmp_path: Path) -> None:
    root = write_sound(tmp_path)
    (root / "train" / "Stonehenge" / "broken.jpg").touch()
    first, second = inspect(root, max_unreadable=0.01).found
    assert (first.problem, second.problem) == ("refused", "unreadable")
    assert first.detail == "1 of 53 files are unreadable, more than max_unreadable 0.01"


def test_a_photo_under_two_labels_is_conflicting(tmp_path: Path) -> None:
    root = write_sound(tmp_path)
    shutil.copy(root / "train/Eiffel_Tower/0.jpg", root / "train/Stonehenge/same.jpg")
    (found,) = inspect(root).found
    assert found.problem == "conflicting"
    assert found.subject == "train/Eiffel_Tower/0.jpg"
    assert found.detail == "labelled Eiffel Tower, and Stonehenge as train/Stonehenge/same.jpg"


def test_test_photos_under_two_labels_are_conflicting_though_they_are_kept(tmp_path: Path) -> None:
    root = write_sound(tmp_path)
    shutil.copy(root / "test/Eiffel_Tower/40.jpg", root / "test/Stonehenge/same.jpg")
    assert [found.problem for found in inspect(root).found] == ["conflicting"]


def test_a_training_photo_that_is_also_in_test_is_leaked(tmp_path: Path) -> None:
    root = write_sound(tmp_path)
    shutil.copy(root / "test/Stonehenge/140.jpg", root / "train/Stonehenge/seen.jpg")
    (found,) = inspect(root).found
    assert (found.problem, found.subject) == ("leaked", "train/Stonehenge/seen.jpg")


def test_copies_within_a_class_are_repeated(tmp_path: Path) -> None:
    root = write_sound(tmp_path)
    for copy in ("a.jpg", "b.jpg"):
        shutil.copy(root / "train/Stonehenge/101.jpg", root / "train/Stonehenge" / copy)
    (found,) = inspect(root).found
    assert (found.problem, found.subject) == ("repeated", "train/Stonehenge/101.jpg")
    assert found.detail == "the same file as train/Stonehenge/a.jpg, train/Stonehenge/b.jpg"


def test_small_unmeasured_and_placeless_classes_are_named(tmp_path: Path) -> None:
    root = write_sound(tmp_path)
    write_class(root / "train" / "My_Garden", range(200, 203))
    rows = {(found.problem, found.subject, found.detail) for found in inspect(root).found}
    assert rows == {
        ("small", "My Garden", "3 training photos"),
        ("unmeasured", "My Garden", "no val photos"),
        ("unmeasured", "My Garden", "no test photos"),
        ("place", "My Garden", "not in the gazetteer"),
    }


@pytest.mark.parametrize("count", [5, 6])
def test_the_summary_shows_a_few_of_many(count: int) -> None:
    found = tuple(Finding("place", f"Place {number}", "unknown") for number in range(count))
    summary = Findings(found).summary()
    title, advice = HEADLINES["place"]
    assert summary.startswith(f"- {title}: {count} ({advice})\n  - `Place 0`: unknown\n")
    assert summary.count("`Place ") == 5
    assert ("… and 1 more" in summary) == (count == 6)


def test_photos_outside_the_root_are_named_by_the_way_to_them(tmp_path: Path) -> None:
    root = write_sound(tmp_path / "data")
    write_photo(tmp_path / "not_landmarks" / "cat.jpg", 300)
    (tmp_path / "not_landmarks" / "dog.jpg").touch()
    assert [found.subject for found in inspect(root).found] == ["../not_landmarks/dog.jpg"]

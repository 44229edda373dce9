"""A dataset report leaves figures, inputs, manifest and data issues in a run; each fault once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from experiments import data, recipes
from landmark_ml.config import DataConfig
from landmark_ml.data import manifest_digest, read_manifest
from landmark_ml.data.opening import open_dataset
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.reports.dataset_report import (
    HEADLINES,
    DataIssue,
    DatasetReport,
    describe_groups,
    find_issues,
    report_dataset,
    summarise,
)
from tests.photo_folders import write_class, write_photo, write_snapshot, write_two_classes


def report(config: DataConfig) -> DatasetReport:
    return report_dataset(config, recipes.transfer())


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_two_classes(tmp_path_factory.mktemp("inspection") / "photos")
    (root / "3.Stonehenge" / "broken.jpg").write_bytes(b"no photo at all")
    return root


@pytest.fixture(scope="module")
def result(root: Path, tracking_uri: str) -> DatasetReport:
    return report(DataConfig(data=str(root), max_unreadable=0.0))


def test_the_run_is_finished_and_says_what_was_found(result: DatasetReport) -> None:
    run = mlflow.get_run(result.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "data-photos"
    assert run.data.metrics["data/unreadable"] == 1
    assert run.data.metrics["data/refused"] == 1
    assert run.data.metrics["data/small"] == 2
    assert run.data.metrics["data/leaked"] == 0
    assert "broken.jpg`: not_an_image" in run.data.tags["mlflow.note.content"]
    assert run.inputs is not None
    assert [item.dataset.name for item in run.inputs.dataset_inputs] == [
        "photos-train",
        "photos-val",
        "photos-test",
    ]
    logged = run.inputs.dataset_inputs[0].dataset
    assert '"name": "landmark"' in str(logged.schema)
    assert '"num_rows"' in str(logged.profile)


def test_the_figures_are_pictures_of_the_dataset(result: DatasetReport) -> None:
    figures = ("samples", "class_counts")
    for name in figures:
        uri = f"runs:/{result.run_id}/figures/data_{name}.png"
        picture = np.asarray(mlflow.artifacts.load_image(uri).convert("L"))
        assert picture.std() > 5, name


def test_manifest_and_issues_can_be_read_back(result: DatasetReport, tmp_path: Path) -> None:
    uri = f"runs:/{result.run_id}/split_manifest.json"
    path = mlflow.artifacts.download_artifacts(uri, dst_path=str(tmp_path))
    restored = read_manifest(tmp_path / "split_manifest.json", result.dataset.root)
    assert path.endswith("split_manifest.json")
    assert manifest_digest(restored) == manifest_digest(result.dataset)
    table = mlflow.artifacts.load_text(f"runs:/{result.run_id}/findings.csv")
    assert len(table.splitlines()) == 1 + len(result.issues)


def test_a_failed_report_says_why(tmp_path: Path, tracking_uri: str) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        report(DataConfig(data=str(tmp_path / "nowhere")))
    last = mlflow.search_runs(search_all_experiments=True, max_results=1, output_format="list")[0]
    assert last.info.status == "FAILED"
    assert "does not exist" in last.data.tags["error"]


def test_the_entry_point_prints_a_summary(
    result: DatasetReport, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[DataConfig] = []

    def inspect(config: DataConfig, *_: object) -> DatasetReport:
        asked.append(config)
        return result

    monkeypatch.setattr(data, "report_dataset", inspect)
    config = DataConfig(data="photos", seed=3)
    data.main(config)
    printed = capsys.readouterr().out
    assert asked == [config]
    assert f"photos: 2 classes, {len(result.dataset.train)} train" in printed
    assert "Groups of near-duplicates: 0, with 0 photos." in printed
    assert "- Unreadable files: 1 (" in printed
    assert f"/runs/{result.run_id}?workflowType=machine_learning" in printed


def write_sound(root: Path) -> Path:
    """Write two known landmarks with given sides and enough photos of each."""
    for number, name in enumerate(("Eiffel_Tower", "Stonehenge")):
        start = 100 * number
        write_class(root / "train" / name, range(start, start + 22))
        write_class(root / "val" / name, range(start + 30, start + 32))
        write_class(root / "test" / name, range(start + 40, start + 42))
    return root


def issues_of(root: Path, max_unreadable: float = 0.05) -> list[DataIssue]:
    dataset = open_dataset(DataConfig(data=str(root), max_unreadable=1.0))
    return list(find_issues(dataset, Gazetteer.load(), max_unreadable))


def test_a_sound_dataset_has_no_issues(tmp_path: Path) -> None:
    issues = issues_of(write_sound(tmp_path))
    assert issues == []
    assert summarise(issues) == "Nothing wrong found.\n"


def test_unreadable_files_are_named_with_their_code(tmp_path: Path) -> None:
    root = write_sound(tmp_path)
    (root / "train" / "Stonehenge" / "broken.jpg").write_bytes(b"no photo at all")
    (found,) = issues_of(root)
    assert found.problem == "unreadable"
    assert found.subject == "train/Stonehenge/broken.jpg"
    assert found.detail.startswith("not_an_image: ")


def test_a_name_that_is_no_utf8_is_spelled_in_letters_a_table_takes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_sound(tmp_path)
    Path(os.fsdecode(bytes(root) + b"/train/Stonehenge/caf\xe9.jpg")).touch()
    issues = issues_of(root)
    assert issues[0].subject == "train/Stonehenge/caf\\udce9.jpg"
    assert pd.DataFrame(issues).to_csv().encode()
    assert b"caf\\udce9.jpg" in caplog.text.encode()


def test_a_share_of_unreadable_files_that_training_refuses_is_said_first(tmp_path: Path) -> None:
    root = write_sound(tmp_path)
    (root / "train" / "Stonehenge" / "broken.jpg").touch()
    first, second = issues_of(root, max_unreadable=0.01)
    assert (first.problem, second.problem) == ("refused", "unreadable")
    assert first.detail == "1 of 53 files are unreadable, more than max_unreadable 0.01"


def test_a_photo_under_two_labels_is_conflicting(tmp_path: Path) -> None:
    root = write_sound(tmp_path)
    shutil.copy(root / "train/Eiffel_Tower/0.jpg", root / "train/Stonehenge/same.jpg")
    (found,) = issues_of(root)
    assert found.problem == "conflicting"
    assert found.subject == "train/Eiffel_Tower/0.jpg"
    assert found.detail == "labelled Eiffel Tower, and Stonehenge as train/Stonehenge/same.jpg"


def test_test_photos_under_two_labels_are_conflicting_though_they_are_kept(tmp_path: Path) -> None:
    root = write_sound(tmp_path)
    shutil.copy(root / "test/Eiffel_Tower/40.jpg", root / "test/Stonehenge/same.jpg")
    assert [found.problem for found in issues_of(root)] == ["conflicting"]


def test_a_training_photo_that_is_also_in_test_is_leaked(tmp_path: Path) -> None:
    root = write_sound(tmp_path)
    shutil.copy(root / "test/Stonehenge/140.jpg", root / "train/Stonehenge/seen.jpg")
    (found,) = issues_of(root)
    assert (found.problem, found.subject) == ("leaked", "train/Stonehenge/seen.jpg")


def test_near_duplicates_and_visits_are_counted(tmp_path: Path) -> None:
    root = write_sound(tmp_path)
    with Image.open(root / "train/Stonehenge/101.jpg") as picture:
        picture.resize((60, 50)).save(root / "train/Stonehenge/smaller.png")
    for seed in range(300, 303):
        write_snapshot(root / f"train/Eiffel_Tower/{seed}.jpg", seed, "2023:07:14 10:00:00")
    write_snapshot(root / "train/Stonehenge/303.jpg", 303, "2023:07:14 18:00:00")
    told = describe_groups(open_dataset(DataConfig(data=str(root))), "visits")
    assert told.startswith(
        "Groups of near-duplicates: 1, with 2 photos."
        " Visits (one landmark, one camera, one day): 1, with 3 photos. Each stays in one split."
    )
    told = describe_groups(open_dataset(DataConfig(data=str(root), grouping="none")), "none")
    assert told.endswith("1, with 2 photos. With grouping=none they may be in several splits.")


def test_copies_within_a_class_are_repeated(tmp_path: Path) -> None:
    root = write_sound(tmp_path)
    for copy in ("a.jpg", "b.jpg"):
        shutil.copy(root / "train/Stonehenge/101.jpg", root / "train/Stonehenge" / copy)
    (found,) = issues_of(root)
    assert (found.problem, found.subject) == ("repeated", "train/Stonehenge/101.jpg")
    assert found.detail == "the same file as train/Stonehenge/a.jpg, train/Stonehenge/b.jpg"


def test_small_unmeasured_and_placeless_classes_are_named(tmp_path: Path) -> None:
    root = write_sound(tmp_path)
    write_class(root / "train" / "My_Garden", range(200, 203))
    rows = {(found.problem, found.subject, found.detail) for found in issues_of(root)}
    assert rows == {
        ("small", "My Garden", "3 training photos"),
        ("unmeasured", "My Garden", "no val photos"),
        ("unmeasured", "My Garden", "no test photos"),
        ("place", "My Garden", "not in the gazetteer"),
    }


@pytest.mark.parametrize("count", [5, 6])
def test_the_summary_shows_a_few_of_many(count: int) -> None:
    found = [DataIssue("place", f"Place {number}", "unknown") for number in range(count)]
    summary = summarise(found)
    title, advice = HEADLINES["place"]
    assert summary.startswith(f"- {title}: {count} ({advice})\n  - `Place 0`: unknown\n")
    assert summary.count("`Place ") == 5
    assert ("… and 1 more" in summary) == (count == 6)


def test_photos_outside_the_root_are_named_by_the_way_to_them(tmp_path: Path) -> None:
    root = write_sound(tmp_path / "data")
    write_photo(tmp_path / "not_landmarks" / "cat.jpg", 300)
    (tmp_path / "not_landmarks" / "dog.jpg").touch()
    assert [found.subject for found in issues_of(root)] == ["../not_landmarks/dog.jpg"]

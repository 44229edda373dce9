"""A manifest brings the same dataset back, and says what changed since it was written."""

from __future__ import annotations

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from landmark_ml.config import DataConfig
from landmark_ml.data import (
    NOT_A_LANDMARK,
    SPLITS,
    Dataset,
    Photo,
    UnreadablePhoto,
    manifest_digest,
    read_manifest,
    split_digest,
    write_manifest,
)
from landmark_ml.data import dataset as manifests
from landmark_ml.data.opening import open_dataset
from landmark_ml.inference.runtime import usable_cpus
from tests.photo_folders import write_class, write_photo


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    root = tmp_path / "data" / "photos"
    write_class(root / "0.Tower", range(8))
    write_class(root / "1.Pont_d'Arc", range(10, 18))
    write_class(root.parent / "not_landmarks", range(20, 28))
    shutil.copy(root / "0.Tower" / "0.jpg", root / "1.Pont_d'Arc" / "again.jpg")
    opened = open_dataset(DataConfig(data=str(root)))
    bad = UnreadablePhoto(root / "0.Tower" / "bad.jpg", "empty", "no bytes")
    return replace(opened, unreadable=(bad,))


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_a_written_manifest_reads_back_as_the_same_dataset(
    dataset: Dataset, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "run" / f"manifest.{kind}"
    placed = replace(dataset.train[0], position=(1.5, -2.25), visit="walk")
    dataset = replace(dataset, train=(placed, *dataset.train[1:]))
    write_manifest(dataset, path)
    assert read_manifest(path, dataset.root, verify=True) == dataset
    assert [file.name for file in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("kind", ["json", "parquet"])
def test_a_file_name_that_is_not_utf8_is_recorded_and_found_again(
    dataset: Dataset, tmp_path: Path, kind: str
) -> None:
    latin1 = Path(os.fsdecode(bytes(dataset.train[0].path.parent) + b"/caf\xe9.jpg"))
    dataset.train[0].path.rename(latin1)
    bad = UnreadablePhoto(latin1.with_suffix(".txt"), "empty", "no bytes")
    renamed = replace(
        dataset,
        train=(replace(dataset.train[0], path=latin1), *dataset.train[1:]),
        unreadable=(bad,),
    )
    path = tmp_path / f"manifest.{kind}"
    write_manifest(renamed, path)
    assert read_manifest(path, dataset.root, verify=True) == renamed
    assert manifest_digest(renamed) == manifest_digest(dataset)


def test_ordinary_names_have_the_digest_they_always_had() -> None:
    photo = Photo(Path("é.jpg"), 0, "ab", 8, 8)
    assert split_digest([photo], ["Château d'If"]) == "ee049746ffec69ea"


def test_paths_are_relative_so_the_data_can_move(dataset: Dataset, tmp_path: Path) -> None:
    write_manifest(dataset, tmp_path / "manifest.json")
    assert str(tmp_path) not in (tmp_path / "manifest.json").read_text(encoding="utf-8")
    moved = dataset.root.parent.rename(tmp_path / "moved") / dataset.root.name
    again = read_manifest(tmp_path / "manifest.json", moved, verify=True)
    assert again.root == moved
    assert manifest_digest(again) == manifest_digest(dataset)


def test_a_missing_photo_is_named(dataset: Dataset, tmp_path: Path) -> None:
    write_manifest(dataset, tmp_path / "manifest.json")
    lost = dataset.val[0].path
    lost.unlink()
    with pytest.raises(ValueError, match=rf"1 photos .* missing: .*{lost.name}"):
        read_manifest(tmp_path / "manifest.json", dataset.root)


def test_contents_are_checked_on_the_threads_that_are_given(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_manifest(dataset, tmp_path / "manifest.json")
    pools: list[int] = []

    def start(threads: int) -> ThreadPoolExecutor:
        pools.append(threads)
        return ThreadPoolExecutor(threads)

    monkeypatch.setattr(manifests, "ThreadPoolExecutor", start)
    for threads in (0, 3):
        read_manifest(tmp_path / "manifest.json", dataset.root, verify=True, threads=threads)
    assert pools == [usable_cpus(), 3]


def test_changed_content_is_named_when_asked(dataset: Dataset, tmp_path: Path) -> None:
    write_manifest(dataset, tmp_path / "manifest.json")
    changed = write_photo(dataset.train[0].path, 99)
    assert read_manifest(tmp_path / "manifest.json", dataset.root) == dataset
    with pytest.raises(ValueError, match=rf"other content than .*{changed.name}"):
        read_manifest(tmp_path / "manifest.json", dataset.root, verify=True)


def test_of_a_large_raw_file_the_part_that_is_read_is_checked(tmp_path: Path) -> None:
    root = tmp_path / "photos"
    write_class(root / "Tower", range(8))
    write_class(root / "Bridge", range(10, 18))
    raw = root / "Tower" / "large.raf"
    raw.write_bytes(b"FUJIFILMCCD-RAW ".ljust(148, b"\0") + (root / "Tower/0.jpg").read_bytes())
    # What the sensor saw follows, 40 MB in all.
    os.truncate(raw, 40_000_000)
    dataset = open_dataset(DataConfig(data=str(root), cache_dir=str(tmp_path / "cache")))
    assert raw in {photo.path for photo in dataset.photos}
    write_manifest(dataset, tmp_path / "manifest.json")
    assert read_manifest(tmp_path / "manifest.json", root, verify=True) == dataset


def test_a_manifest_edited_by_hand_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    write_manifest(dataset, path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"split": "test"', '"split": "train"', 1), encoding="utf-8")
    with pytest.raises(ValueError, match="changed after it was written"):
        read_manifest(path, dataset.root)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema_version": 99}', "sha256,label\n", "PAR1"]
)
def test_a_file_that_is_not_a_manifest_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="is not a manifest"):
        read_manifest(path, tmp_path)


def test_each_photo_has_one_line_and_its_class_name(dataset: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    write_manifest(dataset, path)
    rows = json.loads(path.read_text(encoding="utf-8"))["photos"]
    assert {row["label"] for row in rows} == {"Tower", "Pont d'Arc", ""}
    lines = path.read_text(encoding="utf-8").splitlines()
    assert sum('"sha256"' in line for line in lines) == len(rows)


def test_digests_depend_on_photos_labels_and_splits_only(dataset: Dataset) -> None:
    moved = replace(dataset, name="other", root=dataset.root.parent, val=dataset.val[::-1])
    assert manifest_digest(moved) == manifest_digest(dataset)
    swapped = replace(dataset, val=dataset.test, test=dataset.val)
    assert manifest_digest(swapped) != manifest_digest(dataset)
    test, classes = dataset.test, dataset.classes
    relabelled = [replace(photo, label=0) for photo in test]
    renamed, wider = ["Tower", "Bridge"], [*classes, "Castle"]
    others = [split_digest(test[1:], classes), split_digest(relabelled, classes)]
    others += [split_digest(test, renamed), split_digest(test, wider)]
    assert split_digest(test, classes) not in others


def test_photos_are_told_apart_by_split_and_landmark(dataset: Dataset) -> None:
    assert dataset.num_classes == 2
    for split in SPLITS:
        assert {photo.label for photo in dataset.distractors(split)} == {NOT_A_LANDMARK}
        both = [*dataset.landmarks(split), *dataset.distractors(split)]
        assert sorted(photo.sha256 for photo in both) == sorted(
            photo.sha256 for photo in dataset.split(split)
        )
        assert sum(dataset.class_counts(split).values()) == len(dataset.landmarks(split))
    assert replace(dataset, train=()).class_counts("train") == {"Tower": 0, "Pont d'Arc": 0}

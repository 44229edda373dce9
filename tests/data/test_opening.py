"""Names and folders become datasets: splits, copies, distractors, unreadable files."""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest
from PIL import Image

from landmark_ml.config import DataConfig
from landmark_ml.data import NOT_A_LANDMARK, SPLITS, opening, postcards
from landmark_ml.data.folders import ListedFile
from landmark_ml.data.near_duplicates import read_and_group
from landmark_ml.data.opening import find_root, open_dataset
from tests.photo_folders import (
    random_picture,
    write_class,
    write_photo,
    write_snapshot,
    write_two_classes,
)


@pytest.fixture(autouse=True)
def _cache_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of ten photos, one split."""
    return write_two_classes(tmp_path / "data" / "photos")


def test_class_folders_alone_are_split(root: Path) -> None:
    dataset = open_dataset(DataConfig(data=str(root)))
    assert dataset.name == "photos"
    assert dataset.classes == ("Eiffel Tower", "Stonehenge")
    for split in SPLITS:
        assert all(dataset.class_counts(split).values())
    assert len(dataset.train) + len(dataset.val) + len(dataset.test) == 20
    assert all(("Eiffel" in str(photo.path)) == (photo.label == 0) for photo in dataset.train)


def test_a_moved_copy_of_the_folder_is_split_alike(root: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(root, tmp_path / "elsewhere")
    for folder in moved.iterdir():
        for number, path in enumerate(sorted(folder.iterdir(), reverse=True)):
            path.rename(folder / f"renamed{number}.jpg")
    first, second = (
        open_dataset(DataConfig(data=str(root))),
        open_dataset(DataConfig(data=str(moved))),
    )
    assert [photo.sha256 for photo in first.test] == [photo.sha256 for photo in second.test]


@pytest.mark.parametrize("val_name", ["val", "valid", "validation"])
def test_given_splits_are_kept(tmp_path: Path, val_name: str) -> None:
    for number, split in enumerate(("train", val_name, "test")):
        write_class(tmp_path / split / "1.Tower", range(100 * number, 100 * number + 4))
        write_class(tmp_path / split / "Bridge", range(100 * number + 50, 100 * number + 54))
    dataset = open_dataset(DataConfig(data=str(tmp_path)))
    assert {photo.path.parts[-3] for photo in dataset.val} == {val_name}
    assert {photo.path.parts[-3] for photo in dataset.test} == {"test"}
    assert [len(dataset.train), len(dataset.val), len(dataset.test)] == [8, 8, 8]


def test_val_is_carved_from_train_beside_a_given_test(root: Path, tmp_path: Path) -> None:
    shutil.copytree(root, tmp_path / "given" / "train")
    write_class(tmp_path / "given" / "test" / "Stonehenge", range(50, 53))
    dataset = open_dataset(DataConfig(data=str(tmp_path / "given")))
    assert len(dataset.train) + len(dataset.val) == 20
    assert all(dataset.class_counts("val").values())
    assert dataset.class_counts("test") == {"Eiffel Tower": 0, "Stonehenge": 3}


def test_train_copies_of_test_photos_are_left_out(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = shutil.copytree(root, tmp_path / "given" / "train")
    test = tmp_path / "given" / "test" / "Stonehenge"
    write_class(test, range(50, 53))
    shutil.copy(test / "50.jpg", train / "3.Stonehenge" / "same.jpg")
    smaller = random_picture(51).resize((60, 50))
    smaller.save(train / "3.Stonehenge" / "smaller.png")
    dataset = open_dataset(DataConfig(data=str(tmp_path / "given")))
    assert {photo.path.name for photo in dataset.leaked} == {"same.jpg", "smaller.png"}
    assert "2 photos left out, the same picture" in caplog.text
    assert len(dataset.train) + len(dataset.val) == 20


def test_the_same_file_in_two_classes_is_left_out(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copy(root / "16.Eiffel_Tower" / "1.jpg", root / "3.Stonehenge" / "copy.jpg")
    dataset = open_dataset(DataConfig(data=str(root)))
    assert {photo.path.name for photo in dataset.conflicting} == {"1.jpg", "copy.jpg"}
    assert "has two labels" in caplog.text


@pytest.mark.parametrize("place", ["inside", "beside", "given"])
def test_photos_without_a_landmark_are_found_and_assigned(
    root: Path, tmp_path: Path, place: str
) -> None:
    folder = {"inside": root, "beside": root.parent, "given": tmp_path / "far"}[place]
    write_class(folder / "not_landmarks" / "food", range(60, 80))
    given = str(folder / "not_landmarks") if place == "given" else ""
    dataset = open_dataset(DataConfig(data=str(root), not_landmarks=given))
    assert dataset.classes == ("Eiffel Tower", "Stonehenge")
    counts = [len(dataset.distractors(split)) for split in SPLITS]
    assert sum(counts) == 20
    assert all(counts)
    assert {photo.label for photo in dataset.distractors("test")} == {NOT_A_LANDMARK}


def test_photos_inside_the_root_come_before_those_beside(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_class(root / "not_landmarks", range(60, 64))
    write_class(root.parent / "not_landmarks", range(70, 74))
    with caplog.at_level(logging.INFO):
        dataset = open_dataset(DataConfig(data=str(root)))
    assert {photo.path.parent for photo in dataset.distractors("test")} == {root / "not_landmarks"}
    assert f"taken from {root / 'not_landmarks'}" in caplog.text


def test_photos_that_a_model_was_taught_by_join_the_others(root: Path, tmp_path: Path) -> None:
    before = open_dataset(DataConfig(data=str(root)))
    taught = tmp_path / "taught"
    write_class(taught / "Stonehenge", range(70, 71))
    write_class(taught / "07.New_Mill", range(80, 84))
    after = open_dataset(DataConfig(data=str(root), taught=str(taught)))
    assert after.classes == (*before.classes, "New Mill")
    assert len(after.photos) == len(before.photos) + 5


def test_sizes_are_upright_and_of_the_full_photo(root: Path) -> None:
    picture = random_picture(90, (640, 480))
    turned = Image.Exif()
    turned[0x0112] = 6
    picture.save(root / "3.Stonehenge" / "turned.jpg", exif=turned)
    picture.save(root / "3.Stonehenge" / "plain.png")
    dataset = open_dataset(DataConfig(data=str(root)))
    photos = [*dataset.train, *dataset.val, *dataset.test]
    sizes = {photo.path.name: (photo.width, photo.height) for photo in photos}
    assert sizes["turned.jpg"] == (480, 640)
    assert sizes["plain.png"] == (640, 480)
    assert sizes["1.jpg"] == (96, 80)


def test_sub_folders_and_links_count_once(root: Path) -> None:
    stones = root / "3.Stonehenge"
    write_photo(stones / "night" / "deep" / "91.jpg", 91)
    (stones / "night" / "loop").symlink_to(stones, target_is_directory=True)
    (stones / "linked.jpg").symlink_to(write_photo(root.parent / "elsewhere.jpg", 92))
    dataset = open_dataset(DataConfig(data=str(root)))
    counts = [dataset.class_counts(split)["Stonehenge"] for split in SPLITS]
    assert sum(counts) == 12


def test_clutter_is_ignored_and_unreadable_files_are_listed(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    stones = root / "3.Stonehenge"
    for name in (".DS_Store", "._1.jpg", "Thumbs.db", "__MACOSX/1.jpg", "@eaDir/1.jpg/thumb.jpg"):
        (stones / name).parent.mkdir(parents=True, exist_ok=True)
        (stones / name).write_bytes(b"clutter")
    (root / ".git").mkdir()
    (root / "#recycle").mkdir()
    (root / "notes.txt").write_text("mine", encoding="utf-8")
    (stones / "notes.txt").write_text("mine", encoding="utf-8")
    photo = (stones / "20.jpg").read_bytes()
    (stones / "cut.jpg").write_bytes(photo[: len(photo) // 2])
    (stones / "gone.jpg").symlink_to(root / "nowhere.jpg")
    dataset = open_dataset(DataConfig(data=str(root), max_unreadable=0.2))
    assert "1 file of" in caplog.text
    codes = {file.path.name: file.code for file in dataset.unreadable}
    assert codes == {"cut.jpg": "truncated", "gone.jpg": "unreadable"}
    assert "2 of 22 files are unreadable" in caplog.text
    assert len(dataset.train) + len(dataset.val) + len(dataset.test) == 20


def test_too_many_unreadable_files_fail(root: Path) -> None:
    for number in range(3):
        (root / "3.Stonehenge" / f"bad{number}.jpg").touch()
    with pytest.raises(ValueError, match=r"3 of 23 .*bad0\.jpg: empty.*max_unreadable 5%"):
        open_dataset(DataConfig(data=str(root)))


def test_a_class_that_is_left_without_training_photos_fails(root: Path, tmp_path: Path) -> None:
    train = shutil.copytree(root, tmp_path / "given" / "train")
    shutil.copytree(train / "3.Stonehenge", tmp_path / "given" / "test" / "3.Stonehenge")
    with pytest.raises(ValueError, match="no training photos are left of Stonehenge"):
        open_dataset(DataConfig(data=str(tmp_path / "given")))


def test_a_class_without_test_photos_gets_a_warning(
    root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(root, tmp_path / "given" / "train")
    write_class(tmp_path / "given" / "test" / "Stonehenge", range(50, 53))
    open_dataset(DataConfig(data=str(tmp_path / "given")))
    assert "no test photos, so trained and not" in caplog.text


def test_a_landmark_with_two_photos_is_trained_and_not_measured(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_class(root / "Atomium", range(50, 52))
    dataset = open_dataset(DataConfig(data=str(root)))
    assert [dataset.class_counts(split)["Atomium"] for split in SPLITS] == [1, 1, 0]
    assert "no test photos, so trained and not measured: Atomium" in (caplog.text)


def write_days(folder: Path, first: int, days: Sequence[str], camera: str = "EOS 5D") -> None:
    for seed, (day, number) in enumerate(product(days, range(4)), start=first):
        taken = f"{day} {10 + number}:00:00"
        write_snapshot(folder / f"{seed}.jpg", seed, taken, camera)


def test_photos_of_one_camera_and_day_are_in_one_split(tmp_path: Path) -> None:
    days = [f"2023:07:{day:02d}" for day in range(2, 10)]
    write_days(tmp_path / "Atomium", 0, days)
    write_days(tmp_path / "Stonehenge", 100, days, camera="EOS R6")
    for seed in range(3):
        dataset = open_dataset(DataConfig(data=str(tmp_path), seed=seed))
        visits = [{photo.visit for photo in dataset.split(split)} for split in SPLITS]
        assert sum(map(len, visits)) == len(set.union(*visits)) == 16
        assert all(visits)
    apart = open_dataset(DataConfig(data=str(tmp_path), grouping="copies"))
    assert {photo.visit for photo in apart.train} == {""}
    days_of = [{int(photo.path.stem) // 4 for photo in apart.landmarks(split)} for split in SPLITS]
    assert sum(map(len, days_of)) > 16


@pytest.mark.parametrize(
    ("first", "second", "together"),
    [
        ("2023:07:14 23:50:00", "2023:07:15 00:20:00", True),
        ("2023:07:14 10:00:00", "2023:07:15 10:00:00", False),
        # A clock that was never set says nothing.
        ("2000:01:01 00:00:12", "2000:01:01 00:00:12", False),
        ("0000:00:00 00:00:00", "0000:00:00 00:00:00", False),
    ],
)
def test_a_visit_is_a_day_that_ends_after_midnight(
    tmp_path: Path, first: str, second: str, together: bool
) -> None:
    paths = [write_snapshot(tmp_path / f"{n}.jpg", n, t) for n, t in enumerate((first, second))]
    photos, _ = read_and_group([ListedFile(path, 0, None) for path in paths], tmp_path / "cache")
    one, other = (item.photo.visit for item in photos)
    assert (one == other != "") == together


def test_with_grouping_none_copies_may_part(root: Path, tmp_path: Path) -> None:
    with Image.open(root / "3.Stonehenge" / "20.jpg") as picture:
        picture.resize((90, 75)).save(root / "3.Stonehenge" / "copy.png")
    files = [ListedFile(path, 0, None) for path in sorted((root / "3.Stonehenge").iterdir())]
    assert len({item.group for item in read_and_group(files, tmp_path)[0]}) == 10
    assert len({item.group for item in read_and_group(files, tmp_path, grouping="none")[0]}) == 11


@pytest.mark.parametrize(
    "options",
    [
        {"val_fraction": 0.0},
        {"test_fraction": 1.0},
        {"val_fraction": 0.5, "test_fraction": 0.5},
        {"max_unreadable": 2.0},
    ],
)
def test_impossible_options_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="give"):
        DataConfig(**options)  # type: ignore[arg-type]


def test_a_missing_not_landmarks_folder_is_refused(root: Path) -> None:
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        open_dataset(DataConfig(data=str(root), not_landmarks=str(root / "nowhere")))


@pytest.mark.parametrize("data", ["postcard", "", "photos.zip"])
def test_what_is_neither_name_nor_folder_is_refused(
    data: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos.zip").touch()
    with pytest.raises(ValueError, match=r"'postcards' .*'udacity50' .*a folder"):
        open_dataset(DataConfig(data=data))


def test_postcards_are_drawn_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = postcards.write_postcards
    few = {"per_class": 3, "not_landmarks": 8, "test_per_class": 1}
    monkeypatch.setattr(postcards, "write_postcards", lambda folder: write(folder, **few))
    monkeypatch.setattr(
        postcards, "draw_postcard", lambda _, rng, __: random_picture(int(rng.integers(1 << 30)))
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
    assert len(first.landmarks("test")) == first.num_classes
    assert sum(len(first.distractors(split)) for split in SPLITS) == 8


@pytest.mark.parametrize("data", ["postcards", "udacity50", "photos"])
def test_a_cache_that_cannot_be_made_is_named(root: Path, tmp_path: Path, data: str) -> None:
    (tmp_path / "file").touch()
    data = str(root) if data == "photos" else data
    with pytest.raises(ValueError, match=r"cannot be made \(Not a directory\).*another cache_dir"):
        open_dataset(DataConfig(data=data, cache_dir=str(tmp_path / "file" / "cache")))


def write_udacity(folder: Path, classes: int) -> None:
    photo = write_photo(folder / "photo.jpg", 0).read_bytes()
    for number in range(classes):
        for split in ("train", "test"):
            place = folder / "landmark_images" / split / f"{number:02d}.Place_{number}"
            place.mkdir(parents=True)
            (place / f"{split}.jpg").write_bytes(photo)


def test_udacity50_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[Path] = []

    def fetch(_: str, folder: Path) -> None:
        fetched.append(folder)
        write_udacity(folder, 50)

    monkeypatch.setattr(opening, "fetch_archive", fetch)
    config = DataConfig(data="udacity50", cache_dir=str(tmp_path / "cache"))
    name, first = find_root(config)
    _, second = find_root(config)
    assert name == "udacity50"
    assert first == second
    assert len(list((first / "train").iterdir())) == 50
    assert len(fetched) == 1


def test_two_processes_at_once_download_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work: list[Path] = []
    together: list[int] = []

    def fetch(_: str, folder: Path) -> None:
        at_work.append(folder)
        time.sleep(0.05)
        together.append(len(at_work))
        write_udacity(folder, 50)

    monkeypatch.setattr(opening, "fetch_archive", fetch)

    def find(_: int) -> tuple[str, Path]:
        return find_root(DataConfig(data="udacity50", cache_dir=str(tmp_path)))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(find, range(4)))
    assert together == [1]
    assert len(set(found)) == 1


def test_an_archive_of_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "fetch_archive", lambda _, to: write_udacity(to / "other", 3))
    with pytest.raises(ValueError, match=r"holds no landmark_images; check udacity50_url"):
        find_root(DataConfig(data="udacity50", cache_dir=str(tmp_path)))

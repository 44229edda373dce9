"""Folder layouts: class names and numbers, and what no dataset can be made of."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from landmark_ml.data.folders import class_name, list_folder
from tests.photo_folders import write_class, write_two_classes


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes of ten photos, one split."""
    return write_two_classes(tmp_path / "data" / "photos")


@pytest.mark.parametrize(
    ("folder", "label"),
    [
        ("16.Eiffel_Tower", "Eiffel Tower"),
        ("Eiffel Tower", "Eiffel Tower"),
        ("00. Pont_d'Arc", "Pont d'Arc"),
        ("42nd_Street", "42nd Street"),
        ("7.", "7."),
        ("Cha\u0302teau", "Ch\u00e2teau"),
    ],
)
def test_class_folders_give_readable_labels(folder: str, label: str) -> None:
    assert class_name(folder) == label


def test_classes_stand_in_folder_name_order(tmp_path: Path) -> None:
    for name in ("10.Zoo", "02.Tower", "Alley"):
        write_class(tmp_path / name, range(1))
    assert list_folder(tmp_path)[0] == ("Tower", "Zoo", "Alley")


def broken_empty(root: Path) -> str:
    shutil.rmtree(root)
    root.mkdir()
    return "holds 0 class folders"


def broken_one_class(root: Path) -> str:
    shutil.rmtree(root / "3.Stonehenge")
    return "holds 1 class folders and at least 2"


def broken_nested(root: Path) -> str:
    for folder in list(root.iterdir()):
        shutil.move(folder, root / "inner" / "train" / folder.name)
    return "inner looks like a dataset"


def broken_empty_class(root: Path) -> str:
    (root / "Empty").mkdir()
    return "Empty holds no photos"


def broken_case_only(root: Path) -> str:
    write_class(root / "stonehenge", range(3))
    return "both mean 'stonehenge': merge or rename one"


def broken_same_label(root: Path) -> str:
    write_class(root / "4.Stonehenge", range(3))
    return "both mean 'Stonehenge'"


def broken_unknown_test_class(root: Path) -> str:
    shutil.copytree(root, root / "train")
    write_class(root / "test" / "Atomium", range(3))
    return "classes that train lacks: Atomium"


def broken_latin1_class(root: Path) -> str:
    Path(os.fsdecode(bytes(root) + b"/Ch\xe2teau")).mkdir()
    return r"class folder 'Ch\\udce2teau' of .* is not UTF-8; rename it"


def broken_no_train(root: Path) -> str:
    write_class(root / "test" / "Stonehenge", range(3))
    return "test but no train"


def broken_capital_train(root: Path) -> str:
    (root / "Train").mkdir()
    return "Train looks like a split and not like a landmark: rename it"


def broken_capital_test(root: Path) -> str:
    shutil.copytree(root, root / "train")
    (root / "Testing").mkdir()
    return "Testing looks like a split"


def broken_inner_distractors(root: Path) -> str:
    shutil.copytree(root, root / "train")
    write_class(root / "train" / "not_landmarks", range(3))
    return "is not a class: move it to"


def broken_two_validations(root: Path) -> str:
    for split in ("train", "val", "valid"):
        shutil.copytree(root / "3.Stonehenge", root / split / "3.Stonehenge")
        shutil.copytree(root / "16.Eiffel_Tower", root / split / "16.Eiffel_Tower")
    return "holds val and valid"


@pytest.mark.parametrize(
    "damage",
    [
        broken_empty,
        broken_one_class,
        broken_nested,
        broken_empty_class,
        broken_same_label,
        broken_case_only,
        broken_unknown_test_class,
        broken_latin1_class,
        broken_no_train,
        broken_capital_train,
        broken_capital_test,
        broken_two_validations,
        broken_inner_distractors,
    ],
)
def test_layouts_no_dataset_can_be_made_of_are_refused(
    root: Path, damage: Callable[[Path], str]
) -> None:
    message = damage(root)
    with pytest.raises(ValueError, match=message):
        list_folder(root)


def test_files_beside_photos_do_not_count_as_damaged_photos(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _, before = list_folder(root)
    (root / "places.csv").write_text("landmark,latitude,longitude\n")
    for name in ("1.png.xmp", "1.png.JSON", "clip.MOV"):
        (root / "3.Stonehenge" / name).write_bytes(b"not a photo")
    (root / "16.Eiffel_Tower" / "damaged").write_bytes(b"a photo once")
    with caplog.at_level("INFO", logger="landmark_ml.data"):
        _, after = list_folder(root)
    assert len(after) == len(before) + 1
    assert "3 files of" in caplog.text
    assert "outside its class folders" not in caplog.text


def test_a_folder_that_cannot_be_read_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = root / "3.Stonehenge" / "closed"
    write_class(closed, range(3))
    scandir = os.scandir

    def refuse(folder: str) -> object:
        if str(folder) == str(closed):
            raise PermissionError(errno.EACCES, "Permission denied", folder)
        return scandir(folder)

    # Root may read any folder, so permissions alone would try nothing there.
    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(ValueError, match=rf"folder {closed} cannot be read \(Permission denied\)"):
        list_folder(root)

"""What was read of a photo is kept until its file changes, whatever happens to the process."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from landmark_ml.data import Photo, scanning
from landmark_ml.data.folders import ListedFile
from landmark_ml.data.scanning import SCANS, read_photos
from landmark_ml.inference.photos import read_photo
from tests.photo_folders import random_picture, write_class, write_photo


@pytest.fixture
def files(tmp_path: Path) -> list[ListedFile]:
    write_class(tmp_path / "photos", range(12))
    return [ListedFile(path, 0, None) for path in sorted((tmp_path / "photos").iterdir())]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Content of the files that were read, in no order."""
    read: list[bytes] = []

    def count(content: bytes) -> bytes:
        read.append(content)
        return read_photo(content)

    monkeypatch.setattr(scanning, "read_photo", count)
    return read


def test_photos_are_read_once_and_again_when_they_change(
    files: list[ListedFile], tmp_path: Path, read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "BATCH", 5)
    first = read_photos(files, tmp_path / "cache")
    assert len(read) == 12
    read.clear()
    assert read_photos(files, tmp_path / "cache") == first
    assert not read
    shutil.copyfile(files[1].path, files[0].path)
    os.utime(files[2].path, (1, 1))
    changed = read_photos(files, tmp_path / "cache")
    assert set(read) == {files[0].path.read_bytes(), files[2].path.read_bytes()}
    assert changed[0].sha256 == changed[1].sha256  # type: ignore[union-attr]
    assert changed[1:] == first[1:]


def test_labels_and_columns_of_a_table_are_not_remembered(
    files: list[ListedFile], tmp_path: Path
) -> None:
    told = ListedFile(files[0].path, 3, None, (1.0, 2.0), "walk")
    (photo,) = read_photos([told], tmp_path)
    (plain,) = read_photos(files[:1], tmp_path)
    assert isinstance(photo, Photo)
    assert isinstance(plain, Photo)
    assert (photo.label, photo.position, photo.visit) == (3, (1.0, 2.0), "walk")
    assert (plain.label, plain.position, plain.visit) == (0, None, "")


def test_positions_come_from_exif(tmp_path: Path) -> None:
    exif = Image.Exif()
    gps = exif.get_ifd(ExifTags.IFD.GPSInfo)
    gps[ExifTags.GPS.GPSLatitudeRef], gps[ExifTags.GPS.GPSLatitude] = "S", (16.0, 30.0, 0.0)
    gps[ExifTags.GPS.GPSLongitudeRef], gps[ExifTags.GPS.GPSLongitude] = "E", (179.0, 0.0, 0.0)
    random_picture(0).save(tmp_path / "photo.jpg", exif=exif)
    for _ in range(2):
        (photo,) = read_photos([ListedFile(tmp_path / "photo.jpg", 0, None)], tmp_path)
        assert isinstance(photo, Photo)
        assert photo.position == pytest.approx((-16.5, 179.0))


def test_unreadable_files_are_tried_again(tmp_path: Path, read: list[bytes]) -> None:
    file = ListedFile(tmp_path / "photo.jpg", 0, None)
    assert not isinstance(read_photos([file], tmp_path)[0], Photo)
    write_photo(file.path, 0)
    assert isinstance(read_photos([file], tmp_path)[0], Photo)


def test_a_killed_process_leaves_a_sound_cache(files: list[ListedFile], tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from landmark_ml.data import scanning;"
        "from landmark_ml.data.folders import ListedFile; scanning.BATCH = 2;"
        "scanning.Bar.update = lambda *_: time.sleep(0.3);"
        "files = [ListedFile(p, 0, None) for p in sorted(Path(sys.argv[1]).iterdir())];"
        "scanning.read_photos(files, Path(sys.argv[2]))"
    )
    cache = tmp_path / "cache"
    command = [sys.executable, "-c", code, str(files[0].path.parent), str(cache)]
    with subprocess.Popen(command) as process:  # noqa: S603 - our own interpreter
        while not (cache / f"{SCANS}-wal").exists() and process.poll() is None:
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
    known = len(scanning_rows(cache))
    assert 0 < known < 12
    assert len(read_photos(files, cache)) == 12
    assert len(scanning_rows(cache)) == 12


def scanning_rows(cache: Path) -> list[object]:
    with sqlite3.connect(cache / SCANS) as scans:
        return scans.execute("SELECT path FROM scans").fetchall()


def test_a_damaged_cache_is_named(files: list[ListedFile], tmp_path: Path) -> None:
    (tmp_path / SCANS).write_bytes(b"no database" * 1000)
    with pytest.raises(ValueError, match=rf"{SCANS} cannot be read or written .*remove it"):
        read_photos(files, tmp_path)

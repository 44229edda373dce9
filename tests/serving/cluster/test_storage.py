"""Photos and parts of the table, in a folder or behind an address."""

from __future__ import annotations

import os
import uuid
from dataclasses import replace
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest

from landmark_ml.config import ClusterConfig
from landmark_ml.data.stores import local_folder, open_folder
from serving.cluster.storage import PART_SCHEMA, Listing, Part, bits_for, open_photos
from serving.tagging.library import Found
from tests.serving.cluster.conftest import Run

PHOTOS = [Found(Path(f"{number % 7}/{number}.jpg"), number, 2 * number) for number in range(1000)]


def parts(photos: list[Found], bits: int) -> list[Part]:
    with Listing() as listing:
        assert listing.fill(photos) == len(photos)
        return list(listing.parts(bits))


def test_every_photo_is_in_one_part_in_order() -> None:
    made = parts(PHOTOS, 4)
    assert [part.index for part in made] == list(range(16))
    found = [photo for part in made for photo in part.photos]
    assert sorted(found, key=lambda photo: photo.size) == PHOTOS
    for part in made:
        paths = [os.fsencode(photo.path) for photo in part.photos]
        assert paths == sorted(paths)
        assert 30 <= len(paths) <= 100


def test_a_photo_stays_in_its_part_when_others_come_or_go() -> None:
    def part_of(photos: list[Found]) -> dict[Path, int]:
        made = parts(photos, 4)
        return {photo.path: part.index for part in made for photo in part.photos}

    few, many = part_of(PHOTOS[::-3]), part_of(PHOTOS)
    assert few.items() <= many.items()


def test_one_part_holds_all() -> None:
    (part,) = parts(PHOTOS, 0)
    assert (part.index, len(part.photos)) == (0, 1000)
    assert parts([], 3) == []


@pytest.mark.parametrize(
    ("photos", "bits"), [(0, 0), (1, 0), (1000, 0), (1001, 1), (2001, 2), (4001, 3), (10**7, 14)]
)
def test_parts_are_about_as_large_as_wanted(photos: int, bits: int) -> None:
    assert bits_for(photos, 1000) == bits


@pytest.fixture
def stored(photos: Path) -> str:
    """Address of a copy of the library."""
    root = f"memory://{uuid.uuid4().hex}/photos"
    memory = fsspec.filesystem("memory")
    for path in photos.rglob("*"):
        if path.is_file():
            memory.pipe(f"{root}/{path.relative_to(photos).as_posix()}", path.read_bytes())
    return root


def test_the_same_photos_are_found_as_in_a_folder(stored: str, photos: Path) -> None:
    here, there = open_photos(str(photos), ""), open_photos(stored, "")
    found = {photo.path: photo.size for photo in there.walk()}
    assert found == {photo.path: photo.size for photo in here.walk()}
    assert there.other_pictures == here.other_pictures == {".crw": 1}
    for path in found:
        assert there.read(path) == here.read(path)
    assert isinstance(there.read(Path("gone.jpg")), FileNotFoundError)


def test_an_address_is_tagged_like_a_folder(config: ClusterConfig, stored: str, run: Run) -> None:
    run(config)
    out = f"{stored.removesuffix('photos')}out"
    remote = replace(config, photos=stored, out=out)
    assert run(remote).recognised == 7
    assert run(remote).recognised == 0
    columns = list(PART_SCHEMA.names)
    columns.remove("mtime_ns")
    system = open_folder(out)
    read = pq.read_table(system.base_path, filesystem=system.base_fs, columns=columns)
    there = read.sort_by("path")
    assert there.equals(pq.read_table(config.out, columns=columns).sort_by("path"))


def test_an_address_that_is_not_there_is_named(stored: str) -> None:
    photos = open_photos(f"{stored}/nothing", "")
    with pytest.raises(ValueError, match="nothing is not there; check the address"):
        list(photos.walk())


def test_an_unknown_kind_of_address_is_named() -> None:
    with pytest.raises(ValueError, match="'nowhere://photos' cannot be opened"):
        open_folder("nowhere://photos")


def test_a_file_address_is_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my photos"
    assert local_folder(folder.as_uri()) == local_folder(str(folder)) == folder
    assert local_folder("s3://bucket") is None

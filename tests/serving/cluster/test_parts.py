"""Photos shared out over parts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serving.cluster.storage import Listing, Part, bits_for
from serving.tagging.library import Found

PHOTOS = [Found(Path(f"{number % 7}/{number}.jpg"), number, 2 * number) for number in range(1000)]


def parts(photos: list[Found], bits: int, folder: Path) -> list[Part]:
    with Listing(folder / f"{len(list(folder.iterdir()))}.sqlite") as listing:
        assert listing.fill(photos) == len(photos)
        return list(listing.parts(bits))


def test_every_photo_is_in_one_part_in_order(tmp_path: Path) -> None:
    made = parts(PHOTOS, 4, tmp_path)
    assert [part.index for part in made] == list(range(16))
    found = [photo for part in made for photo in part.photos]
    assert sorted(found, key=lambda photo: photo.size) == PHOTOS
    for part in made:
        paths = [os.fsencode(photo.path) for photo in part.photos]
        assert paths == sorted(paths)
        assert 30 <= len(paths) <= 100


def test_a_photo_stays_in_its_part_when_others_come_or_go(tmp_path: Path) -> None:
    def part_of(photos: list[Found]) -> dict[Path, int]:
        made = parts(photos, 4, tmp_path)
        return {photo.path: part.index for part in made for photo in part.photos}

    few, many = part_of(PHOTOS[::-3]), part_of(PHOTOS)
    assert few.items() <= many.items()


def test_one_part_holds_all(tmp_path: Path) -> None:
    (part,) = parts(PHOTOS, 0, tmp_path)
    assert (part.index, len(part.photos)) == (0, 1000)
    assert parts([], 3, tmp_path) == []


@pytest.mark.parametrize(
    ("photos", "bits"), [(0, 0), (1, 0), (1000, 0), (1001, 1), (2001, 2), (4001, 3), (10**7, 14)]
)
def test_parts_are_about_as_large_as_wanted(photos: int, bits: int) -> None:
    assert bits_for(photos, 1000) == bits

"""Albums and a photo's own place: lists and links, never a photo moved."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from landmark_ml.config import TagConfig
from serving.tagging.tagger import tag_library
from serving.tagging.walk import Library

if TYPE_CHECKING:
    from pathlib import Path

    from serving.tagging.answering import Answering


@pytest.fixture
def config(photos: Path, tmp_path: Path) -> TagConfig:
    return TagConfig(photos=str(photos), out=str(tmp_path / "out"), albums="links")


def test_albums_link_to_photos_that_stay(
    config: TagConfig, photos: Path, answering: Answering, tmp_path: Path
) -> None:
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    for _ in range(2):
        result = tag_library(Library(photos), answering, config)
    albums = tmp_path / "out/albums"
    links = [path for path in albums.rglob("*") if path.is_symlink()]
    assert len(links) == result.in_albums == 4
    paris = albums / "France/Paris/Eiffel Tower"
    assert [link.resolve() for link in paris.iterdir()] == [photos / "2024/paris/tower.jpg"]
    assert {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()} == before
    tag_library(Library(photos), answering, replace(config, albums="list", min_confidence=1.0))
    lines = (tmp_path / "out/albums.csv").read_text(encoding="utf-8").splitlines()
    assert [line.split(",")[0] for line in lines] == ["path", "2024/paris/tower with gps.JPG"]


def test_a_photo_is_where_it_says_it_is(
    config: TagConfig, photos: Path, answering: Answering, tmp_path: Path
) -> None:
    def place() -> tuple[str | None, str | None]:
        tag_library(Library(photos), answering, config)
        rows = pq.read_table(tmp_path / "out/tags.parquet").to_pylist()
        (row,) = [row for row in rows if row["location_source"] == "exif"]
        assert row["landmark"] == "Eiffel Tower"
        return row["city"], row["country"]

    # 12 N 34 E, in Sudan: the tower in the picture stands in Paris, the photo was taken there.
    assert place()[1] == "Sudan"
    csv = tmp_path / "places.csv"
    csv.write_text("landmark,latitude,longitude,city,country\ncamp,12,34,Our camp,Nowhereland\n")
    config = replace(config, places=str(csv))
    assert place() == ("Our camp", "Nowhereland")

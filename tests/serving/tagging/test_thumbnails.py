"""Thumbnails of the gallery: small, made once, and kept while their photos may come back."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from landmark_ml.config import TagConfig
from serving.tagging.gallery import thumbnails
from serving.tagging.tagger import tag_library
from serving.tagging.walk import Library
from tests.colour_artifact import RED, colour_photo, gps_exif
from tests.serving.tagging.gallery_pages import thumbs

if TYPE_CHECKING:
    from serving.tagging.recognition import LoadedVersion

NO_PHOTOS = 7


@pytest.fixture
def config(photos: Path, tmp_path: Path) -> TagConfig:
    return TagConfig(photos=str(photos), out=str(tmp_path / "out"), gallery=True)


def run(config: TagConfig, loaded: LoadedVersion) -> None:
    tag_library(Library(Path(config.photos)), loaded, config)


def test_a_second_run_makes_no_thumbnail_again(config: TagConfig, loaded: LoadedVersion) -> None:
    run(config, loaded)
    before = thumbs(config)
    assert len(before) == NO_PHOTOS - 2
    run(config, loaded)
    assert thumbs(config) == before


def test_thumbnails_of_a_folder_that_cannot_be_opened_stay(
    config: TagConfig, photos: Path, loaded: LoadedVersion, tmp_path: Path
) -> None:
    run(config, loaded)
    before = thumbs(config)
    (photos / "2024").rename(tmp_path / "disk")
    (photos / "2024").symlink_to("/mnt/not mounted")
    run(config, loaded)
    assert thumbs(config) == before
    (photos / "2024").unlink()
    run(config, loaded)
    assert len(thumbs(config)) == len(before) - 3


@pytest.mark.parametrize(
    ("size", "orientation", "shown"),
    [((1600, 1200), 1, (320, 240)), ((1600, 1200), 6, (240, 320)), ((40, 32), 1, (40, 32))],
)
def test_a_thumbnail_is_small_upright_and_tells_no_place(
    size: tuple[int, int], orientation: int, shown: tuple[int, int], tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif.load(gps_exif(12, 34))
    exif[0x0112] = orientation
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(colour_photo(RED, size, exif=exif.tobytes()))
    content = thumbnails.thumbnail(photo)
    picture: Any = Image.open(io.BytesIO(content))
    assert picture.format == "JPEG"
    assert picture.size == shown
    assert not picture.getexif()
    assert b"camera" not in content

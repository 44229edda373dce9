"""A small photo library of one-colour photos, and the model that knows them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest

from landmark_ml.config import TagConfig
from landmark_ml.inference.predictor import Predictor
from serving.champion import Loaded
from serving.tagging import TagResult
from serving.tagging.library import Library
from serving.tagging.tagger import tag_library
from tests.colour_artifact import BLUE, GREEN, RED, WHITE, colour_photo, gps_exif

Run: TypeAlias = Callable[..., TagResult]


@pytest.fixture
def loaded(predictor: Predictor) -> Loaded:
    return Loaded(predictor, "landmarks", 1, "abc")


@pytest.fixture
def run(loaded: Loaded) -> Run:
    """Tag the library of a configuration."""

    def run(config: TagConfig, version: int = 1) -> TagResult:
        model = replace(loaded, version=version)
        return tag_library(Library(Path(config.photos)), model, config)

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Folder with a photo of each kind, two that are none, and things that are not for us."""
    return write_library(tmp_path / "photos")


@pytest.fixture
def config(photos: Path, tmp_path: Path) -> TagConfig:
    return TagConfig(photos=str(photos), out=str(tmp_path / "tags"))


def write_library(root: Path) -> Path:
    files = {
        "2024/paris/tower.jpg": colour_photo(RED),
        "2024/paris/tower with gps.JPG": colour_photo(RED, exif=gps_exif(12, 34)),
        "2024/castle.jpeg": colour_photo(GREEN),
        "2023/nowhere.jpg": colour_photo(BLUE),
        "2023/nothing.jpg": colour_photo(WHITE),
        "2023/cut.jpg": colour_photo(RED, (400, 300))[:700],
        "empty.png": b"",
        "raw.CRW": b"raw",
        "notes.txt": b"notes",
        ".hidden.jpg": colour_photo(RED),
        ".thumbnails/small.jpg": colour_photo(RED),
        "2024/@eaDir/small.jpg": colour_photo(RED),
    }
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "library" / "tower.jpg"
    path.parent.mkdir()
    path.write_bytes(colour_photo(RED))
    return path

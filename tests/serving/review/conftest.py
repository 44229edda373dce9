"""A tagged library of small photos with answers that are made up, and its review page."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient

from landmark_ml.config import ReviewConfig
from landmark_ml.inference.prediction import Prediction, answer, candidate, refused
from serving.review import Review, create_review
from serving.tagging.journal import Journal
from serving.tagging.library import Library, Tagged

PLACES = {
    "Eiffel Tower": {"city": "Paris", "country": "France"},
    "Château d'If": {"country": "France"},
}
CONFIDENCES = (0.9, 0.4, 0.7)
COLOURS = {"first": (200, 30, 30), "second": (190, 30, 30), "other": (30, 30, 200)}


def drawn(red: int, green: int, blue: int, size: tuple[int, int] = (40, 32)) -> bytes:
    """JPEG of one colour."""
    jpeg = io.BytesIO()
    Image.new("RGB", size, (red, green, blue)).save(jpeg, "JPEG")
    return jpeg.getvalue()


def made_up(*candidates: tuple[str, float], score: float = 0.9) -> Prediction:
    """An answer of these landmarks and confidences at a threshold of 0.5."""
    found = [candidate(name, confidence, PLACES.get(name)) for name, confidence in candidates]
    return answer(found, score, 0.5, None)


def write_tagged(
    root: Path, out: Path, answers: dict[str, tuple[bytes, Prediction]], **same_as: str
) -> None:
    """Write photos and the journal of a tagger that gave these answers.

    same_as: by the name of a photo without its ending, the photo of the same moment.
    """
    for name, (photo, _) in answers.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(photo)
    with Journal(out / "journal.sqlite") as journal:
        journal.bind(root.resolve())
        journal.scan(Library(root).walk())
        for name, (photo, found) in answers.items():
            sha256, first = hashlib.sha256(photo).hexdigest(), same_as.get(Path(name).stem)
            tagged = Tagged(Path(name), found, sha256, same_as=first)
            journal.record(tagged, "landmarks/1 abc None")


@pytest.fixture
def config(tmp_path: Path) -> ReviewConfig:
    """Three photos of the tower, one of the castle, two of nothing, and one that is refused."""
    answers = {
        f"paris/tower {number}.jpg": (
            drawn(220 - 9 * number, 30, 30),
            made_up(("Eiffel Tower", share), ("Château d'If", 0.1)),
        )
        for number, share in enumerate(CONFIDENCES)
    }
    answers["castle.jpg"] = drawn(30, 220, 30), made_up(("Château d'If", 0.95))
    answers["white.jpg"] = drawn(235, 235, 235), made_up(("Eiffel Tower", 0.3), score=0.1)
    answers["blue.jpg"] = drawn(30, 30, 220), made_up(("Nowhere", 0.4), score=0.4)
    answers["cut.jpg"] = drawn(220, 30, 30)[:99], refused("truncated", "it is cut short")
    write_tagged(tmp_path / "photos", tmp_path / "tags", answers)
    return ReviewConfig(out=str(tmp_path / "tags"), by="ann")


@pytest.fixture
def burst(tmp_path: Path) -> ReviewConfig:
    """Two photos of one moment, and another of the same landmark."""
    said = made_up(("Eiffel Tower", 0.8))
    answers = {f"{name}.jpg": (drawn(*colour), said) for name, colour in COLOURS.items()}
    write_tagged(tmp_path / "burst", tmp_path / "burst tags", answers, second="first.jpg")
    return ReviewConfig(out=str(tmp_path / "burst tags"), by="ann")


@pytest.fixture
def client(config: ReviewConfig) -> Iterator[TestClient]:
    made = create_review(Review(config), config)
    with TestClient(made, base_url="http://localhost:8000") as client:
        yield client

"""Photos placed by others taken at about the same time, and landmarks that those rule out."""

from __future__ import annotations

from dataclasses import asdict, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from PIL import ExifTags, Image

from landmark_ml.config import TagConfig
from landmark_ml.inference.prediction import answer, candidate, refused
from serving.tagging.library import Tagged
from serving.tagging.neighbours import Neighbours
from serving.tagging.xmp import Xmp
from tests.colour_artifact import TOWER as PLACE
from tests.colour_artifact import WHITE, colour_photo
from tests.serving.tagging.conftest import Run
from tests.serving.tagging.tables import parquet

NOON = datetime(2024, 6, 1, 12, 0)
PARIS, VEGAS = (48.8584, 2.2945), (36.1126, -115.1728)
TOWER = candidate("Eiffel Tower", 0.95, asdict(PLACE))


def photo(
    minutes: float,
    position: tuple[float, float] | None = None,
    place: tuple[str | None, str | None] = (None, None),
    score: float = 0.0,
    confidence: float = 0.95,
) -> Tagged:
    """A photo taken so many minutes after noon; it shows the tower from a score of 0.5."""
    tower = TOWER.copy()
    tower["confidence"] = confidence
    said = answer([tower], score, 0.5, position)
    if position:
        said = {**said, "city": place[0], "country": place[1]}
    return Tagged(Path(f"{minutes}.jpg"), said, taken=NOON + timedelta(minutes=minutes))


def placed(wanted: Tagged, *others: Tagged, minutes: float = 10) -> Tagged:
    photos = [wanted, *others]
    return next(Neighbours(photos, minutes).apply(photos))


def where(found: Tagged) -> tuple[str | None, ...]:
    return found.answer["city"], found.answer["country"], found.answer["location_source"]


IN_PARIS = photo(3, PARIS, ("Paris", "France"))
IN_LYON = photo(-5, (45.76, 4.84), ("Lyon", "France"))
IN_VEGAS = photo(-2, VEGAS, ("Las Vegas", "United States"))
NOTHING = photo(0)


def test_a_photo_without_a_position_is_where_its_neighbour_is() -> None:
    found = placed(NOTHING, IN_PARIS)
    assert where(found) == ("Paris", "France", "neighbour")
    assert found.neighbour == (IN_PARIS.path, 3)
    assert found.answer["latitude"] is None
    assert not found.answer["is_landmark"]


def test_of_two_neighbours_only_what_both_say_counts() -> None:
    found = placed(NOTHING, IN_PARIS, IN_LYON)
    assert where(found) == (None, "France", "neighbour")
    assert found.neighbour == (IN_PARIS.path, 3)
    assert placed(NOTHING, IN_PARIS, IN_VEGAS) == NOTHING


@pytest.mark.parametrize(
    "wanted",
    [
        NOTHING._replace(taken=None),
        photo(-7.5),
        photo(0, (1.0, 2.0)),
        NOTHING._replace(answer=refused("truncated", "cut")),
    ],
    ids=["no time", "too early", "a position on the high seas", "refused"],
)
def test_others_stay_as_they_are(wanted: Tagged) -> None:
    assert placed(wanted, IN_PARIS) == wanted


def test_a_landmark_recognised_surely_is_evidence_too() -> None:
    assert where(placed(NOTHING, photo(1, score=1.0))) == ("Paris", "France", "neighbour")
    assert placed(NOTHING, photo(1, score=1.0, confidence=0.8)) == NOTHING


def test_a_guess_is_no_evidence() -> None:
    # In the middle, one that is placed itself: the last is too far from the located one.
    assert placed(photo(-12), photo(-4), IN_PARIS) == photo(-12)


def test_neighbours_rule_out_a_landmark_of_another_continent() -> None:
    tower = photo(0, score=1.0)
    found = placed(tower, IN_VEGAS)
    assert where(found) == ("Las Vegas", "United States", "neighbour")
    assert (found.vetoed, found.answer["landmark"]) == ("Eiffel Tower", None)
    assert found.answer["candidates"] == tower.answer["candidates"]
    assert not found.answer["tags"]
    # It is no evidence for others either.
    assert placed(photo(1), tower, IN_VEGAS).answer["country"] == "United States"
    assert placed(tower, IN_LYON) == tower
    # Nobody contradicts a person.
    assert placed(tower._replace(correction="landmark"), IN_VEGAS).vetoed is None
    # One of two says that it may be right; another guess does not count.
    assert placed(tower, IN_VEGAS, IN_PARIS) == tower
    assert placed(tower, photo(1, score=1.0)) == tower


def test_so_does_a_position_of_its_own() -> None:
    found = placed(photo(0, VEGAS, ("Las Vegas", "United States"), score=1.0)._replace(taken=None))
    assert where(found) == ("Las Vegas", "United States", "exif")
    assert (found.vetoed, found.answer["latitude"]) == ("Eiffel Tower", VEGAS[0])


def exif(minute: int, position: bool = False) -> bytes:
    tags = Image.Exif()
    tags[ExifTags.Base.Make] = "camera"
    taken = f"2024:06:01 12:{minute:02}:00"
    tags.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
    if position:
        gps = {1: "N", 2: (48.0, 51.0, 30.0), 3: "E", 4: (2.0, 17.0, 40.0)}
        tags.get_ifd(ExifTags.IFD.GPSInfo).update(gps)
    return tags.tobytes()


def test_a_library_is_placed_told_and_taken_back(
    config: TagConfig, run: Run, tmp_path: Path
) -> None:
    root = tmp_path / "visit"
    root.mkdir()
    (root / "phone.jpg").write_bytes(colour_photo(WHITE, exif=exif(0, position=True)))
    (root / "camera.jpg").write_bytes(colour_photo(WHITE, exif=exif(4)))
    (root / "mapped.jpg").write_bytes(colour_photo(WHITE, exif=exif(5)))
    (root / "later.jpg").write_bytes(colour_photo(WHITE, exif=exif(40)))
    mapped = Xmp.new()
    mapped.set_text("exif:GPSLatitude", "45,0.000000N")
    (root / "mapped.jpg.xmp").write_bytes(mapped.to_bytes())
    asked = replace(config, photos=str(root), sidecars="photo.jpg.xmp", neighbours=30.0)

    result = run(asked)
    rows = parquet(asked)
    camera = rows["camera.jpg"]
    assert (camera["city"], camera["country"]) == ("Paris", "France")
    assert (camera["location_source"], camera["latitude"]) == ("neighbour", None)
    assert (camera["neighbour"], camera["neighbour_minutes"]) == ("phone.jpg", 4)
    assert rows["later.jpg"]["country"] is None
    assert (result.by_neighbours, result.vetoed) == (2, 0)
    sidecar = Xmp.parse((root / "camera.jpg.xmp").read_bytes())
    assert sidecar.text("photoshop:City") == "Paris"
    assert sidecar.text("landmarkml:LocationSource") == "neighbour"
    assert sidecar.text("exif:GPSLatitude") is None
    # Somebody put it on the map.
    assert (root / "mapped.jpg.xmp").read_bytes() == mapped.to_bytes()

    off = replace(asked, neighbours=0.0)
    assert run(off).recognised == 0
    assert parquet(off)["camera.jpg"]["country"] is None
    sidecar = Xmp.parse((root / "camera.jpg.xmp").read_bytes())
    assert sidecar.text("photoshop:City") is None
    assert not sidecar.items("dc:subject")

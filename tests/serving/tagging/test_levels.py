"""A photo that is placed in a city or a country alone: table, sidecar and album say no more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from experiments import tag
from landmark_ml.config import TagConfig
from landmark_ml.inference.prediction import Area, Prediction, answer
from landmark_ml.inference.predictor import Predictor
from serving.champion import Loaded
from serving.tagging.gallery import PhotoIndex
from serving.tagging.library import Library, Tagged
from serving.tagging.sidecars import SidecarTags, merge
from serving.tagging.table import Album, album_of
from serving.tagging.tagger import tag_library
from serving.tagging.xmp import Xmp
from tests.serving.tagging.areas import CITY, TOWER
from tests.serving.tagging.test_sidecars import tags_of

COUNTRY = Area("country", 0.7, None, "France", latitude=None, longitude=None, tags=())


def placed(area: Area, own: tuple[float, float] | None = None) -> Prediction:
    return answer([TOWER], 0.9, 0.5, own, area)


def sidecar(tags: SidecarTags) -> Xmp:
    xmp = Xmp.new()
    merge(xmp, tags)
    return xmp


def test_a_city_is_no_landmark_and_no_position() -> None:
    prediction = placed(CITY)
    assert prediction["location_source"] == "city"
    xmp = sidecar(tags_of(prediction))
    assert xmp.items("dc:subject") == ["monument", "Paris", "France"]
    assert xmp.items("lr:hierarchicalSubject") == ["Places|France|Paris"]
    assert (xmp.text("photoshop:City"), xmp.text("photoshop:Country")) == ("Paris", "France")
    assert xmp.text("exif:GPSLatitude") is None
    assert xmp.text("exif:GPSLongitude") is None
    assert xmp.text("landmarkml:Landmark") is None
    assert xmp.text("landmarkml:Level") == "city"
    assert xmp.text("landmarkml:Confidence") == "0.7500"


def test_a_country_is_no_city() -> None:
    xmp = sidecar(tags_of(placed(COUNTRY)))
    assert xmp.items("dc:subject") == ["France"]
    assert xmp.items("digiKam:TagsList") == ["Places/France"]
    assert xmp.text("photoshop:City") is None
    assert xmp.text("landmarkml:Level") == "country"


def test_an_unsure_area_is_not_said() -> None:
    assert tags_of(placed(CITY), min_confidence=0.8).is_empty


def test_a_landmark_that_becomes_a_city_loses_its_old_tags() -> None:
    xmp = sidecar(tags_of(answer([{**TOWER, "confidence": 0.9}], 0.9, 0.5, None)))
    assert "Eiffel Tower" in xmp.items("dc:subject")
    assert xmp.text("exif:GPSLatitude") is not None
    merge(xmp, tags_of(placed(CITY)))
    assert xmp.items("dc:subject") == ["Paris", "France", "monument"]
    assert xmp.text("exif:GPSLatitude") is None
    assert xmp.text("landmarkml:Level") == "city"


@pytest.mark.parametrize(
    ("area", "album"), [(CITY, ("France", "Paris", None)), (COUNTRY, ("France", None, None))]
)
def test_an_area_has_an_album_of_its_own(area: Area, album: tuple[str | None, ...]) -> None:
    assert album_of(placed(area), 0.5) == album
    assert album_of(placed(area), 0.8) is None


def test_a_landmark_without_a_place_is_where_its_photo_was_taken() -> None:
    unknown: Any = dict.fromkeys(("city", "country", "latitude", "longitude"))
    mill: Any = {**TOWER, **unknown, "landmark": "Our Mill", "confidence": 0.9}
    found: Any = answer([mill], 0.9, 0.5, (48.1, 11.6))
    found |= {"city": "Munich", "country": "Germany"}
    album = Album("Germany", "Munich", "Our Mill")
    assert album_of(found, 0.5) == album
    with PhotoIndex() as index:
        index.add(album, Tagged(Path("mill.jpg"), found), None, "", 0.5)
    assert index.entries[album].position == (48.1, 11.6)


@dataclass
class Placing:
    """A predictor that places photos, one after the other, in these areas."""

    areas: list[Area]
    metadata: Any

    def predict(self, photos: list[bytes], **options: Any) -> list[Prediction]:
        assert options["top_k"] >= 1
        return [placed(self.areas.pop()) for _ in photos]


def test_the_table_and_the_counts_tell_the_level(
    predictor: Predictor, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "photos").mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / "photos" / name).write_bytes(b"anything")
    placing: Any = Placing([COUNTRY, CITY, CITY], predictor.metadata)
    config = TagConfig(photos=str(tmp_path / "photos"), out=str(tmp_path / "out"))
    result = tag_library(Library(tmp_path / "photos"), Loaded(placing, "m", 1, "abc"), config)
    rows = pq.read_table(tmp_path / "out/tags.parquet").to_pylist()
    assert [(row["level"], row["landmark"], row["city"]) for row in rows] == [
        ("city", None, "Paris"),
        ("city", None, "Paris"),
        ("country", None, None),
    ]
    lines = (tmp_path / "out/tags.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].split(",")[:2] == ["path", "level"]
    assert lines[1].split(",")[:2] == ["a.jpg", "city"]
    assert result.areas == {"city": 2, "country": 1}
    assert result.metrics()["tag/placed_in_an_area"] == 3
    tag.print_tagging(result)
    assert "3, of a landmark 0, of a city 2, of a country 1" in capsys.readouterr().out

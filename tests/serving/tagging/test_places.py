"""A photo's own place is called as landmarks' answers call it, so that nothing has two names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serving.tagging.library import PhotoLocations, Tagged, read_places
from tests.colour_artifact import RED, colour_photo

if TYPE_CHECKING:
    from landmark_ml.inference.predictor import Predictor

BUSAN, LYON = (35.18, 129.07), (45.764, 4.8357)


def where(
    own: PhotoLocations, predictor: Predictor, at: tuple[float, float]
) -> tuple[str | None, ...]:
    """City, country and its code of a photo taken there."""
    (answer,) = predictor.predict([colour_photo(RED)])
    answer = {**answer, "location_source": "exif", "latitude": at[0], "longitude": at[1]}
    ((_, found),) = own.apply([Tagged(Path("a.jpg"), answer)])
    country = found["country"]
    return found["city"], country, own.country_codes.get(country or "")


def test_countries_are_called_as_the_gazetteer_calls_them(predictor: Predictor) -> None:
    assert where(PhotoLocations(predictor), predictor, BUSAN) == ("Busan", "South Korea", "KR")


def test_places_without_a_country_leave_it_to_the_towns(
    predictor: Predictor, tmp_path: Path
) -> None:
    file = tmp_path / "places.csv"
    file.write_text(f"landmark,latitude,longitude\nfoot bridge,{LYON[0]},{LYON[1]}\n")
    own = PhotoLocations(predictor, read_places(str(file)))
    towns = where(PhotoLocations(predictor), predictor, LYON)
    assert where(own, predictor, LYON) == towns
    assert None not in towns


def test_places_of_a_csv_name_what_the_model_does_not(predictor: Predictor, tmp_path: Path) -> None:
    file = tmp_path / "places.csv"
    file.write_text(
        "landmark,latitude,longitude,city,country,country_code\n"
        "camp,33,126,Camp,Korea,KR\nhouse,43,5,House,Frankreich,FR\n"
    )
    places = read_places(str(file))
    assert [place.name for place in places[:2]] == ["camp", "house"]
    own = PhotoLocations(predictor, places)
    assert where(own, predictor, BUSAN) == ("Busan", "Korea", "KR")
    # The model's landmarks stand in France, and its answers say so.
    assert where(own, predictor, LYON)[1:] == ("France", "FR")
    assert where(own, predictor, (43.0, 5.0)) == ("House", "Frankreich", "FR")

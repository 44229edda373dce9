"""City and country of coordinates: quarters, borders, poles, the date line, the high seas."""

from __future__ import annotations

import pytest

from landmark_ml.geo.gazetteer import Place
from landmark_ml.geo.reverse_geocode import Location, Towns
from tests.geo.border_positions import BORDERS


@pytest.fixture(scope="module")
def towns() -> Towns:
    return Towns()


@pytest.mark.parametrize(
    ("latitude", "longitude", "city", "code"),
    [
        (48.8584, 2.2945, "Paris", "FR"),
        (48.8049, 2.1204, "Versailles", "FR"),
        (40.71, -74.00, "New York City", "US"),
        (-33.8568, 151.2153, "Sydney", "AU"),
        (32.5149, -117.0382, "Tijuana", "MX"),
        (43.7384, 7.4246, None, "MC"),
        (78.2232, 15.6267, "Longyearbyen", "SJ"),
        (-16.8, 179.99, None, "FJ"),
    ],
)
def test_a_position_is_answered_with_its_city(
    latitude: float, longitude: float, city: str | None, code: str, towns: Towns
) -> None:
    found = towns.find(latitude, longitude)
    assert found.country_code == code
    assert found.country
    if city is not None:
        assert found.city == city


def test_either_side_of_the_date_line_is_the_same_place(towns: Towns) -> None:
    assert towns.find(-16.8, 180.0) == towns.find(-16.8, -180.0)


def test_there_is_no_city_in_the_desert_and_no_country_at_sea(towns: Towns) -> None:
    desert = towns.find(25.0, 4.0)
    assert (desert.city, desert.country_code) == (None, "DZ")
    assert towns.find(-48.9, -123.4) == Location(None, None, None)
    assert towns.find(90.0, 0.0).city is None


@pytest.mark.parametrize(("where", "latitude", "longitude", "code"), BORDERS)
def test_a_border_is_where_it_is_drawn(
    where: str, latitude: float, longitude: float, code: str, towns: Towns
) -> None:
    found = towns.find(latitude, longitude)
    assert found.country_code == code, where
    assert found.country


@pytest.mark.parametrize(
    ("latitude", "longitude", "city"),
    [
        (41.8986, 12.4769, "Rome"),
        (48.5680, 7.7990, "Strasbourg"),
        (42.3180, -83.0420, "Windsor"),
        (22.2185, 113.5490, "Zhuhai"),
        (-17.9255, 25.8600, "Livingstone"),
    ],
)
def test_the_town_is_one_of_the_same_country(
    latitude: float, longitude: float, city: str, towns: Towns
) -> None:
    assert towns.find(latitude, longitude).city == city


def test_off_the_coast_the_nearest_place_names_the_country(towns: Towns) -> None:
    assert towns.find(37.0, -9.9).country_code == "PT"


def test_a_known_place_across_the_border_does_not_win() -> None:
    towns = named(41.9035, 12.4640, "Vatican City", "Vatican City", "VA")
    assert towns.find(41.9031, 12.4663)[::2] == ("Rome", "IT")


def test_a_position_that_is_not_on_the_earth_is_refused(towns: Towns) -> None:
    with pytest.raises(ValueError, match="lat"):
        towns.find(91.0, 0.0)


def test_a_known_place_wins_nearby() -> None:
    towns = named(48.8584, 2.2945, "Our village", "France", "FR")
    assert towns.find(48.859, 2.295) == ("Our village", "France", "FR")
    assert towns.find(48.87, 2.33).city == "Paris"


def named(latitude: float, longitude: float, city: str, country: str, code: str) -> Towns:
    """Towns that know the names of one place."""
    return Towns([Place("A landmark", city, country, code, latitude, longitude)])


def test_a_country_is_called_as_known_places_call_it(towns: Towns) -> None:
    assert towns.find(35.18, 129.07).country == "South Korea"
    known = named(37.5794, 126.991, "Seoul", "Korea", "KR")
    assert known.find(35.18, 129.07) == Location("Busan", "Korea", "KR")
    assert known.find(48.87, 2.33) == towns.find(48.87, 2.33)


def test_the_first_that_names_a_country_counts() -> None:
    places = [Place("A landmark", None, name, "KR", 0, 0) for name in ("Korea", "South Korea")]
    assert Towns(named=places).find(35.18, 129.07).country == "Korea"


@pytest.mark.parametrize(
    ("place", "code", "photo", "before"),
    [
        ((40.7061, -73.9969, "New York"), "US", (40.717, -74.005), "New York City"),
        ((50.9413, 6.9583, "Cologne"), "DE", (50.96, 6.99), "Köln"),
        ((38.8895, -77.0353, "Washington, D.C."), "US", (38.90, -77.037), "Washington"),
        ((17.3616, 78.4747, "Hyderabad"), "IN", (17.40, 78.47), "Hyderābād"),
    ],
)
def test_a_city_is_called_as_a_known_place_in_it_calls_it(
    place: tuple[float, float, str],
    code: str,
    photo: tuple[float, float],
    before: str,
    towns: Towns,
) -> None:
    found = named(*place, "Somewhere", code).find(*photo)
    assert (found.city, found.country) == (place[2], "Somewhere")
    assert named(place[0] + 1, *place[1:], "Somewhere", code).find(*photo).city == before
    assert named(*place, "Somewhere", "FR").find(*photo) == towns.find(*photo)
    assert towns.find(*photo).city == before

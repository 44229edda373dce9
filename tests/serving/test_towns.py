"""City and country of coordinates: quarters, borders, poles, the date line, the high seas."""

from __future__ import annotations

import pytest

from serving.towns import Known, Towns, Whereabouts


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
    assert towns.find(-48.9, -123.4) == Whereabouts(None, None, None)
    assert towns.find(90.0, 0.0).city is None


def test_a_known_place_wins_nearby() -> None:
    own = Whereabouts("Our village", "France", "FR")
    towns = Towns([Known(48.8584, 2.2945, own)])
    assert towns.find(48.859, 2.295) == own
    assert towns.find(48.87, 2.33).city == "Paris"

"""Uncertain landmarks: the city or country that their confidence adds up to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from landmark_ml.inference.prediction import Area, Areas


def place(
    city: str | None, country: str | None, latitude: float, longitude: float, *tags: str
) -> dict[str, Any]:
    return {
        "city": city,
        "country": country,
        "latitude": latitude,
        "longitude": longitude,
        "tags": list(tags),
    }


PLACES = (
    place("Marseille", "France", 43.3, 5.3, "castle", "sea", "marseille"),
    place("Marseille", "France", 43.4, 5.4, "tower", "marseille"),
    place("Nice", "France", 43.7, 7.3, "sea", "nice"),
    place("Agra", "India", 27.2, 78.0, "tomb"),
    None,
)


def find(probabilities: list[float], min_confidence: float = 0.5) -> Area | None:
    return Areas(PLACES, min_confidence).find(np.array(probabilities, dtype=np.float32))


def test_a_sure_landmark_stands() -> None:
    assert find([0.5, 0.3, 0.1, 0.05, 0.05]) is None


def test_confidence_spread_over_a_city_gives_the_city() -> None:
    area = find([0.25, 0.4, 0.1, 0.2, 0.05])
    assert area is not None
    assert (area.level, area.city, area.country) == ("city", "Marseille", "France")
    assert area.confidence == pytest.approx(0.65)
    # Between the two, nearer to the likelier one.
    assert 43.35 < (area.latitude or 0) < 43.4
    assert 5.35 < (area.longitude or 0) < 5.4
    assert area.tags == ("marseille",)


def test_confidence_spread_over_a_country_gives_the_country_without_coordinates() -> None:
    area = find([0.2, 0.2, 0.3, 0.25, 0.05])
    assert area is not None
    assert (area.level, area.city, area.country) == ("country", None, "France")
    assert (area.latitude, area.longitude) == (None, None)
    assert area.confidence == pytest.approx(0.7)
    assert area.tags == ("sea",)


def test_the_best_landmark_stands_where_no_area_is_surer() -> None:
    assert find([0.1, 0.1, 0.1, 0.35, 0.35]) is None


def test_the_surest_area_is_answered_even_if_the_best_landmark_stands_elsewhere() -> None:
    area = find([0.3, 0.3, 0.0, 0.4, 0.0])
    assert area is not None
    assert area.city == "Marseille"


def test_unknown_places_form_no_area() -> None:
    assert Areas((None, None, None), 0.5).find(np.array([0.3, 0.3, 0.3])) is None


def test_limit_zero_always_names_the_landmark() -> None:
    assert find([0.2] * 5, min_confidence=0.0) is None


def test_the_same_city_name_in_two_countries_is_two_cities() -> None:
    places = (place("Athens", "Greece", 38, 24), place("Athens", "United States", 34, -83))
    assert Areas(places, 0.6).find(np.array([0.5, 0.4])) is None


def test_the_middle_of_a_city_across_the_date_line_is_near_it() -> None:
    places = (place("Taveuni", "Fiji", -17, 179.9), place("Taveuni", "Fiji", -17, -179.9))
    area = Areas(places, 0.6).find(np.array([0.4, 0.4]))
    assert area is not None
    assert area.latitude == pytest.approx(-17, abs=0.01)
    assert abs(area.longitude or 0) == pytest.approx(180)

"""Names of countries and cities in the user's language."""

from __future__ import annotations

from typing import Any

import pytest

from landmark_ml.geo.names import Names, names_in

TOKYO: dict[str, Any] = {"city": "Tokyo", "country": "Nippon", "candidates": None}
PARIS: dict[str, Any] = {"city": "Paris", "country": "France"}


@pytest.mark.parametrize(
    ("language", "code", "country"),
    [
        ("de", "US", "Vereinigte Staaten"),
        ("de-AT", "FR", "Frankreich"),
        ("fr", "DE", "Allemagne"),
        ("pt_BR", "VN", "Vietnã"),
        ("zh-TW", "DE", "德國"),
        ("en", "KR", "South Korea"),
    ],
)
def test_countries_are_called_as_cldr_calls_them(language: str, code: str, country: str) -> None:
    assert Names(language).country(code) == country


@pytest.mark.parametrize(
    ("city", "country", "translated"),
    [
        ("Rome", "Italy", "Rom"),
        ("Mexico City", "Mexico", "Mexiko-Stadt"),
        ("Reykjavik", "Iceland", "Reykjavík"),
        # Not the Italian one, and one that CLDR does not name.
        ("Rome", "United States", "Rome"),
        ("Florence", "Italy", "Florence"),
        (None, "Italy", None),
    ],
)
def test_cities_that_cldr_names_are_translated(
    city: str | None, country: str, translated: str | None
) -> None:
    found = names_in("de").translate({"city": city, "country": country}, {})
    assert found["city"] == translated


def test_a_country_of_another_name_is_known_by_its_code() -> None:
    found = names_in("de").translate({**TOKYO, "candidates": [PARIS]}, {"Nippon": "JP"})
    assert (found["city"], found["country"]) == ("Tokio", "Japan")
    assert found["candidates"] == [{"city": "Paris", "country": "Frankreich"}]
    unknown = names_in("de").translate({"city": "Tokyo", "country": "Cipangu"}, {})
    assert unknown == {"city": "Tokyo", "country": "Cipangu"}


@pytest.mark.parametrize(("language", "code"), [("gv", "FR"), ("de", "UK")])
def test_a_country_that_cldr_does_not_name_keeps_its_name(language: str, code: str) -> None:
    found = names_in(language).translate({"city": None, "country": "Atlantis"}, {"Atlantis": code})
    assert found["country"] == "Atlantis"


def test_english_changes_nothing() -> None:
    assert names_in("en-GB").translate(TOKYO, {"Nippon": "JP"}) is TOKYO


@pytest.mark.parametrize("language", ["", "xx", "*", "German", "de-XX", "../de"])
def test_a_language_that_is_none_is_refused(language: str) -> None:
    with pytest.raises(ValueError, match="which CLDR does not know"):
        Names(language)

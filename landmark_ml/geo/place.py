"""Places: where a landmark stands, which tags suit a photo of it, how far two lie apart."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG R1)."""


class PlaceError(ValueError):
    """A value that no place can have; `column` names the field and `reason` says why."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(column, reason)
        self.column = column
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.column}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a landmark is (WGS84 decimal degrees) and the tags that suit it, general ones first.

    `city`, `country` and `country_code` (ISO 3166-1 alpha-2) are None where none is known.
    Raises `PlaceError` for a value out of range.
    """

    name: str
    city: str | None
    country: str | None
    country_code: str | None
    latitude: float
    longitude: float
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.name.strip():
            raise PlaceError("name", "is empty; give the place a name")
        _check_degrees("latitude", self.latitude, 90)
        _check_degrees("longitude", self.longitude, 180)
        if self.country_code is not None and not re.fullmatch("[A-Z]{2}", self.country_code):
            reason = f"{self.country_code!r} is not two capital letters; give ISO 3166-1 alpha-2"
            raise PlaceError("country_code", reason)
        for tag in self.tags:
            if not tag.strip() or tag != tag.lower():
                raise PlaceError("tags", f"{tag!r} is empty or not lower-case; write it lower-case")
        if len(set(self.tags)) != len(self.tags):
            raise PlaceError("tags", f"{self.tags} holds a tag twice; name each tag once")


def great_circle_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Return the distance in km between two (latitude, longitude) points in degrees (haversine)."""
    (lat_a, lon_a), (lat_b, lon_b) = (tuple(map(math.radians, point)) for point in (a, b))
    half_chord = (
        math.sin((lat_b - lat_a) / 2) ** 2
        + math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    )
    # Rounding can push the value for antipodes just above one.
    return 2 * EARTH_RADIUS_KM * math.asin(math.sqrt(min(1.0, half_chord)))


def _check_degrees(column: str, degrees: float, limit: int) -> None:
    if not -limit <= degrees <= limit:
        reason = f"{degrees} is outside -{limit} to {limit}; give WGS84 decimal degrees"
        raise PlaceError(column, reason)

"""Places: where a landmark stands, which tags suit a photo of it, and how far apart two are."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from landmark_ml.inference.areas import unit_vectors

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG R1)."""


class PlaceError(ValueError):
    """A value that no place can have: `column` names the field and `reason` says why."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(column, reason)
        self.column = column
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.column}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a landmark stands, in WGS84 decimal degrees, and its tags, general ones first.

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
    """Distance in km between two (latitude, longitude) points in degrees."""
    start, end = unit_vectors([a, b])
    return chord_to_km(float(np.linalg.norm(start - end)))


def chord_to_km(chord: float) -> float:
    """Convert the straight distance between two points of the unit sphere to km on the Earth."""
    # Rounding can make the chord of antipodes slightly longer than 2.
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, chord / 2))


def km_to_chord(km: float) -> float:
    """Convert km on the Earth to the straight distance between two points of the unit sphere."""
    return 2 * math.sin(km / (2 * EARTH_RADIUS_KM))


def _check_degrees(column: str, degrees: float, limit: int) -> None:
    if not -limit <= degrees <= limit:
        reason = f"{degrees} is outside -{limit} to {limit}; give WGS84 decimal degrees"
        raise PlaceError(column, reason)

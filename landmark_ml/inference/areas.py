"""A city or a country for a photo whose landmark is uncertain: the areas landmarks stand in.

Needs numpy alone. The rule: the finest level whose confidence reaches `min_confidence` is answered,
landmark before city before country; an area's confidence is the sum over its landmarks. Where none
reaches it, the best landmark stands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Place = dict[str, Any] | None

Level = Literal["landmark", "city", "country"]


@dataclass(frozen=True)
class Area:
    """Where a photo was taken, as finely as is known; level None: nowhere that is known.

    latitude, longitude: of a landmark, or the centre of a city's landmarks weighted by their
    confidence, in degrees; None for a country. tags: of a city or country those whose landmarks
    together reach the needed confidence.
    """

    level: Level | None
    confidence: float
    city: str | None
    country: str | None
    latitude: float | None
    longitude: float | None
    tags: tuple[str, ...]


class Areas:
    """The cities and countries of an artifact's classes.

    places: one a class, None where it is unknown; min_confidence: see the rule above, 0 never
    leaves the landmark.
    """

    def __init__(self, places: Sequence[Place], min_confidence: float) -> None:
        self.min_confidence = min_confidence
        self._places = [place or {} for place in places]
        self._cities = _groups([(p.get("city"), p.get("country")) for p in self._places])
        self._countries = _groups([(p.get("country"),) for p in self._places])

    def find(self, probabilities: Floats) -> Area | None:
        """Area to answer for probabilities [classes]; None where the best landmark stands."""
        if probabilities.max() >= self.min_confidence:
            return None
        for level, groups in (("city", self._cities), ("country", self._countries)):
            if not groups:
                continue
            members = max(groups, key=lambda members: float(probabilities[members].sum()))
            if probabilities[members].sum() >= self.min_confidence:
                return self._describe(
                    "city" if level == "city" else "country", members, probabilities
                )
        return None

    def _describe(self, level: Level, members: NDArray[np.intp], probabilities: Floats) -> Area:
        # The likeliest landmark's tags come first.
        members = members[np.argsort(-probabilities[members], kind="stable")]
        weights = probabilities[members].astype(np.float64)
        places = [self._places[index] for index in members.tolist()]
        latitude, longitude = _centre(places, weights) if level == "city" else (None, None)
        return Area(
            level=level,
            confidence=min(1.0, float(weights.sum())),
            city=places[0]["city"] if level == "city" else None,
            country=places[0]["country"],
            latitude=latitude,
            longitude=longitude,
            tags=self._shared_tags(places, weights),
        )

    def _shared_tags(
        self, places: Sequence[dict[str, Any]], weights: NDArray[np.float64]
    ) -> tuple[str, ...]:
        support: dict[str, float] = {}
        for place, weight in zip(places, weights.tolist(), strict=True):
            for tag in place.get("tags", ()):
                support[tag] = support.get(tag, 0.0) + weight
        return tuple(tag for tag, weight in support.items() if weight >= self.min_confidence)


def _groups(keys: Sequence[tuple[str | None, ...]]) -> list[NDArray[np.intp]]:
    """Indices of the classes of each area that holds more than one; one alone adds nothing."""
    members: dict[tuple[str | None, ...], list[int]] = {}
    for index, key in enumerate(keys):
        if key[0] is not None:
            members.setdefault(key, []).append(index)
    return [np.array(found, dtype=np.intp) for found in members.values() if len(found) > 1]


def _centre(places: Sequence[dict[str, Any]], weights: NDArray[np.float64]) -> tuple[float, float]:
    """Mean (latitude, longitude) on the sphere, so that longitudes 179 and -179 meet at 180."""
    latitudes, longitudes = np.radians([(p["latitude"], p["longitude"]) for p in places]).T
    points = np.stack(
        [
            np.cos(latitudes) * np.cos(longitudes),
            np.cos(latitudes) * np.sin(longitudes),
            np.sin(latitudes),
        ]
    )
    x, y, z = points @ weights
    degrees = np.degrees([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)])
    return float(degrees[0]), float(degrees[1])

"""Answer with a city or a country when it is uncertain which landmark a photo shows.

The rule: answer with the finest of landmark, city and country whose confidence reaches
`min_confidence`, where the confidence of an area is the sum over its landmarks. If none reaches it,
answer with the best landmark. Needs numpy alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    Floats = NDArray[np.floating]
    Place = dict[str, Any] | None

Level = Literal["landmark", "city", "country"]


@dataclass(frozen=True)
class Area:
    """Where a photo was taken, as finely as is known; level None: unknown.

    latitude, longitude: position of a landmark, or the centre of a city's landmarks weighted by
    their confidence, in degrees; None for a country. tags: for a city or country, the tags whose
    landmarks together reach `min_confidence`.
    """

    level: Level | None
    confidence: float
    city: str | None = None
    country: str | None = None
    latitude: float | None = None
    longitude: float | None = None
    tags: tuple[str, ...] = ()


class Areas:
    """The cities and countries of an artifact's classes.

    places: one for each class, None where it is unknown. min_confidence: see the rule above; 0
    always answers with the landmark.
    """

    def __init__(self, places: Sequence[Place], min_confidence: float) -> None:
        self.min_confidence = min_confidence
        self._places = [place or {} for place in places]
        self._cities = _groups([(p.get("city"), p.get("country")) for p in self._places])
        self._countries = _groups([(p.get("country"),) for p in self._places])

    def find(self, probabilities: Floats) -> Area | None:
        """Find the area to answer with for probabilities [classes]; None: the best landmark."""
        if probabilities.max() >= self.min_confidence:
            return None
        levels: list[tuple[Level, list[NDArray[np.intp]]]]
        levels = [("city", self._cities), ("country", self._countries)]
        for level, groups in levels:
            classes = max(groups, key=lambda classes: probabilities[classes].sum(), default=None)
            if classes is not None and probabilities[classes].sum() >= self.min_confidence:
                return self._describe(level, classes, probabilities)
        return None

    def _describe(self, level: Level, classes: NDArray[np.intp], probabilities: Floats) -> Area:
        # Sorted, so that the tags of the likeliest landmark come first.
        classes = classes[np.argsort(-probabilities[classes], kind="stable")]
        weights = probabilities[classes].astype(np.float64)
        places = [self._places[index] for index in classes.tolist()]
        support: dict[str, float] = {}
        for place, weight in zip(places, weights.tolist(), strict=True):
            for tag in place.get("tags", ()):
                support[tag] = support.get(tag, 0.0) + weight
        area = Area(
            level=level,
            confidence=min(1.0, float(weights.sum())),
            country=places[0]["country"],
            tags=tuple(tag for tag, weight in support.items() if weight >= self.min_confidence),
        )
        if level == "country":
            return area
        # The mean is taken on the sphere, so that longitudes 179 and -179 meet at 180.
        x, y, z = weights @ unit_vectors([(p["latitude"], p["longitude"]) for p in places])
        latitude, longitude = np.degrees([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)])
        return replace(
            area, city=places[0]["city"], latitude=float(latitude), longitude=float(longitude)
        )


def unit_vectors(degrees: ArrayLike) -> NDArray[np.float64]:
    """Convert (latitude, longitude) in degrees [N, 2] to points on the unit sphere [N, 3]."""
    latitudes, longitudes = np.radians(np.asarray(degrees, dtype=np.float64)).T
    across = np.cos(latitudes)
    return np.stack(
        [across * np.cos(longitudes), across * np.sin(longitudes), np.sin(latitudes)], axis=1
    )


def _groups(keys: Sequence[tuple[str | None, ...]]) -> list[NDArray[np.intp]]:
    """Indices of the classes of each area with at least two; one alone is just the landmark."""
    classes: dict[tuple[str | None, ...], list[int]] = {}
    for index, key in enumerate(keys):
        if key[0] is not None:
            classes.setdefault(key, []).append(index)
    return [np.array(found, dtype=np.intp) for found in classes.values() if len(found) > 1]

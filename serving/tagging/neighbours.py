"""Photos without a position get a place from located ones taken shortly before or after.

Those also contradict: what was recognised on another continent is not what the photo shows.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from datetime import UTC
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple, cast

from landmark_ml.geo.gazetteer import great_circle_km
from landmark_ml.inference.prediction import Prediction, answer, position_of
from serving.tagging.library import Neighbour, Tagged

SURE = 0.9
"""Confidence from which a recognised landmark is evidence for other photos."""
MAX_KM = 2500.0
"""The scale of a continent (Hays and Efros, IM2GPS, CVPR 2008): nobody comes farther in minutes."""


class _Located(NamedTuple):
    minutes: float
    path: Path
    position: tuple[float, float]
    city: str | None
    country: str | None


class Neighbours:
    """Knows when and where the photos of a library were taken, by their cameras' clocks.

    photos: all of the library, placed by their own position where they have one. minutes: how far
    apart neighbours may be. The located photos are held in memory.
    """

    def __init__(self, photos: Iterable[Tagged], minutes: float) -> None:
        self._minutes = minutes
        self._measured: list[_Located] = []
        recognised = []
        for photo in photos:
            said, when = photo.answer, _minutes(photo)
            position = position_of(said)
            if position is None or when is None:
                continue
            located = _Located(when, photo.path, position, said["city"], said["country"])
            if said["location_source"] == "exif":
                self._measured.append(located)
            elif said["level"] == "landmark" and (said["confidence"] or 0.0) >= SURE:
                recognised.append(located)
        self._measured.sort()
        sound = [one for one in recognised if not self._contradict(one.minutes, one.position)]
        self._located = sorted(self._measured + sound)

    def apply(self, photos: Iterable[Tagged]) -> Iterator[Tagged]:
        """Yield photos, those that nothing places with city and country of their neighbours.

        Of the nearest before and the nearest after, only what both say counts. A photo whose own
        position, or all of whose neighbours with one of their own, are on another continent than
        what was recognised shows no landmark, unless a person said so.
        """
        for photo in photos:
            yield self._place(self._veto(photo))

    def _veto(self, photo: Tagged) -> Tagged:
        said, when = photo.answer, _minutes(photo)
        own = position_of(said) if said["location_source"] == "exif" else None
        candidates = said["candidates"] or []
        stands = position_of(candidates[0]) if said["is_landmark"] and candidates else None
        if stands is None or photo.correction:
            return photo
        if own:
            contradicted = great_circle_km(own, stands) > MAX_KM
        else:
            contradicted = when is not None and self._contradict(when, stands)
        if not contradicted:
            return photo
        none = answer(candidates, said["landmark_score"] or 0.0, math.inf, own)
        if own:
            none = {**none, "city": said["city"], "country": said["country"]}
        return photo._replace(answer=none, vetoed=candidates[0]["landmark"])

    def _place(self, photo: Tagged) -> Tagged:
        said, when = photo.answer, _minutes(photo)
        if said["error"] or said["country"] or said["location_source"] or when is None:
            return photo
        found = self._near(self._located, when)
        countries, cities = {one.country for one in found}, {one.city for one in found}
        if len(countries) != 1 or None in countries:
            return photo
        nearest = min(found, key=lambda one: abs(one.minutes - when))
        city = nearest.city if len(cities) == 1 else None
        placed = {"city": city, "country": nearest.country, "location_source": "neighbour"}
        neighbour = Neighbour(nearest.path, abs(nearest.minutes - when))
        return photo._replace(answer=cast(Prediction, {**said, **placed}), neighbour=neighbour)

    def _contradict(self, when: float, position: tuple[float, float]) -> bool:
        """Whether all neighbours with a position of their own are on another continent."""
        found = self._near(self._measured, when)
        return bool(found) and all(
            great_circle_km(one.position, position) > MAX_KM for one in found
        )

    def _near(self, located: list[_Located], when: float) -> list[_Located]:
        """The nearest before and the nearest after, as far as they are near enough."""
        after = bisect_left(located, when, key=attrgetter("minutes"))
        pair = located[max(after - 1, 0) : after + 1]
        return [one for one in pair if abs(one.minutes - when) <= self._minutes]


def _minutes(photo: Tagged) -> float | None:
    # Of the same calendar for all, whatever the zone: of a camera, only the difference counts.
    return None if photo.taken is None else photo.taken.replace(tzinfo=UTC).timestamp() / 60

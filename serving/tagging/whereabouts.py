"""The photo's own place: where it carries a position, that tells city and country."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from landmark_ml.places import Gazetteer
from serving.tagging.journal import Tagged
from serving.towns import Known, Towns, Whereabouts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from landmark_ml.places import Place
    from serving.predictor import Predictor


def read_places(places: str) -> list[Place]:
    """The places of a CSV such as `places.csv`; none when it is not named."""
    return Gazetteer.load(Path(places).expanduser()).places() if places else []


class OwnPlaces:
    """City and country by a photo's own position; the towns are read when the first one has any.

    A landmark may be seen from another city, or another country, than its own. places: those that
    win within a kilometre; the model's own come after them, then the towns.
    """

    def __init__(self, predictor: Predictor, places: Iterable[Place] = ()) -> None:
        self._known = [
            Known(p.latitude, p.longitude, Whereabouts(p.city, p.country, p.country_code))
            for p in places
        ] + [
            Known(
                p["latitude"],
                p["longitude"],
                Whereabouts(p["city"], p["country"], p["country_code"]),
            )
            for p in predictor.metadata.places
            if p is not None
        ]
        self.country_codes = {
            known.whereabouts.country: known.whereabouts.country_code
            for known in self._known
            if known.whereabouts.country and known.whereabouts.country_code
        }

    @functools.cached_property
    def _towns(self) -> Towns:
        return Towns(self._known)

    def lay_over(self, answers: Iterable[Tagged]) -> Iterator[Tagged]:
        """Answers with the city and country of the photo's own position, where it carries one."""
        for photo in answers:
            answer = photo.answer
            latitude, longitude = answer["latitude"], answer["longitude"]
            if answer["location_source"] != "exif" or latitude is None or longitude is None:
                yield photo
                continue
            found = self._towns.find(latitude, longitude)
            if found.country and found.country_code:
                self.country_codes.setdefault(found.country, found.country_code)
            yield Tagged(photo.path, {**answer, "city": found.city, "country": found.country})

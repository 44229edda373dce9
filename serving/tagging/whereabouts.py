"""The photo's own place: where it carries a position, that tells city and country."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from landmark_ml.config import user_path
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.geo.reverse_geocode import Known, KnownNames, Towns, Whereabouts
from serving.tagging.journal import Tagged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from landmark_ml.geo.place import Place
    from landmark_ml.inference.predictor import Predictor


def read_places(places: str) -> list[Place]:
    """The places of a CSV such as `places.csv`, then the built-in ones; none when it is not named.

    Its own come first, as the first that names a country counts.
    """
    if not places:
        return []
    built_in = set(Gazetteer.load().places())
    return sorted(Gazetteer.load(user_path(places)).places(), key=built_in.__contains__)


class OwnPlaces:
    """City and country by a photo's own position; the towns are read when the first one has any.

    A landmark may be seen from another city, or another country, than its own. places: those that
    win within a kilometre; the model's own come after them, then the towns. Countries and cities
    are called as the model calls them in its answers, so that none gets a second name; those that
    it does not name, as `places` and the built-in gazetteer do.
    """

    def __init__(self, predictor: Predictor, places: Iterable[Place] = ()) -> None:
        given, models = _of_countries(map(_known, places)), _of_countries(_known_to(predictor))
        self._known = given + models
        self._names = KnownNames([*models, *given, *map(_known, Gazetteer.load().places())])
        self.country_codes = {
            known.whereabouts.country: known.whereabouts.country_code
            for known in self._known
            if known.whereabouts.country and known.whereabouts.country_code
        }

    @functools.cached_property
    def _towns(self) -> Towns:
        return Towns(self._known, self._names)

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


def _of_countries(places: Iterable[Known]) -> list[Known]:
    """Places that say where they lie: the towns tell more than one of coordinates alone."""
    return [place for place in places if place.whereabouts.country]


def _known(place: Place) -> Known:
    whereabouts = Whereabouts(place.city, place.country, place.country_code)
    return Known(place.latitude, place.longitude, whereabouts)


def _known_to(predictor: Predictor) -> list[Known]:
    """Places of a model's landmarks."""
    return [
        Known(
            place["latitude"],
            place["longitude"],
            Whereabouts(place["city"], place["country"], place["country_code"]),
        )
        for place in predictor.metadata.places
        if place is not None
    ]

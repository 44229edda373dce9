"""Where a photo was taken: the city and country of the position that it carries."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from landmark_ml.config import user_path
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.geo.reverse_geocode import KnownNames, KnownPlace, Location, Towns
from serving.tagging.journal import Tagged

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from landmark_ml.geo.place import Place
    from landmark_ml.inference.predictor import Predictor


def read_places(places: str) -> list[Place]:
    """Places of a CSV such as `places.csv`, then the built-in ones; none when no file is named.

    The CSV's own come first, because the first place that names a country counts.
    """
    if not places:
        return []
    built_in = set(Gazetteer.load().places())
    return sorted(Gazetteer.load(user_path(places)).places(), key=built_in.__contains__)


class PhotoLocations:
    """Sets city and country by a photo's own position, because a landmark is seen from far away.

    Within a kilometre of a known place that place decides: `places` first, then the model's own;
    elsewhere the towns, whose data is read when the first photo needs it. Countries and cities get
    the names that the model uses in its answers, so that no album has two names; then those of
    `places` and of the built-in gazetteer. `country_codes` collects the codes of countries met.
    """

    def __init__(self, predictor: Predictor, places: Iterable[Place] = ()) -> None:
        # A place of coordinates alone says less than the towns do.
        models = [
            KnownPlace(
                place["latitude"],
                place["longitude"],
                Location(place["city"], place["country"], place["country_code"]),
            )
            for place in predictor.metadata.places
            if place is not None and place["country"]
        ]
        given = [_known(place) for place in places if place.country]
        self._known = given + models
        self._names = KnownNames([*models, *given, *map(_known, Gazetteer.load().places())])
        self.country_codes = {
            known.location.country: known.location.country_code
            for known in self._known
            if known.location.country and known.location.country_code
        }

    @functools.cached_property
    def _towns(self) -> Towns:
        return Towns(self._known, self._names)

    def apply(self, answers: Iterable[Tagged]) -> Iterator[Tagged]:
        """Yield answers, with city and country of the photo's own position where it has one."""
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


def _known(place: Place) -> KnownPlace:
    location = Location(place.city, place.country, place.country_code)
    return KnownPlace(place.latitude, place.longitude, location)

"""Answers as people corrected them: what they rejected is not said again, what they say is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict

from landmark_ml.corrections import LANDMARK, REJECTED, Correction
from landmark_ml.geo.gazetteer import Gazetteer, Place, spelling_key
from landmark_ml.inference.prediction import answer, candidate
from landmark_ml.inference.predictor import Metadata
from serving.tagging.library import TOP_K, Tagged
from serving.tagging.table import printable


class Corrected:
    """Replaces answers by decisions on the same photo, wherever in the library it lies.

    A decision on one photo of a burst counts for those without a decision of their own, once
    `spread` has seen them.

    A landmark that a person names stands where the model says, else where `places` do, else where
    the gazetteer does; it may have no place. Its confidence is 1. However it is spelled, it has one
    name: that of the model, else of its place, else as it was spelled first. A photo whose answer
    was rejected, a landmark or only its city or country, shows none until a model names another
    one.
    """

    def __init__(
        self, metadata: Metadata, corrections: Mapping[str, Correction], places: Gazetteer
    ) -> None:
        self._corrections, self._places = corrections, places
        self._of_bursts: dict[str, Correction] = {}
        self._names: dict[str, str] = {}
        for label, name, found in zip(
            metadata.classes, metadata.names, metadata.places, strict=True
        ):
            self._names |= {spelling_key(label): name, spelling_key(name): name}
            if found:
                places.add(name, Place(**found))

    def spread(self, photos: Iterable[Tagged]) -> None:
        """Learn which photos are of one burst; of several decisions, the one on its first counts.

        photos: all of the library. Only decisions are held in memory.
        """
        for photo in photos if self._corrections else ():
            if decision := self._corrections.get(photo.sha256):
                if photo.same_as:
                    self._of_bursts.setdefault(photo.same_as, decision)
                else:
                    self._of_bursts[printable(photo.path)] = decision

    def apply(self, photos: Iterable[Tagged]) -> Iterator[Tagged]:
        """Yield photos with the answers that people want them to have."""
        for photo in photos:
            correction = self._corrections.get(photo.sha256) or self._of_bursts.get(
                photo.same_as or printable(photo.path)
            )
            if correction is None or photo.answer["error"] is not None:
                yield photo
            else:
                yield self._correct(photo, correction)

    def _correct(self, photo: Tagged, correction: Correction) -> Tagged:
        said = photo.answer
        if correction.decision == REJECTED and correction.said != (said["landmark"] or ""):
            return photo
        candidates, score = said["candidates"] or [], said["landmark_score"] or 0.0
        latitude, longitude, threshold = said["latitude"], said["longitude"], math.inf
        location = None
        if said["location_source"] == "exif" and latitude is not None and longitude is not None:
            location = latitude, longitude
        if correction.decision == LANDMARK:
            key = spelling_key(correction.right)
            right = self._names.get(key, correction.right)
            place = self._places.find(right)
            name = self._names.setdefault(key, place.name if place else right)
            best = candidate(name, 1.0, asdict(place) if place else None)
            others = [other for other in candidates if other["landmark"] != name]
            candidates, score, threshold = [best, *others][:TOP_K], 1.0, 0.0
        corrected = answer(candidates, score, threshold, location)
        same_as = None if correction.sha256 == photo.sha256 else photo.same_as
        return photo._replace(answer=corrected, correction=correction.decision, same_as=same_as)

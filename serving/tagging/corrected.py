"""Answers as people corrected them: what they rejected is not said again, what they say is."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict

from landmark_ml.corrections import LANDMARK, REJECTED, Correction
from landmark_ml.geo.gazetteer import Gazetteer, Place, spelling_key
from landmark_ml.inference.prediction import answer, candidate, position_of
from landmark_ml.inference.predictor import Metadata
from serving.tagging.library import TOP_K, Tagged


def decisions_on(
    photos: Iterable[Tagged], corrections: Mapping[str, Correction]
) -> Callable[[Tagged], Correction | None]:
    """Find out which decision counts for a photo of a library: its own, or else that on its burst.

    photos: all of the library, as the model answers them; only decisions are held in memory. Of
    several on a burst, the one on its first photo counts. A rejection counts for the rejected
    answer only, so that another one is open again.
    """
    bursts: dict[str, Correction] = {}
    for photo in photos if corrections else ():
        decision = corrections.get(photo.sha256)
        if decision and not (photo.same_as and photo.burst in bursts):
            bursts[photo.burst] = decision

    def find(photo: Tagged) -> Correction | None:
        found = corrections.get(photo.sha256) or bursts.get(photo.burst)
        said = photo.answer["landmark"] or ""
        return None if found and found.decision == REJECTED and found.said != said else found

    return find


class Corrected:
    """Replaces answers by what people decided, wherever in the library a photo lies.

    A landmark that a person names stands where the model says, else where `places` do, else where
    the gazetteer does; it may have no place. Its confidence is 1. However it is spelled, it has one
    name: that of the model, else of its place, else as it was spelled first. A photo whose answer
    was rejected, a landmark or only its city or country, shows none until a model names another
    one. find_decision: see `decisions_on`.
    """

    def __init__(
        self,
        metadata: Metadata,
        find_decision: Callable[[Tagged], Correction | None],
        places: Gazetteer,
    ) -> None:
        self._find_decision, self._places = find_decision, places
        self._names: dict[str, str] = {}
        for label, name, found in zip(
            metadata.classes, metadata.names, metadata.places, strict=True
        ):
            self._names |= {spelling_key(label): name, spelling_key(name): name}
            if found:
                places.add(name, Place(**found))

    def apply(self, photos: Iterable[Tagged]) -> Iterator[Tagged]:
        """Yield photos with the answers that people want them to have."""
        for photo in photos:
            correction = None if photo.answer["error"] else self._find_decision(photo)
            yield self._correct(photo, correction) if correction else photo

    def _correct(self, photo: Tagged, correction: Correction) -> Tagged:
        said = photo.answer
        candidates, score = said["candidates"] or [], said["landmark_score"] or 0.0
        location = position_of(said) if said["location_source"] == "exif" else None
        threshold = math.inf
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

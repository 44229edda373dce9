"""Where a model says photos were taken, against where their landmarks stand."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from landmark_ml.geo.place import great_circle_km

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from landmark_ml.evaluation.predictions import Evaluation
    from landmark_ml.geo.gazetteer import Gazetteer
    from landmark_ml.geo.place import Place


def kilometres_off(evaluation: Evaluation, gazetteer: Gazetteer) -> NDArray[np.float64]:
    """Great-circle error of each photo: [N], infinite where no place was answered.

    NaN where none is right: the photo shows no landmark, or one whose place is not known.

    A position from the photo's own EXIF is not the model's: that of the best candidate in what was
    answered counts instead, and a country is no place, as without EXIF.
    """
    places = _true_places(evaluation, gazetteer)
    return np.array(
        [_error(answer, place) for answer, place in zip(evaluation.answers, places, strict=True)]
    )


def level_metrics(evaluation: Evaluation, gazetteer: Gazetteer) -> dict[str, float]:
    """Share of landmark photos answered at each level, and how many of those are right.

    Empty for models of before there were levels.
    """
    places = _true_places(evaluation, gazetteer)
    shows = evaluation.shows_landmark
    rows = [
        (answer, place, bool(right))
        for answer, place, right, shown in zip(
            evaluation.answers, places, evaluation.correct, shows, strict=True
        )
        if shown
    ]
    if not any("level" in answer for answer, _, _ in rows):
        return {}
    found = {}
    for level in ("landmark", "city", "country"):
        chosen = [row for row in rows if row[0]["level"] == level]
        found[f"{level}_level"] = len(chosen) / len(rows)
        if chosen:
            right = [_is_right(level, *row) for row in chosen]
            found[f"{level}_level_precision"] = float(np.mean(right))
    return found


def _true_places(evaluation: Evaluation, gazetteer: Gazetteer) -> list[Place | None]:
    places = [gazetteer.find(landmark) for landmark in evaluation.classes]
    return [places[label] if label >= 0 else None for label in evaluation.labels.tolist()]


def _error(answer: Mapping[str, Any], place: Place | None) -> float:
    if place is None:
        return math.nan
    if not answer["is_landmark"]:
        return math.inf
    source = answer
    if answer.get("location_source") == "exif":
        source = _own_place(answer)
    latitude, longitude = source.get("latitude"), source.get("longitude")
    if latitude is None or longitude is None:
        return math.inf
    return great_circle_km((latitude, longitude), (place.latitude, place.longitude))


def _own_place(answer: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the model would have said where, had the photo not said so itself."""
    level, candidates = answer.get("level", "landmark"), answer["candidates"]
    if level == "country":
        return {}
    if level == "city":
        candidates = [found for found in candidates if found["city"] == answer["city"]]
    return dict(candidates[0])


def _is_right(level: str, answer: Mapping[str, Any], place: Place | None, right: bool) -> bool:
    if level == "landmark" or place is None:
        return right
    same_country = answer["country"] == place.country
    return same_country and (level == "country" or answer["city"] == place.city)

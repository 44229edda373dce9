"""The answer for a photo, and the city or country when it is uncertain which landmark it shows.

The fields of an answer are declared here and nowhere else.

The MLflow signature, the Spark schema, the table of the tagger, the API description of the app and
the table in the docs are made from `answer_fields(Prediction)`. To add a field, declare it in
`Prediction` and compute it in `answer`. Needs numpy alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import (
    Annotated,
    Any,
    Literal,
    NamedTuple,
    TypedDict,
    cast,
    get_args,
    get_type_hints,
)

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating]
Place = dict[str, Any] | None

Level = Literal["landmark", "city", "country"]


class Candidate(TypedDict):
    """One landmark that a photo may show."""

    landmark: Annotated[str, "the landmark's name"]
    confidence: Annotated[float, "probability that the photo shows it, 0 to 1"]
    latitude: Annotated[float | None, "where it stands, in WGS84 degrees"]
    longitude: Annotated[float | None, "where it stands, in WGS84 degrees"]
    city: Annotated[str | None, "its city"]
    country: Annotated[str | None, "its country"]
    tags: Annotated[list[str], "its tags, general ones first"]


def candidate(landmark: str, confidence: float, place: Place) -> Candidate:
    """Build a candidate from a gazetteer entry; place None: nobody knows where it stands."""
    known = place or {}
    return Candidate(
        landmark=landmark,
        confidence=confidence,
        latitude=known.get("latitude"),
        longitude=known.get("longitude"),
        city=known.get("city"),
        country=known.get("country"),
        tags=list(known.get("tags", ())),
    )


class Refusal(TypedDict):
    """Why a photo got no answer."""

    code: Annotated[str, "stable name of the reason, such as `truncated`"]
    reason: Annotated[str, "what is wrong with the photo and what to do"]


class Prediction(TypedDict):
    """Answer for one photo; for a refused photo all fields but `error` are null.

    Where `is_landmark` is false, `level`, `landmark`, `city` and `country` are null and `tags` is
    empty, but `confidence` and `candidates` still tell what came nearest.
    """

    level: Annotated[
        str | None,
        "how precisely the photo is placed: `landmark`, `city` or `country`; null when there is no"
        " landmark",
    ]
    landmark: Annotated[str | None, "name of the landmark; null at any other level"]
    confidence: Annotated[
        float | None,
        "calibrated probability of the answer; for a city or country the sum over its landmarks",
    ]
    is_landmark: Annotated[bool | None, "whether the photo shows a landmark that the model knows"]
    landmark_score: Annotated[
        float | None,
        "how sure that is: the share of photos of known landmarks that score lower, from 0 to 1",
    ]
    latitude: Annotated[
        float | None,
        "where the photo was taken, WGS84 degrees; for a city the middle of its candidates, for a"
        " country null",
    ]
    longitude: Annotated[float | None, "as `latitude`"]
    city: Annotated[str | None, "city of the landmark"]
    country: Annotated[str | None, "country of the landmark"]
    tags: Annotated[list[str] | None, "tags that suit the photo"]
    candidates: Annotated[list[Candidate] | None, "the `top_k` likeliest landmarks, best first"]
    location_source: Annotated[
        str | None,
        "`exif` when the photo carries its own position, else `landmark` or `city`, else null; in"
        " the tagger also `neighbour`, of a photo taken at about the same time",
    ]
    error: Annotated[Refusal | None, "why the photo was refused; all other fields are then null"]


class Field(NamedTuple):
    """A field of an answer.

    type: `str`, `float`, `bool`, `int`, another TypedDict, or a list of one of those.
    """

    name: str
    type: Any
    nullable: bool
    meaning: str


def answer_fields(answer_type: Any) -> list[Field]:
    """List the fields of `Prediction`, or of another TypedDict, in order."""
    fields = []
    for name, hint in get_type_hints(answer_type, include_extras=True).items():
        kind, (meaning,) = hint.__origin__, hint.__metadata__
        nullable = type(None) in get_args(kind)
        fields.append(Field(name, get_args(kind)[0] if nullable else kind, nullable, meaning))
    return fields


def answer(
    candidates: Sequence[Candidate],
    landmark_score: float,
    threshold: float,
    location: tuple[float, float] | None,
    area: Area | None = None,
) -> Prediction:
    """Build the answer from candidates, best first, and the position in the photo's EXIF, if any.

    area: city or country to answer with when the best candidate is too uncertain.
    """
    best = candidates[0]
    is_landmark = landmark_score >= threshold
    if not is_landmark:
        shown = Area(None, best["confidence"])
    else:
        shown = area or Area(
            "landmark",
            best["confidence"],
            city=best["city"],
            country=best["country"],
            latitude=best["latitude"],
            longitude=best["longitude"],
            tags=tuple(best["tags"]),
        )
    latitude, longitude = location or (shown.latitude, shown.longitude)
    source = "exif" if location else shown.level
    return Prediction(
        level=shown.level,
        landmark=best["landmark"] if shown.level == "landmark" else None,
        confidence=shown.confidence,
        is_landmark=is_landmark,
        landmark_score=landmark_score,
        latitude=latitude,
        longitude=longitude,
        city=shown.city,
        country=shown.country,
        tags=list(shown.tags),
        candidates=list(candidates),
        location_source=None if latitude is None else source,
        error=None,
    )


def refused(code: str, reason: str) -> Prediction:
    """Build the answer for a photo that was refused: nothing but `error`."""
    empty: dict[str, Any] = dict.fromkeys(Prediction.__annotations__)
    empty["error"] = Refusal(code=code, reason=reason)
    return cast(Prediction, empty)


def position_of(placed: Prediction | Candidate) -> tuple[float, float] | None:
    """Latitude and longitude in degrees; None where they are unknown."""
    latitude, longitude = placed["latitude"], placed["longitude"]
    return None if latitude is None or longitude is None else (latitude, longitude)


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

    The rule: answer with the finest of landmark, city and country whose confidence reaches
    `min_confidence`, where the confidence of an area is the sum over its landmarks. If none reaches
    it, answer with the best landmark; with 0 that is always so. places: one for each class, None
    where it is unknown.
    """

    def __init__(self, places: Sequence[Place], min_confidence: float) -> None:
        self.min_confidence = min_confidence
        self._places = [place or {} for place in places]
        cities = _groups([(p.get("city"), p.get("country")) for p in self._places])
        countries = _groups([(p.get("country"),) for p in self._places])
        self._levels: list[tuple[Level, list[NDArray[np.intp]], NDArray[np.intp]]] = [
            ("city", *cities),
            ("country", *countries),
        ]

    def find(self, probabilities: Floats) -> Area | None:
        """Find the area to answer with for probabilities [classes]; None: the best landmark."""
        if probabilities.max() >= self.min_confidence:
            return None
        for level, groups, group_of in self._levels:
            sums = np.bincount(group_of, probabilities, len(groups) + 1)[:-1]
            if sums.max(initial=0) >= self.min_confidence:
                return self._describe(level, groups[int(sums.argmax())], probabilities)
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


def _groups(
    keys: Sequence[tuple[str | None, ...]],
) -> tuple[list[NDArray[np.intp]], NDArray[np.intp]]:
    """Indices of the classes of each area with at least two; one alone is just the landmark.

    And the number of each class's area [classes], that of no area being the last.
    """
    classes: dict[tuple[str | None, ...], list[int]] = {}
    for index, key in enumerate(keys):
        if key[0] is not None:
            classes.setdefault(key, []).append(index)
    groups = [np.array(found, dtype=np.intp) for found in classes.values() if len(found) > 1]
    group_of = np.full(len(keys), len(groups), dtype=np.intp)
    for number, found in enumerate(groups):
        group_of[found] = number
    return groups, group_of

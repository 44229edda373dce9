"""What is answered for a photo: the one set of fields of the served model and all its clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, cast

from landmark_ml.inference.areas import Area

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landmark_ml.inference.photos import PhotoError


class Candidate(TypedDict):
    """One landmark a photo may show; degrees are WGS84."""

    landmark: str
    confidence: float
    latitude: float | None
    longitude: float | None
    city: str | None
    country: str | None
    tags: list[str]


class Refusal(TypedDict):
    """Why a photo got no answer."""

    code: str
    reason: str


class Prediction(TypedDict):
    """Answer for one photo; for a refused photo all is null but `error`.

    Where `is_landmark` is false, `level`, `landmark`, `city` and `country` are null and `tags` is
    empty, but `confidence` and `candidates` still tell what came nearest. `level` says what is
    answered: the `landmark`, or its `city` or `country` alone when the confidence is spread over
    several landmarks there; `confidence` is theirs together and `landmark` is null then.
    `location_source` says where latitude and longitude are from: `exif` (the photo), `landmark`
    (the gazetteer), `city` (the middle of the candidates there) or null.
    """

    level: str | None
    landmark: str | None
    confidence: float | None
    is_landmark: bool | None
    landmark_score: float | None
    latitude: float | None
    longitude: float | None
    city: str | None
    country: str | None
    tags: list[str] | None
    candidates: list[Candidate] | None
    location_source: str | None
    error: Refusal | None


def answer(
    candidates: Sequence[Candidate],
    landmark_score: float,
    threshold: float,
    location: tuple[float, float] | None,
    area: Area | None = None,
) -> Prediction:
    """Answer from candidates, best first, and the place the photo itself carries, if any.

    area: answered in place of the best candidate, whose landmark is too uncertain.
    """
    best = candidates[0]
    is_landmark = landmark_score >= threshold
    shown = (area or _area_of(best)) if is_landmark else _nowhere(best["confidence"])
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


def refuse(error: PhotoError) -> Prediction:
    """Answer for a photo that the decoder refuses."""
    return refused(error.code, error.reason)


def refused(code: str, reason: str) -> Prediction:
    """Answer for a photo that has none: nothing but why."""
    empty: dict[str, Any] = dict.fromkeys(Prediction.__annotations__)
    empty["error"] = Refusal(code=code, reason=reason)
    return cast(Prediction, empty)


def _area_of(landmark: Candidate) -> Area:
    return Area(
        level="landmark",
        confidence=landmark["confidence"],
        city=landmark["city"],
        country=landmark["country"],
        latitude=landmark["latitude"],
        longitude=landmark["longitude"],
        tags=tuple(landmark["tags"]),
    )


def _nowhere(confidence: float) -> Area:
    return Area(None, confidence, city=None, country=None, latitude=None, longitude=None, tags=())

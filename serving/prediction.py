"""What is answered for a photo: the one set of fields of the served model and all its clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landmark_ml.photos import PhotoError


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

    Where `is_landmark` is false, `landmark`, `city` and `country` are null and `tags` is empty, but
    `confidence` and `candidates` still tell what came nearest. `location_source` says where
    latitude and longitude are from: `exif` (the photo), `landmark` (the gazetteer) or null.
    """

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
) -> Prediction:
    """Answer from candidates, best first, and the place the photo itself carries, if any."""
    best = candidates[0]
    is_landmark = landmark_score >= threshold
    source = "exif" if location else None
    latitude, longitude = location or (None, None)
    if location is None and is_landmark and best["latitude"] is not None:
        source, latitude, longitude = "landmark", best["latitude"], best["longitude"]
    return Prediction(
        landmark=best["landmark"] if is_landmark else None,
        confidence=best["confidence"],
        is_landmark=is_landmark,
        landmark_score=landmark_score,
        latitude=latitude,
        longitude=longitude,
        city=best["city"] if is_landmark else None,
        country=best["country"] if is_landmark else None,
        tags=best["tags"] if is_landmark else [],
        candidates=list(candidates),
        location_source=source,
        error=None,
    )


def refuse(error: PhotoError) -> Prediction:
    """Answer for a photo that cannot be read."""
    empty: dict[str, Any] = dict.fromkeys(Prediction.__annotations__)
    empty["error"] = Refusal(code=error.code, reason=error.reason)
    return cast(Prediction, empty)

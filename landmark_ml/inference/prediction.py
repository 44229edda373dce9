"""The answer for a photo. Its fields are declared here and nowhere else.

The MLflow signature, the Spark schema, the table of the tagger, the API description of the app and
the table in the docs are made from `answer_fields(Prediction)`. To add a field, declare it in
`Prediction` and compute it in `answer`.
"""

from __future__ import annotations

from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    NamedTuple,
    TypedDict,
    cast,
    get_args,
    get_type_hints,
)

from landmark_ml.inference.areas import Area

if TYPE_CHECKING:
    from collections.abc import Sequence


class Candidate(TypedDict):
    """One landmark that a photo may show."""

    landmark: Annotated[str, "the landmark's name"]
    confidence: Annotated[float, "probability that the photo shows it, 0 to 1"]
    latitude: Annotated[float | None, "where it stands, in WGS84 degrees"]
    longitude: Annotated[float | None, "where it stands, in WGS84 degrees"]
    city: Annotated[str | None, "its city"]
    country: Annotated[str | None, "its country"]
    tags: Annotated[list[str], "its tags, general ones first"]


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
    landmark_score: Annotated[float | None, "how sure that is, from 0 to 1"]
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
        "`exif` when the photo carries its own position, else `landmark` or `city`, else null",
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

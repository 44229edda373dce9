"""What the API answers: the prediction for each photo, what the page adds, and who answered."""

from __future__ import annotations

import io
from operator import itemgetter
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    TypedDict,
    cast,
    get_args,
    get_origin,
    is_typeddict,
)

import numpy as np
from pydantic import BaseModel, Field, create_model

from landmark_ml.data.postcards import LANDMARKS, draw_postcard
from landmark_ml.geo.gazetteer import great_circle_km
from landmark_ml.inference.prediction import Prediction, answer_fields, candidate, position_of

if TYPE_CHECKING:
    from landmark_ml.config import AppConfig
    from landmark_ml.inference.photos import PhotoError
    from landmark_ml.inference.predictor import Scores
    from serving.champion import Loaded

_DIGITS = 3

SAMPLES = ("Leaning Tower of Pisa", "Sydney Opera House")
"""Postcards that a model of postcards is offered to try."""


class Model(TypedDict):
    """The version that answers."""

    name: Annotated[str, "registered model"]
    version: Annotated[int, "its version"]
    run_id: Annotated[str, "MLflow run that made the version"]
    run_url: Annotated[str | None, "page of that run in the MLflow UI; null where there is none"]
    landmarks: Annotated[int, "number of landmarks it knows"]
    threshold: Annotated[float, "lowest `landmark_score` of a landmark"]
    framing: Annotated[
        str,
        "`squash`: it sees the whole photo, squashed to a square; `crop`: the square in its middle",
    ]
    visible: Annotated[
        float, "side of the square it sees, as a share of the photo's short side; 1 for `squash`"
    ]
    samples: Annotated[
        int, "drawn postcards to try, from `/api/sample`; 0 where the model knows other landmarks"
    ]
    corrections: Annotated[bool, "whether the server keeps corrections, by `/api/corrections`"]


class Landmark(TypedDict):
    """One landmark that the model knows."""

    landmark: Annotated[str, "its name"]
    latitude: Annotated[float | None, "where it stands, in WGS84 degrees"]
    longitude: Annotated[float | None, "as `latitude`"]
    city: Annotated[str | None, "its city"]
    country: Annotated[str | None, "its country"]
    tags: Annotated[list[str], "its tags, general ones first"]


class Landmarks(TypedDict):
    """What the model knows."""

    model: Annotated[Model, "the version that knows them"]
    landmarks: Annotated[list[Landmark], "landmarks in the order of their names"]


class PhotoAnswer(Prediction):
    """Prediction for one photo, and what the page shows beside it."""

    name: Annotated[str | None, "name of the file as it was sent"]
    attention: Annotated[
        list[list[float]] | None,
        "rows of a grid over the pixels that the network saw, 0 to 1: how much each part spoke for"
        " the best candidate; null where the network cannot tell",
    ]
    distance_km: Annotated[
        float | None, "distance between the position in the photo's EXIF and the best candidate"
    ]


class Answers(TypedDict):
    """Answer to one request."""

    model: Annotated[Model, "the version that answered all photos"]
    photos: Annotated[list[PhotoAnswer], "answers in the order of the photos"]


class Problem(TypedDict):
    """Why a request got no answer."""

    detail: Annotated[str, "what is wrong and what to do"]


class Health(TypedDict):
    """The process runs."""

    status: Annotated[str, "always `ok`"]


class Readiness(Health):
    """A model answers."""

    version: Annotated[int, "version that answers"]
    problem: Annotated[str | None, "why a newer champion could not be loaded, else null"]


def describe_model(loaded: Loaded, config: AppConfig) -> Model:
    """Describe the version that answers, in an app of this configuration."""
    metadata = loaded.predictor.metadata
    framing = metadata.preprocessing
    return Model(
        name=loaded.name,
        version=loaded.version,
        run_id=loaded.run_id,
        run_url=loaded.run_url,
        landmarks=len(metadata.classes),
        threshold=metadata.threshold,
        framing=framing.framing,
        visible=framing.resolution / framing.resize if framing.framing == "crop" else 1.0,
        # A model of real photos does not know drawn ones, even where it knows the same landmark.
        samples=len(SAMPLES) if set(metadata.classes) == set(LANDMARKS) else 0,
        corrections=bool(config.corrections),
    )


def draw_sample(number: int) -> bytes:
    """Draw a sample, counted from 1, as JPEG; training draws with other seeds."""
    picture = draw_postcard(SAMPLES[number - 1], np.random.default_rng([number, 2024]))
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=88)
    return jpeg.getvalue()


def known_landmarks(loaded: Loaded) -> list[Landmark]:
    """List the landmarks that a version knows, with their places."""
    metadata = loaded.predictor.metadata
    known = []
    for name, place in sorted(zip(metadata.names, metadata.places, strict=True), key=itemgetter(0)):
        described = dict(candidate(name, 1.0, place))
        del described["confidence"]
        known.append(cast(Landmark, described))
    return known


def answer_photo(
    name: str | None,
    loaded: Loaded,
    found: Scores | PhotoError,
    top_k: int,
    threshold: float | None,
) -> PhotoAnswer:
    """Answer for the scores of one photo; threshold None takes the model's."""
    predictor = loaded.predictor
    limit = predictor.metadata.threshold if threshold is None else threshold
    prediction = predictor.answer(found, top_k, limit)
    grid = None
    if (attention := getattr(found, "attention", None)) is not None:
        # What spoke against the landmark is negative.
        positive = np.clip(attention, 0, None).astype(float)
        grid = np.round(positive / (positive.max() or 1.0), _DIGITS).tolist()
    distance = None
    if prediction["location_source"] == "exif" and prediction["level"]:
        own, stands = position_of(prediction), position_of((prediction["candidates"] or [])[0])
        if own and stands:
            distance = round(great_circle_km(own, stands), _DIGITS)
    return PhotoAnswer(**prediction, name=name, attention=grid, distance_km=distance)


def document(answer_type: Any) -> type[BaseModel]:
    """Make the Pydantic model of a TypedDict for the OpenAPI page.

    Pydantic itself reads `typing.TypedDict` only from Python 3.12 on.
    """

    def documented(kind: Any) -> Any:
        if get_origin(kind) is list:
            return list[documented(get_args(kind)[0])]  # type: ignore[misc]
        return document(kind) if is_typeddict(kind) else kind

    fields: dict[str, Any] = {}
    for item in answer_fields(answer_type):
        kind = documented(item.type)
        described = Field(description=item.meaning)
        fields[item.name] = (kind | None if item.nullable else kind, described)
    made: type[BaseModel] = create_model(
        answer_type.__name__, __doc__=answer_type.__doc__, **fields
    )
    return made

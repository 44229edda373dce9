"""What the API answers: the prediction of each photo, where the network looked, who answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, get_args, get_type_hints, is_typeddict

import numpy as np
from pydantic import BaseModel, create_model

from landmark_ml.geo.place import great_circle_km
from landmark_ml.inference.prediction import Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serving.app.answer_queue import Found
    from serving.champion import Loaded

_DIGITS = 3


class Model(TypedDict):
    """Which version answers; `run_url` leads to its run in the MLflow UI, null until it is found.

    It knows so many `landmarks` and answers with one from a `landmark_score` of `threshold` on. It
    sees the whole photo squashed to a square, or with the `framing` crop the square in its middle
    whose side is the share `visible` of the photo's short side.
    """

    name: str
    version: int
    run_id: str
    run_url: str | None
    landmarks: int
    threshold: float
    framing: str
    visible: float


class PhotoAnswer(Prediction):
    """Prediction of one photo and what the page shows beside it.

    `name` is that of the file as it was sent. `attention` is a grid of rows over the pixels that
    the network saw, 0 to 1: how much each place spoke for the best candidate; null where the
    network cannot tell. `distance_km` lies between the place in the photo's EXIF and the best
    candidate's.
    """

    name: str | None
    attention: list[list[float]] | None
    distance_km: float | None


class Answers(TypedDict):
    """Answer to one request: every photo in the order it was sent."""

    model: Model
    photos: list[PhotoAnswer]


class Problem(TypedDict):
    """Why a request was not answered, and what to do."""

    detail: str


def describe_model(name: str, loaded: Loaded, run_url: str | None) -> Model:
    """Who answers."""
    metadata = loaded.predictor.metadata
    framing = metadata.preprocessing
    return Model(
        name=name,
        version=loaded.version,
        run_id=loaded.run_id,
        run_url=run_url,
        landmarks=len(metadata.classes),
        threshold=metadata.threshold,
        framing=framing.framing,
        visible=framing.resolution / framing.resize if framing.framing == "crop" else 1.0,
    )


def answer_photo(
    name: str | None, loaded: Loaded, found: Found, top_k: int, threshold: float | None
) -> PhotoAnswer:
    """Answer for what was found of one photo; threshold None takes the model's."""
    predictor = loaded.predictor
    limit = predictor.metadata.threshold if threshold is None else threshold
    prediction = predictor.answer(found, top_k, limit)
    attention = getattr(found, "attention", None)
    return PhotoAnswer(
        **prediction,
        name=name,
        attention=None if attention is None else _brightened(attention),
        distance_km=_distance(prediction),
    )


def document(answer: Any) -> type[BaseModel]:
    """Pydantic model of a TypedDict, for the OpenAPI page; pydantic reads them from 3.12 on."""
    hints: dict[str, Any] = {
        name: (_documented(hint), ...) for name, hint in get_type_hints(answer).items()
    }
    made: type[BaseModel] = create_model(answer.__name__, __doc__=answer.__doc__, **hints)
    return made


def _distance(prediction: Prediction) -> float | None:
    if prediction["location_source"] != "exif" or not prediction["level"]:
        return None
    best = (prediction["candidates"] or [])[:1]
    taken = prediction["latitude"], prediction["longitude"]
    for candidate in best:
        guess = candidate["latitude"], candidate["longitude"]
        if None not in (*taken, *guess):
            return round(great_circle_km(taken, guess), _DIGITS)  # type: ignore[arg-type]
    return None


def _brightened(attention: NDArray[np.float32]) -> list[list[float]]:
    """What spoke for the landmark on a scale of 0 to 1; what spoke against it is 0."""
    positive = np.clip(attention, 0, None)
    most = float(positive.max())
    shown = positive / most if most > 0 else positive
    rows: list[list[float]] = np.round(shown.astype(float), _DIGITS).tolist()
    return rows


def _documented(hint: Any) -> Any:
    if is_typeddict(hint):
        return document(hint)
    inner = get_args(hint)
    if not inner:
        return hint
    if getattr(hint, "__origin__", None) is list:
        return list[_documented(inner[0])]  # type: ignore[misc]
    changed = [_documented(item) for item in inner]
    result = changed[0]
    for item in changed[1:]:
        result = result | item
    return result

"""What a served model answers on photos, compared with what the photos show."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_fscore_support
from tqdm.auto import tqdm

from landmark_ml.data import NOT_A_LANDMARK
from landmark_ml.geo.gazetteer import great_circle_km

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from landmark_ml.data import Photo
    from landmark_ml.geo.gazetteer import Gazetteer, Place

    Answer = Mapping[str, Any]

_BATCH = 64


class ServedModel(Protocol):
    """What `mlflow.pyfunc.load_model` returns, as far as judging needs it."""

    def predict(self, data: pd.DataFrame, params: dict[str, Any] | None = None) -> Any: ...


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers of a model on N photos, some of which may show no landmark.

    labels: int [N], indices into classes or `NOT_A_LANDMARK`. best, confidence: class with the
    highest probability, int [N], and that probability, float [N]. rank: int [N], how many classes
    are more probable than the label; 0 where the answer is right. landmark_scores: float [N].
    accepted: bool [N], answered with a landmark. kilometres: float [N], distance from the answered
    to the true place; infinite where no place was answered, NaN where the true one is unknown.
    levels: str [N], how finely the place was answered, empty from models without levels.
    level_right: bool [N], whether the answer is right at that level. unseen: answers on photos of
    landmarks that the model never learned.
    """

    photos: tuple[Photo, ...]
    classes: tuple[str, ...]
    answers: tuple[Answer, ...]
    labels: NDArray[np.int64]
    best: NDArray[np.int64]
    confidence: NDArray[np.float64]
    rank: NDArray[np.int64]
    landmark_scores: NDArray[np.float64]
    accepted: NDArray[np.bool_]
    kilometres: NDArray[np.float64]
    levels: NDArray[np.str_]
    level_right: NDArray[np.bool_]
    unseen: Predictions | None = None

    @classmethod
    def of(
        cls,
        photos: Sequence[Photo],
        classes: Sequence[str],
        probabilities: NDArray[np.float64],
        answers: Sequence[Answer],
        places: Sequence[Place | None],
    ) -> Predictions:
        """Compare answers with the labels; probabilities: [N, classes], places: [classes]."""
        labels = np.array([photo.label for photo in photos], dtype=np.int64)
        best = probabilities.argmax(axis=1)
        of_label = probabilities[np.arange(len(labels)), labels][:, None]
        before = np.arange(len(classes)) < labels[:, None]
        rank = ((probabilities > of_label) | ((probabilities == of_label) & before)).sum(axis=1)
        true = [places[label] if label != NOT_A_LANDMARK else None for label in labels]
        return cls(
            photos=tuple(photos),
            classes=tuple(classes),
            answers=tuple(answers),
            labels=labels,
            best=best,
            confidence=probabilities.max(axis=1),
            rank=np.where(labels == NOT_A_LANDMARK, len(classes), rank),
            landmark_scores=np.array([row["landmark_score"] for row in answers], dtype=float),
            accepted=np.array([row["is_landmark"] for row in answers], dtype=bool),
            kilometres=np.array([_kilometres(*pair) for pair in zip(answers, true, strict=True)]),
            levels=np.array([str(row.get("level", "")) for row in answers]),
            level_right=np.array(
                [_level_right(*row) for row in zip(answers, true, best == labels, strict=True)]
            ),
        )

    @property
    def shows_landmark(self) -> NDArray[np.bool_]:
        """Whether each photo shows one of the classes."""
        shows: NDArray[np.bool_] = self.labels != NOT_A_LANDMARK
        return shows

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the best class is the label; False where there is no landmark."""
        correct: NDArray[np.bool_] = self.best == self.labels
        return correct

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> Predictions:
        """The arrays at some rows, for a metric on a part or a resample; photos are not kept."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        chosen: dict[str, Any] = {
            name: array[rows] for name, array in values.items() if isinstance(array, np.ndarray)
        }
        return replace(self, photos=(), answers=(), **chosen)

    def table(self) -> pd.DataFrame:
        """One row a photo: content hash, label, prediction, confidence, scores; for later tests."""
        names = [*self.classes, ""]
        return pd.DataFrame(
            {
                "sha256": [photo.sha256 for photo in self.photos],
                "label": [names[label] for label in self.labels],
                "prediction": [self.classes[best] for best in self.best],
                "confidence": self.confidence,
                "landmark_score": self.landmark_scores,
                "accepted": self.accepted,
                "correct": self.correct,
            }
        )

    def per_class(self) -> pd.DataFrame:
        """Columns landmark, photos, precision, recall, f1: a row a class, over landmark photos."""
        shows = self.shows_landmark
        precision, recall, f1, photos = precision_recall_fscore_support(
            self.labels[shows],
            self.best[shows],
            labels=range(len(self.classes)),
            zero_division=0.0,
        )
        scores = {"photos": photos, "precision": precision, "recall": recall, "f1": f1}
        return pd.DataFrame({"landmark": list(self.classes), **scores})


def predict(
    model: ServedModel,
    photos: Sequence[Photo],
    classes: Sequence[str],
    names: Sequence[str],
    gazetteer: Gazetteer,
) -> Predictions:
    """Ask a model about each photo; names are the classes as its answers spell them.

    Raises ValueError without photos, and when the model refuses one or answers with unknown names.
    """
    if not photos:
        raise ValueError("there are 0 photos to evaluate on; give a split that has some")
    index = {name: position for position, name in enumerate(names)}
    probabilities = np.zeros((len(photos), len(names)))
    answers: list[Answer] = []
    with tqdm(total=len(photos), desc="evaluate", unit="photo", delay=1) as progress:
        for start in range(0, len(photos), _BATCH):
            chunk = photos[start : start + _BATCH]
            frame = pd.DataFrame({"image": [photo.path.read_bytes() for photo in chunk]})
            answers += model.predict(frame, params={"top_k": len(names)}).to_dict(orient="records")
            progress.update(len(chunk))
    for row, answer, photo in zip(probabilities, answers, photos, strict=True):
        if answer["error"] is not None:
            raise ValueError(f"the model refused {photo.path}: {answer['error']['reason']}")
        for candidate in answer["candidates"]:
            if candidate["landmark"] not in index:
                raise ValueError(
                    f"the model answers {photo.path} with {candidate['landmark']!r}, which is none"
                    f" of the {len(names)} landmarks; evaluate it on the data it was trained for"
                )
            row[index[candidate["landmark"]]] = candidate["confidence"]
    places = [gazetteer.find(landmark) for landmark in classes]
    return Predictions.of(photos, classes, probabilities, answers, places)


def _kilometres(answer: Answer, place: Place | None) -> float:
    """Great-circle distance from the answered place to the true one."""
    if place is None:
        return math.nan
    if not answer["is_landmark"]:
        return math.inf
    source = answer
    if answer.get("location_source") == "exif":
        # The photo's own position is not the model's. Its answer is the best candidate of what
        # it named; a country alone is no place.
        level, candidates = answer.get("level", "landmark"), answer["candidates"]
        if level == "country":
            return math.inf
        if level == "city":
            candidates = [found for found in candidates if found["city"] == answer["city"]]
        source = candidates[0]
    latitude, longitude = source.get("latitude"), source.get("longitude")
    if latitude is None or longitude is None:
        return math.inf
    return great_circle_km((latitude, longitude), (place.latitude, place.longitude))


def _level_right(answer: Answer, place: Place | None, correct: bool) -> bool:
    level = answer.get("level")
    if level not in ("city", "country") or place is None:
        return bool(correct)
    same_country = answer["country"] == place.country
    return bool(same_country and (level == "country" or answer["city"] == place.city))

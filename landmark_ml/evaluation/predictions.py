"""Judge a served model on photos: through its own predict, as a client would."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from landmark_ml.data import NOT_A_LANDMARK
from landmark_ml.evaluation import metrics
from landmark_ml.figures import Answer, Mistake

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from landmark_ml.data import Photo

_BATCH = 64
_TIMED_PHOTOS = 30


class ServedModel(Protocol):
    """What `mlflow.pyfunc.load_model` returns, as far as an evaluation needs it."""

    def predict(self, data: pd.DataFrame, params: dict[str, Any] | None = None) -> Any: ...


@dataclass(frozen=True)
class Evaluation:
    """Answers of a model on photos, some of which may show no landmark.

    probabilities: float [N, classes]; labels: int [N], `NOT_A_LANDMARK` included;
    landmark_scores: float [N]; accepted: bool [N], answered with a landmark. ms_per_photo: median
    milliseconds from a photo's bytes to its answer, asked one at a time. where: city and country
    of the best candidate of each photo, empty when unknown. answers: what the model said of each.
    """

    photos: tuple[Photo, ...]
    classes: tuple[str, ...]
    probabilities: NDArray[np.float64]
    landmark_scores: NDArray[np.float64]
    accepted: NDArray[np.bool_]
    ms_per_photo: float
    where: tuple[str, ...] = ()
    answers: tuple[Mapping[str, Any], ...] = ()

    @property
    def labels(self) -> NDArray[np.int64]:
        """Label of each photo."""
        return np.array([photo.label for photo in self.photos], dtype=np.int64)

    @property
    def shows_landmark(self) -> NDArray[np.bool_]:
        """Whether each photo shows one of the classes."""
        shows: NDArray[np.bool_] = self.labels != NOT_A_LANDMARK
        return shows

    @property
    def predictions(self) -> NDArray[np.int64]:
        """Best class of each photo."""
        best: NDArray[np.int64] = self.probabilities.argmax(axis=1)
        return best

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Probability of the best class of each photo."""
        largest: NDArray[np.float64] = self.probabilities.max(axis=1)
        return largest

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the best class is the label; False where there is no landmark."""
        correct: NDArray[np.bool_] = self.predictions == self.labels
        return correct


def evaluate_served(
    model: ServedModel, photos: Sequence[Photo], classes: Sequence[str], names: Sequence[str]
) -> Evaluation:
    """Ask a model about each photo; names are the landmarks as its answers spell them.

    Raises ValueError without photos, and when the model refuses one or answers with unknown names.
    """
    if not photos:
        raise ValueError("there are 0 photos to evaluate on; give a split that has some")
    rows: list[dict[str, Any]] = []
    progress = tqdm(total=len(photos), desc="evaluate", unit="photo", delay=1)
    with progress:
        for start in range(0, len(photos), _BATCH):
            chunk = photos[start : start + _BATCH]
            frame = pd.DataFrame({"image": [photo.path.read_bytes() for photo in chunk]})
            answers = model.predict(frame, params={"top_k": len(names)})
            rows += answers.to_dict(orient="records")
            progress.update(len(chunk))
    return Evaluation(
        photos=tuple(photos),
        classes=tuple(classes),
        probabilities=_probabilities(rows, photos, names),
        landmark_scores=np.array([row["landmark_score"] for row in rows], dtype=float),
        accepted=np.array([row["is_landmark"] for row in rows], dtype=bool),
        ms_per_photo=_measure_latency(model, photos),
        where=tuple(_where(row["candidates"][0]) for row in rows),
        answers=tuple(rows),
    )


def _measure_latency(model: ServedModel, photos: Sequence[Photo]) -> float:
    """Median over a few photos spread over all; the model is warm from answering them."""
    spread = photos[:: max(1, len(photos) // _TIMED_PHOTOS)]
    seconds = []
    for photo in spread:
        frame = pd.DataFrame({"image": [photo.path.read_bytes()]})
        started = time.perf_counter()
        model.predict(frame)
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds))


def _where(candidate: Mapping[str, Any]) -> str:
    return ", ".join(part for part in (candidate.get("city"), candidate.get("country")) if part)


def _probabilities(
    rows: Sequence[dict[str, Any]], photos: Sequence[Photo], names: Sequence[str]
) -> NDArray[np.float64]:
    index = {name: position for position, name in enumerate(names)}
    probabilities = np.zeros((len(rows), len(names)))
    for position, (row, photo) in enumerate(zip(rows, photos, strict=True)):
        if row["error"] is not None:
            raise ValueError(f"the model refused {photo.path}: {row['error']['reason']}")
        for candidate in row["candidates"]:
            if candidate["landmark"] not in index:
                raise ValueError(
                    f"the model answers {photo.path} with {candidate['landmark']!r}, which is none"
                    f" of the {len(names)} landmarks; evaluate it on the data it was trained for"
                )
            probabilities[position, index[candidate["landmark"]]] = candidate["confidence"]
    return probabilities


def summarize(evaluation: Evaluation) -> dict[str, float]:
    """Metrics of an evaluation by name, without a prefix; intervals are 95%."""
    shows = evaluation.shows_landmark
    labels, scores = evaluation.labels[shows], evaluation.probabilities[shows]
    top1 = metrics.accuracy(scores, labels)
    low, high = metrics.wilson_interval(top1, len(labels))
    top3 = metrics.accuracy(scores, labels, 3)
    low3, high3 = metrics.wilson_interval(top3, len(labels))
    summary = {
        "top1": top1,
        "top1_low": low,
        "top1_high": high,
        "top3": top3,
        "top3_low": low3,
        "top3_high": high3,
        "top5": metrics.accuracy(scores, labels, 5),
        "macro_f1": metrics.macro_f1(labels, scores.argmax(axis=1)),
        "ece": metrics.expected_calibration_error(
            evaluation.confidence[shows], evaluation.correct[shows]
        ),
        "gap": metrics.global_average_precision(
            evaluation.confidence, evaluation.correct, int(shows.sum())
        ),
        "landmarks_tagged": float(evaluation.accepted[shows].mean()),
        "photos": float(len(labels)),
        "distractors": float((~shows).sum()),
        "ms_per_photo": evaluation.ms_per_photo,
    }
    if not shows.all():
        rejected = metrics.rejection(
            evaluation.landmark_scores[shows], evaluation.landmark_scores[~shows]
        )
        summary |= rejected | {"distractors_tagged": float(evaluation.accepted[~shows].mean())}
    return summary


def per_class(evaluation: Evaluation) -> pd.DataFrame:
    """Precision, recall and f1 of each class over the photos that show a landmark."""
    shows = evaluation.shows_landmark
    return metrics.per_class_table(
        evaluation.labels[shows], evaluation.predictions[shows], evaluation.classes
    )


def mistakes(evaluation: Evaluation) -> list[Mistake]:
    """Wrong answers on landmark photos, the most confident first."""
    wrong = np.flatnonzero(evaluation.shows_landmark & ~evaluation.correct)
    order = wrong[np.argsort(-evaluation.confidence[wrong], kind="stable")]
    return [
        Mistake(
            path=evaluation.photos[row].path,
            label=evaluation.classes[evaluation.labels[row]],
            prediction=evaluation.classes[evaluation.predictions[row]],
            confidence=float(evaluation.confidence[row]),
        )
        for row in order
    ]


def sample_answers(evaluation: Evaluation, most: int = 12) -> list[Answer]:
    """Answer for the first test photo of each of the first classes."""
    labels = evaluation.labels
    rows = [np.flatnonzero(labels == label) for label in range(len(evaluation.classes))]
    return [
        Answer(
            path=evaluation.photos[found[0]].path,
            landmark=evaluation.classes[evaluation.predictions[found[0]]],
            confidence=float(evaluation.confidence[found[0]]),
            where=evaluation.where[found[0]],
            correct=bool(evaluation.correct[found[0]]),
        )
        for found in rows
        if len(found)
    ][:most]


def answers_table(evaluation: Evaluation) -> pd.DataFrame:
    """One row a photo: content hash, label, prediction, confidence, scores; for later tests."""
    names = [*evaluation.classes, ""]
    return pd.DataFrame(
        {
            "sha256": [photo.sha256 for photo in evaluation.photos],
            "label": [names[label] for label in evaluation.labels],
            "prediction": [evaluation.classes[best] for best in evaluation.predictions],
            "confidence": evaluation.confidence,
            "landmark_score": evaluation.landmark_scores,
            "accepted": evaluation.accepted,
            "correct": evaluation.correct,
        }
    )

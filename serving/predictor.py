"""Photos to predictions with an exported artifact: what the served model, app and tagger share.

Needs numpy, PIL and openvino, nothing that trains.
"""

from __future__ import annotations

import json
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

import numpy as np

from landmark_ml.graph import Graph
from landmark_ml.photos import PhotoError, decode_photo, read_location
from landmark_ml.preprocessing import Preprocessing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

SCHEMA_VERSION = 1
DEFAULT_TOP_K = 5
_BATCH = 32

_Decoded: TypeAlias = "NDArray[np.uint8] | PhotoError"


class Candidate(TypedDict):
    """One landmark a photo may show."""

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
    """Answer for one photo; for a refused photo all is null but `error`."""

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


@dataclass(frozen=True)
class Scores:
    """What the network says of one photo: probabilities float32 [classes], landmark score."""

    probabilities: NDArray[np.float32]
    landmark_score: float


@dataclass(frozen=True)
class Metadata:
    """What an artifact says of itself."""

    classes: tuple[str, ...]
    names: tuple[str, ...]
    places: tuple[dict[str, Any] | None, ...]
    preprocessing: Preprocessing
    threshold: float
    precision: str
    run_id: str

    @classmethod
    def read(cls, path: Path) -> Metadata:
        """Metadata of an artifact folder.

        Raises ValueError for another schema version, KeyError naming a missing field.
        """
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"{path.name} has schema version {values.get('schema_version')} and this code reads"
                f" {SCHEMA_VERSION}; export the model again with this version"
            )
        return cls(
            classes=tuple(row["landmark"] for row in values["classes"]),
            names=tuple(row["name"] for row in values["classes"]),
            places=tuple(row["place"] for row in values["classes"]),
            preprocessing=Preprocessing.from_dict(values["preprocessing"]),
            threshold=float(values["threshold"]),
            precision=str(values["precision"]),
            run_id=str(values["run_id"]),
        )


class Predictor:
    """Answers for photos; safe to call from several threads."""

    def __init__(self, graph: Graph, metadata: Metadata) -> None:
        self.graph = graph
        self.metadata = metadata
        self._decoders = ThreadPoolExecutor(thread_name_prefix="decode")

    @classmethod
    def load(cls, folder: Path, *, threads: int = 0) -> Predictor:
        """Predictor of an artifact folder with `model.onnx` and `metadata.json`."""
        metadata = Metadata.read(folder / "metadata.json")
        graph = Graph.load(folder / "model.onnx", precision=metadata.precision, threads=threads)
        return cls(graph, metadata)

    def predict(
        self, photos: Sequence[bytes], *, top_k: int = DEFAULT_TOP_K, threshold: float | None = None
    ) -> list[Prediction]:
        """One answer for each photo, in order; a refused photo leaves the others alone.

        Raises ValueError for a top_k below 1 or a threshold outside 0 to 1.
        """
        if top_k < 1:
            raise ValueError(f"top_k is {top_k}; give 1 or more")
        limit = self.metadata.threshold if threshold is None else threshold
        if not 0 <= limit <= 1:
            raise ValueError(f"threshold is {limit}; give a number from 0 to 1")
        answers: list[Prediction] = []
        for photo, scores in zip(photos, self.score(photos), strict=True):
            if isinstance(scores, PhotoError):
                answers.append(_refused(scores))
            else:
                answers.append(self._answer(photo, scores, top_k, limit))
        return answers

    def score(self, photos: Sequence[bytes]) -> list[Scores | PhotoError]:
        """Probabilities of all classes for each photo, or why it was refused."""
        found: list[Scores | PhotoError] = []
        ahead = self._submit(photos[:_BATCH])
        for start in range(0, len(photos), _BATCH):
            decoded = [future.result() for future in ahead]
            # The next photos decode while this batch runs through the network.
            ahead = self._submit(photos[start + _BATCH : start + 2 * _BATCH])
            found += self._run(decoded)
        return found

    def _submit(self, photos: Sequence[bytes]) -> list[Future[_Decoded]]:
        return [self._decoders.submit(self._read, photo) for photo in photos]

    def _read(self, photo: bytes) -> _Decoded:
        preprocessing = self.metadata.preprocessing
        try:
            return preprocessing.pixels(decode_photo(photo, min_side=preprocessing.resize))
        except PhotoError as error:
            return error

    def _run(self, decoded: Sequence[_Decoded]) -> list[Scores | PhotoError]:
        readable = [pixels for pixels in decoded if not isinstance(pixels, PhotoError)]
        if not readable:
            return [item for item in decoded if isinstance(item, PhotoError)]
        outputs = self.graph.run(np.stack(readable))
        rows = zip(outputs["probabilities"], outputs["landmark_score"], strict=True)
        return [
            item if isinstance(item, PhotoError) else Scores(*_plain(next(rows)))
            for item in decoded
        ]

    def _answer(self, photo: bytes, scores: Scores, top_k: int, threshold: float) -> Prediction:
        order = np.argsort(-scores.probabilities, kind="stable")[:top_k]
        candidates = [self._candidate(int(index), scores) for index in order]
        best = candidates[0]
        is_landmark = scores.landmark_score >= threshold
        located = best if is_landmark and best["latitude"] is not None else None
        latitude, longitude = (located["latitude"], located["longitude"]) if located else (None,) * 2
        real = read_location(photo)
        if real is not None:
            latitude, longitude = real
        return Prediction(
            landmark=best["landmark"] if is_landmark else None,
            confidence=best["confidence"],
            is_landmark=is_landmark,
            landmark_score=scores.landmark_score,
            latitude=latitude,
            longitude=longitude,
            city=best["city"] if is_landmark else None,
            country=best["country"] if is_landmark else None,
            tags=best["tags"] if is_landmark else [],
            candidates=candidates,
            location_source="exif" if real else "landmark" if located else None,
            error=None,
        )

    def _candidate(self, index: int, scores: Scores) -> Candidate:
        place = self.metadata.places[index] or {}
        return Candidate(
            landmark=self.metadata.names[index],
            confidence=float(scores.probabilities[index]),
            latitude=place.get("latitude"),
            longitude=place.get("longitude"),
            city=place.get("city"),
            country=place.get("country"),
            tags=list(place.get("tags", ())),
        )


def _plain(row: tuple[NDArray[np.float32], np.float32]) -> tuple[NDArray[np.float32], float]:
    return row[0], float(row[1])


def _refused(error: PhotoError) -> Prediction:
    empty: dict[str, Any] = dict.fromkeys(Prediction.__annotations__)
    empty["error"] = Refusal(code=error.code, reason=error.reason)
    return Prediction(**empty)  # type: ignore[typeddict-item]

"""Photos to predictions with an exported artifact: what the served model, app and tagger share.

Needs numpy, PIL and openvino, nothing that trains.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from landmark_ml.inference.areas import Areas
from landmark_ml.inference.artifact import (
    ATTENTION,
    GRAPH_FILE,
    LANDMARK_SCORE,
    METADATA_FILE,
    PROBABILITIES,
    SCHEMA_VERSION,
)
from landmark_ml.inference.cpus import usable_cpus
from landmark_ml.inference.photos import PhotoError, read_location
from landmark_ml.inference.prediction import Candidate, Prediction, answer, refuse
from landmark_ml.inference.preprocessing import Preprocessing
from landmark_ml.inference.runtime import Graph

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

DEFAULT_TOP_K = 5
_BATCH = 2


@dataclass(frozen=True)
class Scores:
    """What is known of one photo.

    probabilities: float32 [classes]; landmark_score: 0 to 1, that it shows one of them;
    location: (latitude, longitude) in degrees from its EXIF, if any; attention: float32 [h, w],
    how much each place of the pixels spoke for the best landmark, None where a network cannot tell.
    """

    probabilities: NDArray[np.float32]
    landmark_score: float
    location: tuple[float, float] | None
    attention: NDArray[np.float32] | None = None


@dataclass(frozen=True)
class _Decoded:
    pixels: NDArray[np.uint8]
    location: tuple[float, float] | None


_Read: TypeAlias = _Decoded | PhotoError


@dataclass(frozen=True)
class Metadata:
    """What an artifact says of itself."""

    classes: tuple[str, ...]
    names: tuple[str, ...]
    places: tuple[dict[str, Any] | None, ...]
    preprocessing: Preprocessing
    threshold: float
    min_confidence: float
    precision: str
    run_id: str

    @classmethod
    def read(cls, path: Path) -> Metadata:
        """Metadata of an artifact folder.

        Raises ValueError for another schema version or a missing field, FileNotFoundError for a
        missing file.
        """
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.get("schema_version") != SCHEMA_VERSION:
            raise ValueError(
                f"{path} has schema version {values.get('schema_version')} and this code reads"
                f" {SCHEMA_VERSION}; export the model again with this version"
            )
        try:
            return cls._from_dict(values)
        except KeyError as error:
            raise ValueError(f"{path} lacks {error}; export the model again") from None

    @classmethod
    def _from_dict(cls, values: dict[str, Any]) -> Metadata:
        return cls(
            classes=tuple(row["landmark"] for row in values["classes"]),
            names=tuple(row["name"] for row in values["classes"]),
            places=tuple(row["place"] for row in values["classes"]),
            preprocessing=Preprocessing.from_dict(values["preprocessing"]),
            threshold=float(values["threshold"]),
            min_confidence=float(values["min_confidence"]),
            precision=str(values["precision"]),
            run_id=str(values["run_id"]),
        )


class Predictor:
    """Answers for photos; safe to call from several threads."""

    def __init__(
        self, graph: Graph, batch_graph: Graph, metadata: Metadata, threads: int = 0
    ) -> None:
        self.metadata = metadata
        self._areas = Areas(metadata.places, metadata.min_confidence)
        self.graph = graph
        self.batch_graph = batch_graph
        # A photo may take hundreds of MB while it is decoded: never more of them than cores.
        workers = threads or usable_cpus()
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix="predict")

    @classmethod
    def load(cls, folder: Path, *, threads: int = 0) -> Predictor:
        """Predictor of an artifact folder with `model.onnx` and `metadata.json`.

        threads: cores it may keep busy; 0: all of them.

        Raises FileNotFoundError when one of them is missing, ValueError when it cannot be read.
        """
        metadata = Metadata.read(folder / METADATA_FILE)
        # All cores on one photo answer it soonest; a photo a core answers the most photos.
        graphs = [
            Graph.load(
                folder / GRAPH_FILE,
                precision=metadata.precision,
                threads=threads,
                streams=streams,
            )
            for streams in (1, threads or usable_cpus())
        ]
        return cls(graphs[0], graphs[1], metadata, threads)

    def warm_up(self) -> None:
        """Run the network once, so that the first photo need not wait for its memory layout."""
        side = self.metadata.preprocessing.resolution
        self.graph.run(np.zeros((1, side, side, 3), dtype=np.uint8))

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
        return [self.answer(scores, top_k, limit) for scores in self.score(photos)]

    def answer(self, scores: Scores | PhotoError, top_k: int, threshold: float) -> Prediction:
        """Answer for what `score` found of one photo."""
        if isinstance(scores, PhotoError):
            return refuse(scores)
        return answer(
            self._candidates(scores, top_k),
            scores.landmark_score,
            threshold,
            scores.location,
            self._areas.find(scores.probabilities),
        )

    def score(self, photos: Sequence[bytes]) -> list[Scores | PhotoError]:
        """Probabilities of all classes for each photo, or why it was refused."""
        if len(photos) == 1:
            # Handing a single photo to another thread costs more than it saves.
            return self._read_and_run(photos, self.graph)
        chunks = [photos[start : start + _BATCH] for start in range(0, len(photos), _BATCH)]
        found = self._workers.map(lambda chunk: self._read_and_run(chunk, self.batch_graph), chunks)
        return [scores for chunk in found for scores in chunk]

    def _read_and_run(self, photos: Sequence[bytes], graph: Graph) -> list[Scores | PhotoError]:
        read = [self._read(photo) for photo in photos]
        readable = [item.pixels for item in read if isinstance(item, _Decoded)]
        outputs = graph.run(np.stack(readable)) if readable else {}
        attention = outputs.get(ATTENTION, [None] * len(readable))
        answers = (outputs.get(name, ()) for name in (PROBABILITIES, LANDMARK_SCORE))
        rows = zip(*answers, attention, strict=True)
        return [
            item if isinstance(item, PhotoError) else _scores(next(rows), item.location)
            for item in read
        ]

    def _read(self, photo: bytes) -> _Read:
        try:
            return _Decoded(self.metadata.preprocessing.read(photo), read_location(photo))
        except PhotoError as error:
            return error

    def _candidates(self, scores: Scores, top_k: int) -> list[Candidate]:
        order = np.argsort(-scores.probabilities, kind="stable")[:top_k]
        return [self._candidate(index, scores) for index in order.tolist()]

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


def _scores(
    row: tuple[NDArray[np.float32], np.float32, NDArray[np.float32] | None],
    location: tuple[float, float] | None,
) -> Scores:
    probabilities, landmark_score, attention = row
    return Scores(probabilities, float(landmark_score), location, attention)

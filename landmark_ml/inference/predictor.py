"""Turn photos into predictions with an artifact. The served model, the app and the tagger use it.

The artifact is a folder with `model.onnx` and `metadata.json`; `networks.export` writes it. Needs
numpy, PIL and openvino, nothing that trains.
"""

from __future__ import annotations

import functools
import json
import logging
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import BoundedSemaphore
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landmark_ml.inference.photos import PhotoError, read_location
from landmark_ml.inference.prediction import Areas, Prediction, answer, candidate, refused
from landmark_ml.inference.preprocessing import Preprocessing
from landmark_ml.inference.runtime import Runtime, has_bf16, usable_cpus

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 2
"""Raise it when this code can no longer read artifacts written by an older version."""

ARTIFACT = "landmark_model"
"""Name of the artifact folder inside a logged model."""
GRAPH_FILE = "model.onnx"
METADATA_FILE = "metadata.json"

INPUT_COLUMN = "image"
"""Column of photos that the served model takes."""
PROBABILITIES, LANDMARK_SCORE = "probabilities", "landmark_score"
EMBEDDING, ATTENTION = "embedding", "attention"
"""Outputs of the network; `attention` is missing where the network cannot compute it."""

DEFAULT_TOP_K = 5
DEFAULT_THRESHOLD = -1.0
"""Value of the served model's `threshold` parameter that stands for its own threshold."""


@dataclass(frozen=True)
class Scores:
    """What the network says about one photo.

    probabilities: float32 [classes]. landmark_score: how sure it is that the photo shows one of
    them: the share of photos of known landmarks that score lower, from 0 to 1. location:
    (latitude, longitude) in degrees from the photo's EXIF, if any. attention: float32 [h, w], how
    much each part of the pixels spoke for the best landmark, or None where the network cannot
    compute it.
    """

    probabilities: NDArray[np.float32]
    landmark_score: float
    location: tuple[float, float] | None
    attention: NDArray[np.float32] | None = None


class Predictor:
    """Answers for photos. Safe to call from several threads.

    runtime answers a photo that comes alone, batch_runtime many at once.
    """

    def __init__(
        self, runtime: Runtime, batch_runtime: Runtime, metadata: Metadata, threads: int = 0
    ) -> None:
        self.metadata = metadata
        self._areas = Areas(metadata.places, metadata.min_confidence)
        self.runtime = runtime
        self.batch_runtime = batch_runtime
        cores = threads or usable_cpus()
        # One more than cores, so that a photo is decoded while the network computes the others.
        self._workers = ThreadPoolExecutor(cores + 1, thread_name_prefix="predict")
        # Decoding a photo may take hundreds of MB, so decode at most one per core at a time.
        self._decoding = BoundedSemaphore(cores)
        # An entry for each photo in progress. Threads may change a deque at the same time.
        self._busy: deque[None] = deque()

    @classmethod
    def load(cls, folder: Path, *, threads: int = 0) -> Predictor:
        """Load an artifact folder.

        threads: cores to use; 0: all of them. A network in bf16 answers in f32, and the log says
        so, where the processor has no bf16 instructions.

        Raises FileNotFoundError when one of its files is missing, ValueError when one cannot be
        read.
        """
        metadata = Metadata.read(folder / METADATA_FILE)
        precision = metadata.precision
        if precision == "bf16" and not has_bf16():
            precision = "f32"
            same = metadata.f32_agreement
            logger.warning(
                "%s was tested in bf16, and this processor has no instructions for it: it answers"
                " in f32; when it was exported, %s of the validation photos got the same answer",
                folder,
                "an unknown share" if same is None else f"{same:.1%}",
            )
        # All cores on one photo give the lowest latency; one photo per core the most throughput.
        single, batch = (
            Runtime(folder / GRAPH_FILE, precision=precision, threads=threads, streams=streams)
            for streams in (1, threads or usable_cpus())
        )
        return cls(single, batch, metadata, threads)

    def warm_up(self) -> None:
        """Run the network once, so that the first photo does not wait for memory to be set up."""
        side = self.metadata.preprocessing.resolution
        self.runtime.run(np.zeros((1, side, side, 3), dtype=np.uint8))

    def predict(
        self, photos: Sequence[bytes], *, top_k: int = DEFAULT_TOP_K, threshold: float | None = None
    ) -> list[Prediction]:
        """Answer each photo, in order. A photo that is refused does not affect the others.

        threshold: None takes the model's. Raises ValueError for a top_k below 1 or a threshold
        outside 0 to 1.
        """
        if top_k < 1:
            raise ValueError(f"top_k is {top_k}; give 1 or more")
        limit = self.metadata.threshold if threshold is None else threshold
        if not 0 <= limit <= 1:
            raise ValueError(f"threshold is {limit}; give a number from 0 to 1")
        return [self.answer(scores, top_k, limit) for scores in self.score(photos)]

    def answer(self, scores: Scores | PhotoError, top_k: int, threshold: float) -> Prediction:
        """Turn the scores of one photo into its answer."""
        if isinstance(scores, PhotoError):
            return refused(scores.code, scores.reason)
        chances = scores.probabilities
        # Only what may be among them is sorted: all of 10,000 landmarks would take 0.8 ms.
        most = min(top_k, len(chances))
        likely = np.flatnonzero(chances >= np.partition(chances, -most)[-most])
        order = likely[np.argsort(-chances[likely], kind="stable")]
        candidates = [
            candidate(
                self.metadata.names[index], float(chances[index]), self.metadata.places[index]
            )
            for index in order[:top_k].tolist()
        ]
        area = self._areas.find(chances)
        return answer(candidates, scores.landmark_score, threshold, scores.location, area)

    def score(self, photos: Sequence[bytes]) -> list[Scores | PhotoError]:
        """Compute the scores of each photo, or say why it was refused."""
        if len(photos) == 1:
            # Handing a single photo to another thread takes longer than it saves.
            return [self._score(photos[0])]
        return list(self._workers.map(self._score, photos))

    def _score(self, photo: bytes) -> Scores | PhotoError:
        self._busy.append(None)
        try:
            with self._decoding:
                pixels = self.metadata.preprocessing.read(photo)
                location = read_location(photo)
            # All cores on a photo that is alone; with others in progress, a core a photo.
            runtime = self.runtime if len(self._busy) == 1 else self.batch_runtime
            found = runtime.run(pixels[np.newaxis])
        except PhotoError as error:
            return error
        finally:
            self._busy.pop()
        outputs = {name: rows[0] for name, rows in found.items()}
        score = float(outputs[LANDMARK_SCORE])
        return Scores(outputs[PROBABILITIES], score, location, outputs.get(ATTENTION))


@dataclass(frozen=True)
class Metadata:
    """Everything in an artifact beside the network.

    names: what answers call each class. places: a gazetteer entry for each class, or None.
    threshold: lowest landmark score of a landmark. expected: see `what_to_expect`. min_confidence:
    see `Areas`. precision: of the network, f32 or bf16. f32_agreement: of a network in bf16, share
    of validation photos with the same answer in f32.
    """

    classes: tuple[str, ...]
    names: tuple[str, ...]
    places: tuple[dict[str, Any] | None, ...]
    preprocessing: Preprocessing
    threshold: float
    expected: dict[str, float]
    min_confidence: float
    precision: str
    f32_agreement: float | None
    run_id: str

    @functools.cached_property
    def country_codes(self) -> dict[str, str]:
        """ISO 3166-1 alpha-2 code of each country by the name that answers give it."""
        places = [place or {} for place in self.places]
        return {p["country"]: p["country_code"] for p in places if p.get("country_code")}

    @classmethod
    def read(cls, path: Path) -> Metadata:
        """Read `metadata.json`.

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
            return cls(
                classes=tuple(row["landmark"] for row in values["classes"]),
                names=tuple(row["name"] for row in values["classes"]),
                places=tuple(row["place"] for row in values["classes"]),
                preprocessing=Preprocessing.from_dict(values["preprocessing"]),
                threshold=float(values["threshold"]),
                # Missing in artifacts written by an older version.
                expected=dict(values.get("expected", {})),
                min_confidence=float(values["min_confidence"]),
                precision=str(values["precision"]),
                f32_agreement=values.get("f32_agreement"),
                run_id=str(values["run_id"]),
            )
        except KeyError as error:
            raise ValueError(f"{path} lacks {error}; export the model again") from None


def what_to_expect(expected: Mapping[str, float]) -> str:
    """Say which photos a model tags by its own threshold, and what was not measured.

    expected: share tagged of photos of `landmarks` that it knows, of landmarks it never learned
    (`unseen`) and of everyday photos (`distractors`).
    """
    kinds = {
        "landmarks": "landmarks it knows",
        "unseen": "landmarks it never learned",
        "distractors": "no landmark",
    }
    said = [
        f"{expected[kind]:.1%} of photos of {text}"
        for kind, text in kinds.items()
        if kind in expected
    ]
    if not said:
        return "how often this model tags what it does not know was never measured: train it again"
    sentences = [f"tags {', '.join(said)}"]
    if "unseen" not in expected:
        sentences.append("how many of landmarks it never learned was not measured")
    if "distractors" not in expected:
        sentences.append(
            "it had too few everyday photos to measure how many of those it tags: add a folder"
            " not_landmarks/ with a few hundred ordinary photos, which also lowers it"
        )
    return "; ".join(sentences)

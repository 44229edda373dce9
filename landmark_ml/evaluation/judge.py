"""The judge: which photos a model is judged on, what it answers, and how good that is."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support

from landmark_ml.config import DataConfig, user_path
from landmark_ml.console import Bar
from landmark_ml.data import NOT_A_LANDMARK, Dataset, Photo, read_manifest
from landmark_ml.data.near_duplicates import Learned
from landmark_ml.data.opening import chosen_part, find_root, open_dataset
from landmark_ml.data.tables import GLDV2_CATEGORIES
from landmark_ml.evaluation.metrics import measure
from landmark_ml.evaluation.model_process import ServedProcess
from landmark_ml.evaluation.robustness import measure_robustness
from landmark_ml.evaluation.significance import wilson_interval
from landmark_ml.geo.gazetteer import Gazetteer, Place, great_circle_km

Answer = Mapping[str, Any]

logger = logging.getLogger(__name__)

_EVERY_CANDIDATE = 1_000_000
_TOP = 5
"""Candidates asked for: all that top-5 needs, however many landmarks the model knows."""
_BATCH, _TIMED_BATCH = 64, 32


@dataclass(frozen=True)
class JudgeOptions:
    """How much is measured.

    unseen_apart: landmarks that the model does not know are judged apart, as photos that it should
    not tag; False: a model has to know exactly the classes of the photos. resamples: for the
    bootstrap intervals; 0 leaves those out. corrupted_photos: photos for each corruption; 0: none.
    timed_photos: photos to time, at most.
    """

    unseen_apart: bool = False
    resamples: int = 0
    corrupted_photos: int = 0
    timed_photos: int = 30
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Report:
    """A model judged on photos.

    metrics: by the names of `METRICS`, 95% intervals as `<name>_low` and `<name>_high`.
    corruptions: top-1 of each, the table of `measure_robustness`; empty when not measured.
    """

    metrics: dict[str, float]
    predictions: Predictions
    corruptions: pd.DataFrame


def judge(
    model: ServedModel,
    photos: Sequence[Photo],
    classes: Sequence[str],
    gazetteer: Gazetteer,
    options: JudgeOptions | None = None,
) -> Report:
    """Judge a model on photos; classes: what their labels mean.

    Raises ValueError when the model knows none of the landmarks or refuses a photo.
    """
    options = options or JudgeOptions()
    known, names = list(photos), gazetteer.shown_names(classes)
    unseen: list[Photo] = []
    if options.unseen_apart:
        known, unseen, classes, names = match_names(model, photos, classes, gazetteer)
    predictions = predict(model, known, classes, names, gazetteer)
    if unseen:
        apart = predict(model, unseen, classes, names, gazetteer)
        predictions = replace(predictions, unseen=apart)
    corruptions, measured = pd.DataFrame(), dict[str, float]()
    if options.corrupted_photos:
        landmarks = [photo for photo in known if photo.label != NOT_A_LANDMARK]
        corruptions = measure_robustness(
            model, landmarks, names, options.corrupted_photos, options.seed
        )
        for name, _, *row in corruptions.itertuples(index=False):
            ends = ("", "_low", "_high")
            measured |= {f"top1_{name}{end}": value for end, value in zip(ends, row, strict=True)}
        harmed = corruptions["top1"][corruptions["corruption"] != "clean"]
        measured["top1_corrupted"] = float(harmed.mean())
    return Report(
        measure(predictions, resamples=options.resamples, seed=options.seed)
        | measured
        | measure_latency(model, known, options.timed_photos),
        predictions,
        corruptions,
    )


def match_names(
    model: ServedModel, photos: Sequence[Photo], classes: Sequence[str], gazetteer: Gazetteer
) -> tuple[list[Photo], list[Photo], list[str], list[str]]:
    """Photos of landmarks the model knows and of those it never learned, by their names.

    Returns the two with labels that index the classes returned next, those the model knows, and
    the classes as its answers spell them. Photos of no landmark are among the first.
    """
    first = pd.DataFrame({"image": [photos[0].path.read_bytes()]})
    answer = model.predict(first, params={"top_k": _EVERY_CANDIDATE}).iloc[0]
    known = {candidate["landmark"] for candidate in answer["candidates"] or ()}
    some = f"{', '.join(sorted(known)[:5])} …"
    names = []
    for label, shown in zip(classes, gazetteer.shown_names(classes), strict=True):
        # A model answers with the name of a place, or with the labels if two stand at one place.
        place = gazetteer.find(label)
        ways = (shown, label, place.name if place else label)
        names.append(next((way for way in ways if way in known), shown))
    if not known & set(names):
        raise ValueError(
            f"the model knows none of the {len(names)} landmarks of these photos; it answers with"
            f" {some}; evaluate it on photos of those, with the same places"
        )
    # Two labels of one place are one class to a model that learned one of them.
    matched: dict[str, str] = {}
    for label, name in zip(classes, names, strict=True):
        if name in known:
            matched.setdefault(name, label)
    # Landmarks that the model knows and no photo shows can be answered too, and then are wrong.
    matched |= {name: name for name in sorted(known - set(names))}
    position = {name: index for index, name in enumerate(matched)}
    relabelled: dict[bool, list[Photo]] = {True: [], False: []}
    for photo in photos:
        shows = photo.label != NOT_A_LANDMARK
        known_as = position.get(names[photo.label], NOT_A_LANDMARK) if shows else NOT_A_LANDMARK
        relabelled[shows and known_as == NOT_A_LANDMARK].append(replace(photo, label=known_as))
    if not any(photo.label != NOT_A_LANDMARK for photo in relabelled[False]):
        raise ValueError(
            f"none of the {len(photos)} photos shows a landmark that the model knows, such as"
            f" {some}; add some of those"
        )
    return relabelled[False], relabelled[True], list(matched.values()), list(matched)


def measure_latency(model: ServedModel, photos: Sequence[Photo], most: int) -> dict[str, float]:
    """Latency of single photos, throughput in batches, and memory of a model of its own process.

    Times are from a photo's bytes to its answer, on at most `most` photos spread over all, after
    one that warms up.
    """
    rows = np.linspace(0, len(photos) - 1, min(len(photos), most)).round().astype(int)
    files = [photos[row].path.read_bytes() for row in rows]
    model.predict(pd.DataFrame({"image": files[:1]}))

    def seconds(some: Sequence[bytes]) -> float:
        frame = pd.DataFrame({"image": some})
        started = time.perf_counter()
        model.predict(frame)
        return time.perf_counter() - started

    single = [1000 * seconds([file]) for file in Bar(files, desc="latency")]
    batches = [files[at : at + _TIMED_BATCH] for at in range(0, len(files), _TIMED_BATCH)]
    batched = sum(map(seconds, batches))
    found = {
        "ms_per_photo": float(np.median(single)),
        "p99_ms": float(np.quantile(single, 0.99)),
        "photos_per_second": len(files) / batched,
    }
    if isinstance(model, ServedProcess):
        found |= {"peak_mb": model.peak_mb, "loaded_mb": model.loaded_mb}
    return found


@dataclass(frozen=True)
class HeldOutPhotos:
    """Photos to judge a model on, those of no landmark included.

    split: whose split was used, that of the `manifest` of the model's own run or of the `data`.
    left_out: how many were left out because the model was trained on them or chosen by them, or on
    near-duplicates of them. unchecked: what is not known about that, empty when all is.
    """

    dataset: Dataset
    photos: tuple[Photo, ...]
    split: str
    left_out: int
    unchecked: str


def choose_photos(
    config: DataConfig, manifest: Path | None, *, every: bool = False
) -> HeldOutPhotos:
    """The test photos of a dataset, or with `every` all of them, that a model did not learn from.

    manifest: split manifest of the model's run, None when it has none. The split is the one it
    records when the data is a folder of class folders, whole and uncorrected, that holds all its
    photos. Else the data is opened and split as for a training. Raises ValueError where none are
    left.
    """
    recorded = None
    _, root = find_root(config)
    listed = user_path(config.data).is_file() or (root / GLDV2_CATEGORIES).is_file()
    if manifest and not (every or listed or chosen_part(config)):
        try:
            recorded = read_manifest(manifest, root, verify=True, threads=config.threads)
        except ValueError as error:
            logger.info("the split that the model's run recorded does not fit here: %s", error)
    dataset = recorded or open_dataset(config)
    photos = dataset.photos if every else dataset.test
    learned = Learned.of(manifest)
    kept = learned.leave_out(photos) if learned else photos
    unchecked = "" if learned else "whether the model was trained on some of these photos"
    left_out = len(photos) - len(kept)
    if not any(photo.label >= 0 for photo in kept):
        raise ValueError(
            f"{dataset.name} has no photo of a landmark left to judge the model on: it was trained"
            f" on or chosen by {left_out} of {len(photos)}; give photos that it has not seen"
        )
    if left_out:
        logger.warning(
            "%d of %d photos are left out: the model was trained on or chosen by them or nearly"
            " the same photos",
            left_out,
            len(photos),
        )
    split = "manifest" if recorded else "data"
    return HeldOutPhotos(dataset, kept, split, left_out, unchecked)


class ServedModel(Protocol):
    """What `mlflow.pyfunc.load_model` returns, as far as judging needs it."""

    def predict(self, data: pd.DataFrame, params: dict[str, Any] | None = None) -> Any: ...


@dataclass(frozen=True, eq=False)
class Predictions:
    """Answers of a model on N photos, some of which may show no landmark.

    labels: int [N], indices into classes or `NOT_A_LANDMARK`. best, confidence: class with the
    highest probability, int [N], and that probability, float [N]. rank: int [N], how many classes
    are more probable than the label, 5 if it is not among the first five; 0 where the answer is
    right. landmark_scores: float [N]. accepted: bool [N], answered with a landmark. kilometres:
    float [N], distance from the answered to the true place; infinite where no place was answered,
    NaN where one of the two is unknown. levels: str [N], how finely the place was answered, empty
    from models without levels. level_right: bool [N], whether the answer is right at that level.
    said, where: what the answer names, and city and country of its best candidate; empty if none.
    unseen: answers on photos of landmarks that the model never learned.
    """

    photos: tuple[Photo, ...]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    best: NDArray[np.int64]
    confidence: NDArray[np.float64]
    rank: NDArray[np.int64]
    landmark_scores: NDArray[np.float64]
    accepted: NDArray[np.bool_]
    kilometres: NDArray[np.float64]
    levels: NDArray[np.str_]
    level_right: NDArray[np.bool_]
    said: tuple[str, ...] = ()
    where: tuple[str, ...] = ()
    unseen: Predictions | None = None

    @classmethod
    def of(
        cls,
        photos: Sequence[Photo],
        classes: Sequence[str],
        names: Sequence[str],
        answers: Iterable[Answer],
        places: Sequence[Place | None],
    ) -> Predictions:
        """Compare answers with the labels; names: the classes as answers spell them.

        places: [classes]. Keeps a few numbers of each answer. Raises ValueError for a refused photo
        and for a candidate that is none of the names.
        """
        index = {name: position for position, name in enumerate(names)}
        rows = []
        for photo, answer in zip(photos, answers, strict=True):
            if answer.get("error") is not None:
                raise ValueError(f"the model refused {photo.path}: {answer['error']['reason']}")
            first, *_ = candidates = answer["candidates"]
            ranked = [index.get(found["landmark"], NOT_A_LANDMARK) for found in candidates]
            if NOT_A_LANDMARK in ranked:
                unknown = candidates[ranked.index(NOT_A_LANDMARK)]["landmark"]
                raise ValueError(
                    f"the model answers {photo.path} with {unknown!r}, which is none of the"
                    f" {len(names)} landmarks; evaluate it on the data it was trained for"
                )
            label, level = photo.label, answer.get("level") or ""
            place = places[label] if label != NOT_A_LANDMARK else None
            rows.append(
                (
                    ranked[0],
                    first["confidence"],
                    ranked.index(label) if label in ranked else len(ranked),
                    answer["landmark_score"],
                    answer["is_landmark"],
                    _kilometres(answer, place),
                    level,
                    _level_right(answer, place, ranked[0] == label),
                    answer.get(level or "landmark") or "",
                    ", ".join(filter(None, (first.get("city"), first.get("country")))),
                )
            )
        best, confidence, rank, scores, accepted, kilometres, levels, level_right, said, where = (
            zip(*rows, strict=True) if rows else [()] * 10
        )
        return cls(
            photos=tuple(photos),
            classes=tuple(classes),
            labels=np.array([photo.label for photo in photos], dtype=np.int64),
            best=np.array(best, dtype=np.int64),
            confidence=np.array(confidence, dtype=float),
            rank=np.array(rank, dtype=np.int64),
            landmark_scores=np.array(scores, dtype=float),
            accepted=np.array(accepted, dtype=bool),
            kilometres=np.array(kilometres, dtype=float),
            levels=np.array(levels, dtype=str),
            level_right=np.array(level_right, dtype=bool),
            said=said,
            where=where,
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
        return replace(self, photos=(), said=(), where=(), **chosen)

    def table(self) -> pd.DataFrame:
        """One row a photo: hash, class folder and file, label, prediction, confidence, scores."""
        names = [*self.classes, ""]
        return pd.DataFrame(
            {
                "sha256": [photo.sha256 for photo in self.photos],
                "file": [f"{photo.path.parent.name}/{photo.path.name}" for photo in self.photos],
                "label": [names[label] for label in self.labels],
                "prediction": [self.classes[best] for best in self.best],
                "confidence": self.confidence,
                "landmark_score": self.landmark_scores,
                "accepted": self.accepted,
                "correct": self.correct,
            }
        )

    def per_class(self) -> pd.DataFrame:
        """A row a class, over landmark photos: landmark, photos, precision, recall, f1, answers.

        Precision and recall also with the ends of their 95% intervals, as `recall_low` …; answers:
        photos answered with it.
        """
        shows, size = self.shows_landmark, len(self.classes)
        labels, best = self.labels[shows], self.best[shows]
        precision, recall, f1, photos = precision_recall_fscore_support(
            labels, best, labels=range(size), zero_division=0.0
        )
        answers = np.bincount(best, minlength=size)
        right = np.bincount(labels[labels == best], minlength=size)
        columns = {"photos": photos, "precision": precision, "recall": recall, "f1": f1}
        table = pd.DataFrame({"landmark": list(self.classes), **columns, "answers": answers})
        for score, counts in (("recall", photos), ("precision", answers)):
            ends = [
                wilson_interval(*pair) if pair[1] else (0.0, 1.0)
                for pair in zip(right.tolist(), counts.tolist(), strict=True)
            ]
            table[f"{score}_low"], table[f"{score}_high"] = zip(*ends, strict=True)
        return table


def predict(
    model: ServedModel,
    photos: Sequence[Photo],
    classes: Sequence[str],
    names: Sequence[str],
    gazetteer: Gazetteer,
) -> Predictions:
    """Ask a model about each photo; names are the classes as its answers spell them.

    Raises ValueError when the model refuses a photo or answers with unknown names.
    """

    def answers() -> Iterator[Answer]:
        with Bar(total=len(photos), desc="evaluate", unit=" photos") as progress:
            for start in range(0, len(photos), _BATCH):
                chunk = photos[start : start + _BATCH]
                frame = pd.DataFrame({"image": [photo.path.read_bytes() for photo in chunk]})
                answered = model.predict(frame, params={"top_k": _TOP})
                yield from answered.to_dict(orient="records")
                progress.update(len(chunk))

    places = [gazetteer.find(landmark) for landmark in classes]
    return Predictions.of(photos, classes, names, answers(), places)


def _kilometres(answer: Answer, place: Place | None) -> float:
    """Great-circle distance from the answered place to the true one."""
    if place is None:
        return math.nan
    if not answer["is_landmark"]:
        return math.inf
    source = answer
    if answer.get("location_source") == "exif":
        # The photo's own position is not the model's. Its answer is the best candidate of what
        # it named, which is unknown if that is not among the first; a country alone is no place.
        level, candidates = answer.get("level", "landmark"), answer["candidates"]
        if level == "country":
            return math.inf
        if level == "city":
            candidates = [found for found in candidates if found["city"] == answer["city"]]
        if not candidates:
            return math.nan
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

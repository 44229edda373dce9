"""The judge: asks a served model about photos and measures how good its answers are."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from landmark_ml.data import NOT_A_LANDMARK
from landmark_ml.evaluation.metrics import measure
from landmark_ml.evaluation.model_process import ServedProcess
from landmark_ml.evaluation.predictions import predict
from landmark_ml.evaluation.robustness import measure_robustness

if TYPE_CHECKING:
    from collections.abc import Sequence

    from landmark_ml.data import Photo
    from landmark_ml.evaluation.predictions import Predictions, ServedModel
    from landmark_ml.geo.gazetteer import Gazetteer

_EVERY_CANDIDATE = 1_000_000
_BATCH = 32


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
    if not photos:
        raise ValueError("there are 0 photos to evaluate on; give a split that has some")
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

    single = [1000 * seconds([file]) for file in tqdm(files, desc="latency", delay=1)]
    batched = sum(seconds(files[at : at + _BATCH]) for at in range(0, len(files), _BATCH))
    median = float(np.median(single))
    found = {
        "ms_per_photo": median,
        # What older evaluations call it.
        "p50_ms": median,
        "p99_ms": float(np.quantile(single, 0.99)),
        "photos_per_second": len(files) / batched,
    }
    if isinstance(model, ServedProcess):
        found |= {"peak_mb": model.peak_mb, "loaded_mb": model.loaded_mb}
    return found

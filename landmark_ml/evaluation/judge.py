"""All that is measured of a served model on some photos: metrics, intervals and tables."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from landmark_ml.data import NOT_A_LANDMARK
from landmark_ml.evaluation import metrics
from landmark_ml.evaluation.latency import measure_costs
from landmark_ml.evaluation.location import kilometres_off, level_metrics
from landmark_ml.evaluation.metric_intervals import metric_intervals
from landmark_ml.evaluation.predictions import (
    Evaluation,
    answers_table,
    evaluate_served,
    per_class,
    summarize,
)
from landmark_ml.evaluation.robustness import measure_robustness

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from numpy.typing import NDArray

    from landmark_ml.data import Photo
    from landmark_ml.evaluation.model_process import ServedProcess
    from landmark_ml.geo.gazetteer import Gazetteer

_EVERY_CANDIDATE = 1_000_000


@dataclass(frozen=True)
class JudgeOptions:
    """How much is measured: photos of each corruption (0: none), resamples of the bootstrap."""

    corrupted_photos: int = 200
    resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True, eq=False)
class EvaluationReport:
    """A model judged on photos.

    metrics: by name without prefix, 95% intervals as `<name>_low` and `<name>_high`. answers: one
    row a photo that shows a landmark the model knows, or none; the table of
    `evaluation.answers_table`. classes: precision, recall and f1 of each landmark. corruptions:
    top-1 of each, empty when not measured. kilometres: those of `placement.kilometres_off`.
    unseen: answers on photos of landmarks the model never learned, or None.
    """

    metrics: dict[str, float]
    answers: pd.DataFrame
    classes: pd.DataFrame
    corruptions: pd.DataFrame
    kilometres: NDArray[np.float64]
    evaluation: Evaluation
    unseen: Evaluation | None


def judge(
    model: ServedProcess,
    photos: Sequence[Photo],
    classes: Sequence[str],
    gazetteer: Gazetteer,
    options: JudgeOptions | None = None,
) -> EvaluationReport:
    """Ask a model about photos and measure everything that its answers tell.

    classes: what the labels of the photos mean. Photos of landmarks that the model does not know
    are judged apart. Raises ValueError when it knows none of them or refuses a photo.
    """
    options = options or JudgeOptions()
    sides = _match_names(model, photos, classes, gazetteer)
    evaluation = evaluate_served(model, sides.known, sides.classes, sides.names)
    unseen = (
        evaluate_served(model, sides.unseen, sides.classes, sides.names) if sides.unseen else None
    )
    corruptions = _robustness(model, sides, options)
    kilometres = kilometres_off(evaluation, gazetteer)
    measured = {
        **summarize(evaluation),
        **_selective(evaluation),
        **metrics.location_metrics(kilometres),
        **level_metrics(evaluation, gazetteer),
        **_against_unseen(evaluation, unseen),
        **_corruption_metrics(corruptions),
        **measure_costs(model, [photo.path for photo in sides.known]),
    }
    return EvaluationReport(
        measured | metric_intervals(evaluation, kilometres, options.resamples, options.seed),
        answers_table(evaluation),
        per_class(evaluation),
        corruptions,
        kilometres,
        evaluation,
        unseen,
    )


@dataclass(frozen=True)
class _Sides:
    known: tuple[Photo, ...]
    unseen: tuple[Photo, ...]
    classes: tuple[str, ...]
    names: tuple[str, ...]


def _match_names(
    model: ServedProcess, photos: Sequence[Photo], classes: Sequence[str], gazetteer: Gazetteer
) -> _Sides:
    """Part photos of landmarks the model knows from those it never learned, by their names."""
    if not photos:
        raise ValueError("there are 0 photos to evaluate on; give a split that has some")
    first = pd.DataFrame({"image": [photos[0].path.read_bytes()]})
    answer = model.predict(first, params={"top_k": _EVERY_CANDIDATE}).iloc[0]
    known = {candidate["landmark"] for candidate in answer["candidates"] or ()}
    names = _answered_names(classes, known, gazetteer)
    learned = [label for label, name in enumerate(names) if name in known]
    if not learned:
        raise ValueError(
            f"the model knows none of the {len(names)} landmarks of these photos; it answers with"
            f" {', '.join(sorted(known)[:5])} …; evaluate it on photos of those, with the same"
            " places"
        )
    if not any(photo.label in learned for photo in photos):
        raise ValueError(
            f"none of the {len(photos)} photos shows a landmark that the model knows, such as"
            f" {', '.join(sorted(known)[:5])} …; add some of those"
        )
    # Two labels of one place are one landmark to a model that learned one of them.
    shown = {names[label]: classes[label] for label in reversed(learned)}
    order = {
        name: index for index, name in enumerate(dict.fromkeys(names[label] for label in learned))
    }
    position = {label: order[names[label]] for label in learned}
    # Landmarks the model knows and no photo shows can still be answered, and then are wrong.
    others = sorted(known - set(names))
    relabelled = [
        replace(photo, label=position.get(photo.label, NOT_A_LANDMARK)) for photo in photos
    ]
    strange = [photo.label >= 0 and photo.label not in position for photo in photos]
    return _Sides(
        known=tuple(p for p, is_new in zip(relabelled, strange, strict=True) if not is_new),
        unseen=tuple(p for p, is_new in zip(relabelled, strange, strict=True) if is_new),
        classes=(*(shown[name] for name in order), *others),
        names=(*order, *others),
    )


def _answered_names(classes: Sequence[str], known: Set[str], gazetteer: Gazetteer) -> list[str]:
    """What a model calls each class, which answers with `known`; else the name as shown here.

    Of two landmarks that stand at one place it answers with the labels, of one with the place.
    """
    names = []
    for label, shown in zip(classes, gazetteer.shown_names(classes), strict=True):
        place = gazetteer.find(label)
        ways = (shown, label, place.name if place else label)
        names.append(next((way for way in ways if way in known), shown))
    return names


def _robustness(model: ServedProcess, sides: _Sides, options: JudgeOptions) -> pd.DataFrame:
    if not options.corrupted_photos:
        return pd.DataFrame()
    shown = [photo for photo in sides.known if photo.label != NOT_A_LANDMARK]
    return measure_robustness(model, shown, sides.names, options.corrupted_photos, options.seed)


def _selective(evaluation: Evaluation) -> dict[str, float]:
    """Area under the risk-coverage curve, and coverage at 1% and 5% risk, over all photos."""
    coverage, risk = metrics.risk_coverage(evaluation.confidence, evaluation.correct)
    found = {"aurc": float(risk.mean())}
    for percent in (1, 5):
        within = coverage[risk <= percent / 100]
        found[f"coverage_at_{percent}_percent_risk"] = float(within.max()) if len(within) else 0.0
    return found


def _against_unseen(evaluation: Evaluation, unseen: Evaluation | None) -> dict[str, float]:
    if unseen is None:
        return {}
    shown = evaluation.landmark_scores[evaluation.shows_landmark]
    found = metrics.rejection(shown, unseen.landmark_scores)
    return {
        "unseen_photos": float(len(unseen.photos)),
        "unseen_auroc": found["auroc"],
        "unseen_fpr_at_95_recall": found["fpr_at_95_recall"],
        "unseen_tagged": float(unseen.accepted.mean()),
    }


def _corruption_metrics(corruptions: pd.DataFrame) -> dict[str, float]:
    if corruptions.empty:
        return {}
    found = dict(zip(corruptions["corruption"], corruptions["top1"].astype(float), strict=True))
    harmed = [share for name, share in found.items() if name != "clean"]
    return {f"top1_{name}": share for name, share in found.items()} | {
        "top1_corrupted": float(np.mean(harmed))
    }

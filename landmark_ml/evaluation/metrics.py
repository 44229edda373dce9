"""Every metric of a judged model: its caption, its unit, and the function that computes it.

To add a metric, add an entry to `METRICS`. Training, evaluation and promotion then measure it, and
pages and the terminal show it with its caption; `on` says whether cards and comparisons do too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from landmark_ml.console import Bar
from landmark_ml.evaluation.robustness import CORRUPTIONS
from landmark_ml.evaluation.significance import Interval, wilson_interval

if TYPE_CHECKING:
    from landmark_ml.evaluation.judge import Predictions


Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]

LOCATION_LIMITS_KM = (1, 25, 200, 750, 2500)
"""Street, city, region, country and continent: Hays and Efros, IM2GPS, CVPR 2008."""

_SHARE, _SCORE, _COUNT, _MS, _MB = "{:.1%}", "{:.3f}", "{:.0f}", "{:.1f} ms", "{:.0f} MB"
_LEVELS = ("landmark", "city", "country")
_CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Metric:
    """How a metric is called, explained, computed and shown.

    of: the function that computes it; a NaN is left out of the report. None: `judge` measures it.
    form: how a value is printed, with its unit. lower: True if lower is better.
    interval: method of the 95% interval; "wilson" only for shares of all landmark photos.
    on: where it is shown. Pages of evaluations show every metric; `cards` adds cards and receipts,
    `comparisons` adds these and a column in comparisons.
    """

    caption: str
    meaning: str
    of: Callable[[Predictions], float] | None = None
    form: str = _SCORE
    lower: bool = False
    interval: Literal["wilson", "bootstrap", ""] = ""
    on: Literal["pages", "cards", "comparisons"] = "pages"


def expected_calibration_error(confidence: Floats, correct: Bools) -> float:
    """Mean gap between confidence and accuracy over equal-width bins; NaN without photos.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    if not len(confidence):
        return math.nan
    gaps = np.bincount(_bins(confidence), confidence - correct, _CALIBRATION_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def _bins(confidence: Floats) -> NDArray[np.int64]:
    bins = (confidence * _CALIBRATION_BINS).astype(np.int64)
    return bins.clip(0, _CALIBRATION_BINS - 1)


def calibration_bins(confidence: Floats, correct: Bools) -> pd.DataFrame:
    """Columns photos, confidence, accuracy, low, high: a row for each equal-width bin.

    confidence, accuracy: means; low, high: 95% interval of accuracy. NaN in a bin without photos.
    """
    bins = _bins(confidence)
    rows = []
    for index in range(_CALIBRATION_BINS):
        within = bins == index
        photos, right = int(within.sum()), int(correct[within].sum())
        low, high = wilson_interval(right, photos) if photos else (math.nan, math.nan)
        rows.append((photos, _mean(confidence[within]), _mean(correct[within]), low, high))
    return pd.DataFrame(rows, columns=["photos", "confidence", "accuracy", "low", "high"])


def global_average_precision(confidence: Floats, correct: Bools, landmarks: int) -> float:
    """Micro average precision over all answers, those on photos of no landmark included.

    confidence, correct: [N] over landmark and other photos; correct is False on the others.
    landmarks: number of photos that show one; NaN for 0. Source: Weyand et al., Google Landmarks
    Dataset v2, CVPR 2020 (the metric of the recognition challenge).
    """
    if not landmarks:
        return math.nan
    right = correct[np.argsort(-confidence, kind="stable")]
    precision = np.cumsum(right) / np.arange(1, len(right) + 1)
    return float(precision[right].sum() / landmarks)


def risk_coverage(
    confidence: Floats, correct: Bools, shows_landmark: Bools
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of landmark photos answered, and of all answers wrong, as the confidence asked falls.

    Arguments and results are [N] over photos with and without a landmark, the results from the most
    confident answer alone to all of them. Source: Geifman and El-Yaniv, Selective Classification
    for Deep Neural Networks, NeurIPS 2017.
    """
    order = np.argsort(-confidence, kind="stable")
    wrong = np.cumsum(~correct[order]) / np.arange(1, len(order) + 1)
    return np.cumsum(shows_landmark[order]) / max(1, shows_landmark.sum()), wrong


def auroc(landmark_scores: Floats, other_scores: Floats) -> float:
    """Chance that a landmark photo scores higher than another photo; NaN without both kinds."""
    if not len(landmark_scores) or not len(other_scores):
        return math.nan
    landmarks = len(landmark_scores)
    ranks = rankdata(np.r_[landmark_scores, other_scores])[:landmarks]
    above = ranks.sum() - landmarks * (landmarks + 1) / 2
    return float(above / (landmarks * len(other_scores)))


def fpr_at_95_recall(landmark_scores: Floats, other_scores: Floats) -> float:
    """Share of other photos above the score that 95% of landmark photos reach; NaN as `auroc`."""
    if not len(landmark_scores) or not len(other_scores):
        return math.nan
    recall = np.arange(1, len(landmark_scores) + 1) / len(landmark_scores)
    threshold = -np.sort(-landmark_scores)[np.argmax(recall >= 0.95)]
    return _mean(other_scores >= threshold)


def _mean(values: NDArray[np.generic]) -> float:
    return float(values.mean()) if len(values) else math.nan


def _top(k: int) -> Callable[[Predictions], float]:
    return lambda p: _mean(p.rank[p.shows_landmark] < k)


def _macro_f1(p: Predictions) -> float:
    labels, best = p.labels[p.shows_landmark], p.best[p.shows_landmark]
    # Scikit-learn's f1_score takes most of the time of a bootstrap.
    shown_or_answered = np.bincount(np.r_[labels, best])
    right = np.bincount(labels[labels == best], minlength=len(shown_or_answered))
    # A landmark that no photo shows cannot be found, only answered wrongly.
    landmarks = np.unique(labels)
    return _mean(2 * right[landmarks] / shown_or_answered[landmarks])


def _coverage(risk: float) -> Callable[[Predictions], float]:
    def coverage(p: Predictions) -> float:
        covered, wrong = risk_coverage(p.confidence, p.correct, p.shows_landmark)
        within = covered[wrong <= risk]
        return float(within.max()) if len(within) else 0.0

    return coverage


def _against(
    measure: Callable[[Floats, Floats], float], *, unseen: bool = False
) -> Callable[[Predictions], float]:
    """Compare the scores of landmark photos with those of no landmark, or of unseen ones."""

    def compared(p: Predictions) -> float:
        shows = p.shows_landmark
        if unseen:
            others = p.unseen.landmark_scores if p.unseen else np.empty(0)
        else:
            others = p.landmark_scores[~shows]
        return measure(p.landmark_scores[shows], others)

    return compared


def _within(kilometres: float) -> Callable[[Predictions], float]:
    return lambda p: _mean(p.kilometres[~np.isnan(p.kilometres)] <= kilometres)


def _median_km(p: Predictions) -> float:
    placed = p.kilometres[np.isfinite(p.kilometres)]
    return float(np.median(placed)) if len(placed) else math.nan


def _answered_at(level: str) -> Callable[[Predictions], float]:
    # Models logged before there were levels name none.
    return lambda p: _mean(p.levels[p.shows_landmark] == level) if p.levels.any() else math.nan


def _right_at(level: str) -> Callable[[Predictions], float]:
    return lambda p: _mean(p.level_right[p.shows_landmark & (p.levels == level)])


METRICS: dict[str, Metric] = {
    "top1": Metric(
        "top-1", "landmark photos answered right", _top(1), interval="wilson", on="comparisons"
    ),
    "top3": Metric(
        "top-3", "right among the first three answers", _top(3), interval="wilson", on="comparisons"
    ),
    "top5": Metric("top-5", "right among the first five answers", _top(5), interval="bootstrap"),
    "macro_f1": Metric(
        "macro F1",
        "F1 of each landmark that photos show, averaged over them",
        _macro_f1,
        interval="bootstrap",
        on="cards",
    ),
    "gap": Metric(
        "GAP",
        "global average precision of all answers ranked by confidence; photos of no landmark are"
        " distractors",
        lambda p: global_average_precision(p.confidence, p.correct, int(p.shows_landmark.sum())),
        interval="bootstrap",
        on="cards",
    ),
    "ece": Metric(
        "ECE",
        "expected calibration error: mean gap between confidence and accuracy; 0 is perfect",
        lambda p: expected_calibration_error(
            p.confidence[p.shows_landmark], p.correct[p.shows_landmark]
        ),
        lower=True,
        interval="bootstrap",
        on="comparisons",
    ),
    "aurc": Metric(
        "AURC",
        "area under the risk-coverage curve: share of wrong answers among the most confident,"
        " averaged over all shares of photos answered",
        lambda p: _mean(risk_coverage(p.confidence, p.correct, p.shows_landmark)[1]),
        lower=True,
    ),
    **{
        f"coverage_at_{risk}_percent_risk": Metric(
            f"coverage at {risk}% risk",
            f"landmark photos answered, the most confident first, with {risk}% wrong answers",
            _coverage(risk / 100),
            _SHARE,
        )
        for risk in (1, 5)
    },
    "auroc": Metric(
        "AUROC, landmark or none",
        "how well the landmark score tells landmark photos from photos of no landmark",
        _against(auroc),
        interval="bootstrap",
        on="comparisons",
    ),
    "fpr_at_95_recall": Metric(
        "no landmark, kept at 95% recall",
        "photos of no landmark above the score that keeps 95% of landmark photos",
        _against(fpr_at_95_recall),
        _SHARE,
        lower=True,
    ),
    "unseen_auroc": Metric(
        "AUROC, known or unseen landmark",
        "how well the landmark score tells known landmarks from landmarks never learned",
        _against(auroc, unseen=True),
    ),
    "unseen_fpr_at_95_recall": Metric(
        "unseen landmarks, kept at 95% recall",
        "photos of landmarks never learned above the score that keeps 95% of landmark photos",
        _against(fpr_at_95_recall, unseen=True),
        _SHARE,
        lower=True,
    ),
    "landmarks_tagged": Metric(
        "landmarks tagged",
        "landmark photos above the model's own threshold",
        lambda p: _mean(p.accepted[p.shows_landmark]),
        _SHARE,
        interval="bootstrap",
        on="cards",
    ),
    "distractors_tagged": Metric(
        "photos of no landmark tagged",
        "photos of no landmark above the model's own threshold",
        lambda p: _mean(p.accepted[~p.shows_landmark]),
        _SHARE,
        lower=True,
        interval="bootstrap",
        on="comparisons",
    ),
    "unseen_tagged": Metric(
        "unseen landmarks tagged",
        "photos of landmarks never learned above the model's own threshold",
        lambda p: _mean(p.unseen.accepted) if p.unseen else math.nan,
        _SHARE,
        lower=True,
    ),
    **{
        f"{level}_level": Metric(
            f"answered with a {level}",
            f"landmark photos whose answer names a {level} and nothing finer",
            _answered_at(level),
            _SHARE,
        )
        for level in _LEVELS
    },
    **{
        f"{level}_level_precision": Metric(
            f"right when answered with a {level}",
            f"answers with a {level} which are right",
            _right_at(level),
            _SHARE,
        )
        for level in _LEVELS
    },
    **{
        f"within_{limit}_km": Metric(
            f"placed within {limit} km",
            "landmark photos answered with a place that near to the landmark",
            _within(limit),
            _SHARE,
            interval="bootstrap" if limit == 25 else "",
        )
        for limit in LOCATION_LIMITS_KM
    },
    "median_km": Metric(
        "median distance",
        "from the answered place to the landmark, of photos that got a place",
        _median_km,
        "{:.1f} km",
        lower=True,
    ),
    "placed": Metric(
        "placed",
        "landmark photos answered with a place, if that of the landmark is known",
        lambda p: _mean(np.isfinite(p.kilometres[~np.isnan(p.kilometres)])),
        _SHARE,
    ),
    **{
        f"top1_{name}": Metric(
            f"top-1, {name.replace('_', ' ').replace('jpeg', 'JPEG')}",
            "top-1 of a sample of landmark photos, resized and then corrupted",
            interval="wilson",
        )
        for name in CORRUPTIONS
    },
    "top1_corrupted": Metric("top-1, corrupted", "mean over all corruptions"),
    "ms_per_photo": Metric(
        "latency",
        "median time from a photo's bytes to its answer, one at a time, on the machine that judged",
        form=_MS,
        lower=True,
        on="comparisons",
    ),
    "p99_ms": Metric("latency, 99th percentile", "1% of photos take longer", None, _MS, lower=True),
    "photos_per_second": Metric(
        "throughput", "photos answered in batches", None, "{:.0f} photos/s"
    ),
    "peak_mb": Metric(
        "memory at the peak",
        "largest resident memory of a process that holds only this model",
        form=_MB,
        lower=True,
    ),
    "loaded_mb": Metric("memory when loaded", "before the first photo", None, _MB, lower=True),
    "photos": Metric(
        "landmark photos",
        "test photos that show a landmark the model knows",
        lambda p: float(p.shows_landmark.sum()),
        _COUNT,
    ),
    "distractors": Metric(
        "photos of no landmark",
        "test photos that show none",
        lambda p: float((~p.shows_landmark).sum()),
        _COUNT,
    ),
    "unseen_photos": Metric(
        "photos of unseen landmarks",
        "test photos of landmarks that the model never learned",
        lambda p: float(len(p.unseen.labels)) if p.unseen else math.nan,
        _COUNT,
    ),
}
"""By name, in the order of every table. The names are those logged after `test/` and `eval/`."""


def measure(predictions: Predictions, *, resamples: int = 0, seed: int = 0) -> dict[str, float]:
    """Metrics by name, and the ends of their 95% intervals as `<name>_low` and `<name>_high`.

    resamples: of the bootstrap; 0 leaves out the intervals that need it.
    """
    computed = {name: metric.of(predictions) for name, metric in METRICS.items() if metric.of}
    found = {name: value for name, value in computed.items() if math.isfinite(value)}
    photos = int(predictions.shows_landmark.sum())
    intervals = {
        name: wilson_interval(round(value * photos), photos)
        for name, value in found.items()
        if METRICS[name].interval == "wilson"
    }
    if resamples:
        names = [name for name in found if METRICS[name].interval == "bootstrap"]
        for name, interval in bootstrap(predictions, names, resamples, seed).items():
            intervals[name] = interval.low, interval.high
    for name, (low, high) in intervals.items():
        found |= {f"{name}_low": low, f"{name}_high": high}
    return found


def bootstrap(
    predictions: Predictions,
    names: Iterable[str],
    resamples: int = 1000,
    seed: int = 0,
    against: Predictions | None = None,
) -> dict[str, Interval]:
    """Metrics with 95% intervals over photos drawn with replacement, by name.

    against: answers of a second model to the same photos, whose metrics are subtracted; the same
    photos are drawn for both. Percentile intervals (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993), for ECE the basic one. A resample without a photo that a metric needs does not
    count for it.
    """
    measures = {name: of for name in names if (of := METRICS[name].of) is not None}

    def measured(rows: NDArray[np.int64]) -> list[float]:
        one, other = predictions.take(rows), against.take(rows) if against else None
        return [of(one) - (of(other) if other else 0.0) for of in measures.values()]

    draws, photos = np.random.default_rng(seed), len(predictions.labels)
    drawn = [
        measured(draws.integers(photos, size=photos))
        for _ in Bar(range(resamples), desc="intervals", unit=" resamples")
    ]
    intervals = {}
    for name, value, found in zip(
        measures, measured(np.arange(photos)), np.array(drawn).T.tolist(), strict=True
    ):
        defined = [each for each in found if math.isfinite(each)]
        if not defined:
            continue
        low, high = np.quantile(defined, (0.025, 0.975)).tolist()
        if name == "ece":
            # Resampling makes bins noisier and ECE counts noise as error, so resamples lie above
            # the measured value by about as much as that lies above the truth. The basic interval
            # mirrors them (Davison and Hinkley, Bootstrap Methods and their Application, 1997,
            # 5.2); it is widened to the measured value, which is shown beside it.
            low, high = min(value, 2 * value - high), max(value, 2 * value - low)
            low = low if against else max(0.0, low)
        intervals[name] = Interval(value, low, high)
    return intervals


def shown(found: Mapping[str, float], name: str) -> str:
    """Value of a metric with its unit, and its interval if it has one; `n/a` if not measured."""
    if math.isnan(value := found.get(name, math.nan)):
        return "n/a"
    form = METRICS[name].form
    if f"{name}_low" not in found:
        return form.format(value)
    low, high = form.format(found[f"{name}_low"]), form.format(found[f"{name}_high"])
    return f"{form.format(value)} ({low} to {high})"


def summary_names(found: Collection[str]) -> list[str]:
    """Measured metrics that cards and receipts show, in the order of the table."""
    return [name for name, metric in METRICS.items() if name in found and metric.on != "pages"]

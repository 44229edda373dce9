"""Numbers that judge predictions: accuracy, per class, GAP, calibration, rejection, location."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score, precision_recall_fscore_support, roc_auc_score, roc_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.floating]
    Integers = NDArray[np.integer]

_Z95 = 1.959963984540054
LOCATION_LIMITS_KM = (1, 25, 200, 750, 2500)


def topk_correct(scores: Floats, labels: Integers, k: int) -> NDArray[np.bool_]:
    """Whether the label is among the k best of scores [N, C]: bool [N]."""
    k = min(k, scores.shape[1])
    best = np.argpartition(-scores, k - 1, axis=1)[:, :k]
    hits: NDArray[np.bool_] = (best == labels[:, None]).any(axis=1)
    return hits


def accuracy(scores: Floats, labels: Integers, k: int = 1) -> float:
    """Share of photos whose label is among the k best of scores [N, C].

    Raises ValueError without photos.
    """
    if not len(labels):
        raise ValueError("accuracy of 0 photos is undefined; evaluate on a split that has some")
    return float(topk_correct(scores, labels, k).mean())


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """95% interval of a share seen on `count` photos (Wilson, 1927): right near 0 and 1 too."""
    if count < 1:
        raise ValueError(f"an interval needs at least 1 photo and count is {count}")
    centre = share + _Z95**2 / (2 * count)
    margin = _Z95 * math.sqrt(share * (1 - share) / count + _Z95**2 / (4 * count**2))
    scale = 1 + _Z95**2 / count
    low, high = (centre - margin) / scale, (centre + margin) / scale
    # Rounding must not put the share itself outside: of 25 right out of 25 the end is below 1.
    return max(0.0, min(low, share)), min(1.0, max(high, share))


def per_class_table(
    labels: Integers, predictions: Integers, classes: Sequence[str]
) -> pd.DataFrame:
    """Columns landmark, photos, precision, recall, f1: one row a class."""
    precision, recall, f1, photos = precision_recall_fscore_support(
        labels, predictions, labels=range(len(classes)), zero_division=0.0
    )
    return pd.DataFrame(
        {
            "landmark": list(classes),
            "photos": photos,
            "precision": precision,
            "recall": recall,
            "f1": f1,
        }
    )


def macro_f1(labels: Integers, predictions: Integers) -> float:
    """Mean f1 of the classes that are shown or predicted."""
    return float(f1_score(labels, predictions, average="macro", zero_division=0.0))


def global_average_precision(
    confidence: Floats, correct: NDArray[np.bool_], landmarks: int
) -> float:
    """Micro average precision over all answers, those on photos of no landmark included.

    confidence, correct: [N] over landmark and other photos; correct is False on the others.
    landmarks: number of photos that show one. Source: Weyand et al., Google Landmarks Dataset v2,
    CVPR 2020 (the metric of the recognition challenge).
    """
    if landmarks < 1:
        raise ValueError("GAP needs at least 1 photo that shows a landmark")
    order = np.argsort(-confidence, kind="stable")
    ranked = correct[order]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float((precision * ranked).sum() / landmarks)


def expected_calibration_error(
    confidence: Floats, correct: NDArray[np.bool_], num_bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over equal-width bins.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017. Raises ValueError
    without photos.
    """
    if not len(confidence):
        raise ValueError("ECE of 0 photos is undefined; evaluate on a split that has some")
    bins = np.clip((confidence * num_bins).astype(int), 0, num_bins - 1)
    gaps = np.abs(
        np.bincount(bins, weights=confidence, minlength=num_bins)
        - np.bincount(bins, weights=correct.astype(float), minlength=num_bins)
    )
    return float(gaps.sum() / len(confidence))


def rejection(landmark_scores: Floats, distractor_scores: Floats) -> dict[str, float]:
    """AUROC and false positive rate at 95% recall of telling landmarks from other photos.

    Raises ValueError when either kind is missing.
    """
    if not len(landmark_scores) or not len(distractor_scores):
        raise ValueError(
            f"rejection needs photos of both kinds: {len(landmark_scores)} show a landmark and"
            f" {len(distractor_scores)} show none"
        )
    truth = np.r_[np.ones(len(landmark_scores)), np.zeros(len(distractor_scores))]
    scores = np.r_[landmark_scores, distractor_scores]
    # By default points inside a straight stretch are dropped, the one at 95% recall with them.
    false_positives, recall, _ = roc_curve(truth, scores, drop_intermediate=False)
    at_95 = int(np.argmax(recall >= 0.95))
    return {
        "auroc": float(roc_auc_score(truth, scores)),
        "fpr_at_95_recall": float(false_positives[at_95]),
    }


def risk_coverage(
    confidence: Floats, correct: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of photos answered, and share of those answers wrong, as the confidence asked falls.

    Both [N], from the most confident answer alone to all of them. Source: Geifman and El-Yaniv,
    Selective Classification for Deep Neural Networks, NeurIPS 2017. Raises ValueError without
    photos.
    """
    if not len(confidence):
        raise ValueError("risk of 0 photos is undefined; evaluate on a split that has some")
    counts = np.arange(1, len(confidence) + 1)
    wrong = ~correct[np.argsort(-confidence, kind="stable")]
    return counts / len(counts), np.cumsum(wrong) / counts


def location_metrics(kilometres: Floats) -> dict[str, float]:
    """Shares of photos placed within street, city, region, country and continent, and the median.

    kilometres: [N] great-circle error of each photo, infinite for one answered without coordinates,
    NaN for one whose place nobody knows, which counts for nothing; no measure when all are.
    Source of the five distances: Hays and Efros, IM2GPS, CVPR 2008.
    """
    known = kilometres[~np.isnan(kilometres)]
    if not len(known):
        return {}
    placed = known[np.isfinite(known)]
    shares = {f"within_{limit}_km": float((known <= limit).mean()) for limit in LOCATION_LIMITS_KM}
    median = {"median_km": float(np.median(placed))} if len(placed) else {}
    return shares | median | {"placed": len(placed) / len(known)}

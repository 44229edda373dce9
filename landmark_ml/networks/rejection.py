"""The landmark score: how sure it is that a photo shows a landmark that the network learned.

A softmax always names some landmark, and most photos in a library show none that was learned. What
gives them away is fitted on landmarks that a head has never seen: `training.phases` leaves some
out, trains a head on the others and collects the signals of photos of both kinds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional

from landmark_ml.config import TrainConfig

if TYPE_CHECKING:
    from landmark_ml.networks.teaching import Teaching

Floats = NDArray[np.float32]

OF_LOGITS = 4
"""Signals that are weighed; those after them say whether features look like a landmark's at all."""
TAIL = 4.0
"""Only the strangest quarter of the features can lower a score."""
MOST_REFERENCES, _MOST_LOGITS, _MOST_CENTRES = 5_000, 5_000_000, 2_000
"""Photos to compare with, logits of them, and landmarks: more would make a model large and slow."""
FEWEST_EVERYDAY = 100
"""Everyday photos that can show a share of 1%, and teach a head how such photos look."""
_BLOCK = 8192


class Rows(Protocol):
    """Rows [N, …] in memory or on disk; `rows[chosen]` gives some, int64 [B], as a tensor."""

    def __len__(self) -> int: ...

    def __getitem__(self, chosen: Tensor, /) -> Tensor: ...


def blocks(rows: Rows) -> Iterator[tuple[Tensor, Tensor]]:
    """Which rows and the rows themselves, so many at a time that they fit into memory."""
    for chosen in torch.split(torch.arange(len(rows)), _BLOCK):
        yield chosen, rows[chosen]


def spread(total: int, most: int) -> Tensor:
    """At most so many of the numbers below total, evenly spread: int64."""
    count = min(total, most)
    return torch.arange(count) * total // max(count, 1)


@dataclass(frozen=True)
class References:
    """What a photo is compared with to compute its signals.

    logits: [R, landmarks], the centred logits of training photos at unit length. mean, scale:
    [F], by which features are standardised. centres: [landmarks, F], the mean standardised features
    of each landmark at unit length, of more than 2,000 landmarks those of 2,000.
    """

    logits: Tensor
    mean: Tensor
    scale: Tensor
    centres: Tensor

    @classmethod
    def of(
        cls,
        features: Rows,
        targets: Tensor,
        num_classes: int,
        standardised: tuple[Tensor, Tensor],
        answer: Callable[[Tensor], Tensor],
    ) -> References:
        """From features [N, F] and targets [N] of the training photos.

        standardised: mean and scale [F] of the features. answer: gives the logits of features.
        """
        sums = class_sums(features, targets, num_classes, standardised)
        # Spread over the landmarks.
        ordered = targets.argsort(stable=True)[: int((targets < num_classes).sum())]
        most = max(1, min(MOST_REFERENCES, _MOST_LOGITS // num_classes))
        some = ordered[spread(len(ordered), most)]
        directions = _directions(answer(features[some])[:, :num_classes])
        centres = functional.normalize(sums[spread(num_classes, _MOST_CENTRES)], dim=1)
        return cls(directions, *standardised, centres)


def class_sums(
    features: Rows, targets: Tensor, count: int, standardised: tuple[Tensor, Tensor]
) -> Tensor:
    """Sum [count, F] of the standardised features [N, F] of each class below count.

    targets: int64 [N]. standardised: mean and scale [F] of the features.
    """
    mean, scale = standardised
    sums = torch.zeros(count, len(mean))
    for chosen, block in blocks(features):
        shows = targets[chosen] < count
        sums.index_add_(0, targets[chosen][shows], block[shows].sub_(mean).div_(scale))
    return sums


def signals(
    logits: Tensor,
    num_classes: int,
    features: Tensor | None = None,
    references: References | None = None,
) -> Tensor:
    """What the score is made of, higher for a landmark: float [N, 1], with `references` [N, 6].

    The log of the best probability, background included; the largest logit; its lead over the mean
    of the landmarks; the cosine of the logits to those of the nearest training photo. Then the
    cosine of the features to the nearest landmark's mean, and their length, negated: a backbone
    answers strongest to what it was pretrained on, such as animals and food. `networks.export`
    writes the same into the graph.
    """
    landmarks = logits[:, :num_classes]
    probability = torch.log_softmax(logits, dim=1)[:, :num_classes].amax(dim=1)
    if features is None or references is None:
        return probability[:, None]
    best, standard = landmarks.amax(dim=1), (features - references.mean) / references.scale
    columns = [
        probability,
        best,
        best - landmarks.mean(dim=1),
        (_directions(landmarks) @ references.logits.T).amax(dim=1),
        (functional.normalize(standard, dim=1) @ references.centres.T).amax(dim=1),
        -standard.norm(dim=1),
    ]
    return torch.stack(columns, dim=1)


def _directions(landmarks: Tensor) -> Tensor:
    return functional.normalize(landmarks - landmarks.mean(dim=1, keepdim=True), dim=1)


@dataclass(frozen=True)
class LeftOut:
    """Signals of photos that a head was not trained on, [N, signals] of each kind.

    known: of landmarks that it learned. unseen: of landmarks that were left out of its training.
    everyday: of no landmark. references: what the served network compares photos with; None: the
    signals are those of the logits alone. teaching: what it needs to be taught landmarks, or None.
    """

    known: Tensor
    unseen: Tensor
    everyday: Tensor
    references: References | None = None
    teaching: Teaching | None = None

    @classmethod
    def of_validation(cls, logits: Tensor, targets: Tensor, num_classes: int) -> LeftOut:
        """Where no landmark was left out: the signal of the validation photos' logits alone."""
        found, shows = signals(logits, num_classes), targets < num_classes
        return cls(found[shows], found[:0], found[~shows])


@dataclass(frozen=True)
class Rejection:
    """How signals become a score from 0 to 1, and which photos the threshold tags.

    The score is the share of photos of known landmarks whose weighed signals are lower; so it is
    uniform over those photos (a conformal p-value: Bates et al., Testing for outliers with
    conformal p-values, Annals of Statistics, 2023). Where fewer than `FEWEST_EVERYDAY` everyday
    photos were given to learn from, a photo whose features are stranger than those of most landmark
    photos scores low too, whatever its logits say.

    weights: of the signals that are weighed. known: what a photo is ranked among, ascending: the
    weighed signals of photos of known landmarks, and where features count each signal of those.
    scores: of the photos in `LeftOut`, by kind (`landmarks`, `unseen`, `distractors`).
    """

    weights: Floats
    known: tuple[Floats, ...]
    references: References | None
    scores: dict[str, Floats]
    threshold: float

    @property
    def expected(self) -> dict[str, float]:
        """Share of each kind that is tagged, as far as there were photos enough to measure it."""
        fewest = {"landmarks": 1, "unseen": 1, "distractors": FEWEST_EVERYDAY}
        return {
            kind: float(np.mean(scores >= self.threshold))
            for kind, scores in self.scores.items()
            if len(scores) >= fewest[kind]
        }


def fit_rejection(left_out: LeftOut, config: TrainConfig) -> Rejection:
    """Fit the score on landmarks that were left out, and choose the threshold by the configuration.

    Where none was left out, the score ranks the probability alone.
    """
    kinds = {
        "landmarks": left_out.known.numpy(),
        "unseen": left_out.unseen.numpy(),
        "distractors": left_out.everyday.numpy(),
    }
    counts = [len(found) for found in kinds.values()]
    weights, references = np.ones(1, dtype=np.float32), left_out.references
    if references is not None:
        weighed = np.concatenate(list(kinds.values()))[:, :OF_LOGITS]
        spread = weighed.std(axis=0)
        # Among two landmarks the logits point one way or the other, which tells nothing: weight 0.
        scale = np.where(spread > 1e-4, spread, np.inf)
        # Each kind counts as much as the others, however many photos it has.
        weight = np.repeat([1 / max(count, 1) for count in counts], counts)
        is_known = np.arange(len(weighed)) < counts[0]
        fitted = LogisticRegression(max_iter=1000)
        fitted.fit(weighed / scale, is_known, sample_weight=weight * len(weighed) / 3)
        weights = (fitted.coef_[0] / scale).astype(np.float32)
    features_count = references is not None and counts[2] < FEWEST_EVERYDAY

    def columns(found: Floats) -> list[Floats]:
        joined = found[:, : len(weights)] @ weights
        return [joined, *(found[:, OF_LOGITS:].T if features_count else ())]

    known = tuple(np.sort(column) for column in columns(kinds["landmarks"]))
    scores = {kind: rank(columns(found), known) for kind, found in kinds.items()}
    return Rejection(weights, known, references, scores, choose_threshold(scores, config))


def rank(columns: Sequence[Floats], known: Sequence[Floats]) -> Floats:
    """Scores [N] of ranked columns [N]; the first counts in full, others only in their tail."""
    shares = [
        np.searchsorted(ordered, column, side="right") / len(ordered)
        for ordered, column in zip(known, columns, strict=True)
    ]
    least = np.minimum.reduce([shares[0], *(TAIL * share for share in shares[1:])])
    return np.asarray(least, dtype=np.float32)


def choose_threshold(scores: Mapping[str, Floats], config: TrainConfig) -> float:
    """Lowest score of a known landmark above which few enough other photos are tagged.

    At most `max_unseen_tagged` of landmarks left out and `max_everyday_tagged` of everyday photos;
    but `min_known_tagged` of the known landmarks are tagged whatever that costs. A kind without
    photos cannot show its share, so the threshold is then the strictest allowed.
    """
    known = np.sort(scores["landmarks"])
    strictest = float(known[len(known) - math.ceil(config.min_known_tagged * len(known))])
    limits = {"unseen": config.max_unseen_tagged, "distractors": config.max_everyday_tagged}
    enough = 0.0
    for kind, limit in limits.items():
        if not len(others := np.sort(scores[kind])[::-1]):
            return strictest
        # The first that must not be tagged any more.
        allowed = int(limit * len(others))
        if allowed < len(others):
            enough = max(enough, float(others[allowed]))
    above = known[known > enough]
    return min(strictest, float(above[0])) if len(above) else strictest

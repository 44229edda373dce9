"""Versions judged on photos that are not there: their answers are made up, right or wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from landmark_ml.config import PromoteConfig
from landmark_ml.data import NOT_A_LANDMARK, Photo
from landmark_ml.evaluation.judge import Predictions, Report
from landmark_ml.evaluation.metrics import measure
from landmark_ml.registry.candidates import Judged
from landmark_ml.registry.comparison import Comparison, Spending
from landmark_ml.registry.gates import GateResult, check_gates
from landmark_ml.registry.promote import Verdict
from tests.evaluation.made_up_predictions import ranked

CLASSES = ("Atomium", "Petra")


def predictions(
    correct: Sequence[bool],
    confidence: float = 0.9,
    *,
    classes: Sequence[str] = CLASSES,
    labels: Sequence[int] = (),
    tagged: Sequence[bool] = (),
    first: int = 0,
) -> Predictions:
    """Answers on as many photos, by default the first half of one landmark, the others of another.

    A wrong answer names the first class, or the second where that is right. tagged: by default all.
    first: number of the first photo; photos of the same number are the same.
    """
    count = len(correct)
    labels = labels or [0 if position < count // 2 else 1 for position in range(count)]
    photos = [
        Photo(Path(f"{number}.jpg"), label, f"{number:064x}", 8, 8)
        for number, label in enumerate(labels, start=first)
    ]
    wrong = [0 if label else 1 for label in labels]
    best = [label if right else no for label, right, no in zip(labels, correct, wrong, strict=True)]
    rest = (1 - confidence) / (len(classes) - 1)
    said = []
    for index, is_landmark in zip(best, tagged or [True] * count, strict=True):
        probabilities = [confidence if place == index else rest for place in range(len(classes))]
        fields = {"landmark_score": confidence, "is_landmark": is_landmark}
        said.append(fields | {"candidates": ranked(probabilities, classes)})
    return Predictions.of(photos, classes, classes, said, [None] * len(classes))


def none(count: int, tagged: int = 0, first: int = 10_000) -> Predictions:
    """Answers on photos of no landmark, the first of which are tagged all the same."""
    flags = [position < tagged for position in range(count)]
    return predictions(
        [False] * count, 0.5, labels=[NOT_A_LANDMARK] * count, tagged=flags, first=first
    )


def together(*parts: Predictions, unseen: Predictions | None = None) -> Predictions:
    """Answers on the photos of all parts, which know the same classes."""
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name, value in vars(parts[0]).items()
        if isinstance(value, np.ndarray)
    }
    photos = tuple(photo for part in parts for photo in part.photos)
    texts: dict[str, Any] = {
        name: tuple(text for part in parts for text in getattr(part, name))
        for name in ("said", "where")
    }
    return replace(parts[0], photos=photos, unseen=unseen, **texts, **arrays)


def judged(version: int, correct: Sequence[bool] | Predictions, **facts: Any) -> Judged:
    """A sound version with these answers; facts replace its fields, `metrics` single metrics."""
    confidence = facts.pop("confidence", 0.9)
    said = correct if isinstance(correct, Predictions) else predictions(correct, confidence)
    metrics = measure(said) | {"ms_per_photo": 5.0} | facts.pop("metrics", {})
    sound = Judged(
        version=version,
        run_id=f"run{version}",
        report=Report(metrics, said, pd.DataFrame()),
        megabytes=14.0,
        requirements=("numpy==2.1.0",),
        learned=0,
    )
    return replace(sound, **facts)


def unloadable(version: int) -> Judged:
    """A version that could not be loaded."""
    return judged(version, [True, True], report=None, problem="it needs pickle")


def answers(right: int, count: int) -> list[bool]:
    """Right answers spread evenly over both landmarks."""
    half = count // 2
    return [position % half < right // 2 for position in range(count)]


def verdict(
    challenger: Judged,
    champion: Judged | None,
    limits: PromoteConfig,
    installable: GateResult,
    alpha: float = 0.025,
) -> Verdict:
    """What the gates say of a challenger."""
    comparison = spending = None
    if challenger.predictions and champion and champion.predictions:
        comparison = Comparison.of(challenger.predictions, champion.predictions)
        spending = Spending.of(limits.alpha, (), comparison.photos)
    gates = check_gates(
        challenger, champion, comparison, limits, alpha=alpha, installable=installable
    )
    return Verdict(challenger, tuple(gates), comparison, spending)

"""Predictions made up for tests: each photo's label and how it was answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from landmark_ml.data import Photo
from landmark_ml.evaluation.judge import Predictions
from landmark_ml.geo.gazetteer import Place

CLASSES = ("Tower", "Castle")


def ranked(
    probabilities: ArrayLike, names: Sequence[str], places: Sequence[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """The first five candidates of an answer; places: fields of the first of them."""
    order = np.argsort(-np.asarray(probabilities, dtype=float), kind="stable")[:5]
    chances = np.asarray(probabilities, dtype=float)[order].tolist()
    shown = [*places, *[{"city": None}] * len(order)]
    return [
        {"landmark": names[index], "confidence": chance, **place}
        for index, chance, place in zip(order, chances, shown, strict=False)
    ]


def predictions(
    labels: Sequence[int],
    probabilities: Sequence[Sequence[float]],
    answers: Sequence[dict[str, Any]] | None = None,
    classes: Sequence[str] = CLASSES,
    places: Sequence[Place | None] = (),
) -> Predictions:
    """answers: their fields; by default landmark photos score 0.8, others 0.1, without place."""
    scores = [0.8 if label >= 0 else 0.1 for label in labels]
    said = answers or [{"landmark_score": s, "is_landmark": s > 0.5} for s in scores]
    photos = [Photo(Path(f"{i}.jpg"), label, str(i), 8, 8) for i, label in enumerate(labels)]
    answered = [
        answer | {"candidates": ranked(row, classes, answer.get("candidates", ()))}
        for row, answer in zip(probabilities, said, strict=True)
    ]
    return Predictions.of(photos, classes, classes, answered, places or [None] * len(classes))

"""Predictions made up for tests: each photo's label and how it was answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from landmark_ml.data import Photo
from landmark_ml.evaluation.judge import Predictions
from landmark_ml.geo.gazetteer import Place

CLASSES = ("Tower", "Castle")


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
    where = places or [None] * len(classes)
    return Predictions.of(photos, classes, np.array(probabilities, dtype=float), said, where)

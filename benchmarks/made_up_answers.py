"""Answers to test photos that are not there, right as often as asked."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from landmark_ml.data import Photo
from landmark_ml.evaluation.judge import Predictions, Report
from landmark_ml.evaluation.metrics import measure

CLASSES = tuple(f"Landmark {number}" for number in range(50))
TEST_PHOTOS = 522
_CONFIDENCE = 0.9


def made_up_report(top1: float, seed: int) -> Report:
    """Answers to as many test photos as landmarks50 has; seed: which of them are wrong."""
    rng = np.random.default_rng(seed)
    labels = np.arange(TEST_PHOTOS) % len(CLASSES)
    photos = tuple(
        Photo(Path(f"{n}.jpg"), int(label), hashlib.sha256(str(n).encode()).hexdigest(), 256, 256)
        for n, label in enumerate(labels)
    )
    wrong = rng.permutation(TEST_PHOTOS)[round(top1 * TEST_PHOTOS) :]
    answered = labels.copy()
    answered[wrong] = (labels[wrong] + 1) % len(CLASSES)
    fields = {"landmark_score": _CONFIDENCE, "is_landmark": True}
    answers = [
        fields | {"candidates": [{"landmark": CLASSES[best], "confidence": _CONFIDENCE}]}
        for best in answered
    ]
    places = [None] * len(CLASSES)
    predictions = Predictions.of(photos, CLASSES, CLASSES, answers, places)
    metrics = measure(predictions) | {"ms_per_photo": 5.0}
    return Report(metrics, predictions, pd.DataFrame())

"""Versions judged on photos that are not there: their answers are made up, right or wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from landmark_ml.data import Photo
from landmark_ml.evaluation.judge import Predictions, Report
from landmark_ml.evaluation.metrics import measure
from landmark_ml.registry.candidates import Judged

CLASSES = ("Atomium", "Petra")


def predictions(correct: Sequence[bool], confidence: float = 0.9) -> Predictions:
    """Answers on as many photos, the first half of one landmark, the others of the second."""
    count = len(correct)
    labels = [0 if position < count // 2 else 1 for position in range(count)]
    photos = [
        Photo(Path(f"{position}.jpg"), label, f"{position:064x}", 8, 8)
        for position, label in enumerate(labels)
    ]
    best = [label if right else 1 - label for label, right in zip(labels, correct, strict=True)]
    probabilities = np.full((count, 2), 1 - confidence)
    probabilities[np.arange(count), best] = confidence
    said = [{"landmark_score": confidence, "is_landmark": True}] * count
    return Predictions.of(photos, CLASSES, probabilities, said, [None, None])


def judged(version: int, correct: Sequence[bool], **facts: Any) -> Judged:
    """A sound version with these answers; facts replace its fields, `metrics` single metrics."""
    said = predictions(correct, facts.pop("confidence", 0.9))
    metrics = measure(said) | {"ms_per_photo": 5.0} | facts.pop("metrics", {})
    sound = Judged(
        version=version,
        run_id=f"run{version}",
        report=Report(metrics, said, pd.DataFrame()),
        megabytes=14.0,
        requirements=("numpy==2.1.0",),
        seen=0,
    )
    return replace(sound, **facts)


def unloadable(version: int) -> Judged:
    """A version that could not be loaded."""
    return judged(version, [True, True], report=None, problem="it needs pickle")


def answers(right: int, count: int) -> list[bool]:
    """Right answers spread evenly over both landmarks."""
    half = count // 2
    return [position % half < right // 2 for position in range(count)]

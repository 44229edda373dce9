"""When an answer counts: one rule for sidecars, albums and gallery, so that they never disagree."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from landmark_ml.inference.prediction import Prediction


def is_sure(answer: Prediction, min_confidence: float) -> bool:
    """Whether an answer may be told as what the photo shows, and not as a guess."""
    return bool(answer["is_landmark"]) and (answer["confidence"] or 0.0) >= min_confidence


def is_placed(answer: Prediction, min_confidence: float) -> bool:
    """Whether city and country may be told: by a sure answer, or the photo's own position."""
    return is_sure(answer, min_confidence) or answer["location_source"] == "exif"

"""Which model is judged, on which photos, and how thoroughly."""

from __future__ import annotations

from dataclasses import dataclass

from landmark_ml.config.options import NOT_NEGATIVE, POSITIVE, option
from landmark_ml.config.training import DataConfig


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(DataConfig):
    """A model and the photos to judge it by."""

    model: str = option(
        "models:/landmarks@champion", "model to judge, as MLflow spells it: `models:/landmarks/7`"
    )
    photos: str = option(
        "test",
        "`test`: the test photos, split as in the model's own run; `all`: every photo that it did"
        " not learn from",
        choices=("test", "all"),
    )
    corrupted_photos: int = option(
        200, "photos of landmarks of each corruption; 0: skip", unit="photos", within=NOT_NEGATIVE
    )
    resamples: int = option(1000, "resamples of the bootstrap intervals", within=POSITIVE)

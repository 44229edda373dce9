"""Which models and runs evaluate, compare, promote, rollback and history work on."""

from __future__ import annotations

from dataclasses import dataclass

from landmark_ml.config.fields import (
    POSITIVE,
    SHARE,
    Configuration,
    at_most_1000_characters,
    option,
)
from landmark_ml.config.training import DataConfig


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(DataConfig):
    """A model and the photos to judge it on."""

    model: str = option(
        "models:/landmarks@champion", "model to judge, such as `models:/landmarks/7`"
    )
    photos: str = option(
        "test",
        "the test photos of the model's own run, or all photos it did not learn from",
        ("test", "all"),
    )
    corrupted_photos: int = option(
        200, "landmark photos to judge under each corruption; 0: skip", unit="photos"
    )
    resamples: int = option(1000, "resamples of the bootstrap intervals", POSITIVE)


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Configuration):
    """Which runs to compare."""

    experiment: str = option(
        "", "MLflow experiment whose runs are compared; empty: the one this runs in"
    )
    filter: str = option("", "MLflow search string the runs must match; empty: all tested runs")
    most: int = option(20, "most runs to compare", POSITIVE, unit="runs")
    order: str = option(
        "newest",
        "which runs to take: the newest, or those of the best test top-1",
        ("newest", "best"),
    )
    seed: int = option(0, "seed of the bootstrap")


@dataclass(frozen=True, kw_only=True)
class PromoteConfig(DataConfig):
    """Which versions are judged on which photos, and the gates they have to pass."""

    name: str = option("landmarks", "registered model whose champion may be replaced")
    candidates: str = option(
        "newest",
        "`newest`, `newest:3`, `experiment:NAME` (its best three), a version number or a URI",
    )
    reason: str = option("", "why, in your words; written to the history", at_most_1000_characters)
    alpha: float = option(
        0.05, "largest p of McNemar's test, divided by the number of challengers", SHARE
    )
    min_gain: float = option(0.0, "least gain in top-1; must be above 0 anyway")
    class_alpha: float = option(
        0.05, "family-wise error of finding a landmark worse (sign tests, Holm)", SHARE
    )
    gap_margin: float = option(0.005, "how far GAP may fall")
    ece_margin: float = option(0.01, "how far ECE may rise")
    max_ms: float = option(150.0, "largest median latency of one photo here", POSITIVE, unit="ms")
    max_mb: float = option(100.0, "largest size of the logged model", POSITIVE, unit="MB")
    check_requirements: bool = option(True, "gate: pip can install the model's requirements")


@dataclass(frozen=True, kw_only=True)
class RollbackConfig(Configuration):
    """Which model goes back to its champion before, and why."""

    name: str = option("landmarks", "registered model whose champion goes back")
    reason: str = option("", "why; written to the history, and required", at_most_1000_characters)


@dataclass(frozen=True, kw_only=True)
class HistoryConfig(Configuration):
    """Which model's history to print."""

    name: str = option("landmarks", "registered model whose alias history is printed")

"""Which runs a comparison sets side by side."""

from __future__ import annotations

from dataclasses import dataclass

from landmark_ml.config.options import NOT_NEGATIVE, POSITIVE, Configuration, option


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Configuration):
    """Which runs to set side by side."""

    experiment: str = option(
        "", "MLflow experiment whose runs are compared; empty: the one this runs in"
    )
    filter: str = option("", "MLflow search string the runs meet; empty: all that were tested")
    most: int = option(20, "largest number of runs to compare", unit="runs", within=POSITIVE)
    order: str = option(
        "newest",
        "which runs are compared where there are more; best: of the highest test top-1",
        choices=("newest", "best"),
    )
    seed: int = option(0, "seed of the bootstrap", within=NOT_NEGATIVE)

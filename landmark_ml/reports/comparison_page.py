"""A comparison as one HTML page that needs nothing else: table, figures, and what they mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landmark_ml import figures
from landmark_ml.figures.html import Picture, render
from landmark_ml.reports.comparison import comparison_table, readable_table, verdict

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    import pandas as pd
    from matplotlib.figure import Figure

    from landmark_ml.reports.comparison import Comparison, Pair

_TEMPLATE = "comparison.html"
_LOWER_IS_BETTER = {
    "parameters": "parameters",
    "MACs": "macs",
    "train min": "train_minutes",
    "ECE": "ece",
    "MB": "artifact_mb",
    "ms a photo": "ms_per_photo",
}
_HIGHER_IS_BETTER = {"top-1": "top1", "top-3": "top3"}


def render_report(comparison: Comparison, made: datetime | None = None) -> str:
    """HTML of a comparison; figures are embedded, styles are its own, nothing is fetched."""
    table = comparison_table(comparison)
    return render(
        _TEMPLATE,
        made,
        comparison=comparison,
        verdict=verdict(comparison),
        rows=readable_table(table).to_dict(orient="records"),
        best=best_values(table),
        pictures=[
            Picture.of(heading, figure) for heading, figure in comparison_figures(comparison, table)
        ],
    )


def comparison_figures(comparison: Comparison, table: pd.DataFrame) -> Iterator[tuple[str, Figure]]:
    """Headings and figures of the report, in its order; the last two need two runs."""
    yield "Accuracy against cost", figures.accuracy_tradeoffs(table)
    names = [f"#{rank} {run.name}" for rank, run in enumerate(comparison.runs, start=1)]
    curves = {name: run.curve for name, run in zip(names, comparison.runs, strict=True)}
    yield "Learning curves", figures.overlaid_curves(curves)
    if comparison.pair is not None:
        yield from _pair_figures(comparison.pair)


def best_values(table: pd.DataFrame) -> dict[str, list[bool]]:
    """Whether a run has the best value, for each shown column in which the runs differ."""
    found = {}
    for shown, column in (_LOWER_IS_BETTER | _HIGHER_IS_BETTER).items():
        values = table[column]
        best = values.min() if shown in _LOWER_IS_BETTER else values.max()
        found[shown] = (values == best).tolist() if values.nunique() > 1 else [False] * len(table)
    return found


def _pair_figures(pair: Pair) -> Iterator[tuple[str, Figure]]:
    gap = pair.difference
    yield (
        "The best two: paired bootstrap",
        figures.bootstrap_difference(gap.resampled, (gap.low, gap.high), gap.difference),
    )
    yield "The best two: landmark by landmark", figures.class_wins(pair.classes, "#1", "#2")

"""An evaluation as a person reads it: a short table, and one HTML page with every figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from landmark_ml.evaluation.metrics import LOCATION_LIMITS_KM
from landmark_ml.figures.html import Picture, render

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from matplotlib.figure import Figure

    from landmark_ml.evaluation.judge import EvaluationReport

_TEMPLATE = "evaluation.html"
_MEASURES = {
    "top1": "top-1",
    "top3": "top-3",
    "top5": "top-5",
    "macro_f1": "macro F1",
    "gap": "GAP",
    "ece": "calibration error (ECE)",
    "aurc": "area under the risk-coverage curve",
    "auroc": "AUROC of landmark or none",
    "fpr_at_95_recall": "others kept at 95% recall",
    "unseen_auroc": "AUROC against unseen landmarks",
}
_SHARES = {
    "landmarks_tagged": "landmarks tagged",
    "distractors_tagged": "photos of no landmark tagged",
    "unseen_tagged": "unseen landmarks tagged",
    "landmark_level": "answered with the landmark",
    "landmark_level_precision": "of those right",
    "city_level": "answered with the city",
    "city_level_precision": "of those right",
    "country_level": "answered with the country",
    "country_level_precision": "of those right",
    **{f"within_{limit}_km": f"placed within {limit} km" for limit in LOCATION_LIMITS_KM},
}


def summary_table(report: EvaluationReport) -> list[tuple[str, str]]:
    """Rows (measure, value with its 95% interval) of what was measured."""
    found = report.metrics
    rows = [
        (text, _with_interval(found, name, "{:.3f}"))
        for name, text in _MEASURES.items()
        if name in found
    ]
    rows += [
        (text, _with_interval(found, name, "{:.1%}"))
        for name, text in _SHARES.items()
        if name in found
    ]
    if "median_km" in found:
        rows.append(("median error", f"{found['median_km']:.1f} km"))
    rows += [
        (f"top-1, {name.replace('_', ' ')}", f"{top1:.3f} ({low:.3f} to {high:.3f})")
        for name, _, top1, low, high in report.corruptions.itertuples(index=False)
    ]
    return [*rows, *_costs(found)]


def render_page(
    facts: Mapping[str, str],
    report: EvaluationReport,
    figures: Mapping[str, Figure],
    made: datetime | None = None,
) -> str:
    """HTML of an evaluation; facts say what was judged and by what."""
    return render(
        _TEMPLATE,
        made,
        facts=facts,
        metrics=report.metrics,
        rows=summary_table(report),
        pictures=[
            Picture.of(name.replace("_", " ").capitalize(), figure)
            for name, figure in figures.items()
        ],
    )


def _with_interval(found: Mapping[str, float], name: str, pattern: str) -> str:
    value = pattern.format(found[name])
    if f"{name}_low" not in found:
        return value
    low, high = pattern.format(found[f"{name}_low"]), pattern.format(found[f"{name}_high"])
    return f"{value} ({low} to {high})"


def _costs(found: Mapping[str, float]) -> list[tuple[str, str]]:
    return [
        ("latency of one photo", f"p50 {found['p50_ms']:.1f} ms, p99 {found['p99_ms']:.1f} ms"),
        ("in batches", f"{found['photos_per_second']:.0f} photos a second"),
        (
            "memory of the process",
            f"{found['peak_mb']:.0f} MB at the peak, {found['loaded_mb']:.0f} MB when loaded",
        ),
    ]

"""Pictures of an evaluation: risk against coverage, kilometres off, and corrupted photos."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import PercentFormatter

from landmark_ml.evaluation.metrics import LOCATION_LIMITS_KM, location_metrics, risk_coverage
from landmark_ml.figures.style import (
    BLUE,
    GREY,
    INK,
    MUTED,
    SMALL_SIZE,
    VERMILION,
    name_ticks,
    new_figure,
    say,
    style_axes,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

RISK = 0.05
NEAREST_KM = 0.1
"""Errors below this are drawn at it: the scale is logarithmic."""


def risk_coverage_curve(confidence: NDArray[np.float64], correct: NDArray[np.bool_]) -> Figure:
    """Draw the share of wrong answers against the share of photos answered, surest first.

    `confidence` float [N], `correct` bool [N], over all photos.
    """
    coverage, risk = risk_coverage(confidence, correct)
    within = coverage[risk <= RISK]
    most = float(within.max()) if len(within) else 0.0
    figure = new_figure(
        f"At {RISK:.0%} wrong answers {most:.1%} of {len(correct):,} photos are answered",
        width=6.5,
        caption="Photos of no landmark count as wrong when they are answered with one.",
    )
    axes = figure.add_subplot()
    axes.plot(coverage, risk, color=BLUE, linewidth=1.6)
    axes.axhline(RISK, color=GREY, linewidth=0.9, linestyle=":")
    axes.plot([most], [RISK], "o", color=VERMILION, markersize=5)
    style_axes(axes, xlabel="share of photos answered", ylabel="share of those wrong", grid="both")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    return figure


def location_error(kilometres: NDArray[np.float64]) -> Figure:
    """Draw the share of photos placed within a distance, of those whose place is known.

    kilometres: those of `placement.kilometres_off`, one known at least.
    """
    known = kilometres[~np.isnan(kilometres)]
    placed = np.sort(known[np.isfinite(known)])
    measured = location_metrics(kilometres)
    shares = [measured[f"within_{limit}_km"] for limit in LOCATION_LIMITS_KM]
    figure = new_figure(
        f"{shares[1]:.1%} of {len(known):,} landmark photos are placed within 25 km",
        width=6.5,
        caption=f"Photos without coordinates: {len(known) - len(placed):,}."
        " Great-circle distance to where the landmark stands.",
    )
    axes = figure.add_subplot()
    if not len(placed):
        say(axes, "no photo got coordinates")
        return figure
    heights = np.arange(1, len(placed) + 1) / len(known)
    axes.step(np.maximum(placed, NEAREST_KM), heights, where="post", color=BLUE, linewidth=1.6)
    axes.set_xscale("log")
    axes.set_xlim(NEAREST_KM, 20_000)
    axes.set_ylim(0, 1.02)
    for limit, share in zip(LOCATION_LIMITS_KM, shares, strict=True):
        axes.axvline(limit, color=GREY, linewidth=0.8, linestyle=":")
        axes.annotate(
            f"{limit} km\n{share:.1%}",
            (limit, 0.03),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=SMALL_SIZE,
            color=MUTED,
        )
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    style_axes(axes, xlabel="km off (log scale)", ylabel="share of photos")
    return figure


def robustness_bars(corruptions: pd.DataFrame) -> Figure:
    """Draw top-1 of each corruption with its interval.

    Columns corruption, photos, top1, low, high; the row `clean` is what the others are held
    against. Raises ValueError without it.
    """
    clean = corruptions[corruptions["corruption"] == "clean"]
    if clean.empty or len(corruptions) < 2:
        raise ValueError("the table lacks 'clean' or holds nothing beside it: measure both")
    order = corruptions.sort_values("top1", ascending=True, ignore_index=True)
    worst = order.iloc[0]
    reference = float(clean["top1"].iloc[0])
    harm = f"{_readable(worst['corruption'])} costs most: top-1 {worst['top1']:.3f} against"
    figure = new_figure(
        f"{harm} {reference:.3f}" if worst["top1"] < reference else "No corruption costs accuracy",
        width=6.5,
        height=3.8,
        caption=f"The same {int(worst['photos']):,} photos each. Bars: 95% interval.",
    )
    axes = figure.add_subplot()
    colors = [GREY if name == "clean" else BLUE for name in order["corruption"]]
    top1 = order["top1"].to_numpy(dtype=float)
    # An exact 0 or 1 may lie outside its interval by rounding.
    margins = np.maximum(0, np.stack([top1 - order["low"], order["high"] - top1]))
    rows = range(len(order))
    axes.barh(rows, top1, color=colors, xerr=margins, ecolor=INK, height=0.7)
    axes.axvline(reference, color=GREY, linewidth=0.9, linestyle=":")
    style_axes(axes, xlabel="top-1", grid="x")
    name_ticks(axes.yaxis, [_readable(name) for name in order["corruption"]])
    axes.set_xlim(0, 1)
    return figure


def _readable(corruption: str) -> str:
    names = {"jpeg": "JPEG"}
    return names.get(corruption, corruption.replace("_", " ").capitalize())

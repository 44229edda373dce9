"""Pictures of two models on the same photos: who wins which landmark, and how sure that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, MaxNLocator

from landmark_ml.figures.style import (
    BLUE,
    GREY,
    INK,
    ROW_HEIGHT,
    VERMILION,
    add_legend,
    name_ticks,
    new_figure,
    say,
    shorten,
    style_axes,
)

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MOST_CLASSES = 40
LONGEST_MODEL = 40


def class_wins(table: pd.DataFrame, first: str, second: str) -> Figure:
    """Draw the photos of each landmark that only one of two models recognises.

    Columns: landmark, photos, only_first, only_second. Landmarks on which both answer alike are
    left out; of more than `MOST_CLASSES` those that differ most are drawn, the first model's wins
    on top.
    """
    net = table["only_first"] - table["only_second"]
    differing = table.assign(net=net)[(table["only_first"] + table["only_second"]) > 0]
    swaps = differing["only_first"] + differing["only_second"]
    shown = differing.loc[swaps.nlargest(MOST_CLASSES).index]
    shown = shown.sort_values(["net", "only_first"], ascending=False, kind="stable")
    won, lost = int((net > 0).sum()), int((net < 0).sum())
    figure = new_figure(
        f"{shorten(first, LONGEST_MODEL)} wins {won} landmarks, {shorten(second, LONGEST_MODEL)}"
        f" {lost}, {len(table) - won - lost} are even",
        height=max(2.2, len(shown) * ROW_HEIGHT + 1.6),
        caption="Photos that only one of the two recognises; number of test photos in brackets."
        + _cut_note(len(shown), len(differing)),
    )
    axes = figure.add_subplot()
    if shown.empty:
        say(axes, "both recognise the same photos")
        return figure
    rows = np.arange(len(shown))
    axes.barh(rows, shown["only_first"], height=0.72, color=BLUE, label=f"only {first}")
    axes.barh(rows, -shown["only_second"], height=0.72, color=VERMILION, label=f"only {second}")
    axes.axvline(0, color=INK, linewidth=0.8)
    style_axes(axes, xlabel="photos", grid="x")
    names = zip(shown["landmark"], shown["photos"], strict=True)
    name_ticks(axes.yaxis, [f"{shorten(str(name))} ({photos})" for name, photos in names])
    axes.set_ylim(len(shown) - 0.4, -0.6)
    most = max(shown["only_first"].max(), shown["only_second"].max())
    axes.set_xlim(-1.1 * most, 1.1 * most)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):.0f}"))
    add_legend(axes)
    return figure


def bootstrap_difference(
    resampled: NDArray[np.float64], interval: tuple[float, float], difference: float
) -> Figure:
    """Draw the resampled top-1 of model #1 minus that of #2, float [resamples], and its interval.

    Raises ValueError without resamples.
    """
    if not resampled.size:
        raise ValueError("there are no resampled differences: draw one or more")
    low, high = interval
    ahead = float((resampled > 0).mean() + (resampled == 0).mean() / 2)
    figure = new_figure(
        f"#1 is ahead in {ahead:.1%} of resamples: {difference:+.3f} top-1"
        f" (95% {low:+.3f} to {high:+.3f})",
        height=3.2,
        caption=f"{resampled.size:,} resamples of the test photos with replacement, both models on"
        " the same ones. Band: 95% interval. Line at 0: no difference.",
    )
    axes = figure.add_subplot()
    values, counts = np.unique(resampled, return_counts=True)
    width = np.diff(values).min() if len(values) > 1 else 0.01
    colors = [BLUE if value > 0 else VERMILION if value < 0 else GREY for value in values]
    axes.bar(values, counts / resampled.size, width=width, color=colors)
    axes.axvspan(low, high, color=INK, alpha=0.07, linewidth=0)
    axes.axvline(0, color=INK, linewidth=1.2)
    style_axes(axes, xlabel="difference in top-1", ylabel="share of resamples")
    return figure


def _cut_note(shown: int, differing: int) -> str:
    return f" Shown: the {shown} that differ most of {differing}." if shown < differing else ""

"""Pictures of several runs side by side: what accuracy costs, and how it was learned."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from landmark_ml.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    SKY,
    SMALL_SIZE,
    VERMILION,
    new_figure,
    say,
    shorten,
    style_axes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

COSTS = {"ms_per_photo": "ms a photo, asked one at a time", "artifact_mb": "artifact (MB)"}
COLORS = (BLUE, VERMILION, GREEN, ORANGE, SKY, GREY)
DASHES = ("-", "--", ":", "-.")
WIDE_SPREAD = 8.0
"""A cost that spreads over more than this factor is drawn on a logarithmic axis."""


def pareto_front(cost: NDArray[np.float64], accuracy: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether no other point is at least as good in both and better in one: bool [N].

    Float arrays [N]; a NaN is on no front.
    """
    cheaper, as_cheap = cost[:, None] < cost[None], cost[:, None] <= cost[None]
    better, as_good = accuracy[:, None] > accuracy[None], accuracy[:, None] >= accuracy[None]
    beaten = ((as_cheap & better) | (cheaper & as_good)).any(axis=0)
    known: NDArray[np.bool_] = np.isfinite(cost) & np.isfinite(accuracy)
    return known & ~beaten


def accuracy_tradeoffs(table: pd.DataFrame) -> Figure:
    """Draw test top-1 with its interval against latency and size, and the Pareto front of each.

    Columns: rank, top1, top1_low, top1_high, ms_per_photo, artifact_mb; a point carries its rank.
    Raises ValueError on a table without rows.
    """
    if table.empty:
        raise ValueError("the table holds no run: compare one or more")
    fronts = {
        cost: pareto_front(table[cost].to_numpy(dtype=float), table["top1"].to_numpy(dtype=float))
        for cost in COSTS
    }
    recorded = any(front.any() for front in fronts.values())
    figure = new_figure(
        _tradeoff_title(table, fronts),
        height=4.0 if recorded else 1.4,
        caption="Numbers are ranks in the table. Bars: 95% interval. Line: Pareto front; no run is"
        " both cheaper and more accurate than those on it. Grey: runs that another one beats."
        if recorded
        else "",
    )
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (cost, label) in zip(panels, COSTS.items(), strict=True):
        known = table[table[cost].notna()]
        if known.empty:
            say(axes, f"{label}: not recorded")
            continue
        _draw_tradeoff(axes, known, known[cost].to_numpy(dtype=float), fronts[cost][known.index])
        ylabel = "test top-1" if axes is panels[0] else ""
        style_axes(axes, xlabel=label, ylabel=ylabel, grid="both")
    return figure


def overlaid_curves(curves: Mapping[str, pd.DataFrame]) -> Figure:
    """Overlay validation top-1 of several runs by epoch and by minutes since their start.

    Columns of each: epoch, minutes, val/top1; a run without rows is left out and named. Raises
    ValueError without runs.
    """
    if not curves:
        raise ValueError("there are no curves: compare one run or more")
    drawn = {name: curve for name, curve in curves.items() if not curve.empty}
    figure = new_figure(
        _overlay_title(drawn, [name for name in curves if name not in drawn]),
        height=3.9 + 0.18 * -(-len(drawn) // 2),
    )
    panels = figure.subplots(1, 2, sharey=True)
    if not drawn:
        for axes in panels:
            say(axes, "not measured")
        return figure
    for axes, column in zip(panels, ("epoch", "minutes"), strict=True):
        _draw_overlay(axes, drawn, column)
    style_axes(panels[0], xlabel="epoch", ylabel="validation top-1")
    style_axes(panels[1], xlabel="minutes since the run started")
    panels[0].xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    figure.legend(
        handles=panels[0].get_lines(),
        loc="outside lower left",
        ncols=2,
        frameon=False,
        fontsize=SMALL_SIZE,
        labelcolor=INK,
    )
    return figure


def _tradeoff_title(table: pd.DataFrame, fronts: Mapping[str, NDArray[np.bool_]]) -> str:
    names = {"ms_per_photo": "latency", "artifact_mb": "size"}
    parts = [
        f"{names[cost]} {', '.join(f'#{rank}' for rank in table['rank'][front])}"
        for cost, front in fronts.items()
        if front.any()
    ]
    return f"On the Pareto front: {'; '.join(parts)}" if parts else "No cost was recorded"


def _overlay_title(drawn: Mapping[str, pd.DataFrame], missing: Sequence[str]) -> str:
    if not drawn:
        return "No run measured validation top-1"
    best = max(drawn, key=lambda name: float(drawn[name]["val/top1"].max()))
    title = f"Best validation top-1 {drawn[best]['val/top1'].max():.3f}: {shorten(best, 48)}"
    return f"{title}. Not measured: {', '.join(missing)}" if missing else title


def _draw_tradeoff(
    axes: Axes, known: pd.DataFrame, cost: NDArray[np.float64], front: NDArray[np.bool_]
) -> None:
    top1 = known["top1"].to_numpy(dtype=float)
    margins = np.stack([top1 - known["top1_low"], known["top1_high"] - top1])
    axes.errorbar(cost, top1, yerr=margins, fmt="none", ecolor=GREY, elinewidth=0.8, alpha=0.7)
    order = np.argsort(cost[front])
    axes.step(cost[front][order], top1[front][order], where="post", color=BLUE, linewidth=1.2)
    ranks: dict[tuple[float, float], list[str]] = defaultdict(list)
    for place, rank in zip(zip(cost, top1, strict=True), known["rank"], strict=True):
        ranks[place].append(str(rank))
    colors = [BLUE if on_front else GREY for on_front in front]
    axes.scatter(cost, top1, s=150, c=colors, edgecolors=PAPER, linewidths=0.8, zorder=3)
    for (x, y), at_one_place in ranks.items():
        # One number fits into the dot; those of runs that coincide stand beside it.
        alone = len(at_one_place) == 1
        axes.annotate(
            ", ".join(at_one_place),
            (x, y),
            xytext=(0, -0.5) if alone else (8, 0),
            textcoords="offset points",
            ha="center" if alone else "left",
            va="center",
            fontsize=SMALL_SIZE,
            color=PAPER if alone else INK,
            zorder=4,
        )
    _scale_cost(axes, cost)


def _scale_cost(axes: Axes, cost: NDArray[np.float64]) -> None:
    if cost.min() > 0 and cost.max() > WIDE_SPREAD * cost.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(cost.min() / 1.5, cost.max() * 1.5)
    else:
        axes.set_xlim(0, 1.15 * cost.max() or 1)


def _draw_overlay(axes: Axes, curves: Mapping[str, pd.DataFrame], column: str) -> None:
    for position, (name, curve) in enumerate(curves.items()):
        axes.plot(
            curve[column],
            curve["val/top1"],
            color=COLORS[position % len(COLORS)],
            linestyle=DASHES[position // len(COLORS) % len(DASHES)],
            marker="o" if len(curve) == 1 else "",
            linewidth=1.4,
            label=shorten(name, 48),
        )

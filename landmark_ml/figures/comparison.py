"""Figures of several models: what accuracy costs, how it was learned, and the best two paired."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from landmark_ml.console import counted
from landmark_ml.figures.results import Answer, mistake_tile
from landmark_ml.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    ROW_HEIGHT,
    SKY,
    SMALL_SIZE,
    VERMILION,
    add_legend,
    in_rows,
    name_ticks,
    new_figure,
    say,
    shorten,
    style_axes,
    thumbnail_grid,
    write,
)

if TYPE_CHECKING:
    import pandas as pd


COSTS = {"ms_per_photo": ("latency", "latency (ms)"), "artifact_mb": ("size", "artifact (MB)")}
"""Column of the table, its name in the title and on the axis."""
COLORS = (BLUE, VERMILION, GREEN, ORANGE, SKY, GREY)
DASHES = ("-", "--", ":", "-.")
WIDE_SPREAD = 8.0
"""A cost that spreads over more than this factor is drawn on a logarithmic axis."""
MOST_CLASSES = 40
MOST_PHOTOS = 12
LONGEST_MODEL = 40
LONGEST_RUN = 48


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
    """
    numbers = table[[*COSTS, "top1"]].astype(float)
    fronts = {
        cost: pareto_front(numbers[cost].to_numpy(), numbers["top1"].to_numpy()) for cost in COSTS
    }
    parts = [
        f"{COSTS[cost][0]} {', '.join(f'#{rank}' for rank in table['rank'][front])}"
        for cost, front in fronts.items()
        if front.any()
    ]
    figure = new_figure(
        f"On the Pareto front: {'; '.join(parts)}" if parts else "No cost was recorded",
        height=4.0 if parts else 1.4,
        caption="Numbers are ranks in the table. Bars: 95% interval. Line: Pareto front; no run is"
        " both cheaper and more accurate than those on it. Grey: runs that another one beats."
        if parts
        else "",
    )
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (cost, (_, label)) in zip(panels, COSTS.items(), strict=True):
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

    Columns of each: epoch, minutes, val/top1; a run without rows is left out and named.
    """
    drawn = {name: curve for name, curve in curves.items() if not curve.empty}
    title = "No run measured validation top-1"
    if drawn:
        tops = {name: float(curve["val/top1"].max()) for name, curve in drawn.items()}
        best = max(tops, key=lambda name: tops[name])
        title = f"Best validation top-1 {tops[best]:.3f}: {shorten(best, LONGEST_RUN)}"
        if missing := [name for name in curves if name not in drawn]:
            title += f". Not measured: {', '.join(missing)}"
    figure = new_figure(title, height=3.9 + 0.18 * -(-len(drawn) // 2))
    panels = figure.subplots(1, 2, sharey=True)
    if not drawn:
        for axes in panels:
            say(axes, "not measured")
        return figure
    for axes, column in zip(panels, ("epoch", "minutes"), strict=True):
        for position, (name, curve) in enumerate(drawn.items()):
            axes.plot(
                curve[column],
                curve["val/top1"],
                color=COLORS[position % len(COLORS)],
                linestyle=DASHES[position // len(COLORS) % len(DASHES)],
                marker="o" if len(curve) == 1 else "",
                linewidth=1.4,
                label=shorten(name, LONGEST_RUN),
            )
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


def class_wins(table: pd.DataFrame, first: str, second: str) -> Figure:
    """Draw the photos of each landmark that only one of two models recognises.

    Columns: landmark, photos, only_first, only_second. Landmarks on which both answer alike are
    left out; of more than `MOST_CLASSES` those that differ most are drawn, the first model's wins
    on top.
    """
    table = table.assign(net=table["only_first"] - table["only_second"])
    differing = table[(table["only_first"] + table["only_second"]) > 0]
    differences = differing["only_first"] + differing["only_second"]
    shown = differing.loc[differences.nlargest(MOST_CLASSES).index]
    shown = shown.sort_values(["net", "only_first"], ascending=False, kind="stable")
    won, lost = int((table["net"] > 0).sum()), int((table["net"] < 0).sum())
    title = (
        f"{shorten(first, LONGEST_MODEL)} wins {won} landmark{'' if won == 1 else 's'},"
        f" {shorten(second, LONGEST_MODEL)} {lost}; even: {len(table) - won - lost}"
    )
    note = "Photos that only one of the two recognises; number of test photos in brackets."
    if len(shown) < len(differing):
        note += f" Shown: the {len(shown)} that differ most of {len(differing)}."
    figure = new_figure(
        title[0].upper() + title[1:],
        height=max(2.2, len(shown) * ROW_HEIGHT + 1.6),
        caption=note,
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
    axes.xaxis.set_major_formatter(lambda value, _: f"{abs(value):.0f}")
    add_legend(axes)
    return figure


def photos_of_one(mistakes: Sequence[Answer], right: str, wrong: str) -> Figure:
    """Show photos that the model `right` recognises and `wrong` does not; its answers to them.

    Of more than `MOST_PHOTOS` those are shown on which it was most confident.
    """
    ordered = sorted(mistakes, key=lambda mistake: -mistake.confidence)[:MOST_PHOTOS]
    tiles = [mistake_tile(one) for one in ordered]
    note = f"Orange: what {wrong} says. Blue: what the photo shows."
    if len(ordered) < len(mistakes):
        note += f" Shown: the {len(ordered)} on which {wrong} is most confident."
    return thumbnail_grid(
        in_rows(tiles, 6),
        title=f"{counted(len(mistakes), 'photo')} that only {right} recognises",
        caption=note if tiles else "",
        empty="none",
    )


def _draw_tradeoff(
    axes: Axes, known: pd.DataFrame, cost: NDArray[np.float64], front: NDArray[np.bool_]
) -> None:
    top1 = known["top1"].to_numpy(dtype=float)
    margins = np.stack([top1 - known["top1_low"], known["top1_high"] - top1])
    axes.errorbar(cost, top1, yerr=margins, fmt="none", ecolor=GREY, elinewidth=0.8, alpha=0.7)
    order = np.argsort(cost[front])
    axes.step(cost[front][order], top1[front][order], where="post", color=BLUE, linewidth=1.2)
    colors = [BLUE if on_front else GREY for on_front in front]
    axes.scatter(cost, top1, s=150, c=colors, edgecolors=PAPER, linewidths=0.8, zorder=3)
    ranks: dict[tuple[float, float], list[str]] = defaultdict(list)
    for place, rank in zip(zip(cost, top1, strict=True), known["rank"], strict=True):
        ranks[place].append(str(rank))
    for (x, y), at_one_place in ranks.items():
        # A dot has room for one number; if runs coincide, their numbers stand beside it.
        alone = len(at_one_place) == 1
        write(
            axes,
            ", ".join(at_one_place),
            (x, y),
            offset=(0, -0.5) if alone else (8, 0),
            place_in="data",
            ha="center" if alone else "left",
            va="center",
            color=PAPER if alone else INK,
            zorder=4,
        )
    if cost.min() > 0 and cost.max() > WIDE_SPREAD * cost.min():
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(cost.min() / 1.5, cost.max() * 1.5)
    else:
        axes.set_xlim(0, 1.15 * cost.max() or 1)

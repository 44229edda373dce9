"""Figures of a trained and judged model: learning curves, scores by landmark, risk, location."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator, PercentFormatter

from landmark_ml.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    MOST_ROWS,
    MUTED,
    ROW_HEIGHT,
    SHOWN_ROWS,
    SKY,
    SMALL_SIZE,
    VERMILION,
    add_legend,
    name_ticks,
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

MOST_MARKED_EPOCHS = 40
PHASE_EPOCH = "phase_epoch"
"""Key of a row of the history: its epoch counted from the beginning of its phase."""
SCORES = {"recall": BLUE, "precision": SKY, "f1": GREY}
RISK = 0.05
NEAREST_KM = 0.1
"""Errors below this are drawn at it: the scale is logarithmic."""


def learning_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw losses and validation accuracies over the epochs, with the best epoch marked.

    A row holds `epoch` and any of `train/loss`, `val/loss`, `val/calibrated_loss`, `val/top1`,
    `val/top3`; lines pass over the epochs that lack their key. Best is the lowest
    `val/calibrated_loss`, whose weights training keeps, else the highest `val/top1`, else the
    lowest `val/loss`. `phase_epoch` is 0 where a phase begins: the last one keeps its own best.
    """

    def series(key: str) -> NDArray[np.float64]:
        return np.array([row.get(key, np.nan) for row in history], dtype=float)

    epochs = np.array([row.get("epoch", index) for index, row in enumerate(history)], dtype=float)
    begins = [index for index, row in enumerate(history) if row.get(PHASE_EPOCH) == 0]
    begin = begins[-1] if begins else 0
    best = None
    for key, sign in (("val/calibrated_loss", 1), ("val/top1", -1), ("val/loss", 1)):
        values = sign * series(key)[begin:]
        if best is None and np.isfinite(values).any():
            best = begin + int(np.nanargmin(values))
    count = f"{len(epochs)} epoch" + ("s" if len(epochs) > 1 else "")
    count += f", the last {len(epochs) - begin} on pixels" if begin else ""
    if best is None:
        title = f"{count}, nothing measured on validation photos"
    else:
        top1, loss_then = series("val/top1")[best], series("val/loss")[best]
        score = f"top-1 {top1:.3f}" if np.isfinite(top1) else f"loss {loss_then:.3f}"
        title = f"Best validation {score} at epoch {epochs[best]:.0f} ({count})"
    figure = new_figure(title, height=3.9)
    loss, accuracy = figure.subplots(1, 2)
    losses = {"train": (series("train/loss"), GREY), "validation": (series("val/loss"), BLUE)}
    _draw_curves(loss, epochs, losses, best)
    accuracies = {"top-1": (series("val/top1"), BLUE), "top-3": (series("val/top3"), SKY)}
    _draw_curves(accuracy, epochs, accuracies, best)
    style_axes(loss, title="Loss", xlabel="epoch", ylabel="cross-entropy (nats)")
    style_axes(
        accuracy, title="Validation accuracy", xlabel="epoch", ylabel="share of photos right"
    )
    return figure


def _draw_curves(
    axes: Axes,
    epochs: NDArray[np.float64],
    lines: Mapping[str, tuple[NDArray[np.float64], str]],
    best: int | None,
) -> None:
    drawn = {name: line for name, line in lines.items() if np.isfinite(line[0]).any()}
    if not drawn:
        say(axes, "not measured")
        return
    marker = "o" if len(epochs) <= MOST_MARKED_EPOCHS else ""
    for name, (values, color) in drawn.items():
        measured = np.isfinite(values)
        axes.plot(
            epochs[measured],
            values[measured],
            color=color,
            marker=marker,
            markersize=3.5,
            label=name,
        )
    if best is not None:
        axes.axvline(epochs[best], color=GREEN, linestyle="--", linewidth=1, label="best epoch")
    pad = 0.03 * (epochs[-1] - epochs[0]) or 0.5
    axes.set_xlim(epochs[0] - pad, epochs[-1] + pad)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    add_legend(axes)


def per_class_table(table: pd.DataFrame) -> Figure:
    """Draw recall, precision and F1 of each landmark as bars, the lowest recall on top.

    Columns: `landmark`, `photos`, `recall`, `precision`, `f1`. With more than `MOST_ROWS` rows
    only the lowest are drawn. Each landmark has photos: else it has no recall.
    """
    ordered = table.sort_values(["recall", "f1"], kind="stable")
    drawn = ordered if len(ordered) <= MOST_ROWS else ordered.head(SHOWN_ROWS)
    lowest = ordered.iloc[0]
    figure = new_figure(
        f"Recall by landmark: mean {table['recall'].mean():.2f}, lowest {lowest['recall']:.2f}"
        f" ({lowest['landmark']}), n = {table['photos'].sum():,}",
        height=max(2.0, len(drawn) * ROW_HEIGHT + 1.3),
        caption="Number of photos in brackets."
        + (f" Shown: the {len(drawn)} lowest of {len(table)}." if len(drawn) < len(table) else ""),
    )
    panels = figure.subplots(1, 3, sharey=True)
    for axes, (score, color) in zip(panels, SCORES.items(), strict=True):
        values = drawn[score].to_numpy(dtype=float)
        bars = axes.barh(np.arange(len(values)), values, height=0.72, color=color)
        axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=SMALL_SIZE - 0.5, color=INK)
        style_axes(axes, title=score.capitalize(), grid="x")
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(0, 1.18)
        axes.set_xticks([0, 0.5, 1])
    pairs = zip(drawn["landmark"], drawn["photos"], strict=True)
    name_ticks(panels[0].yaxis, [f"{shorten(str(name))} ({photos})" for name, photos in pairs])
    panels[0].set_ylim(len(drawn) - 0.4, -0.6)
    return figure


def risk_coverage_curve(coverage: NDArray[np.float64], risk: NDArray[np.float64]) -> Figure:
    """Draw the share of wrong answers against the share of photos answered, most confident first.

    Both float [N], over all N photos, as `evaluation.metrics.risk_coverage` gives them.
    """
    within = coverage[risk <= RISK]
    most = float(within.max()) if len(within) else 0.0
    figure = new_figure(
        f"At {RISK:.0%} wrong answers {most:.1%} of {len(risk):,} photos are answered",
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


def location_error(kilometres: NDArray[np.float64], limits: Sequence[int]) -> Figure:
    """Draw the share of photos placed within a distance, of those whose place is known.

    kilometres: float [N] from the answered to the true place, one known at least; infinite where
    none was answered, NaN where the true one is unknown. limits: distances that are marked, in km.
    """
    known = kilometres[~np.isnan(kilometres)]
    placed = np.sort(known[np.isfinite(known)])
    figure = new_figure(
        f"{(known <= 25).mean():.1%} of {len(known):,} landmark photos are placed within 25 km",
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
    for limit in limits:
        axes.axvline(limit, color=GREY, linewidth=0.8, linestyle=":")
        axes.annotate(
            f"{limit} km\n{(known <= limit).mean():.1%}",
            (limit, 0.03),
            xytext=(3, 0),
            textcoords="offset points",
            fontsize=SMALL_SIZE,
            color=MUTED,
        )
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    style_axes(axes, xlabel="distance (km, log scale)", ylabel="share of photos")
    return figure


def robustness_bars(corruptions: pd.DataFrame) -> Figure:
    """Draw top-1 of each corruption with its interval.

    Columns corruption, photos, top1, low, high; the others are compared with the row `clean`.
    """
    order = corruptions.sort_values("top1", ascending=True, ignore_index=True)
    names = [
        "JPEG" if name == "jpeg" else name.replace("_", " ").capitalize()
        for name in order["corruption"]
    ]
    top1 = order["top1"].to_numpy(dtype=float)
    clean = float(top1[order["corruption"] == "clean"][0])
    figure = new_figure(
        f"{names[0]} harms most: top-1 {top1[0]:.3f} against {clean:.3f}"
        if top1[0] < clean
        else "No corruption lowers accuracy",
        width=6.5,
        height=3.8,
        caption=f"The same {int(order['photos'][0]):,} photos each. Bars: 95% interval.",
    )
    axes = figure.add_subplot()
    colors = [GREY if name == "clean" else BLUE for name in order["corruption"]]
    margins = np.stack([top1 - order["low"], order["high"] - top1])
    axes.barh(range(len(order)), top1, color=colors, xerr=margins, ecolor=INK, height=0.7)
    axes.axvline(clean, color=GREY, linewidth=0.9, linestyle=":")
    style_axes(axes, xlabel="top-1", grid="x")
    name_ticks(axes.yaxis, names)
    axes.set_xlim(0, 1)
    return figure

"""Figures of a trained and judged model: how it learned, where it errs, what its scores mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator, PercentFormatter
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix as count_pairs

from landmark_ml.figures.style import (
    BLUE,
    FAINT,
    GREEN,
    GREY,
    INK,
    MOST_ROWS,
    MUTED,
    ORANGE,
    PALE_BLUE,
    PAPER,
    ROW_HEIGHT,
    SHOWN_ROWS,
    SKY,
    SMALL_SIZE,
    TEXT_SIZE,
    VERMILION,
    add_legend,
    in_rows,
    load_thumbnail,
    name_ticks,
    new_figure,
    say,
    shorten,
    style_axes,
    text_inches,
    thumbnail_grid,
    write,
)

if TYPE_CHECKING:
    import pandas as pd

MOST_MARKED_EPOCHS = 40
PHASE_EPOCH = "phase_epoch"
"""Key of a row of the history: its epoch counted from the beginning of its phase."""
SCORES = {"recall": BLUE, "precision": SKY, "f1": GREY}
RISK = 0.05
NEAREST_KM = 0.1
"""Errors below this are drawn at it: the scale is logarithmic."""
RIGHT = LinearSegmentedColormap.from_list("right", ["#F4F8FB", "#CFE2F0"])
WRONG = LinearSegmentedColormap.from_list("wrong", [PAPER, "#F5B78A", VERMILION, "#7A2E00"])
# The same scale in every figure, so that two runs compare by eye; the root lifts rare mistakes.
SHARE = PowerNorm(0.5, vmin=0, vmax=1)
SMALLEST_CELL, LARGEST_CELL = 0.17, 0.6
LISTED = 12
SMALLEST_COUNT = 5.5
"""Points; counts that would print smaller are left to the colour."""
CALIBRATED = 0.005
"""A smaller gap between mean confidence and accuracy counts as calibrated."""
FEW_ANSWERS = 10
MOST_MISTAKES = 20


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
        look: dict[str, Any] = {"color": color, "marker": marker, "markersize": 3.5, "label": name}
        axes.plot(epochs[measured], values[measured], **look)
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
        labels = axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=SMALL_SIZE - 0.5, color=INK)
        for label in labels:
            # Within the axes, so the layout need not measure it.
            label.set_in_layout(False)
        style_axes(axes, title=score.capitalize(), grid="x")
        axes.tick_params(axis="y", length=0)
        axes.set_xlim(0, 1.18)
        axes.set_xticks([0, 0.5, 1])
    pairs = zip(drawn["landmark"], drawn["photos"], strict=True)
    name_ticks(panels[0].yaxis, [f"{shorten(str(name))} ({photos})" for name, photos in pairs])
    panels[0].set_ylim(len(drawn) - 0.4, -0.6)
    return figure


def confusion_matrix(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: Sequence[str]
) -> Figure:
    """Draw which landmark was taken for which; int arrays [N] of indices into `classes`.

    Colour is the share of the true landmark's photos, the number in a cell their count, and the
    most frequent confusions are listed below. With more than `MOST_ROWS` classes only those with
    the most mistakes are drawn.
    """
    counts = count_pairs(labels, predictions, labels=np.arange(len(classes)))
    wrong = counts - np.diag(np.diag(counts))
    shown = np.arange(len(classes))
    if len(classes) > MOST_ROWS:
        mistakes = wrong.sum(axis=0) + wrong.sum(axis=1)
        shown = np.sort(np.argsort(-mistakes, kind="stable")[:SHOWN_ROWS])
    cell = float(np.clip(8.4 / len(shown), SMALLEST_CELL, LARGEST_CELL))
    name_size = min(TEXT_SIZE, max(SMALL_SIZE - 0.5, cell * 72 * 0.7))
    names_width = max(
        text_inches(f"{shorten(classes[i])} (999)", name_size) for i in shown.tolist()
    )
    side = cell * len(shown)
    true, predicted = np.nonzero(wrong)
    times = wrong[true, predicted]
    order = np.lexsort((-times / counts.sum(axis=1)[true], -times))[:LISTED]
    confusions = [
        f"{shorten(classes[t])} → {shorten(classes[p])}  {wrong[t, p]} of {counts[t].sum()}"
        for t, p in zip(true[order], predicted[order], strict=True)
    ]
    below = 0.35 + 0.19 * -(-len(confusions) // 2) if confusions else 0
    photos, mistaken = int(counts.sum()), int(wrong.sum())
    title = f"No confusions: all {photos:,} photos recognised"
    if mistaken:
        title = (
            f"{mistaken:,} of {photos:,} photos taken for another landmark "
            f"(top-1 {1 - mistaken / photos:.3f})"
        )
    note = (
        "Numbers, where they fit, count photos. Colour is the share of the true landmark's photos"
        " (n in brackets): blue where recognised, orange to brown where mistaken."
    )
    if len(shown) < len(classes):
        note = f"Shown: the {len(shown)} of {len(classes)} landmarks with the most mistakes. {note}"
    figure = new_figure(
        title,
        width=max(6.5, side + names_width + 1.3),
        height=side + names_width + 1.2 + below,
        caption=note,
    )
    heights = (side + names_width, below) if confusions else (side + names_width,)
    panels = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _draw_matrix(panels[0], counts, shown, classes, cell, name_size)
    if confusions:
        heading = "Most frequent confusions (true → predicted, photos of the true landmark)"
        style_axes(panels[1], title=heading, grid="none")
        panels[1].set_axis_off()
        rows = -(-len(confusions) // 2)
        for position, confusion in enumerate(confusions):
            place = 0.5 * (position // rows), 1 - (position % rows + 0.5) / rows
            write(panels[1], f"{position + 1}.  {confusion}", place, va="center")
    return figure


def _draw_matrix(
    axes: Axes,
    counts: NDArray[np.int64],
    shown: NDArray[np.intp],
    classes: Sequence[str],
    cell: float,
    name_size: float,
) -> None:
    photos = counts.sum(axis=1)[shown]
    part = counts[np.ix_(shown, shown)]
    share = part / np.maximum(photos, 1)[:, None]
    diagonal = np.eye(len(shown), dtype=bool)
    axes.imshow(np.ma.masked_array(share, ~diagonal), cmap=RIGHT, vmin=0, vmax=1)
    axes.imshow(np.ma.masked_array(share, diagonal), cmap=WRONG, norm=SHARE)
    digits = max(len(str(part.max())), 2)
    count_size = min(TEXT_SIZE, 0.85 * cell * 72 / (0.62 * digits))
    for row, column in np.argwhere(part) if count_size >= SMALLEST_COUNT else ():
        dark = row != column and share[row, column] > 0.35
        axes.text(
            column,
            row,
            str(part[row, column]),
            ha="center",
            va="center",
            fontsize=count_size,
            color=PAPER if dark else INK,
            in_layout=False,
        )
    style_axes(axes, xlabel="predicted landmark", ylabel="true landmark", grid="none")
    names = [shorten(classes[index]) for index in shown]
    name_ticks(axes.xaxis, names, size=name_size, rotation=90)
    totals = [f"{n} ({c})" for n, c in zip(names, photos, strict=True)]
    name_ticks(axes.yaxis, totals, size=name_size)
    edges = np.arange(len(shown) + 1) - 0.5
    for draw_lines in (axes.hlines, axes.vlines):
        draw_lines(edges, edges[0], edges[-1], color=FAINT, linewidth=0.5)
    axes.spines[:].set_visible(False)


def reliability_diagram(
    confidence: NDArray[np.float64],
    correct: NDArray[np.bool_],
    *,
    ece: float,
    num_bins: int = 15,
) -> Figure:
    """Draw accuracy against confidence in equal-width bins, with the photos a bin below.

    `confidence` float [N] in 0 to 1, `correct` bool [N], as in Guo et al., "On Calibration of
    Modern Neural Networks" (2017).
    """
    right = correct.astype(float)
    gap = float(confidence.mean() - right.mean())
    title = "Calibrated on average"
    if abs(gap) >= CALIBRATED:
        title = f"Too {'confident' if gap > 0 else 'cautious'} by {abs(gap):.3f}"
    figure = new_figure(
        f"{title} (ECE {ece:.3f}, n = {confidence.size:,})",
        width=6.5,
        height=6.0,
        caption=f"Mean confidence {confidence.mean():.3f}, accuracy {right.mean():.3f}. "
        f"Pale bars stand on fewer than {FEW_ANSWERS} photos.",
    )
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bins = np.minimum((confidence * num_bins).astype(int), num_bins - 1)
    counts = np.bincount(bins, minlength=num_bins)
    filled, width = np.flatnonzero(counts), 1 / num_bins
    accuracy = np.bincount(bins, right, num_bins)[filled] / counts[filled]
    mean = np.bincount(bins, confidence, num_bins)[filled] / counts[filled]
    for few, shade, label in ((False, BLUE, "accuracy"), (True, PALE_BLUE, "")):
        some = (counts[filled] < FEW_ANSWERS) == few
        left, height = filled[some] * width, accuracy[some]
        above.bar(left, height, width=0.9 * width, align="edge", color=shade, label=label)
    dash = {"color": VERMILION, "markersize": 14, "markeredgewidth": 2}
    above.plot(mean, mean, "_", label="mean confidence", **dash)
    line = {"color": GREY, "linewidth": 0.9, "linestyle": ":"}
    above.plot([0, 1], [0, 1], label="perfectly calibrated", **line)
    above.set_ylim(0, 1.02)
    add_legend(above)
    below.bar((np.arange(num_bins) + 0.5) * width, counts, width=0.9 * width, color=GREY)
    style_axes(above, ylabel="share of answers right")
    style_axes(below, xlabel="confidence", ylabel="photos")
    above.tick_params(labelbottom=False)
    below.set_xlim(0, 1)
    below.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
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


def rejection_curve(
    landmarks: NDArray[np.floating], others: Mapping[str, NDArray[np.floating]], threshold: float
) -> Figure:
    """Draw what share of other photos is tagged for each share of known landmarks that is.

    Scores, float [N]; others: by what the photos show, none of them empty. The marks are at the
    threshold.
    """
    kept = float(np.mean(landmarks >= threshold))
    said = [f"{np.mean(scores >= threshold):.1%} of {name}" for name, scores in others.items()]
    figure = new_figure(
        f"At the threshold, {kept:.1%} of known landmarks are tagged, and {' and '.join(said)}",
        width=6.5,
    )
    axes = figure.add_subplot()
    thresholds = np.sort(landmarks)[::-1]
    shares = np.arange(1, len(landmarks) + 1) / len(landmarks)
    for (name, scores), color in zip(others.items(), (ORANGE, BLUE), strict=False):
        tagged = 1 - np.searchsorted(np.sort(scores), thresholds) / len(scores)
        axes.plot(shares, tagged, color=color, label=f"{name} (n = {len(scores):,})")
        axes.plot([kept], [np.mean(scores >= threshold)], "o", color=color, markersize=5)
    style_axes(
        axes, xlabel="share of known landmarks tagged", ylabel="share of the others", grid="both"
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.xaxis.set_major_locator(MultipleLocator(0.05))
    axes.set_xlim(min(0.8, kept - 0.02), 1)
    axes.set_ylim(bottom=0)
    add_legend(axes)
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
        label = f"{limit} km\n{(known <= limit).mean():.1%}"
        write(axes, label, (limit, 0.03), offset=(3, 0), place_in="data", color=MUTED)
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


@dataclass(frozen=True)
class Answer:
    """Answer of a model to one photo: label is what it shows, confidence is from 0 to 1.

    where: city and country of the answer, empty when unknown.
    """

    path: Path
    label: str
    landmark: str
    confidence: float
    where: str = ""

    @property
    def correct(self) -> bool:
        """Whether the answer is what the photo shows."""
        return self.landmark == self.label


def answer_gallery(answers: Sequence[Answer]) -> Figure:
    """Photos with the landmark, confidence and place that were answered."""
    tiles = [
        load_thumbnail(
            answer.path,
            (answer.landmark, BLUE if answer.correct else VERMILION),
            (f"{answer.confidence:.0%}  {answer.where}", GREY),
        )
        for answer in answers
    ]
    right = sum(answer.correct for answer in answers)
    return thumbnail_grid(
        in_rows(tiles, 6),
        title=f"{right} of {len(answers)} test photos recognised, one photo a landmark",
        caption="Above each photo the answer: blue when it is right, red when it is wrong.",
        empty="no test photos",
    )


def worst_mistakes(mistakes: Sequence[Answer], *, photos: int) -> Figure:
    """The most confident wrong answers; `photos` is how many were judged."""
    worst = sorted(mistakes, key=lambda mistake: -mistake.confidence)[:MOST_MISTAKES]
    tiles = [
        load_thumbnail(
            mistake.path,
            (f"is {mistake.label}", BLUE),
            (f"{mistake.confidence:.2f} {mistake.landmark}", VERMILION),
        )
        for mistake in worst
    ]
    noun = "mistake" if len(mistakes) == 1 else "mistakes"
    first = f"The {len(worst)} most confident of " if len(worst) < len(mistakes) else ""
    note = "Blue: the true landmark. Red: the predicted one, with its confidence."
    return thumbnail_grid(
        in_rows(tiles, 5),
        title=f"{first}{len(mistakes) or 'No'} {noun} on {photos:,} photos",
        caption=note if mistakes else "",
        empty="every photo was recognised",
    )

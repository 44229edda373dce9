"""The confusion matrix as a figure, made so that the mistakes show beside a strong diagonal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm

from landmark_ml.figures.style import (
    FAINT,
    INK,
    MOST_ROWS,
    PAPER,
    SHOWN_ROWS,
    SMALL_SIZE,
    TEXT_SIZE,
    VERMILION,
    name_ticks,
    new_figure,
    shorten,
    style_axes,
    text_inches,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

RIGHT = LinearSegmentedColormap.from_list("right", ["#F4F8FB", "#CFE2F0"])
WRONG = LinearSegmentedColormap.from_list("wrong", [PAPER, "#F5B78A", VERMILION, "#7A2E00"])
# The same scale in every figure, so that two runs compare by eye; the root lifts rare mistakes.
SHARE = PowerNorm(0.5, vmin=0, vmax=1)
SMALLEST_CELL, LARGEST_CELL = 0.17, 0.6
LISTED = 12
SMALLEST_COUNT = 5.5
"""Points; counts that would print smaller are left to the colour."""


def confusion_matrix(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: Sequence[str]
) -> Figure:
    """Draw which landmark was taken for which; int arrays [N] of indices into `classes`.

    Colour is the share of the true landmark's photos, the number in a cell their count, and the
    most frequent confusions are listed below. With more than `MOST_ROWS` classes only those with
    the most mistakes are drawn. Raises ValueError on arrays that do not fit each other or
    `classes`.
    """
    counts = _count_pairs(labels, predictions, len(classes))
    shown = _select_classes(counts)
    cell = float(np.clip(8.4 / len(shown), SMALLEST_CELL, LARGEST_CELL))
    names_width = max(text_inches(f"{shorten(classes[i])} (999)", _name_size(cell)) for i in shown)
    side = cell * len(shown)
    confusions = _list_confusions(counts, classes)
    below = 0.35 + 0.19 * -(-len(confusions) // 2) if confusions else 0
    figure = new_figure(
        _title(counts),
        width=max(6.5, side + names_width + 1.3),
        height=side + names_width + 1.2 + below,
        caption=_note(len(shown), len(classes)),
    )
    heights = (side + names_width, below) if confusions else (side + names_width,)
    panels = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    _draw_matrix(panels[0], counts, shown, classes, cell)
    if confusions:
        _write_list(panels[1], confusions)
    return figure


def _count_pairs(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: int
) -> NDArray[np.int64]:
    """Count photos [classes, classes], true landmark by predicted landmark."""
    if labels.shape != predictions.shape or labels.ndim != 1 or not labels.size:
        msg = (
            f"labels of shape {labels.shape} and predictions of shape {predictions.shape}:"
            " give one of each per photo, for at least one photo"
        )
        raise ValueError(msg)
    both = np.concatenate((labels, predictions))
    if both.min() < 0 or both.max() >= classes:
        msg = (
            f"labels and predictions run from {both.min()} to {both.max()} but there are"
            f" {classes} classes: leave out photos of no landmark"
        )
        raise ValueError(msg)
    counts = np.bincount(labels * classes + predictions, minlength=classes * classes)
    return counts.reshape(classes, classes)


def _select_classes(counts: NDArray[np.int64]) -> NDArray[np.intp]:
    if len(counts) <= MOST_ROWS:
        return np.arange(len(counts))
    wrong = counts - np.diag(np.diag(counts))
    mistakes = wrong.sum(axis=0) + wrong.sum(axis=1)
    return np.sort(np.argsort(-mistakes, kind="stable")[:SHOWN_ROWS])


def _list_confusions(counts: NDArray[np.int64], classes: Sequence[str]) -> list[str]:
    wrong = counts - np.diag(np.diag(counts))
    true, predicted = np.nonzero(wrong)
    times = wrong[true, predicted]
    share = times / counts.sum(axis=1)[true]
    order = np.lexsort((-share, -times))[:LISTED]
    pairs = zip(true[order], predicted[order], strict=True)
    return [
        f"{shorten(classes[t])} → {shorten(classes[p])}  {wrong[t, p]} of {counts[t].sum()}"
        for t, p in pairs
    ]


def _title(counts: NDArray[np.int64]) -> str:
    photos, right = int(counts.sum()), int(np.trace(counts))
    if right == photos:
        return f"No confusions: all {photos:,} photos recognised"
    return (
        f"{photos - right:,} of {photos:,} photos taken for another landmark "
        f"(top-1 {right / photos:.3f})"
    )


def _note(shown: int, classes: int) -> str:
    note = (
        "Numbers, where they fit, count photos. Colour is the share of the true landmark's photos"
        " (n in brackets): blue where recognised, orange to brown where mistaken."
    )
    if shown < classes:
        note = f"Shown: the {shown} of {classes} landmarks with the most mistakes. {note}"
    return note


def _draw_matrix(
    axes: Axes,
    counts: NDArray[np.int64],
    shown: NDArray[np.intp],
    classes: Sequence[str],
    cell: float,
) -> None:
    photos = counts.sum(axis=1)[shown]
    part = counts[np.ix_(shown, shown)]
    share = part / np.maximum(photos, 1)[:, None]
    diagonal = np.eye(len(shown), dtype=bool)
    wrong = np.ma.masked_array(share, diagonal)
    axes.imshow(np.ma.masked_array(share, ~diagonal), cmap=RIGHT, vmin=0, vmax=1)
    axes.imshow(wrong, cmap=WRONG, norm=SHARE)
    _write_counts(axes, part, share, cell)
    style_axes(axes, xlabel="predicted landmark", ylabel="true landmark", grid="none")
    size = _name_size(cell)
    names = [shorten(classes[index]) for index in shown]
    name_ticks(axes.xaxis, names, size=size, rotation=90)
    totals = [f"{n} ({c})" for n, c in zip(names, photos, strict=True)]
    name_ticks(axes.yaxis, totals, size=size)
    axes.set_xticks(np.arange(len(shown) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(shown) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=FAINT, linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)


def _name_size(cell: float) -> float:
    return min(TEXT_SIZE, max(SMALL_SIZE - 0.5, cell * 72 * 0.7))


def _write_counts(
    axes: Axes, counts: NDArray[np.int64], share: NDArray[np.float64], cell: float
) -> None:
    digits = len(str(counts.max()))
    size = min(TEXT_SIZE, 0.85 * cell * 72 / (0.62 * max(digits, 2)))
    if size < SMALLEST_COUNT:
        return
    for row, column in np.argwhere(counts):
        dark = row != column and share[row, column] > 0.35
        axes.text(
            column,
            row,
            str(counts[row, column]),
            ha="center",
            va="center",
            fontsize=size,
            color=PAPER if dark else INK,
        )


def _write_list(axes: Axes, confusions: Sequence[str]) -> None:
    style_axes(
        axes,
        title="Most frequent confusions (true → predicted, photos of the true landmark)",
        grid="none",
    )
    axes.set_axis_off()
    rows = -(-len(confusions) // 2)
    for place, confusion in enumerate(confusions):
        axes.text(
            0.5 * (place // rows),
            1 - (place % rows + 0.5) / rows,
            f"{place + 1}.  {confusion}",
            va="center",
            fontsize=SMALL_SIZE,
            color=INK,
            transform=axes.transAxes,
            parse_math=False,
        )

"""The confusion matrix as a figure, made so that the mistakes show beside a strong diagonal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.colors import LinearSegmentedColormap, PowerNorm
from sklearn.metrics import confusion_matrix as count_pairs

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
    the most mistakes are drawn.
    """
    counts = count_pairs(labels, predictions, labels=np.arange(len(classes)))
    wrong = counts - np.diag(np.diag(counts))
    shown = np.arange(len(classes))
    if len(classes) > MOST_ROWS:
        mistakes = wrong.sum(axis=0) + wrong.sum(axis=1)
        shown = np.sort(np.argsort(-mistakes, kind="stable")[:SHOWN_ROWS])
    cell = float(np.clip(8.4 / len(shown), SMALLEST_CELL, LARGEST_CELL))
    names_width = max(
        text_inches(f"{shorten(classes[i])} (999)", _name_size(cell)) for i in shown.tolist()
    )
    side = cell * len(shown)
    confusions = _list_confusions(counts, wrong, classes)
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
    _draw_matrix(panels[0], counts, shown, classes, cell)
    if confusions:
        _write_list(panels[1], confusions)
    return figure


def _list_confusions(
    counts: NDArray[np.int64], wrong: NDArray[np.int64], classes: Sequence[str]
) -> list[str]:
    true, predicted = np.nonzero(wrong)
    times = wrong[true, predicted]
    share = times / counts.sum(axis=1)[true]
    order = np.lexsort((-share, -times))[:LISTED]
    return [
        f"{shorten(classes[t])} → {shorten(classes[p])}  {wrong[t, p]} of {counts[t].sum()}"
        for t, p in zip(true[order], predicted[order], strict=True)
    ]


def _name_size(cell: float) -> float:
    return min(TEXT_SIZE, max(SMALL_SIZE - 0.5, cell * 72 * 0.7))


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
        )
    style_axes(axes, xlabel="predicted landmark", ylabel="true landmark", grid="none")
    names = [shorten(classes[index]) for index in shown]
    name_ticks(axes.xaxis, names, size=_name_size(cell), rotation=90)
    totals = [f"{n} ({c})" for n, c in zip(names, photos, strict=True)]
    name_ticks(axes.yaxis, totals, size=_name_size(cell))
    axes.set_xticks(np.arange(len(shown) + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(len(shown) + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=FAINT, linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.spines[:].set_visible(False)


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

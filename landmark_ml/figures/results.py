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

from landmark_ml.console import counted
from landmark_ml.figures.style import (
    BLUE,
    FAINT,
    GREY,
    INK,
    MUTED,
    ORANGE,
    PALE_BLUE,
    PAPER,
    SHOWN_ROWS,
    SKY,
    SMALL_SIZE,
    TEXT_SIZE,
    VERMILION,
    Thumbnail,
    in_rows,
    label_lines,
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
NONE = "no landmark"
RIGHT = LinearSegmentedColormap.from_list("right", ["#F4F8FB", "#CFE2F0"])
WRONG = LinearSegmentedColormap.from_list("wrong", [PAPER, "#F5B78A", VERMILION, "#7A2E00"])
UNNAMED = LinearSegmentedColormap.from_list("unnamed", [PAPER, "#C9CDD1", MUTED])
# The same scale in every figure, so that two runs compare by eye; the root lifts rare mistakes.
SHARE = PowerNorm(0.5, vmin=0, vmax=1)
SMALLEST_CELL, LARGEST_CELL = 0.17, 0.6
LISTED = 12
SMALLEST_COUNT = 5.5
"""Points; counts that would print smaller are left to the colour."""
CALIBRATED = 0.005
"""A smaller gap between mean confidence and accuracy counts as calibrated."""
MOST_MISTAKES = 20
MOST_OF_ONE = 12


def learning_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw losses and validation accuracies over the epochs, with the chosen epoch marked.

    A row holds `epoch` and any of `train/loss`, `val/loss`, `val/calibrated_loss`, `val/top1`,
    `val/top3`; lines pass over the epochs that lack their key. Chosen is the lowest
    `val/calibrated_loss`, whose weights training keeps. `phase_epoch` is 0 where a phase begins:
    the last one keeps its own best.
    """

    def series(key: str) -> NDArray[np.float64]:
        return np.array([row.get(key, np.nan) for row in history], dtype=float)

    epochs = np.array([row.get("epoch", index) for index, row in enumerate(history)], dtype=float)
    begins = [index for index, row in enumerate(history) if row.get(PHASE_EPOCH) == 0]
    begin = begins[-1] if begins else 0
    chosen_by, best = series("val/calibrated_loss")[begin:], None
    if np.isfinite(chosen_by).any():
        best = begin + int(np.nanargmin(chosen_by))
    count = counted(len(epochs), "epoch")
    count += f", the last {len(epochs) - begin} on pixels" if begin else ""
    title, note = f"{count}, nothing measured on validation photos", ""
    if best is not None:
        top1 = series("val/top1")[best]
        title = f"Validation top-1 {top1:.3f} at epoch {epochs[best]:.0f} ({count})"
        note = (
            "Ring: the epoch whose weights are kept, that of the lowest calibrated loss. Training"
            " loss includes smoothing, dropout and augmentation where they are used."
        )
    figure = new_figure(title, height=3.9, caption=note)
    loss, accuracy = figure.subplots(1, 2)
    losses = {
        "training": (series("train/loss"), GREY),
        "validation": (series("val/loss"), SKY),
        "validation, calibrated": (series("val/calibrated_loss"), BLUE),
    }
    accuracies = {"top-1": (series("val/top1"), BLUE), "top-3": (series("val/top3"), SKY)}
    for axes, lines in ((loss, losses), (accuracy, accuracies)):
        _draw_curves(axes, epochs, lines, best, begin)
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
    begin: int,
) -> None:
    drawn = {name: line for name, line in lines.items() if np.isfinite(line[0]).any()}
    if not drawn:
        say(axes, "not measured")
        return
    marker = "o" if len(epochs) <= MOST_MARKED_EPOCHS else ""
    for name, (values, color) in drawn.items():
        measured = np.isfinite(values)
        look: dict[str, Any] = {"color": color, "marker": marker, "markersize": 3, "label": name}
        axes.plot(epochs[measured], values[measured], **look)
    curves = list(axes.lines)
    if begin:
        axes.axvline(epochs[begin] - 0.5, color=GREY, linewidth=0.8, linestyle=":")
    if best is not None:
        chosen = next(v for name, (v, _) in reversed(drawn.items()) if name != "top-3")
        ring: dict[str, Any] = {"markersize": 9, "markeredgecolor": INK, "markerfacecolor": "none"}
        axes.plot(epochs[[best]], chosen[[best]], "o", label="chosen epoch", **ring)
    pad = 0.03 * (epochs[-1] - epochs[0]) or 0.5
    axes.set_xlim(epochs[0] - pad, epochs[-1] + pad)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    label_lines(axes, curves)


def confusion_matrix(
    labels: NDArray[np.int64], predictions: NDArray[np.int64], classes: Sequence[str]
) -> Figure:
    """Draw what was taken for what; int arrays [N] of indices into `classes`, -1 for no landmark.

    Only landmarks with a mistake are drawn, the most confused first and no landmark last. Colour is
    the share of the true landmark's photos, the number in a cell their count, and the most frequent
    confusions are listed below. At most `SHOWN_ROWS` are drawn.
    """
    names, none = [*classes, NONE], len(classes)
    asked, said = (np.where(found < 0, none, found) for found in (labels, predictions))
    photos_of = np.bincount(asked, minlength=none + 1)
    # Of the square of all landmarks only the cells that hold photos.
    cells, times = np.unique(np.stack([asked, said]), axis=1, return_counts=True)
    true, predicted = cells

    def count(chosen: NDArray[np.bool_], of: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.bincount(of[chosen], times[chosen], none).astype(np.int64)

    wrong = (true != predicted) & (predicted != none)
    between = wrong & (true != none)
    confused = count(between, true) + count(between, predicted)
    taken = count(wrong & (true == none), predicted)
    kept = count((predicted == none) & (true != none), true)
    order = np.lexsort((-kept - taken, -confused))
    faulty = order[(confused + kept + taken)[order] > 0]
    shown = faulty[:SHOWN_ROWS]
    photos, others = int(photos_of[:none].sum()), int(photos_of[none])
    title = (
        f"{times[between].sum():,} of {photos:,} landmark photos taken for another landmark,"
        f" {kept.sum():,} for none"
    )
    title += f"; {taken.sum():,} of {others:,} other photos for a landmark" if others else ""
    if not len(faulty):
        figure = new_figure(f"No confusions on {photos + others:,} photos", height=1.4)
        say(figure.add_subplot(), "every answer was right")
        return figure
    if others or kept.sum():
        shown = np.append(shown, none)
    cell = float(np.clip(8.4 / len(shown), SMALLEST_CELL, LARGEST_CELL))
    name_size = min(TEXT_SIZE, max(SMALL_SIZE - 0.5, cell * 72 * 0.7))
    names_width = max(text_inches(f"{shorten(names[i])} (999)", name_size) for i in shown.tolist())
    side = cell * len(shown)
    pairs = np.flatnonzero(wrong)
    order = np.lexsort((-times[pairs] / photos_of[true[pairs]], -times[pairs]))[:LISTED]
    confusions = [
        f"{shorten(names[t])} → {shorten(names[p])}  {count} of {photos_of[t]}"
        for t, p, count in zip(*cells[:, pairs[order]], times[pairs[order]], strict=True)
    ]
    below = 0.35 + 0.19 * -(-len(confusions) // 2) if confusions else 0
    note = (
        "Numbers, where they fit, count photos. Colour is the share of the true landmark's photos"
        " (n in brackets): blue where right, orange to brown where mistaken, grey where the model"
        " names no landmark."
    )
    if len(faulty) < none:
        note += f" Not drawn: {none - len(faulty)} landmarks without a mistake."
    if len(faulty) > SHOWN_ROWS:
        note += f" Shown: the {SHOWN_ROWS} of {none} landmarks with the most mistakes."
    figure = new_figure(
        title,
        width=max(6.5, side + names_width + 1.3),
        height=side + names_width + 1.2 + below,
        caption=note,
    )
    heights = (side + names_width, below) if confusions else (side + names_width,)
    panels = figure.subplots(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
    row_of = np.full(none + 1, -1)
    row_of[shown] = np.arange(len(shown))
    drawn = (row_of[cells] >= 0).all(axis=0)
    part = np.zeros((len(shown), len(shown)), dtype=np.int64)
    part[tuple(row_of[cells[:, drawn]])] = times[drawn]
    drawn_names = [shorten(names[index]) for index in shown]
    _draw_matrix(panels[0], part, photos_of[shown], shown == none, drawn_names, cell, name_size)
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
    part: NDArray[np.int64],
    photos: NDArray[np.int64],
    is_none: NDArray[np.bool_],
    names: Sequence[str],
    cell: float,
    name_size: float,
) -> None:
    share = part / np.maximum(photos, 1)[:, None]
    diagonal = np.eye(len(names), dtype=bool)
    unnamed = ~diagonal & is_none[None]
    axes.imshow(np.ma.masked_array(share, ~diagonal), cmap=RIGHT, vmin=0, vmax=1)
    axes.imshow(np.ma.masked_array(share, diagonal | unnamed), cmap=WRONG, norm=SHARE)
    axes.imshow(np.ma.masked_array(share, ~unnamed), cmap=UNNAMED, norm=SHARE)
    digits = max(len(str(part.max())), 2)
    count_size = min(TEXT_SIZE, 0.85 * cell * 72 / (0.62 * digits))
    for row, column in np.argwhere(part) if count_size >= SMALLEST_COUNT else ():
        dark = row != column and share[row, column] > (0.6 if unnamed[row, column] else 0.35)
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
    name_ticks(axes.xaxis, names, size=name_size, rotation=90)
    totals = [f"{n} ({c})" for n, c in zip(names, photos, strict=True)]
    name_ticks(axes.yaxis, totals, size=name_size)
    edges = np.arange(len(names) + 1) - 0.5
    for draw_lines in (axes.hlines, axes.vlines):
        draw_lines(edges, edges[0], edges[-1], color=FAINT, linewidth=0.5)
    axes.spines[:].set_visible(False)


def reliability_diagram(bins: pd.DataFrame, *, ece: float) -> Figure:
    """Draw accuracy with its 95% interval against confidence, with the photos a bin below.

    bins: the table of `metrics.calibration_bins`, as in Guo et al., "On Calibration of Modern
    Neural Networks" (2017).
    """
    filled = bins[bins["photos"] > 0]
    photos = int(filled["photos"].sum())
    confidence, accuracy = (
        float(np.average(filled[name], weights=filled["photos"]))
        for name in ("confidence", "accuracy")
    )
    gap = confidence - accuracy
    title = "Calibrated on average"
    if abs(gap) >= CALIBRATED:
        title = f"Too {'confident' if gap > 0 else 'cautious'} by {abs(gap):.3f}"
    figure = new_figure(
        f"{title} (ECE {ece:.3f}, n = {photos:,})",
        width=6.5,
        height=5.4,
        caption=f"Mean confidence {confidence:.3f}, accuracy {accuracy:.3f}. Dots: share of right"
        " answers among those of about that confidence; lines: 95% interval; no dot: no answer."
        " Dotted: perfectly calibrated.",
    )
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=GREY, linewidth=0.9, linestyle=":")
    above.vlines(filled["confidence"], filled["low"], filled["high"], color=PALE_BLUE, lw=4)
    above.plot(filled["confidence"], filled["accuracy"], "o", color=BLUE, markersize=5)
    above.set_ylim(-0.02, 1.02)
    width = 1 / len(bins)
    bars = below.bar((bins.index + 0.5) * width, bins["photos"], width=0.9 * width, color=GREY)
    counts = [str(count) if count else "" for count in bins["photos"]]
    below.bar_label(bars, counts, padding=1, fontsize=SMALL_SIZE - 0.5, color=MUTED)
    style_axes(above, ylabel="share of answers right", grid="both")
    style_axes(below, xlabel="confidence", ylabel="photos")
    above.tick_params(labelbottom=False)
    below.set_xlim(0, 1)
    below.margins(y=0.25)
    below.yaxis.set_major_locator(MaxNLocator(nbins=3, integer=True))
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
        f"Tagged at the threshold: {kept:.1%} of known landmarks, {', '.join(said)}",
        width=7.5,
        caption="Dots: at the model's own threshold. A lower one tags more of both.",
    )
    axes = figure.add_subplot()
    thresholds = np.sort(landmarks)[::-1]
    shares = np.arange(1, len(landmarks) + 1) / len(landmarks)
    curves = []
    # From the last, so that photos of no landmark have one colour in all figures.
    for (name, scores), color in zip([*others.items()][::-1], (BLUE, ORANGE), strict=False):
        tagged = 1 - np.searchsorted(np.sort(scores), thresholds) / len(scores)
        curves += axes.plot(shares, tagged, color=color, label=f"{name}\n(n = {len(scores):,})")
        axes.plot([kept], [np.mean(scores >= threshold)], "o", color=color, markersize=6)
    style_axes(
        axes, xlabel="share of known landmarks tagged", ylabel="share of the others", grid="both"
    )
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.xaxis.set_major_locator(MultipleLocator(0.05))
    axes.set_xlim(min(0.8, kept - 0.02), 1)
    axes.set_ylim(bottom=0)
    label_lines(axes, curves, apart=0.12)
    return figure


@dataclass(frozen=True)
class Answer:
    """Answer of a model to one photo.

    label: what it shows, empty for no landmark. said: what the answer names; named: whether that is
    a landmark, not a city or nothing. confidence: of its best landmark, from 0 to 1. where: city
    and country of the answer, empty when unknown.
    """

    path: Path
    label: str
    said: str
    named: bool
    confidence: float
    where: str = ""

    @property
    def correct(self) -> bool:
        """Whether the answer names the landmark that the photo shows."""
        return self.named and self.said == self.label


def answer_gallery(answers: Sequence[Answer], *, seed: int) -> Figure:
    """Random photos with what was answered; seed: with which they were chosen."""
    tiles = []
    for answer in answers:
        color = BLUE if answer.correct else VERMILION if answer.named else GREY
        below = f"is {answer.label or NONE}"
        if answer.correct:
            below = f"{answer.confidence:.0%}  {answer.where}"
        tiles.append(load_thumbnail(answer.path, (answer.said, color), (below, MUTED)))
    landmarks = [answer for answer in answers if answer.label]
    right = sum(answer.correct for answer in answers)
    title = f"{right} of {len(landmarks)} landmark photos recognised"
    if others := len(answers) - len(landmarks):
        tagged = sum(answer.named for answer in answers if not answer.label)
        title += f"; {tagged} of {others} without a landmark taken for one"
    return thumbnail_grid(
        in_rows(tiles, 6),
        title=title,
        caption="Above each photo the answer: blue where right, orange where wrong, grey where it"
        f" names no landmark. Test photos drawn at random (seed {seed}).",
    )


def worst_mistakes(mistakes: Sequence[Answer], *, photos: int) -> Figure:
    """The most confident answers with a wrong landmark; `photos` is how many were judged."""
    worst = sorted(mistakes, key=lambda mistake: -mistake.confidence)[:MOST_MISTAKES]
    tiles = [_mistake_tile(mistake) for mistake in worst]
    first = f"The {len(worst)} most confident of " if len(worst) < len(mistakes) else ""
    found = counted(len(mistakes), "wrong landmark") if mistakes else "No wrong landmarks"
    note = "Orange: the answer and its confidence. Blue: what the photo shows."
    return thumbnail_grid(
        in_rows(tiles, 5),
        title=f"{first}{found} on {photos:,} photos",
        caption=note if mistakes else "",
    )


def photos_of_one(mistakes: Sequence[Answer], right: str, wrong: str) -> Figure:
    """Show photos that the model `right` recognises and `wrong` does not; its answers to them.

    Of more than `MOST_OF_ONE` those are shown on which it was most confident.
    """
    ordered = sorted(mistakes, key=lambda mistake: -mistake.confidence)[:MOST_OF_ONE]
    note = f"Orange: what {wrong} says. Blue: what the photo shows."
    if len(ordered) < len(mistakes):
        note += f" Shown: the {len(ordered)} on which {wrong} is most confident."
    return thumbnail_grid(
        in_rows([_mistake_tile(one) for one in ordered], 6),
        title=f"{counted(len(mistakes), 'photo')} that only {right} recognises",
        caption=note,
    )


def _mistake_tile(mistake: Answer) -> Thumbnail:
    """A photo below its name, what was said of it and what it shows."""
    return load_thumbnail(
        mistake.path,
        (mistake.path.name, MUTED),
        (f"said {mistake.confidence:.0%} {mistake.said}", VERMILION),
        (f"is {mistake.label or NONE}", BLUE),
    )

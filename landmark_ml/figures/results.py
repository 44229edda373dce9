"""Pictures of a run's results: curves, per-class scores and mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from landmark_ml.figures.style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    MOST_ROWS,
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
from landmark_ml.figures.thumbnails import Line, in_rows, load_thumbnail, thumbnail_grid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

MOST_MISTAKES = 20
MOST_MARKED_EPOCHS = 40
PHASE_EPOCH = "phase_epoch"
"""Key of a row of the history: its epoch counted from the beginning of its phase."""
_CURVES = ("train/loss", "val/loss", "val/calibrated_loss", "val/top1", "val/top3")
SCORES = ("recall", "precision", "f1")
MISTAKES_NOTE = "Blue: the true landmark. Red: the predicted one, with its confidence."


@dataclass(frozen=True)
class Mistake:
    """A photo given the wrong landmark; confidence is the prediction's, from 0 to 1."""

    path: Path
    label: str
    prediction: str
    confidence: float


def learning_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Draw losses and validation accuracies over the epochs, with the best epoch marked.

    A row holds `epoch` and any of `train/loss`, `val/loss`, `val/calibrated_loss`, `val/top1`,
    `val/top3`; lines pass over the epochs that lack their key. Best is the lowest
    `val/calibrated_loss`, whose weights training keeps, else the highest `val/top1`, else the
    lowest `val/loss`. `phase_epoch` is 0 where a phase begins: the last one keeps its own best.
    Raises ValueError on an empty history.
    """
    if not history:
        msg = "the history holds no epoch: draw learning curves after the first one"
        raise ValueError(msg)
    epochs = np.array([row.get("epoch", index) for index, row in enumerate(history)], dtype=float)
    series = {key: _series(history, key) for key in _CURVES}
    begin = _last_phase(history)
    best = _best_epoch(series, begin)
    figure = new_figure(_curves_title(epochs, series, best, begin), height=3.9)
    loss, accuracy = figure.subplots(1, 2)
    _draw_curves(
        loss,
        epochs,
        {"train": (series["train/loss"], GREY), "validation": (series["val/loss"], BLUE)},
        best,
    )
    _draw_curves(
        accuracy,
        epochs,
        {"top-1": (series["val/top1"], BLUE), "top-3": (series["val/top3"], SKY)},
        best,
    )
    style_axes(loss, title="Loss", xlabel="epoch", ylabel="cross-entropy (nats)")
    style_axes(
        accuracy, title="Validation accuracy", xlabel="epoch", ylabel="share of photos right"
    )
    return figure


def per_class_table(table: pd.DataFrame) -> Figure:
    """Draw recall, precision and F1 of each landmark as bars, the lowest recall on top.

    Columns: `landmark`, `photos`, `recall`, `precision`, `f1`. With more than `MOST_ROWS` rows
    only the lowest are drawn. NaN shows as n/a, and so does the recall of a landmark without
    photos. Raises ValueError on missing columns.
    """
    needed = ["landmark", "photos", *SCORES]
    missing = [column for column in needed if column not in table.columns]
    if missing or table.empty:
        msg = f"per-class table of {len(table)} rows lacks {missing}: give {needed}, a row a class"
        raise ValueError(msg)
    # Metrics libraries give 0 for the recall of a landmark without photos; there is none.
    table = table.assign(recall=table["recall"].where(table["photos"] > 0))
    ordered = table.sort_values(["recall", "f1"], na_position="last", kind="stable")
    shown = ordered if len(ordered) <= MOST_ROWS else ordered.head(SHOWN_ROWS)
    weakest = ordered.dropna(subset="recall").head(1)
    title = f"Recall by landmark: mean {table['recall'].mean():.2f}"
    if not weakest.empty:
        title += f", lowest {weakest['recall'].iloc[0]:.2f} ({weakest['landmark'].iloc[0]})"
    figure = new_figure(
        f"{title}, n = {table['photos'].sum():,}",
        height=max(2.0, len(shown) * ROW_HEIGHT + 1.3),
        caption="Number of photos in brackets."
        + (f" Shown: the {len(shown)} lowest of {len(table)}." if len(shown) < len(table) else ""),
    )
    panels = figure.subplots(1, 3, sharey=True)
    for axes, score, color in zip(panels, SCORES, (BLUE, SKY, GREY), strict=True):
        _draw_scores(axes, score, shown[score].to_numpy(dtype=float), color)
    pairs = zip(shown["landmark"], shown["photos"], strict=True)
    name_ticks(panels[0].yaxis, [f"{shorten(str(name))} ({photos})" for name, photos in pairs])
    panels[0].set_ylim(len(shown) - 0.4, -0.6)
    return figure


def worst_mistakes(mistakes: Sequence[Mistake], *, photos: int | None = None) -> Figure:
    """Show the wrong answers the model was surest of; `photos` is how many were judged."""
    judged = "" if photos is None else f" on {photos:,} photos"
    worst = sorted(mistakes, key=lambda mistake: -mistake.confidence)[:MOST_MISTAKES]
    tiles = [
        load_thumbnail(
            mistake.path,
            (
                Line(f"is {mistake.label}", BLUE),
                Line(f"{mistake.confidence:.2f} {mistake.prediction}", VERMILION),
            ),
        )
        for mistake in worst
    ]
    noun = "mistake" if len(mistakes) == 1 else "mistakes"
    surest = f"The {len(worst)} surest of " if len(worst) < len(mistakes) else ""
    return thumbnail_grid(
        in_rows(tiles, 5),
        title=f"{surest}{len(mistakes) or 'No'} {noun}{judged}",
        caption=MISTAKES_NOTE if mistakes else "",
        empty="every photo was recognised",
    )


def _series(history: Sequence[Mapping[str, float]], key: str) -> NDArray[np.float64]:
    return np.array([row.get(key, np.nan) for row in history], dtype=float)


def _last_phase(history: Sequence[Mapping[str, float]]) -> int:
    """Position of the epoch with which the last phase began."""
    begins = [index for index, row in enumerate(history) if row.get(PHASE_EPOCH) == 0]
    return begins[-1] if begins else 0


def _best_epoch(series: Mapping[str, NDArray[np.float64]], begin: int) -> int | None:
    """Position of the best epoch from one on; the earliest on a tie."""
    for key, sign in (("val/calibrated_loss", 1), ("val/top1", -1), ("val/loss", 1)):
        values = sign * series[key][begin:]
        if np.isfinite(values).any():
            return begin + int(np.nanargmin(values))
    return None


def _curves_title(
    epochs: NDArray[np.float64],
    series: Mapping[str, NDArray[np.float64]],
    best: int | None,
    begin: int,
) -> str:
    count = f"{len(epochs)} epoch" + ("s" if len(epochs) > 1 else "")
    count += f", the last {len(epochs) - begin} on pixels" if begin else ""
    if best is None:
        return f"{count}, nothing measured on validation photos"
    top1, loss = series["val/top1"][best], series["val/loss"][best]
    score = f"top-1 {top1:.3f}" if np.isfinite(top1) else f"loss {loss:.3f}"
    return f"Best validation {score} at epoch {epochs[best]:.0f} ({count})"


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


def _draw_scores(axes: Axes, score: str, values: NDArray[np.float64], color: str) -> None:
    rows = np.arange(len(values))
    axes.barh(rows, np.nan_to_num(values), height=0.72, color=color)
    for row, value in enumerate(values.tolist()):
        text = "n/a" if np.isnan(value) else f"{value:.2f}"
        place = 0.02 + (0 if np.isnan(value) else value)
        axes.text(place, row, text, va="center", fontsize=SMALL_SIZE - 0.5, color=INK)
    style_axes(axes, title=score.capitalize() if score != "f1" else "F1", grid="x")
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(0, 1.18)
    axes.set_xticks([0, 0.5, 1])

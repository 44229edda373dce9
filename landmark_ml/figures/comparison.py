"""Figures of two models on the same photos: landmark by landmark, and what only one recognises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from landmark_ml.console import counted
from landmark_ml.figures.results import Answer, mistake_tile
from landmark_ml.figures.style import (
    BLUE,
    INK,
    ROW_HEIGHT,
    VERMILION,
    add_legend,
    in_rows,
    name_ticks,
    new_figure,
    say,
    shorten,
    style_axes,
    thumbnail_grid,
)

if TYPE_CHECKING:
    import pandas as pd


MOST_CLASSES = 40
MOST_PHOTOS = 12
LONGEST_MODEL = 40


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

"""Figures of a study: what its trials reached, over time and by each parameter."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from landmark_ml.figures.style import (
    BLUE,
    GREY,
    SMALL_SIZE,
    VERMILION,
    new_figure,
    shorten,
    style_axes,
    text_inches,
)

_WIDTH, _HEIGHT = 2.9, 2.3
"""Inches: three stand side by side on a page, and one on a phone."""
_FEW = 4
"""Values that stand side by side, like names."""
_LONGEST_ROW = 24
"""Characters of names that fit side by side; longer ones are turned."""
_TURN = 35


def trial_figures(
    table: pd.DataFrame,
    objective: str,
    against: Sequence[str],
    *,
    lower: bool,
    shares: Mapping[str, float],
    logarithmic: Collection[str],
) -> Iterator[Figure]:
    """Draw an objective of the completed trials against other columns, a figure for each.

    Columns: trial (its number), marked (bool), objective and those of against. lower: the least is
    the best. shares: of the variance that a parameter explains, for the titles. logarithmic:
    columns that are searched on such a scale.
    """
    values = table[objective]
    best = int(values.argmin() if lower else values.argmax())
    for name in against:
        title = f"{name}: explains {shares[name]:.0%}" if name in shares else name
        if name == "trial":
            title = "trial, and the best so far"
        kinds = _kinds(table, name)
        turned = sum(map(len, kinds)) > _LONGEST_ROW
        longest = max((text_inches(kind, SMALL_SIZE) for kind in kinds), default=0.0)
        below = longest * math.sin(math.radians(_TURN)) if turned else 0.0
        figure = new_figure(title, width=_WIDTH, height=_HEIGHT + below)
        axes = figure.add_subplot()
        known = table.dropna(subset=name)
        column = known[name].to_numpy()
        if kinds:
            column = known[name].factorize(sort=True)[0]
            look: dict[str, Any] = {"parse_math": False}
            if turned:
                look |= {"rotation": _TURN, "ha": "right", "rotation_mode": "anchor"}
            axes.set_xticks(range(len(kinds)), kinds, **look)
            axes.set_xlim(-0.5, len(kinds) - 0.5)
        elif name in logarithmic:
            axes.set_xscale("log")
            axes.minorticks_off()
            ticks = np.geomspace(column.min(), column.max(), 3)
            axes.set_xticks(ticks, [f"{tick:.3g}" for tick in ticks])
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4, integer=column.dtype.kind == "i"))
        if name == "trial":
            so_far = values.cummin() if lower else values.cummax()
            axes.step(table["trial"], so_far, where="post", color=BLUE, linewidth=1)
        _draw_points(axes, column, known, objective, best)
        axes.set_ylim(*_with_margin(values.min(), values.max()))
        style_axes(axes, ylabel=objective, grid="both")
        yield figure


def _kinds(table: pd.DataFrame, name: str) -> list[str]:
    """Texts of values that stand side by side; none where they are numbers along an axis."""
    column = table[name].dropna()
    is_named = not pd.api.types.is_numeric_dtype(column)
    if name == "trial" or (not is_named and column.nunique() > _FEW):
        return []
    texts = [
        str(kind) if isinstance(kind, str | bool | np.bool_) else f"{kind:g}"
        for kind in column.factorize(sort=True)[1]
    ]
    # What follows the dot names the photos that a network learned from.
    bases = ["+".join(part.partition(".")[0] for part in text.split("+")) for text in texts]
    if is_named and len({*bases}) == len(bases):
        texts = bases
    return [shorten(text) for text in texts]


def _with_margin(low: float, high: float) -> tuple[float, float]:
    margin = (high - low) * 0.08 or abs(high) * 0.05 or 1.0
    return low - margin, high + margin


def _draw_points(
    axes: Axes, column: np.ndarray, table: pd.DataFrame, objective: str, best: int
) -> None:
    colors = np.where(table["marked"], BLUE, GREY)
    axes.scatter(column, table[objective], s=18, c=colors, alpha=0.8, linewidths=0)
    winner = table.index == best
    axes.scatter(column[winner], table[objective][winner], s=40, c=VERMILION, zorder=3)

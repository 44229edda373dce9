"""Figure of a study: what its trials reached, over time and by each parameter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from landmark_ml.figures.style import (
    BLUE,
    GREY,
    VERMILION,
    new_figure,
    style_axes,
)

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS, _PANEL_HEIGHT = 3, 2.1
_FEW = 4
"""Values that stand side by side, like names."""
_LONG = 16
"""Characters of a name that is cut."""
_WIDE_SPREAD = 8.0
"""A number that spreads over more than this factor is drawn on a logarithmic axis."""


def trials_figure(
    table: pd.DataFrame,
    objective: str,
    against: Sequence[str],
    *,
    lower: bool,
    shares: Mapping[str, float],
) -> Figure:
    """Draw an objective of the completed trials against other columns, a panel for each.

    Columns: trial (its number), marked (bool), objective and those of against. lower: the least is
    the best. shares: of the variance that a parameter explains, for the titles.
    """
    values = table[objective]
    best = int(values.argmin() if lower else values.argmax())
    rows = -(-len(against) // _COLUMNS)
    figure = new_figure(
        f"Best {objective} {values.iloc[best]:.4g} in trial {table['trial'].iloc[best]}",
        height=rows * _PANEL_HEIGHT + 1,
        caption="Orange: the best trial. Blue: the trials of the table above.",
    )
    panels = figure.subplots(rows, _COLUMNS, sharey=True, squeeze=False)
    for axes, name in zip(panels.flat, against, strict=False):
        _draw_column(axes, table.dropna(subset=name), name, objective, best)
        title = f"{name}: explains {shares[name]:.0%}" if name in shares else name
        if name == "trial":
            title = "trial, and the best so far"
            so_far = values.cummin() if lower else values.cummax()
            axes.step(table["trial"], so_far, where="post", color=BLUE, linewidth=1)
        style_axes(axes, title=title, ylabel=objective if axes in panels[:, 0] else "", grid="both")
    for axes in panels.flat[len(against) :]:
        axes.set_axis_off()
    return figure


def _draw_column(axes: Axes, table: pd.DataFrame, name: str, objective: str, best: int) -> None:
    column = table[name].to_numpy()
    if column.dtype == object or len(set(column)) <= _FEW:
        column, kinds = table[name].factorize(sort=True)
        texts = [kind if isinstance(kind, str) else f"{kind:g}" for kind in kinds]
        # Names of networks differ at their end.
        axes.set_xticks(
            range(len(kinds)), [t if len(t) < _LONG else f"…{t[-_LONG + 2 :]}" for t in texts]
        )
        axes.set_xlim(-0.5, len(kinds) - 0.5)
    elif name != "trial" and column.min() > 0 and column.max() > _WIDE_SPREAD * column.min():
        axes.set_xscale("log")
        axes.xaxis.set_minor_formatter(NullFormatter())
    colors = np.where(table["marked"], BLUE, GREY)
    axes.scatter(column, table[objective], s=18, c=colors, alpha=0.8, linewidths=0)
    winner = table.index == best
    axes.scatter(column[winner], table[objective][winner], s=40, c=VERMILION, zorder=3)

"""The sizes of a dataset's photos: whether they fill the side the network sees."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from landmark_ml.figures.style import BLUE, GREY, SMALL_SIZE, VERMILION, new_figure, style_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from landmark_ml.data import Dataset

WIDE_RANGE = 4
"""Sides that differ by more than this factor are drawn on logarithmic axes."""


def image_sizes(dataset: Dataset, *, target: int | None = None) -> Figure:
    """Scatter of photo widths and heights with both marginals.

    `target` is the side in pixels the network sees; photos below it would be enlarged.
    """
    photos = (*dataset.train, *dataset.val, *dataset.test)
    if not photos:
        msg = f"dataset {dataset.name!r} holds no photos: no sizes to draw"
        raise ValueError(msg)
    sizes = np.array([(photo.width, photo.height) for photo in photos])
    figure = new_figure(
        _sizes_title(sizes, target),
        width=7.5,
        height=6.6,
        caption="Each dot is one size, larger where more photos share it. Dotted: square photos.",
    )
    grid = figure.add_gridspec(2, 2, width_ratios=(5, 1), height_ratios=(1, 5))
    axes = figure.add_subplot(grid[1, 0])
    above = figure.add_subplot(grid[0, 0], sharex=axes)
    beside = figure.add_subplot(grid[1, 1], sharey=axes)
    _scatter_sizes(axes, sizes, target)
    edges = _size_edges(sizes)
    above.hist(sizes[:, 0], bins=edges, color=BLUE)
    beside.hist(sizes[:, 1], bins=edges, color=BLUE, orientation="horizontal")
    style_axes(above, ylabel="photos", grid="none")
    style_axes(beside, xlabel="photos", grid="none")
    above.tick_params(which="both", labelbottom=False)
    beside.tick_params(which="both", labelleft=False)
    return figure


def _sizes_title(sizes: NDArray[np.int64], target: int | None) -> str:
    width, height = np.median(sizes, axis=0)
    title = f"Median photo {width:.0f} x {height:.0f} px (n = {len(sizes):,})"
    if target is None:
        return title
    small = np.mean(sizes.min(axis=1) < target)
    return f"{title}; short side under {target} px: {small:.1%}"


def _scatter_sizes(axes: Axes, sizes: NDArray[np.int64], target: int | None) -> None:
    distinct, counts = np.unique(sizes, axis=0, return_counts=True)
    area = 8 + 60 * np.sqrt(counts / counts.max())
    axes.scatter(distinct[:, 0], distinct[:, 1], s=area, color=BLUE, alpha=0.3, linewidths=0)
    low, high = sizes.min() / 1.1, sizes.max() * 1.1
    if target is not None:
        low, high = min(low, target / 1.1), max(high, target * 1.1)
        for line in (axes.axvline, axes.axhline):
            line(target, color=VERMILION, linewidth=1)
        axes.annotate(
            f"target {target} px",
            (target, 1),
            xycoords=("data", "axes fraction"),
            xytext=(4, -4),
            textcoords="offset points",
            va="top",
            fontsize=SMALL_SIZE,
            color=VERMILION,
        )
    axes.axline((low, low), (high, high), color=GREY, linewidth=0.8, linestyle=":")
    style_axes(axes, xlabel="width (px)", ylabel="height (px)", grid="both")
    if _is_wide(sizes):
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
            axis.set_minor_locator(NullLocator())
    axes.set(xlim=(low, high), ylim=(low, high))


def _is_wide(sizes: NDArray[np.int64]) -> bool:
    return bool(sizes.max() > WIDE_RANGE * sizes.min())


def _size_edges(sizes: NDArray[np.int64]) -> list[float]:
    space = np.geomspace if _is_wide(sizes) else np.linspace
    edges: list[float] = space(sizes.min() / 1.1, sizes.max() * 1.1, 50).tolist()
    return edges

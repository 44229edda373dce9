"""Figures of a dataset: samples, counts, sizes, and photos as training augments them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from landmark_ml.data import NOT_A_LANDMARK, Dataset, Photo, Split
from landmark_ml.figures.style import (
    BLUE,
    GREY,
    INK,
    MOST_ROWS,
    ROW_HEIGHT,
    SHOWN_ROWS,
    SKY,
    VERMILION,
    Thumbnail,
    add_legend,
    load_thumbnail,
    name_ticks,
    new_figure,
    shorten,
    style_axes,
    thumbnail_grid,
    write,
)

FEW_PHOTOS = 20
"""A class with fewer training photos than this is marked: too few to learn and to judge."""
SPLIT_COLORS: dict[Split, str] = {"train": BLUE, "val": SKY, "test": GREY}
WIDE_RANGE = 4
"""Sides that differ by more than this factor are drawn on logarithmic axes."""


def sample_grid(
    dataset: Dataset, *, per_class: int = 6, max_classes: int = 12, seed: int = 0
) -> Figure:
    """Show random training photos, one class a row, and a row of photos of no landmark if any."""
    rng = np.random.default_rng(seed)
    by_label: dict[int, list[Photo]] = defaultdict(list)
    for photo in dataset.train:
        by_label[photo.label].append(photo)
    labels = np.array([label for label in sorted(by_label) if label != NOT_A_LANDMARK], dtype=int)
    chosen = sorted(rng.permutation(labels)[:max_classes].tolist())
    names = [dataset.classes[label] for label in chosen]
    if NOT_A_LANDMARK in by_label:
        chosen.append(NOT_A_LANDMARK)
        names.append("(not a landmark)")
    rows = []
    for label in chosen:
        photos = by_label[label]
        picks = rng.permutation(len(photos))[:per_class]
        rows.append([load_thumbnail(photos[pick].path) for pick in picks])
    shown = min(len(labels), max_classes)
    return thumbnail_grid(
        rows,
        title=f"Training photos of {dataset.name}: {shown} of its {len(dataset.classes)} landmarks",
        caption=f"Up to {per_class} photos each, drawn at random (seed {seed}).",
        row_names=names,
    )


def class_counts(dataset: Dataset) -> Figure:
    """Bar chart of photos per class and split; classes with few training photos are marked."""
    counts = {
        split: np.array(list(dataset.class_counts(split).values()), dtype=np.int64)
        for split in SPLIT_COLORS
    }
    total = np.sum(list(counts.values()), axis=0)
    order = np.argsort(-total, kind="stable")
    if len(order) > MOST_ROWS:
        order = order[-SHOWN_ROWS:]
    title = "No photos of landmarks"
    if total.sum():
        title = (
            f"{total.sum():,} photo{'s' if total.sum() > 1 else ''} of {len(total)}"
            f" landmark{'s' if len(total) > 1 else ''}: {total.min()} to {total.max()} each,"
            f" median {np.median(total):.0f}"
        )
    few = int(np.sum(counts["train"] < FEW_PHOTOS))
    notes = [f"Every landmark has at least {FEW_PHOTOS} training photos"]
    if few:
        notes = [f"Names in orange: {few} with fewer than {FEW_PHOTOS} training photos"]
    others = {split: len(dataset.distractors(split)) for split in SPLIT_COLORS}
    if any(others.values()):
        parts = ", ".join(f"{split} {count:,}" for split, count in others.items())
        notes.append(f"not drawn: {sum(others.values()):,} photos of no landmark ({parts})")
    if len(order) < len(total):
        notes.append(f"shown: the {len(order)} smallest of {len(total)} landmarks")
    height = max(2.2, len(order) * ROW_HEIGHT + 1.6)
    figure = new_figure(title, height=height, caption="; ".join(notes) + ".")
    axes = figure.add_subplot()
    style_axes(axes, xlabel="photos", grid="x")
    left = np.zeros(len(order))
    for split, color in SPLIT_COLORS.items():
        values = counts[split][order]
        label = f"{split} ({counts[split].sum():,})"
        axes.barh(range(len(order)), values, left=left, height=0.72, color=color, label=label)
        left += values
    name_ticks(axes.yaxis, [shorten(dataset.classes[index]) for index in order])
    for tick, index in zip(axes.get_yticklabels(), order, strict=True):
        if counts["train"][index] < FEW_PHOTOS:
            tick.set(color=VERMILION, fontweight="bold")
    axes.set_ylim(len(order) - 0.4, -0.6)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    add_legend(axes)
    return figure


def augmented_photos(
    served: NDArray[np.uint8], names: Sequence[str], views: Sequence[NDArray[np.uint8]], how: str
) -> Figure:
    """Show photos as they are served, and in the rows below as training augments them.

    Pixels uint8 [N, H, W, 3], views in a resolution of their own; how: a few words for the title.
    """
    rows = [[Thumbnail(one, ((name, INK),)) for one, name in zip(served, names, strict=True)]]
    rows += [[Thumbnail(photo) for photo in view] for view in views]
    height, width = views[0].shape[1:3]
    return thumbnail_grid(
        rows,
        title=f"Training photos as training sees them: {how}",
        caption=f"Top row: as served. Below: as trained on, {width} x {height} px.",
        row_names=("served", *["training"] * len(views)),
    )


def image_sizes(dataset: Dataset, *, target: int) -> Figure:
    """Scatter of photo widths and heights with both marginals.

    `target` is the side in pixels the network sees; photos below it would be enlarged.
    """
    photos = (*dataset.train, *dataset.val, *dataset.test)
    sizes = np.array([(photo.width, photo.height) for photo in photos])
    median = np.median(sizes, axis=0)
    small = np.mean(sizes.min(axis=1) < target)
    figure = new_figure(
        f"Median photo {median[0]:.0f} x {median[1]:.0f} px (n = {len(sizes):,}); short side under"
        f" {target} px: {small:.1%}",
        width=7.5,
        height=6.6,
        caption="Each dot is one size, larger where more photos share it. Dotted: square photos.",
    )
    grid = figure.add_gridspec(2, 2, width_ratios=(5, 1), height_ratios=(1, 5))
    axes = figure.add_subplot(grid[1, 0])
    above = figure.add_subplot(grid[0, 0], sharex=axes)
    beside = figure.add_subplot(grid[1, 1], sharey=axes)
    distinct, counts = np.unique(sizes, axis=0, return_counts=True)
    area = 8 + 60 * np.sqrt(counts / counts.max())
    axes.scatter(distinct[:, 0], distinct[:, 1], s=area, color=BLUE, alpha=0.3, linewidths=0)
    low, high = sizes.min() / 1.1, sizes.max() * 1.1
    is_wide = bool(sizes.max() > WIDE_RANGE * sizes.min())
    edges = (np.geomspace if is_wide else np.linspace)(low, high, 50).tolist()
    low, high = min(low, target / 1.1), max(high, target * 1.1)
    axes.axvline(target, color=VERMILION, linewidth=1)
    axes.axhline(target, color=VERMILION, linewidth=1)
    look = {"va": "top", "color": VERMILION}
    place_in = ("data", "axes fraction")
    write(axes, f"target {target} px", (target, 1), offset=(4, -4), place_in=place_in, **look)
    axes.axline((low, low), (high, high), color=GREY, linewidth=0.8, linestyle=":")
    style_axes(axes, xlabel="width (px)", ylabel="height (px)", grid="both")
    if is_wide:
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:,.0f}")
            axis.set_minor_locator(NullLocator())
    axes.set(xlim=(low, high), ylim=(low, high))
    above.hist(sizes[:, 0], bins=edges, color=BLUE)
    beside.hist(sizes[:, 1], bins=edges, color=BLUE, orientation="horizontal")
    style_axes(above, ylabel="photos", grid="none")
    style_axes(beside, xlabel="photos", grid="none")
    above.tick_params(which="both", labelbottom=False)
    beside.tick_params(which="both", labelleft=False)
    return figure

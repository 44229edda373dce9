"""Figures of a dataset: sample photos, and how many there are of each landmark."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from landmark_ml.console import counted
from landmark_ml.data import NOT_A_LANDMARK, Dataset, Photo, Split
from landmark_ml.figures.style import (
    BLUE,
    GREY,
    MOST_ROWS,
    ROW_HEIGHT,
    SHOWN_ROWS,
    SKY,
    VERMILION,
    add_legend,
    load_thumbnail,
    name_ticks,
    new_figure,
    shorten,
    style_axes,
    thumbnail_grid,
)

FEW_PHOTOS = 20
"""A class with fewer training photos than this is marked: too few to learn and to judge."""
SPLIT_COLORS: dict[Split, str] = {"train": BLUE, "val": SKY, "test": GREY}


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
            f"{counted(int(total.sum()), 'photo')} of {counted(len(total), 'landmark')}:"
            f" {total.min()} to {total.max()} each, median {np.median(total):.0f}"
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

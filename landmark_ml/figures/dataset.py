"""Pictures of a dataset: samples, counts, and photos as training sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import MaxNLocator

from landmark_ml.data import NOT_A_LANDMARK
from landmark_ml.figures.style import (
    BLUE,
    MOST_ROWS,
    ORANGE,
    ROW_HEIGHT,
    SHOWN_ROWS,
    SKY,
    VERMILION,
    add_legend,
    name_ticks,
    new_figure,
    shorten,
    style_axes,
)
from landmark_ml.figures.thumbnails import Line, Thumbnail, in_rows, load_thumbnail, thumbnail_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from landmark_ml.data import Dataset, Photo

FEW_PHOTOS = 20
"""A class with fewer training photos than this is marked: too few to learn and to judge."""
MOST_TILES = 32
SPLIT_COLORS = {"train": BLUE, "val": SKY, "test": ORANGE}


def sample_grid(
    dataset: Dataset, *, per_class: int = 6, max_classes: int = 12, seed: int = 0
) -> Figure:
    """Show random training photos, one class a row, and a row of photos of no landmark if any.

    Raises ValueError when `per_class` or `max_classes` is below one.
    """
    if per_class < 1 or max_classes < 1:
        msg = f"a grid of {max_classes} classes by {per_class} photos is empty: ask for one or more"
        raise ValueError(msg)
    rng = np.random.default_rng(seed)
    by_label = _by_label(dataset.train)
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
    counts = {split: _count_labels(getattr(dataset, split), dataset) for split in SPLIT_COLORS}
    total = np.sum(list(counts.values()), axis=0)
    order = np.argsort(-total, kind="stable")
    if len(order) > MOST_ROWS:
        order = order[-SHOWN_ROWS:]
    height = max(2.2, len(order) * ROW_HEIGHT + 1.6)
    figure = new_figure(
        _counts_title(total),
        height=height,
        caption=_counts_note(dataset, counts["train"], len(order)),
    )
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


def augmented_batch(
    pixels: NDArray[np.uint8], titles: Sequence[str] | None = None, how: str = "augmented"
) -> Figure:
    """Show photos as training sees them; pixels uint8 [N, H, W, 3], one title a photo.

    how: said of them in the title of the figure.
    """
    if pixels.ndim != 4 or pixels.shape[-1] != 3 or pixels.dtype != np.uint8:
        msg = (
            f"got {pixels.dtype} pixels of shape {pixels.shape}: give uint8 [N, H, W, 3],"
            " with the normalisation undone"
        )
        raise ValueError(msg)
    if titles is not None and len(titles) != len(pixels):
        msg = f"got {len(titles)} titles for {len(pixels)} photos: give one each"
        raise ValueError(msg)
    shown = min(len(pixels), MOST_TILES)
    lines = [(Line(title),) for title in titles[:shown]] if titles is not None else [()] * shown
    tiles = [Thumbnail(*tile) for tile in zip(pixels[:shown], lines, strict=True)]
    size = f"{pixels.shape[2]} x {pixels.shape[1]} px"
    return thumbnail_grid(
        in_rows(tiles, 8 if titles is None else 6),
        title=f"Training photos as the network sees them, {how}: {shown} of {len(pixels)}, {size}",
    )


def _by_label(photos: Sequence[Photo]) -> dict[int, list[Photo]]:
    by_label: dict[int, list[Photo]] = {}
    for photo in photos:
        by_label.setdefault(photo.label, []).append(photo)
    return by_label


def _count_labels(photos: Sequence[Photo], dataset: Dataset) -> NDArray[np.int64]:
    labels = [photo.label for photo in photos if photo.label != NOT_A_LANDMARK]
    return np.bincount(np.array(labels, dtype=np.int64), minlength=len(dataset.classes))


def _counts_title(total: NDArray[np.int64]) -> str:
    if not total.sum():
        return "No photos of landmarks"
    noun = "landmark" if len(total) == 1 else "landmarks"
    photos = "photo" if total.sum() == 1 else "photos"
    return (
        f"{total.sum():,} {photos} of {len(total)} {noun}: {total.min()} to {total.max()} each, "
        f"median {np.median(total):.0f}"
    )


def _counts_note(dataset: Dataset, train: NDArray[np.int64], shown: int) -> str:
    few = int(np.sum(train < FEW_PHOTOS))
    notes = [f"Every landmark has at least {FEW_PHOTOS} training photos"]
    if few:
        notes = [f"Names in red: {few} with fewer than {FEW_PHOTOS} training photos"]
    others = [
        sum(photo.label == NOT_A_LANDMARK for photo in getattr(dataset, split))
        for split in SPLIT_COLORS
    ]
    if sum(others):
        parts = ", ".join(f"{name} {n:,}" for name, n in zip(SPLIT_COLORS, others, strict=True))
        notes.append(f"not drawn: {sum(others):,} photos of no landmark ({parts})")
    if shown < len(train):
        notes.append(f"shown: the {shown} smallest of {len(train)} landmarks")
    return "; ".join(notes) + "."

"""Figures that show photos: a grid of thumbnails, a model's answers and its worst mistakes."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import ImageOps

from landmark_ml.figures.style import (
    BLUE,
    FAINT,
    GREY,
    INK,
    MARGIN,
    PAGE_WIDTH,
    SMALL_SIZE,
    VERMILION,
    caption_inches,
    fit_text,
    new_figure,
    say,
    shorten,
    text_inches,
    title_inches,
)
from landmark_ml.inference.photos import PhotoError, decode_photo

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

logger = logging.getLogger(__name__)

THUMBNAIL_SIDE = 240
"""Pixels of a loaded thumbnail's side: a little over what the widest cell shows at `DPI`."""
LARGEST_TILE, NARROWEST, GAP, LINE_HEIGHT = 2.2, 4.5, 0.09, 0.165
"""Inches: a tile's side at most, the page at least, between tiles, and a line of text."""
MOST_MISTAKES = 20


@dataclass(frozen=True)
class Line:
    """One line of text above a thumbnail."""

    text: str
    color: str = INK


@dataclass(frozen=True)
class Thumbnail:
    """One cell of the grid: uint8 pixels [H, W, 3], or None for an empty cell with its reason."""

    pixels: NDArray[np.uint8] | None
    lines: tuple[Line, ...] = ()
    missing: str = ""


@dataclass(frozen=True)
class Answer:
    """Answer of a model to one photo: label is what it shows, confidence is from 0 to 1.

    where: city and country of the answer, empty when unknown.
    """

    path: Path
    label: str
    landmark: str
    confidence: float
    where: str = ""

    @property
    def correct(self) -> bool:
        """Whether the answer is what the photo shows."""
        return self.landmark == self.label


def answer_gallery(answers: Sequence[Answer]) -> Figure:
    """Photos with the landmark, confidence and place that were answered."""
    tiles = [
        load_thumbnail(
            answer.path,
            (
                Line(answer.landmark, BLUE if answer.correct else VERMILION),
                Line(f"{answer.confidence:.0%}  {answer.where}", GREY),
            ),
        )
        for answer in answers
    ]
    right = sum(answer.correct for answer in answers)
    return thumbnail_grid(
        in_rows(tiles, 6),
        title=f"{right} of {len(answers)} test photos recognised, one photo a landmark",
        caption="Above each photo the answer: blue when it is right, red when it is wrong.",
        empty="no test photos",
    )


def worst_mistakes(mistakes: Sequence[Answer], *, photos: int) -> Figure:
    """The most confident wrong answers; `photos` is how many were judged."""
    worst = sorted(mistakes, key=lambda mistake: -mistake.confidence)[:MOST_MISTAKES]
    tiles = [
        load_thumbnail(
            mistake.path,
            (
                Line(f"is {mistake.label}", BLUE),
                Line(f"{mistake.confidence:.2f} {mistake.landmark}", VERMILION),
            ),
        )
        for mistake in worst
    ]
    noun = "mistake" if len(mistakes) == 1 else "mistakes"
    first = f"The {len(worst)} most confident of " if len(worst) < len(mistakes) else ""
    note = "Blue: the true landmark. Red: the predicted one, with its confidence."
    return thumbnail_grid(
        in_rows(tiles, 5),
        title=f"{first}{len(mistakes) or 'No'} {noun} on {photos:,} photos",
        caption=note if mistakes else "",
        empty="every photo was recognised",
    )


def load_thumbnail(path: Path, lines: tuple[Line, ...] = ()) -> Thumbnail:
    """Decode a photo into a square thumbnail, whole, on a pale ground.

    A photo that cannot be read any more gives a cell that says so: the record of a finished run
    must not fail over one missing file.
    """
    side = THUMBNAIL_SIDE
    try:
        photo = decode_photo(path, min_side=side)
    except (PhotoError, OSError) as error:
        logger.warning("No thumbnail of %s: %s", path, error)
        return Thumbnail(None, lines, missing="cannot be read")
    return Thumbnail(np.asarray(ImageOps.pad(photo, (side, side), color=FAINT)), lines)


def thumbnail_grid(
    rows: Sequence[Sequence[Thumbnail]],
    *,
    title: str,
    caption: str = "",
    row_names: Sequence[str] = (),
    empty: str = "nothing to show",
) -> Figure:
    """Draw thumbnails row by row; `row_names`, if given, stand at the left of each row.

    Without rows the figure says the sentence `empty` instead.
    """
    if not rows:
        figure = new_figure(title, height=1.4, caption=caption)
        say(figure.add_subplot(), empty)
        return figure
    columns = max(len(row) for row in rows)
    names = max((text_inches(shorten(name), SMALL_SIZE) + GAP for name in row_names), default=0.0)
    side = min(LARGEST_TILE, (PAGE_WIDTH - 2 * MARGIN - names) / columns - GAP)
    width = max(NARROWEST, 2 * MARGIN + names + columns * (side + GAP))
    text = max(len(tile.lines) for row in rows for tile in row) * LINE_HEIGHT
    top = title_inches(title, width)
    height = top + len(rows) * (side + text + GAP) + caption_inches(caption, width)
    figure = new_figure(title, width=width, height=height, caption=caption, automatic=False)
    for row, tiles in enumerate(rows):
        bottom = height - top - (row + 1) * (side + text + GAP) + GAP
        for column, tile in enumerate(tiles):
            left = MARGIN + names + column * (side + GAP)
            place = (left / width, bottom / height, side / width, side / height)
            axes = figure.add_axes(place)
            _draw_thumbnail(axes, tile, side)
            if row_names and not column:
                axes.annotate(
                    shorten(row_names[row]),
                    (0, 0.5),
                    xycoords="axes fraction",
                    xytext=(-6, 0),
                    textcoords="offset points",
                    ha="right",
                    va="center",
                    fontsize=SMALL_SIZE,
                    color=INK,
                    parse_math=False,
                )
    return figure


def in_rows(thumbnails: Sequence[Thumbnail], columns: int) -> list[Sequence[Thumbnail]]:
    """Break a sequence of thumbnails into rows of `columns`."""
    count = math.ceil(len(thumbnails) / columns)
    return [thumbnails[row * columns : (row + 1) * columns] for row in range(count)]


def _draw_thumbnail(axes: Axes, thumbnail: Thumbnail, side: float) -> None:
    if thumbnail.pixels is None:
        say(axes, thumbnail.missing)
    else:
        axes.imshow(thumbnail.pixels, interpolation="antialiased")
        axes.set_axis_off()
    for place, line in enumerate(reversed(thumbnail.lines)):
        axes.annotate(
            fit_text(line.text, side, SMALL_SIZE),
            (0, 1),
            xycoords="axes fraction",
            xytext=(0, 3 + place * LINE_HEIGHT * 72),
            textcoords="offset points",
            fontsize=SMALL_SIZE,
            color=line.color,
            parse_math=False,
        )

"""How every figure looks: colours, type sizes, the one way to start a figure, grids of photos.

Settings are handed to matplotlib explicitly, object by object: no pyplot, no change of the global
settings, so that a figure looks the same whatever the calling process has set up.
"""

from __future__ import annotations

import functools
import io
import logging
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import text_to_path
from numpy.typing import NDArray
from PIL import Image, ImageOps

from landmark_ml.inference.photos import PhotoError, decode_photo

logger = logging.getLogger(__name__)

# Okabe and Ito's palette: told apart with every common form of colour blindness.
BLUE = "#0072B2"
SKY = "#56B4E9"
PALE_BLUE = "#B9D6EA"
VERMILION = "#D55E00"
ORANGE = "#E69F00"
GREY = "#8A8F94"
INK = "#22262A"
MUTED = "#5B6167"
FAINT = "#E3E6E8"
PAPER = "#FFFFFF"

TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 12.5, 10.0, 8.5
PAGE_WIDTH = 9.0
"""Inches; an artifact pane about 900 pixels wide then shows the type sizes above as meant."""
DPI = 150
MARGIN = 0.11
"""Inches left free at the page's left and right edge."""
ROW_HEIGHT = 0.19
"""Inches a row of a per-class figure takes."""
MOST_ROWS = 120
"""With more classes than this a per-class figure shows only the `SHOWN_ROWS` that matter most."""
SHOWN_ROWS = 60
LONGEST_NAME = 34
THUMBNAIL_SIDE = 240
"""Pixels of a loaded thumbnail's side: a little over what the widest cell shows at `DPI`."""
LARGEST_TILE, NARROWEST, GAP, LINE_HEIGHT = 2.2, 4.5, 0.09, 0.165
"""Inches: a tile's side at most, the page at least, between tiles, and a line of text."""


class PngFigure(Figure):
    """A figure that is saved as PNG alone and drawn once, however often it is saved."""

    @functools.cached_property
    def _png(self) -> bytes:
        # As savefig would draw a figure with a layout twice.
        canvas, png = FigureCanvasAgg(self), io.BytesIO()
        canvas.draw()  # type: ignore[no-untyped-call]
        pixels = np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
        # Within 7% of the size that zlib's default gives, in a third of the time.
        Image.fromarray(pixels).save(png, "PNG", compress_level=2, dpi=(self.dpi, self.dpi))
        return png.getvalue()

    def savefig(self, fname: Any, **_: Any) -> None:
        """Write the figure as it is drawn at its own dpi to a path or a binary file."""
        if isinstance(fname, io.IOBase):
            fname.write(self._png)
        else:
            Path(fname).write_bytes(self._png)


def new_figure(
    title: str,
    *,
    width: float = PAGE_WIDTH,
    height: float = 4.0,
    caption: str = "",
    automatic: bool = True,
) -> Figure:
    """Start a figure: size in inches, the finding as its title, a quiet caption below.

    With `automatic` off the caller places its axes itself, clear of title and caption.
    """
    figure = PngFigure(figsize=(width, height), dpi=DPI, facecolor=PAPER)
    figure.set_layout_engine("none")
    if automatic:
        figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.05)
    # Automatic layout makes room for title and caption only while their height is left open.
    top = {} if automatic else {"y": 1 - 0.08 / height}
    bottom = {} if automatic else {"y": 0.08 / height}
    left = MARGIN / width
    heading = figure.suptitle(wrap(title, width, TITLE_SIZE), x=left, ha="left", va="top", **top)
    heading.set(fontsize=TITLE_SIZE, fontweight="bold", color=INK, parse_math=False)
    if caption:
        note = wrap(caption, width, SMALL_SIZE)
        below = figure.supxlabel(note, x=left, ha="left", va="bottom", **bottom)
        below.set(fontsize=SMALL_SIZE, color=MUTED, parse_math=False)
    return figure


def style_axes(
    axes: Axes,
    *,
    title: str = "",
    xlabel: str = "",
    ylabel: str = "",
    grid: Literal["x", "y", "both", "none"] = "y",
) -> None:
    """Give axes their labels, the house type sizes and a faint grid behind the data."""
    axes.set_title(title, loc="left", fontsize=TEXT_SIZE, color=INK, parse_math=False)
    axes.set_xlabel(xlabel, fontsize=TEXT_SIZE, color=MUTED)
    axes.set_ylabel(ylabel, fontsize=TEXT_SIZE, color=MUTED)
    axes.tick_params(which="both", labelsize=SMALL_SIZE, colors=MUTED, length=3, width=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set(color=GREY, linewidth=0.6)
    axes.set_axisbelow(True)
    if grid != "none":
        axes.grid(visible=True, axis=grid, color=FAINT, linewidth=0.8)


def add_legend(axes: Axes) -> None:
    """Explain the labelled artists in one line above the axes, where they hide no data."""
    _, labels = axes.get_legend_handles_labels()
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1, 1),
        borderaxespad=0.2,
        borderpad=0,
        columnspacing=1.2,
        handlelength=1.4,
        ncols=max(1, len(labels)),
        frameon=False,
        fontsize=SMALL_SIZE,
        labelcolor=INK,
    )


def label_lines(axes: Axes, lines: Sequence[Line2D], apart: float = 0.06) -> None:
    """Write each line's label at its right end; apart: of the height, where ends lie together."""
    low, high = axes.get_ylim()
    taken = -apart
    for end, line in sorted(
        ((float(np.asarray(line.get_ydata())[-1]), line) for line in lines), key=lambda e: e[0]
    ):
        taken = max((end - low) / (high - low), taken + apart)
        look = {"color": line.get_color(), "va": "center"}
        write(axes, str(line.get_label()), (1, taken), offset=(5, 0), **look)


def name_ticks(
    axis: Axis, names: Sequence[str], *, size: float = SMALL_SIZE, rotation: float = 0.0
) -> None:
    """Write one name at each whole number along the axis."""
    look: dict[str, Any] = {"color": INK, "rotation": rotation, "parse_math": False}
    axis.set_ticks(range(len(names)), list(names), fontsize=size, **look)
    axis.set_tick_params(length=0)


def write(
    axes: Axes,
    text: str,
    place: tuple[float, float],
    *,
    offset: tuple[float, float] = (0, 0),
    place_in: Any = "axes fraction",
    **look: Any,
) -> None:
    """Write small text at a place; offset is in points, place_in and look are matplotlib's."""
    look = {"fontsize": SMALL_SIZE, "color": INK, "parse_math": False, **look}
    note = axes.annotate(text, place, offset, xycoords=place_in, textcoords="offset points")
    note.set(**look)


def say(axes: Axes, sentence: str, place: tuple[float, float] = (0.5, 0.5), **look: Any) -> None:
    """Write one sentence where there is nothing to draw; place and look as in `write`."""
    axes.set_axis_off()
    look = {"ha": "center", "va": "center", "fontsize": TEXT_SIZE, "color": MUTED, **look}
    write(axes, sentence, place, **look)


def shorten(name: str, longest: int = LONGEST_NAME) -> str:
    """Cut a name that would push the picture off the page."""
    return name if len(name) <= longest else name[: longest - 1].rstrip() + "…"


def text_inches(text: str, size: float) -> float:
    """Measure the width of one line of text in the default face; `size` in points."""
    width, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(size=size), ismath=False
    )
    return float(width) / 72


def wrap(text: str, width: float, size: float) -> str:
    """Break text into lines that fit `width` inches at `size` points, keeping its own breaks."""
    characters = max(20, int((width - 2 * MARGIN) / (0.58 * size / 72)))
    return "\n".join(textwrap.fill(line, characters) for line in text.splitlines())


@dataclass(frozen=True)
class Thumbnail:
    """One cell of a grid of photos: uint8 pixels [H, W, 3], None for a photo that is not readable.

    lines: of text above it, each with its colour.
    """

    pixels: NDArray[np.uint8] | None
    lines: tuple[tuple[str, str], ...] = ()


def load_thumbnail(path: Path, *lines: tuple[str, str]) -> Thumbnail:
    """Decode a photo into a square thumbnail, whole, on a pale ground.

    A photo that cannot be read any more gives a cell that says so: the record of a finished run
    must not fail over one missing file.
    """
    side = THUMBNAIL_SIDE
    try:
        photo = decode_photo(path, min_side=side)
    except (PhotoError, OSError) as error:
        logger.warning("No thumbnail of %s: %s", path, error)
        return Thumbnail(None, lines)
    return Thumbnail(np.asarray(ImageOps.pad(photo, (side, side), color=FAINT)), lines)


def in_rows(thumbnails: Sequence[Thumbnail], columns: int) -> list[Sequence[Thumbnail]]:
    """Break a sequence of thumbnails into rows of `columns`."""
    return [thumbnails[at : at + columns] for at in range(0, len(thumbnails), columns)]


def thumbnail_grid(
    rows: Sequence[Sequence[Thumbnail]],
    *,
    title: str,
    caption: str = "",
    row_names: Sequence[str] = (),
) -> Figure:
    """Draw thumbnails row by row; `row_names`, if given, stand at the left of each row.

    Without rows the figure says that there is nothing to show.
    """
    if not rows:
        figure = new_figure(title, height=1.4, caption=caption)
        say(figure.add_subplot(), "nothing to show")
        return figure
    columns = max(len(row) for row in rows)
    names = max((text_inches(shorten(name), SMALL_SIZE) + GAP for name in row_names), default=0.0)
    side = min(LARGEST_TILE, (PAGE_WIDTH - 2 * MARGIN - names) / columns - GAP)
    width = max(NARROWEST, 2 * MARGIN + names + columns * (side + GAP))
    row_height = side + max(len(tile.lines) for row in rows for tile in row) * LINE_HEIGHT + GAP
    top = 0.2 + (wrap(title, width, TITLE_SIZE).count("\n") + 1) * TITLE_SIZE * 1.2 / 72
    caption_lines = wrap(caption, width, SMALL_SIZE).count("\n") + 1 if caption else 0
    height = top + len(rows) * row_height + 0.12 + caption_lines * SMALL_SIZE * 1.3 / 72
    figure = new_figure(title, width=width, height=height, caption=caption, automatic=False)
    # One pair of axes in inches: one for each tile would take most of the time.
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    note = functools.partial(write, axes, place_in="data")
    for row, tiles in enumerate(rows):
        bottom = height - top - (row + 1) * row_height + GAP
        middle = bottom + side / 2
        for column, tile in enumerate(tiles):
            left = MARGIN + names + column * (side + GAP)
            if tile.pixels is None:
                centre = (left + side / 2, middle)
                say(axes, "cannot be read", centre, place_in="data")
            else:
                extent = (left, left + side, bottom, bottom + side)
                axes.imshow(tile.pixels, extent=extent, interpolation="antialiased")
            for place, (line, color) in enumerate(reversed(tile.lines)):
                above = 3 + place * LINE_HEIGHT * 72
                note(_fit(line, side), (left, bottom + side), offset=(0, above), color=color)
            if row_names and not column:
                name = shorten(row_names[row])
                note(name, (left, middle), offset=(-6, 0), ha="right", va="center")
    axes.set(xlim=(0, width), ylim=(0, height), aspect="auto")
    return figure


def _fit(text: str, inches: float) -> str:
    """Cut one line of small text to what `inches` can hold."""
    longest = len(text)
    while longest > 1 and text_inches(shorten(text, longest), SMALL_SIZE) > inches:
        longest -= 1
    return shorten(text, longest)

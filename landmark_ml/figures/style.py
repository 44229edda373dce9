"""How every figure looks: colours, type sizes, resolution, and the one way to start a figure.

Settings are handed to matplotlib explicitly, object by object: no pyplot, no change of the global
settings, so that a figure looks the same whatever the calling process has set up.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Literal

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

# Okabe and Ito's palette: told apart with every common form of colour blindness.
BLUE = "#0072B2"
SKY = "#56B4E9"
PALE_BLUE = "#B9D6EA"
VERMILION = "#D55E00"
ORANGE = "#E69F00"
GREEN = "#009E73"
GREY = "#8A8F94"
INK = "#22262A"
MUTED = "#5B6167"
FAINT = "#E3E6E8"
PAPER = "#FFFFFF"

TITLE_SIZE = 12.5
TEXT_SIZE = 10.0
SMALL_SIZE = 8.5

PAGE_WIDTH = 9.0
"""Inches; an artifact pane about 900 pixels wide then shows the type sizes above as meant."""
DPI = 150
ROW_HEIGHT = 0.19
"""Inches a row of a per-class figure takes."""

MOST_ROWS = 120
"""With more classes than this a per-class figure shows only the `SHOWN_ROWS` that matter most."""
SHOWN_ROWS = 60
LONGEST_NAME = 34
MARGIN = 0.11
"""Inches left free at the page's left and right edge."""


def new_figure(
    title: str,
    *,
    width: float = PAGE_WIDTH,
    height: float = 4.0,
    caption: str = "",
    automatic: bool = True,
) -> Figure:
    """Start a figure: size in inches, the finding as its title, a quiet caption below.

    With `automatic` off the caller places its axes itself, clear of the first
    `title_inches(title, width)` and the last `caption_inches(caption, width)`.
    """
    figure = Figure(figsize=(width, height), dpi=DPI, facecolor=PAPER)
    figure.set_layout_engine("none")
    if automatic:
        figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.05)
    FigureCanvasAgg(figure)
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


def name_ticks(
    axis: Axis, names: Sequence[str], *, size: float = SMALL_SIZE, rotation: float = 0.0
) -> None:
    """Write one name at each whole number along the axis."""
    look: dict[str, Any] = {"color": INK, "rotation": rotation, "parse_math": False}
    axis.set_ticks(range(len(names)), list(names), fontsize=size, **look)
    axis.set_tick_params(length=0)


def say(axes: Axes, sentence: str) -> None:
    """Write one sentence where there is nothing to draw."""
    axes.set_axis_off()
    axes.text(
        0.5,
        0.5,
        sentence,
        ha="center",
        va="center",
        fontsize=TEXT_SIZE,
        color=MUTED,
        transform=axes.transAxes,
        parse_math=False,
    )


def shorten(name: str, longest: int = LONGEST_NAME) -> str:
    """Cut a name that would push the picture off the page."""
    return name if len(name) <= longest else name[: longest - 1].rstrip() + "…"


def text_inches(text: str, size: float) -> float:
    """Measure the width of one line of text in the default face; `size` in points."""
    width, _, _ = text_to_path.get_text_width_height_descent(
        text, FontProperties(size=size), ismath=False
    )
    return float(width) / 72


def fit_text(text: str, inches: float, size: float) -> str:
    """Cut one line of text to what `inches` can hold."""
    longest = len(text)
    while longest > 1 and text_inches(shorten(text, longest), size) > inches:
        longest -= 1
    return shorten(text, longest)


def title_inches(title: str, width: float) -> float:
    """Height of a figure's title with the air around it."""
    return 0.2 + (wrap(title, width, TITLE_SIZE).count("\n") + 1) * TITLE_SIZE * 1.2 / 72


def caption_inches(caption: str, width: float) -> float:
    """Height of a figure's caption with the air around it."""
    lines = wrap(caption, width, SMALL_SIZE).count("\n") + 1 if caption else 0
    return 0.12 + lines * SMALL_SIZE * 1.3 / 72


def wrap(text: str, width: float, size: float) -> str:
    """Break text into lines that fit `width` inches at `size` points, keeping its own breaks."""
    characters = max(20, int((width - 2 * MARGIN) / (0.58 * size / 72)))
    return "\n".join(textwrap.fill(line, characters) for line in text.splitlines())

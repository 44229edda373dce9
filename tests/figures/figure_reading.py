"""What a figure says and shows, read back for tests."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text


def texts(figure: Figure) -> list[str]:
    found = figure.findobj(Text)
    return [text.get_text() for text in found if isinstance(text, Text) and text.get_text()]


def says(figure: Figure, words: str) -> bool:
    return any(words in text.replace("\n", " ") for text in texts(figure))


def bars(axes: Axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def draw(figure: Figure) -> None:
    """Lay out and draw everything, without the pixels: half the time of a picture."""
    figure.draw_without_rendering()

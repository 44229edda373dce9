"""What a model says of some photos: the picture to show when somebody asks what it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from landmark_ml.figures.style import BLUE, GREY, VERMILION
from landmark_ml.figures.thumbnails import Line, in_rows, load_thumbnail, thumbnail_grid

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

COLUMNS = 6
NOTE = "Above each photo the answer: blue when it is right, red when it is wrong."


@dataclass(frozen=True)
class Answer:
    """Answer of a model for one photo; where: city and country, empty when unknown."""

    path: Path
    landmark: str
    confidence: float
    where: str
    correct: bool


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
        in_rows(tiles, COLUMNS),
        title=f"{right} of {len(answers)} test photos recognised, one photo a landmark",
        caption=NOTE,
        empty="no test photos to ask about",
    )

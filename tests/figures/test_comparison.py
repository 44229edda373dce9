"""Two models on the same photos, landmark by landmark."""

from __future__ import annotations

import pandas as pd

from landmark_ml.figures.comparison import MOST_CLASSES, class_wins
from tests.figures.figure_reading import bars, draw, says


def make_classes(first: list[int], second: list[int]) -> pd.DataFrame:
    names = [f"place {index}" for index in range(len(first))]
    return pd.DataFrame(
        {"landmark": names, "photos": 9, "only_first": first, "only_second": second}
    )


def test_landmarks_stand_from_the_firsts_wins_to_the_seconds() -> None:
    figure = class_wins(make_classes([0, 3, 1, 0], [0, 0, 1, 2]), "#1", "#2")
    (axes,) = figure.axes
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == ["place 1 (9)", "place 2 (9)", "place 3 (9)"]
    widths = [bar.get_width() for bar in bars(axes)]
    assert widths == [3, 1, 0, 0, -1, -2]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    assert says(figure, "#1 wins 1 landmark, #2 1; even: 2")


def test_of_many_landmarks_those_that_differ_most_are_drawn() -> None:
    many = MOST_CLASSES + 5
    figure = class_wins(make_classes([1] * 5 + [2] * MOST_CLASSES, [0] * many), "#1", "#2")
    assert len(figure.axes[0].get_yticklabels()) == MOST_CLASSES
    assert not says(figure, "place 4 (9)")
    assert says(figure, f"Shown: the {MOST_CLASSES} that differ most of {many}")
    draw(figure)


def test_of_models_that_answer_alike_the_figure_says_so() -> None:
    figure = class_wins(make_classes([0, 0], [0, 0]), "#1", "#2")
    assert says(figure, "both recognise the same photos")
    assert not bars(figure.axes[0])
    draw(figure)

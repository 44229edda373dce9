"""Figures of two models on the same photos: whose landmark it is, and how sure the difference."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from landmark_ml.figures import bootstrap_difference, class_wins
from landmark_ml.figures.pairs import MOST_CLASSES
from tests.figures.figure_reading import bars, render, says, texts


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
    assert says(figure, "#1 wins 1 landmarks, #2 1, 2 are even")


def test_of_many_landmarks_those_that_differ_most_are_drawn() -> None:
    many = MOST_CLASSES + 5
    figure = class_wins(make_classes([1] * 5 + [2] * MOST_CLASSES, [0] * many), "#1", "#2")
    assert len(figure.axes[0].get_yticklabels()) == MOST_CLASSES
    assert not says(figure, "place 4 (9)")
    assert says(figure, f"Shown: the {MOST_CLASSES} that differ most of {many}")
    render(figure)


def test_models_that_answer_alike_are_said_to() -> None:
    figure = class_wins(make_classes([0, 0], [0, 0]), "#1", "#2")
    assert says(figure, "both recognise the same photos")
    assert not bars(figure.axes[0])
    render(figure)


def test_the_bootstrap_shows_shares_interval_and_zero() -> None:
    resampled = np.array([-0.1, 0.0, 0.1, 0.1])
    figure = bootstrap_difference(resampled, (-0.1, 0.1), 0.025)
    (axes,) = figure.axes
    heights = {round(bar.get_x() + bar.get_width() / 2, 3): bar.get_height() for bar in bars(axes)}
    assert heights.items() >= {-0.1: 0.25, 0.1: 0.5}.items()
    assert [np.asarray(line.get_xdata()).tolist() for line in axes.lines] == [[0, 0]]
    assert says(figure, "#1 is ahead in 62.5% of resamples: +0.025 top-1 (95% -0.100 to +0.100)")
    assert any("4 resamples" in text for text in texts(figure))


def test_no_difference_at_all_is_drawn() -> None:
    figure = bootstrap_difference(np.zeros(10), (0, 0), 0)
    (axes,) = figure.axes
    (bar, *band) = bars(axes)
    assert bar.get_height() == 1
    assert bar.get_width() > 0
    assert bar.get_x() + bar.get_width() / 2 == pytest.approx(0)
    assert [patch.get_width() for patch in band] == [0]
    assert says(figure, "#1 is ahead in 50.0% of resamples: +0.000 top-1 (95% +0.000 to +0.000)")
    render(figure)


def test_a_bootstrap_without_resamples_is_refused() -> None:
    with pytest.raises(ValueError, match="no resampled differences"):
        bootstrap_difference(np.array([]), (0, 0), 0)

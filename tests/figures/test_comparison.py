"""Figures of several models: the Pareto front, curves, and two models on the same photos."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from numpy.typing import NDArray

from landmark_ml.figures.comparison import (
    MOST_CLASSES,
    accuracy_tradeoffs,
    class_wins,
    overlaid_curves,
    pareto_front,
)
from landmark_ml.figures.style import BLUE, GREY
from tests.figures.figure_reading import bars, draw, says, texts
from tests.synthetic_runs import make_curve


def make_table(top1: list[float], ms: list[float], size: list[float] | None = None) -> pd.DataFrame:
    accuracy = np.array(top1)
    return pd.DataFrame(
        {
            "rank": range(1, len(top1) + 1),
            "top1": accuracy,
            "top1_low": accuracy - 0.02,
            "top1_high": accuracy + 0.01,
            "ms_per_photo": ms,
            "artifact_mb": size or ms,
        }
    )


def front_of(cost: list[float], accuracy: list[float]) -> list[bool]:
    front: NDArray[np.bool_] = pareto_front(np.array(cost), np.array(accuracy))
    return [bool(value) for value in front]


def dot_colors(axes: Axes) -> list[tuple[float, ...]]:
    return [tuple(color) for color in axes.collections[-1].get_facecolors()]  # type: ignore[attr-defined]


def test_the_front_holds_what_nothing_beats() -> None:
    assert front_of([1, 2, 3, 2.5], [0.8, 0.9, 0.95, 0.85]) == [True, True, True, False]


def test_equals_stand_on_the_front_together() -> None:
    assert front_of([1, 1], [0.9, 0.9]) == [True, True]
    assert front_of([1, 2], [0.9, 0.9]) == [True, False]
    assert front_of([1, 1], [0.9, 0.8]) == [True, False]


def test_unknown_costs_are_on_no_front_and_beat_none() -> None:
    assert front_of([math.nan, 2], [0.99, 0.9]) == [False, True]


def test_tradeoffs_mark_the_front_and_name_it() -> None:
    figure = accuracy_tradeoffs(make_table([0.95, 0.9, 0.85], [3, 1, 2], [1, 2, 3]))
    assert says(figure, "On the Pareto front: latency #1, #2; size #1")
    latency, size = figure.axes
    front = latency.lines[0]
    assert np.asarray(front.get_xydata()).tolist() == [[1, 0.9], [3, 0.95]]
    # A run of 2 ms would have to beat 0.9: up to 3 ms that is the best there is.
    assert front.get_drawstyle() == "steps-post"
    assert dot_colors(latency) == [to_rgba(BLUE), to_rgba(BLUE), to_rgba(GREY)]
    assert dot_colors(size) == [to_rgba(BLUE), to_rgba(GREY), to_rgba(GREY)]
    assert {"1", "2", "3"} <= set(texts(figure))


def test_runs_at_one_place_share_a_label() -> None:
    assert "1, 2" in texts(accuracy_tradeoffs(make_table([0.9, 0.9], [1, 1])))


@pytest.mark.parametrize(("slowest", "scale"), [(4, "linear"), (40, "log")])
def test_costs_far_apart_get_a_logarithmic_axis(slowest: float, scale: str) -> None:
    figure = accuracy_tradeoffs(make_table([0.95, 0.9], [slowest, 1]))
    assert figure.axes[0].get_xscale() == scale
    draw(figure)


def test_a_cost_that_was_not_recorded_is_said_to_be_missing() -> None:
    figure = accuracy_tradeoffs(make_table([0.9], [math.nan], [10]))
    assert says(figure, "latency (ms): not recorded")
    assert says(figure, "On the Pareto front: size #1")
    nothing = accuracy_tradeoffs(make_table([0.9], [math.nan]))
    assert says(nothing, "No cost was recorded")
    draw(nothing)


def test_curves_are_laid_over_each_other_by_epoch_and_by_minutes() -> None:
    figure = overlaid_curves({"#1 a": make_curve([0.5, 0.9]), "#2 b": make_curve([0.7])})
    by_epoch, by_minute = figure.axes
    assert [np.asarray(line.get_xdata()).tolist() for line in by_epoch.lines] == [[0, 1], [0]]
    assert [np.asarray(line.get_xdata()).tolist() for line in by_minute.lines] == [[0.5, 1], [0.5]]
    assert says(figure, "Best validation top-1 0.900: #1 a")
    assert {"#1 a", "#2 b"} <= set(texts(figure))


def test_every_one_of_twenty_runs_looks_different() -> None:
    figure = overlaid_curves({f"#{rank}": make_curve([0.5, 0.6]) for rank in range(20)})
    looks = {(line.get_color(), line.get_linestyle()) for line in figure.axes[0].lines}
    assert len(looks) == 20
    draw(figure)


def test_runs_without_a_curve_are_named() -> None:
    figure = overlaid_curves({"#1 a": make_curve([0.5, 0.9]), "#2 b": make_curve([])})
    assert says(figure, "Not measured: #2 b")
    assert len(figure.axes[0].lines) == 1
    nothing = overlaid_curves({"#1 a": make_curve([])})
    assert says(nothing, "No run measured validation top-1")
    draw(nothing)


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

"""The figures of a study: trials, the best so far, names beside numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from landmark_ml.figures.study import trial_figures


def axes_of(values: list[Any], *logarithmic: str, name: str = "it") -> Any:
    """Axes of a figure of trials 0, 2, 4 … with these values."""
    trials = [2 * index for index in range(len(values))]
    losses = [0.3, 0.1, 0.2, 0.4, 0.5, 0.6][: len(values)]
    table = pd.DataFrame({"trial": trials, "marked": True, "loss": losses, "it": values})
    options: dict[str, Any] = {"lower": True, "shares": {"it": 0.25}, "logarithmic": logarithmic}
    (figure,) = trial_figures(table, "loss", [name], **options)
    figure.draw_without_rendering()
    return figure.axes[0]


def test_the_best_so_far_stands_where_the_trials_do() -> None:
    history = axes_of([1, 2, 3], name="trial")
    assert np.asarray(history.lines[0].get_ydata()).tolist() == [0.3, 0.1, 0.1]
    assert np.asarray(history.lines[0].get_xdata()).tolist() == [0, 2, 4]
    assert history.collections[0].get_offsets()[:, 0].tolist() == [0, 2, 4]
    assert history.collections[1].get_offsets().tolist() == [[2, 0.1]]


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (["b", "a", "b"], ["a", "b"]),
        ([True, False, True], ["False", "True"]),
        ([256, 128, 512], ["128", "256", "512"]),
        (["s.in1k+t.in22k", "m.in22k"], ["m", "s+t"]),
        (["net.in1k", "net.in22k"], ["net.in1k", "net.in22k"]),
    ],
)
def test_few_values_stand_side_by_side(values: list[Any], shown: list[str]) -> None:
    axes = axes_of(values)
    assert axes.figure.get_suptitle() == "it: explains 25%"
    assert [text.get_text() for text in axes.get_xticklabels()] == shown


def test_long_names_do_not_overprint() -> None:
    axes = axes_of([f"mobilenetv4_conv_{size}.in1k" for size in ("small", "medium", "large")])
    boxes = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert all(label.get_rotation() == 35 for label in axes.get_xticklabels())
    assert min(box.x0 for box in boxes) >= 0
    assert min(box.y0 for box in boxes) >= 0


@pytest.mark.parametrize("values", [[3e-4, 4e-4, 5e-4, 6e-4, 7e-4], [1e-4, 0.2, 0.1, 3.0, 0.3]])
def test_an_axis_is_logarithmic_where_the_search_is_and_always_labelled(
    values: list[float],
) -> None:
    for logarithmic, scale in (((), "linear"), (("it",), "log")):
        axes = axes_of(values, *logarithmic)
        assert axes.get_xscale() == scale
        low, high = axes.get_xlim()
        texts = [t.get_text() for t in axes.get_xticklabels() if low <= t.get_position()[0] <= high]
        assert len(set(texts)) >= 2

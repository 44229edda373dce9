"""The figure of a study: trials, the best so far, names beside numbers."""

from __future__ import annotations

import numpy as np
import pandas as pd

from landmark_ml.figures.study import trials_figure


def test_the_figure_shows_each_trial_and_the_best_so_far() -> None:
    table = pd.DataFrame(
        {"trial": [0, 1, 2], "marked": True, "loss": [0.3, 0.1, 0.2], "kind": ["a", "b", "a"]}
    )
    figure = trials_figure(table, "loss", ["trial", "kind"], lower=True, shares={"kind": 0.25})
    history, kinds, unused = figure.axes
    assert np.asarray(history.lines[0].get_ydata()).tolist() == [0.3, 0.1, 0.1]
    assert kinds.get_title(loc="left") == "kind: explains 25%"
    assert [text.get_text() for text in kinds.get_xticklabels()] == ["a", "b"]
    assert [len(np.asarray(points.get_offsets())) for points in kinds.collections] == [3, 1]
    assert not unused.axison

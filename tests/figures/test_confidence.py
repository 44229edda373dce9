"""Calibration and rejection figures: what they state and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from landmark_ml.figures.results import rejection_histogram, reliability_diagram
from landmark_ml.figures.style import PALE_BLUE
from tests.figures.figure_reading import bars, render, says


def test_reliability_bars_are_accuracies_with_their_counts_below() -> None:
    confidence = np.array([0.15] * 20 + [1.0] * 4)
    correct = np.array([True] * 5 + [False] * 15 + [True] * 4)
    figure = reliability_diagram(confidence, correct, ece=0.0833, num_bins=10)
    above, below = figure.axes
    heights = {round(bar.get_x(), 2): bar.get_height() for bar in bars(above)}
    assert heights == pytest.approx({0.1: 0.25, 0.9: 1.0})
    counts = [bar.get_height() for bar in bars(below)]
    assert counts == [0, 20, 0, 0, 0, 0, 0, 0, 0, 4]
    pale = [bar.get_facecolor() == to_rgba(PALE_BLUE) for bar in bars(above)]
    assert pale == [False, True]
    assert says(figure, "Too cautious by 0.083 (ECE 0.083, n = 24)")


def test_a_small_gap_between_confidence_and_accuracy_counts_as_calibrated() -> None:
    figure = reliability_diagram(np.array([0.5, 0.5]), np.array([True, False]), ece=0.0)
    assert says(figure, "Calibrated on average (ECE 0.000, n = 2)")


def test_rejection_states_what_the_threshold_does() -> None:
    figure = rejection_histogram(np.array([0.5, 0.9, 0.9, 0.2]), np.array([0.1, 0.5]), 0.5)
    assert says(figure, "75.0% of 4 landmark photos are kept and 50.0% of 2 others rejected")
    (axes,) = figure.axes
    assert [np.asarray(line.get_xdata()).tolist() for line in axes.lines] == [[0.5, 0.5]]
    assert sum(bar.get_height() for bar in bars(axes)) == pytest.approx(200)
    unseen = rejection_histogram(np.array([0.5]), np.array([0.1]), 0.5, "unseen landmark")
    assert says(unseen, "unseen landmark (n = 1)")


def test_rejection_draws_equal_scores() -> None:
    figure = rejection_histogram(np.array([0.5] * 3), np.array([0.5] * 2), 0.5)
    (axes,) = figure.axes
    shares = [(bar.get_x(), bar.get_height()) for bar in bars(axes) if bar.get_height()]
    assert [height for _, height in shares] == pytest.approx([100, 100])
    assert shares[0][0] == shares[1][0] == pytest.approx(0.5, abs=0.02)
    assert says(figure, "100.0% of 3 landmark photos are kept and 0.0% of 2 others rejected")
    render(figure)

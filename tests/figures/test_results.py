"""Figures of a run's results: what they say, and the odd inputs they must survive."""

from __future__ import annotations

import math

import matplotlib as mpl
import numpy as np
import pandas as pd

from landmark_ml.evaluation.metrics import risk_coverage
from landmark_ml.figures.results import (
    confusion_matrix,
    learning_curves,
    location_error,
    per_class_table,
    risk_coverage_curve,
    robustness_bars,
)
from landmark_ml.figures.style import DPI, MOST_ROWS, SHOWN_ROWS
from tests.figures.figure_reading import bars, render, says


def _history(epochs: int) -> list[dict[str, float]]:
    return [
        {
            "epoch": epoch,
            "train/loss": 2 / (epoch + 1),
            "val/loss": 2.2 / (epoch + 1),
            "val/top1": 0.9 - 0.1 * abs(epoch - 3),
            "val/top3": 0.95,
        }
        for epoch in range(epochs)
    ]


def test_curves_name_and_mark_the_best_epoch() -> None:
    figure = learning_curves(_history(6))
    assert says(figure, "Best validation top-1 0.900 at epoch 3 (6 epochs)")
    for axes in figure.axes:
        marks = [line for line in axes.lines if line.get_label() == "best epoch"]
        assert [np.asarray(mark.get_xdata()).tolist() for mark in marks] == [[3, 3]]
        assert len(axes.lines) == 3


def test_curves_of_one_epoch_show_points() -> None:
    figure = learning_curves(_history(1))
    assert says(figure, "(1 epoch)")
    assert figure.axes[0].lines[0].get_marker() == "o"
    assert render(figure).width == 9 * DPI


def test_curves_pass_over_missing_and_nan_values() -> None:
    history: list[dict[str, float]] = [
        {"epoch": 0, "train/loss": 1.0},
        {"epoch": 1},
        {"epoch": 2, "train/loss": math.nan},
        {"epoch": 3, "train/loss": 0.5},
    ]
    figure = learning_curves(history)
    points = np.asarray(figure.axes[0].lines[0].get_xydata(), dtype=float)
    np.testing.assert_array_equal(points, [[0, 1.0], [3, 0.5]])
    assert says(figure, "not measured")
    assert says(figure, "nothing measured on validation photos")


def test_best_epoch_falls_to_the_lowest_loss_without_accuracies() -> None:
    history: list[dict[str, float]] = [
        {"epoch": e, "val/loss": loss} for e, loss in enumerate([1.0, 0.4, math.nan, 0.7])
    ]
    assert says(learning_curves(history), "Best validation loss 0.400 at epoch 1")


def test_the_epoch_whose_weights_were_kept_is_marked() -> None:
    history: list[dict[str, float]] = [
        {"epoch": e, "val/calibrated_loss": loss, "val/top1": top1}
        for e, (loss, top1) in enumerate([(0.9, 0.8), (0.4, 0.7), (0.5, 0.9)])
    ]
    assert says(learning_curves(history), "Best validation top-1 0.700 at epoch 1")


def test_of_two_phases_the_epoch_that_the_last_one_kept_is_marked() -> None:
    calibrated = [(0.9, 0), (0.2, 1), (0.6, 0), (0.5, 1), (0.7, 2)]
    history: list[dict[str, float]] = [
        {"epoch": e, "phase_epoch": of_phase, "val/calibrated_loss": loss, "val/top1": 0.1 * e}
        for e, (loss, of_phase) in enumerate(calibrated)
    ]
    sentence = "Best validation top-1 0.300 at epoch 3 (5 epochs, the last 3 on pixels)"
    assert says(learning_curves(history), sentence)


def _table(rows: int) -> pd.DataFrame:
    recall = np.linspace(1, 0.1, rows)
    return pd.DataFrame(
        {
            "landmark": [f"Landmark {index}" for index in range(rows)],
            "photos": 7,
            "precision": 0.5,
            "recall": recall,
            "f1": 0.6,
        }
    )


def test_table_is_sorted_by_recall_with_a_bar_a_score() -> None:
    figure = per_class_table(_table(50))
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert names[0] == "Landmark 49 (7)"
    assert len(names) == 50
    widths = [bar.get_width() for bar in bars(figure.axes[0])]
    assert widths == sorted(widths)
    assert [len(axes.patches) for axes in figure.axes] == [50, 50, 50]
    assert says(figure, "lowest 0.10 (Landmark 49), n = 350")


def test_table_of_many_rows_keeps_the_lowest() -> None:
    figure = per_class_table(_table(MOST_ROWS + 1))
    assert len(figure.axes[0].patches) == SHOWN_ROWS
    assert says(figure, f"the {SHOWN_ROWS} lowest of {MOST_ROWS + 1}")


def test_risk_and_coverage_are_drawn_with_what_5_percent_risk_allows() -> None:
    confidence = np.linspace(1, 0, 100)
    figure = risk_coverage_curve(*risk_coverage(confidence, np.arange(100) < 57))
    assert "60.0% of 100 photos" in figure.get_suptitle()
    assert np.size(figure.axes[0].get_lines()[0].get_xdata()) == 100


def test_location_error_counts_those_without_coordinates() -> None:
    figure = location_error(np.array([0.0, 3.0, 4000.0, np.inf, np.nan]), (1, 25))
    assert figure.get_suptitle().startswith("50.0% of 4 landmark photos")
    assert "Photos without coordinates: 1." in figure.get_supxlabel()
    assert location_error(np.array([np.inf]), (1, 25)).axes


def test_the_worst_corruption_is_named() -> None:
    table = pd.DataFrame(
        {
            "corruption": ["clean", "low_light", "jpeg"],
            "photos": 20,
            "top1": [0.9, 0.2, 1.0],
            "low": [0.7, 0.1, 0.84],
            "high": [0.97, 0.4, 1.0],
        }
    )
    figure = robustness_bars(table)
    assert figure.get_suptitle() == "Low light harms most: top-1 0.200 against 0.900"
    unharmed = robustness_bars(table.assign(top1=0.9, low=0.8, high=0.95))
    assert unharmed.get_suptitle() == "No corruption lowers accuracy"


def test_figures_leave_the_global_plotting_state_alone() -> None:
    before = dict(mpl.rcParams)
    render(learning_curves(_history(2)))
    render(confusion_matrix(np.array([0, 1]), np.array([0, 0]), ["a", "b"]))
    assert dict(mpl.rcParams) == before
    from matplotlib import pyplot as plt  # noqa: PLC0415 - only to look for leaked figures

    assert plt.get_fignums() == []

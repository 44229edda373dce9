"""Figures of a run's results: what they say, and the odd inputs they must survive."""

from __future__ import annotations

import io
import math
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from PIL import Image

from landmark_ml.evaluation.metrics import risk_coverage
from landmark_ml.figures.results import (
    confusion_matrix,
    learning_curves,
    location_error,
    per_class_table,
    rejection_curve,
    reliability_diagram,
    risk_coverage_curve,
    robustness_bars,
)
from landmark_ml.figures.style import DPI, MOST_ROWS, PALE_BLUE, SHOWN_ROWS
from tests.figures.figure_reading import bars, draw, says


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
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    assert Image.open(buffer).width == 9 * DPI


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
    draw(learning_curves(_history(2)))
    draw(confusion_matrix(np.array([0, 1]), np.array([0, 0]), ["a", "b"]))
    assert dict(mpl.rcParams) == before
    from matplotlib import pyplot as plt  # noqa: PLC0415 - only to look for leaked figures

    assert plt.get_fignums() == []


def test_matrix_counts_pairs_and_lists_the_worst_confusion_first() -> None:
    classes = ["Alai Minar", "Charminar", "Petra"]
    labels = np.array([0] * 6 + [1] * 4 + [2] * 4)
    predictions = np.array([0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2])
    figure = confusion_matrix(labels, predictions, classes)
    assert says(figure, "4 of 14 photos")
    assert says(figure, "1.  Alai Minar → Charminar  3 of 6")
    assert says(figure, "2.  Charminar → Petra  1 of 4")
    cells = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert cells == {(0, 0): "3", (1, 0): "3", (1, 1): "3", (2, 1): "1", (2, 2): "4"}


def test_matrix_colours_mistakes_apart_from_the_diagonal() -> None:
    figure = confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), ["a", "b"])
    arrays: list[np.ma.MaskedArray[Any, Any]] = [
        np.ma.array(image.get_array()) for image in figure.axes[0].images
    ]
    drawn: list[object] = [array.filled(-1).tolist() for array in arrays]
    assert drawn == [[[0.5, -1], [-1, 1]], [[-1, 0.5], [0, -1]]]


def test_matrix_without_mistakes_says_so_and_lists_none() -> None:
    figure = confusion_matrix(np.array([0, 1]), np.array([0, 1]), ["a", "b"])
    assert says(figure, "No confusions")
    assert not says(figure, "→")


@pytest.mark.parametrize("count", [1, 2, 50])
def test_matrix_names_every_class_on_both_axes(count: int) -> None:
    labels = np.arange(count)
    names = [f"Landmark {index}" for index in range(count)]
    axes = confusion_matrix(labels, labels[::-1], names).axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == names
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [f"{n} (1)" for n in names]
    assert min(float(tick.get_fontsize()) for tick in axes.get_xticklabels()) >= 8


def test_matrix_of_many_classes_keeps_the_most_confused_and_says_so() -> None:
    labels = np.repeat(np.arange(500), 2)
    predictions = labels.copy()
    predictions[[400, 401]] = 499
    figure = confusion_matrix(labels, predictions, [f"Landmark {i}" for i in range(500)])
    shown = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert len(shown) == SHOWN_ROWS
    assert {"Landmark 200", "Landmark 499"} <= set(shown)
    assert says(figure, f"the {SHOWN_ROWS} of 500 landmarks with the most mistakes")


def test_matrix_leaves_large_counts_to_the_colour_when_cells_are_small() -> None:
    labels = np.concatenate([np.arange(60), np.zeros(20_000, dtype=int)])
    figure = confusion_matrix(labels, labels, [str(index) for index in range(60)])
    assert not figure.axes[0].texts


def test_longer_lists_of_classes_give_larger_matrices() -> None:
    def width(classes: int) -> float:
        labels = np.arange(classes)
        return float(confusion_matrix(labels, labels, ["x"] * classes).get_figwidth())

    assert width(50) < width(60)


def test_names_with_accents_and_dollars_are_drawn_as_they_are() -> None:
    names = ["Château d'If", "A$B_{1}$", "Kölner Dom"]
    figure = confusion_matrix(np.array([0, 1, 2]), np.array([1, 0, 2]), names)
    assert says(figure, "Château d'If → A$B_{1}$")
    draw(figure)


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
    unseen, everyday = np.array([0.1, 0.5, 0.55, 0.95]), np.array([0.0, 0.0, 0.1, 0.5])
    figure = rejection_curve(
        np.array([0.5, 0.9, 0.9, 0.2]), {"unseen": unseen, "everyday": everyday}, 0.5
    )
    text = "75.0% of known landmarks are tagged, and 75.0% of unseen and 25.0% of everyday"
    assert says(figure, text)
    (axes,) = figure.axes
    curve, mark = axes.lines[0], axes.lines[1]
    # At the scores of the known photos, from the highest down.
    assert np.asarray(curve.get_xdata()).tolist() == [0.25, 0.5, 0.75, 1.0]
    assert np.asarray(curve.get_ydata()).tolist() == [0.25, 0.25, 0.75, 0.75]
    assert np.asarray([mark.get_xdata(), mark.get_ydata()]).ravel().tolist() == [0.75, 0.75]
    draw(figure)


def test_rejection_draws_equal_scores() -> None:
    figure = rejection_curve(np.array([0.5] * 3), {"everyday": np.array([0.5] * 2)}, 0.5)
    assert says(figure, "100.0% of known landmarks are tagged, and 100.0% of everyday")
    draw(figure)

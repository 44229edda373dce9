"""Figures of a run's results: what they say, and the odd inputs they must survive."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.collections import LineCollection
from PIL import Image

from landmark_ml.evaluation.metrics import calibration_bins
from landmark_ml.figures.results import (
    Answer,
    answer_gallery,
    confusion_matrix,
    learning_curves,
    rejection_curve,
    reliability_diagram,
    worst_mistakes,
)
from landmark_ml.figures.style import BLUE, DPI, GREY, SHOWN_ROWS, VERMILION
from tests.figures.figure_reading import bars, draw, says


def _history(epochs: int) -> list[dict[str, float]]:
    return [
        {
            "epoch": epoch,
            "train/loss": 2 / (epoch + 1),
            "val/loss": 2.2 / (epoch + 1),
            "val/calibrated_loss": 0.2 + 0.1 * abs(epoch - 3),
            "val/top1": 0.9 - 0.1 * abs(epoch - 3),
            "val/top3": 0.95,
        }
        for epoch in range(epochs)
    ]


def test_curves_name_and_mark_the_best_epoch() -> None:
    figure = learning_curves(_history(6))
    assert says(figure, "Validation top-1 0.900 at epoch 3 (6 epochs)")
    for axes in figure.axes:
        marks = [line for line in axes.lines if line.get_label() == "chosen epoch"]
        assert [np.asarray(mark.get_xdata()).tolist() for mark in marks] == [[3]]
    assert [len(axes.lines) for axes in figure.axes] == [4, 3]


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


def test_the_epoch_whose_weights_were_kept_is_marked() -> None:
    history: list[dict[str, float]] = [
        {"epoch": e, "val/calibrated_loss": loss, "val/top1": top1}
        for e, (loss, top1) in enumerate([(0.9, 0.8), (0.4, 0.7), (0.5, 0.9)])
    ]
    figure = learning_curves(history)
    assert says(figure, "Validation top-1 0.700 at epoch 1 (3 epochs)")
    ring = next(line for line in figure.axes[0].lines if line.get_label() == "chosen epoch")
    assert np.asarray(ring.get_xydata()).tolist() == [[1, 0.4]]
    assert says(figure, "validation, calibrated")


def test_of_two_phases_the_epoch_that_the_last_one_kept_is_marked() -> None:
    calibrated = [(0.9, 0), (0.2, 1), (0.6, 0), (0.5, 1), (0.7, 2)]
    history: list[dict[str, float]] = [
        {"epoch": e, "phase_epoch": of_phase, "val/calibrated_loss": loss, "val/top1": 0.1 * e}
        for e, (loss, of_phase) in enumerate(calibrated)
    ]
    sentence = "at epoch 3 (5 epochs, the last 3 on pixels)"
    assert says(learning_curves(history), sentence)


def test_figures_leave_the_global_plotting_state_alone() -> None:
    before = dict(mpl.rcParams)
    draw(learning_curves(_history(2)))
    draw(confusion_matrix(np.array([0, 1]), np.array([0, 0]), ["a", "b"]))
    assert dict(mpl.rcParams) == before
    from matplotlib import pyplot as plt  # noqa: PLC0415 - only to look for leaked figures

    assert plt.get_fignums() == []


def test_matrix_counts_pairs_and_lists_the_worst_confusion_first() -> None:
    classes = ["Petra", "Alai Minar", "Charminar"]
    labels = np.array([1] * 6 + [2] * 4 + [0] * 4)
    predictions = np.array([1, 1, 1, 2, 2, 2, 2, 2, 2, 0, 0, 0, 0, 0])
    figure = confusion_matrix(labels, predictions, classes)
    assert says(figure, "4 of 14 landmark photos taken for another landmark, 0 for none")
    assert says(figure, "1.  Alai Minar → Charminar  3 of 6")
    assert says(figure, "2.  Charminar → Petra  1 of 4")
    shown = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert shown == ["Charminar (4)", "Alai Minar (6)", "Petra (4)"]
    cells = {text.get_position(): text.get_text() for text in figure.axes[0].texts}
    assert cells == {(0, 0): "3", (2, 0): "1", (0, 1): "3", (1, 1): "3", (2, 2): "4"}


def test_matrix_has_a_row_and_a_column_of_no_landmark() -> None:
    # "b" is rejected twice, one everyday photo is taken for "a", and "c" has no mistake.
    labels, predictions = np.array([0, 1, 1, 2, -1, -1]), np.array([0, -1, -1, 2, 0, -1])
    figure = confusion_matrix(labels, predictions, ["a", "b", "c"])
    axes = figure.axes[0]
    names = [tick.get_text() for tick in axes.get_yticklabels()]
    assert names == ["b (2)", "a (1)", "no landmark (2)"]
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells == {(1, 1): "1", (2, 0): "2", (1, 2): "1", (2, 2): "1"}
    sentence = "0 of 4 landmark photos taken for another landmark, 2 for none; 1 of 2 other photos"
    assert says(figure, sentence)
    assert says(figure, "Not drawn: 1 landmarks without a mistake.")


def test_matrix_colours_mistakes_apart_from_the_diagonal() -> None:
    figure = confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, -1]), ["a", "b"])
    arrays: list[np.ma.MaskedArray[Any, Any]] = [
        np.ma.array(image.get_array()) for image in figure.axes[0].images
    ]
    drawn: list[object] = [array.filled(-1).tolist() for array in arrays]
    right, wrong, unnamed = drawn
    # "b" comes first: it has as many confusions, and one photo more that is not named.
    assert right == [[0, -1, -1], [-1, 0.5, -1], [-1, -1, 0]]
    assert wrong == [[-1, 0, -1], [0.5, -1, -1], [0, 0, -1]]
    assert unnamed == [[-1, -1, 1], [-1, -1, 0], [-1, -1, -1]]


def test_matrix_without_mistakes_says_so_and_lists_none() -> None:
    figure = confusion_matrix(np.array([0, 1, -1]), np.array([0, 1, -1]), ["a", "b"])
    assert says(figure, "No confusions on 3 photos")
    assert not says(figure, "→")


@pytest.mark.parametrize("count", [2, 50])
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
    predictions[[400, 401, 402]] = 499
    predictions[600:900] = 0
    figure = confusion_matrix(labels, predictions, [f"Landmark {i}" for i in range(500)])
    shown = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert len(shown) == SHOWN_ROWS
    assert shown[:2] == ["Landmark 0", "Landmark 499"]
    assert says(figure, f"the {SHOWN_ROWS} of 500 landmarks with the most mistakes")


def test_matrix_leaves_large_counts_to_the_colour_when_cells_are_small() -> None:
    labels = np.concatenate([np.arange(60), np.zeros(20_000, dtype=int)])
    figure = confusion_matrix(labels, 59 - labels, [str(index) for index in range(60)])
    assert not figure.axes[0].texts


def test_longer_lists_of_classes_give_larger_matrices() -> None:
    def width(classes: int) -> float:
        labels = np.arange(classes)
        return float(confusion_matrix(labels, labels[::-1], ["x"] * classes).get_figwidth())

    assert width(50) < width(60)


def test_names_with_accents_and_dollars_are_drawn_as_they_are() -> None:
    names = ["Château d'If", "A$B_{1}$", "Kölner Dom"]
    figure = confusion_matrix(np.array([0, 1, 2]), np.array([1, 0, 2]), names)
    assert says(figure, "Château d'If → A$B_{1}$")
    draw(figure)


def test_no_answer_and_no_right_answer_are_told_apart() -> None:
    confidence = np.array([0.11] * 20 + [0.5] * 4 + [1.0] * 4)
    correct = np.array([True] * 5 + [False] * 19 + [True] * 4)
    figure = reliability_diagram(calibration_bins(confidence, correct), ece=0.0833)
    above, below = figure.axes
    dots = np.asarray(above.lines[1].get_xydata(), dtype=float)
    assert dots.ravel().tolist() == pytest.approx([0.11, 0.25, 0.5, 0, 1, 1])
    (intervals,) = above.collections
    assert isinstance(intervals, LineCollection)
    # Four of four and none of four say little: their Wilson intervals are wide.
    ends: list[Any] = [segment[:, 1].tolist() for segment in intervals.get_segments()]
    assert ends[1] == pytest.approx([0, 0.49], abs=0.005)
    assert ends[2] == pytest.approx([0.51, 1], abs=0.005)
    counts = [bar.get_height() for bar in bars(below)]
    assert [(index, count) for index, count in enumerate(counts) if count] == [
        (1, 20),
        (7, 4),
        (14, 4),
    ]
    assert says(figure, "Too cautious by 0.029 (ECE 0.083, n = 28)")


def test_a_small_gap_between_confidence_and_accuracy_counts_as_calibrated() -> None:
    bins = calibration_bins(np.array([0.5, 0.5]), np.array([True, False]))
    assert says(reliability_diagram(bins, ece=0.0), "Calibrated on average (ECE 0.000, n = 2)")


def test_a_rejected_answer_is_grey_and_not_recognised(tmp_path: Path) -> None:
    def answer(label: str, said: str, *, named: bool = True) -> Answer:
        path = tmp_path / f"{label or 'none'}.png"
        Image.new("RGB", (8, 8)).save(path)
        return Answer(path, label, said, named, 0.5, "Paris, France")

    right, wrong = answer("Petra", "Petra"), answer("Alhambra", "Petra")
    rejected = answer("Petra", "no landmark", named=False)
    everyday = answer("", "no landmark", named=False)
    figure = answer_gallery([right, wrong, rejected, everyday], seed=3)
    assert says(figure, "1 of 3 landmark photos recognised; 0 of 1 without a landmark taken for")
    said = [text for text in figure.axes[0].texts if text.get_text() in ("Petra", "no landmark")]
    assert [text.get_color() for text in said] == [BLUE, VERMILION, GREY, GREY]
    mistakes = worst_mistakes([wrong], photos=4)
    for words in ("Alhambra.png", "said 50% Petra", "is Alhambra", "1 wrong landmark on 4 photos"):
        assert says(mistakes, words)


def test_rejection_states_what_the_threshold_does() -> None:
    unseen, everyday = np.array([0.1, 0.5, 0.55, 0.95]), np.array([0.0, 0.0, 0.1, 0.5])
    figure = rejection_curve(
        np.array([0.5, 0.9, 0.9, 0.2]), {"unseen": unseen, "everyday": everyday}, 0.5
    )
    text = "75.0% of known landmarks, 75.0% of unseen, 25.0% of everyday"
    assert says(figure, text)
    (axes,) = figure.axes
    curve, mark = axes.lines[2], axes.lines[3]
    # At the scores of the known photos, from the highest down.
    assert np.asarray(curve.get_xdata()).tolist() == [0.25, 0.5, 0.75, 1.0]
    assert np.asarray(curve.get_ydata()).tolist() == [0.25, 0.25, 0.75, 0.75]
    assert np.asarray([mark.get_xdata(), mark.get_ydata()]).ravel().tolist() == [0.75, 0.75]
    draw(figure)


def test_rejection_draws_equal_scores() -> None:
    figure = rejection_curve(np.array([0.5] * 3), {"everyday": np.array([0.5] * 2)}, 0.5)
    assert says(figure, "100.0% of known landmarks, 100.0% of everyday")
    draw(figure)

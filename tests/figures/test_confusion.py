"""The confusion matrix: what it counts, lists and leaves out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from landmark_ml.figures.results import confusion_matrix
from landmark_ml.figures.style import SHOWN_ROWS
from tests.figures.figure_reading import render, says


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
    render(figure)

"""Pictures of a dataset: what they count and show, and the odd datasets they must survive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.colors import to_rgba
from PIL import Image

from landmark_ml.data import NOT_A_LANDMARK, Dataset, Photo
from landmark_ml.figures.dataset import (
    class_counts,
    sample_grid,
)
from landmark_ml.figures.style import MOST_ROWS, SHOWN_ROWS, VERMILION
from tests.figures.figure_reading import bars, draw, says, texts


def _photo(folder: Path, label: int, *, width: int = 64, height: int = 48) -> Photo:
    """Stand for a photo no picture is needed of."""
    return Photo(folder / "none.png", label, "", width, height)


def _drawn(folder: Path, label: int, color: tuple[int, int, int]) -> Photo:
    path = folder / f"{len(list(folder.iterdir()))}.png"
    Image.new("RGB", (64, 48), color).save(path)
    return Photo(path, label, "", 64, 48)


def _dataset(
    folder: Path,
    classes: int,
    train: Sequence[Photo],
    val: Sequence[Photo] = (),
    test: Sequence[Photo] = (),
) -> Dataset:
    names = tuple(f"Château {index}" for index in range(classes))
    return Dataset("toy", folder, names, tuple(train), tuple(val), tuple(test))


def test_sample_grid_has_a_row_a_class_and_one_of_other_photos(tmp_path: Path) -> None:
    photos = [_drawn(tmp_path, label, (200, 0, 0)) for label in (0, 0, 0, 1, NOT_A_LANDMARK)]
    figure = sample_grid(_dataset(tmp_path, 2, photos), per_class=2)
    assert len(figure.axes[0].images) == 2 + 1 + 1
    assert {"Château 0", "Château 1", "(not a landmark)"} <= set(texts(figure))
    draw(figure)


def test_sample_grid_draws_as_many_classes_as_asked_and_repeats_by_seed(tmp_path: Path) -> None:
    photos = [_drawn(tmp_path, label, (0, 0, 0)) for label in range(9)]
    dataset = _dataset(tmp_path, 9, photos)
    first, again, other = (
        texts(sample_grid(dataset, max_classes=3, seed=seed)) for seed in (1, 1, 2)
    )
    assert sum(text.startswith("Château") for text in first) == 3
    assert first == again
    assert first != other


def test_sample_grid_of_an_empty_dataset_says_so(tmp_path: Path) -> None:
    assert says(sample_grid(_dataset(tmp_path, 1, [])), "nothing to show")


def test_counts_stack_the_splits_and_mark_small_classes(tmp_path: Path) -> None:
    dataset = _dataset(
        tmp_path,
        2,
        [_photo(tmp_path, 0)] * 30 + [_photo(tmp_path, 1)] * 5 + [_photo(tmp_path, -1)] * 4,
        [_photo(tmp_path, 0)] * 3,
        [_photo(tmp_path, 1)] * 2 + [_photo(tmp_path, -1)],
    )
    figure = class_counts(dataset)
    (axes,) = figure.axes
    assert [bar.get_width() for bar in bars(axes)] == [30, 5, 3, 0, 0, 2]
    assert [bar.get_x() for bar in bars(axes)] == [0, 0, 30, 5, 33, 5]
    large, small = axes.get_yticklabels()
    assert (large.get_text(), small.get_text()) == ("Château 0", "Château 1")
    assert to_rgba(small.get_color()) == to_rgba(VERMILION) != to_rgba(large.get_color())
    assert says(figure, "40 photos of 2 landmarks: 7 to 33 each")
    assert says(figure, "5 photos of no landmark (train 4, val 0, test 1)")


def test_counts_of_one_class_and_of_none_are_drawn(tmp_path: Path) -> None:
    figure = class_counts(_dataset(tmp_path, 1, [_photo(tmp_path, 0)]))
    assert says(figure, "1 photo of 1 landmark: 1 to 1 each")
    draw(figure)
    assert says(class_counts(_dataset(tmp_path, 1, [])), "No photos of landmarks")


def test_counts_of_many_classes_show_the_smallest(tmp_path: Path) -> None:
    classes = MOST_ROWS + 1
    photos = [_photo(tmp_path, label) for label in range(classes)] + [_photo(tmp_path, 0)] * 9
    figure = class_counts(_dataset(tmp_path, classes, photos))
    names = [tick.get_text() for tick in figure.axes[0].get_yticklabels()]
    assert len(names) == SHOWN_ROWS
    assert "Château 0" not in names
    assert says(figure, f"shown: the {SHOWN_ROWS} smallest of {classes}")

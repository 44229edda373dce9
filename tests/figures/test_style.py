"""How figures are saved, and grids of photos: mistakes, answers, and photos that are gone."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from landmark_ml.figures.results import Answer, answer_gallery, worst_mistakes
from landmark_ml.figures.style import new_figure, style_axes
from tests.figures.figure_reading import draw, says, texts


def _mistake(folder: Path, index: int) -> Answer:
    path = folder / f"{index}.png"
    Image.new("RGB", (40 + index, 30), (index, 90, 90)).save(path)
    return Answer(path, f"True {index}", f"Said {index}", named=True, confidence=index / 100)


def test_mistakes_show_the_most_confident_first(tmp_path: Path) -> None:
    figure = worst_mistakes([_mistake(tmp_path, index) for index in range(25)], photos=300)
    assert says(figure, "The 20 most confident of 25 wrong landmarks on 300 photos")
    (axes,) = figure.axes
    assert len(axes.images) == 20
    lines = ["is True 24", "said 24% Said 24", "24.png"]
    assert [text.get_text() for text in axes.texts[:3]] == lines


def test_one_mistake_is_worded_as_one(tmp_path: Path) -> None:
    figure = worst_mistakes([_mistake(tmp_path, 3)], photos=9)
    assert says(figure, "1 wrong landmark on 9 photos")


def test_no_mistakes_is_said() -> None:
    figure = worst_mistakes([], photos=522)
    assert says(figure, "No wrong landmarks on 522 photos")
    draw(figure)


def test_a_photo_that_went_missing_leaves_a_cell_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    files = [tmp_path / name for name in ("bad.jpg", "gone.jpg")]
    mistakes = [Answer(file, "a", "b", named=True, confidence=0.5) for file in files]
    figure = worst_mistakes(mistakes, photos=9)
    assert texts(figure).count("cannot be read") == 2


def test_answers_are_shown_with_their_place(tmp_path: Path) -> None:
    right = Answer(tmp_path / "1.png", "Petra", "Petra", named=True, confidence=0.9, where="Jordan")
    figure = answer_gallery([_mistake(tmp_path, 1), right], seed=0)
    assert says(figure, "1 of 2 landmark photos recognised")
    assert {"Said 1", "Petra", "90%  Jordan"} <= set(texts(figure))


def test_a_figure_is_saved_as_matplotlib_would_draw_it() -> None:
    figure = new_figure("What was found", caption="Two bars.")
    axes = figure.add_subplot()
    axes.bar([1, 2], [3, 1])
    style_axes(axes, xlabel="what", ylabel="how many")
    ours, theirs = io.BytesIO(), io.BytesIO()
    Figure.savefig(figure, theirs, format="png")
    figure.savefig(ours, format="png")
    first, second = (np.asarray(Image.open(png).convert("RGB")) for png in (ours, theirs))
    np.testing.assert_array_equal(first, second)

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
    return Answer(path, f"True {index}", f"Said {index}", index / 100)


def test_mistakes_show_the_most_confident_first(tmp_path: Path) -> None:
    figure = worst_mistakes([_mistake(tmp_path, index) for index in range(25)], photos=300)
    assert says(figure, "The 20 most confident of 25 mistakes on 300 photos")
    (axes,) = figure.axes
    assert len(axes.images) == 20
    assert [text.get_text() for text in axes.texts[:2]] == ["0.24 Said 24", "is True 24"]


def test_one_mistake_is_worded_as_one(tmp_path: Path) -> None:
    assert "1 mistake on 9 photos" in texts(worst_mistakes([_mistake(tmp_path, 3)], photos=9))


def test_no_mistakes_is_said() -> None:
    figure = worst_mistakes([], photos=522)
    assert says(figure, "No mistakes on 522 photos")
    draw(figure)


def test_a_photo_that_went_missing_leaves_a_cell_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    mistakes = [Answer(tmp_path / name, "a", "b", 0.5) for name in ("bad.jpg", "gone.jpg")]
    figure = worst_mistakes(mistakes, photos=9)
    assert texts(figure).count("cannot be read") == 2


def test_answers_are_shown_with_their_place(tmp_path: Path) -> None:
    answers = [_mistake(tmp_path, 1), Answer(tmp_path / "1.png", "Petra", "Petra", 0.9, "Jordan")]
    figure = answer_gallery(answers)
    assert says(figure, "1 of 2 test photos recognised")
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

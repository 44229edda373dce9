"""Photos a model cannot be judged on are refused before it is asked about all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pandas as pd
import pytest

from landmark_ml.data import Photo
from landmark_ml.evaluation.judge import _match_names, judge
from landmark_ml.geo.gazetteer import Gazetteer
from tests.colour_photos import write_colour

if TYPE_CHECKING:
    from pathlib import Path

    from landmark_ml.evaluation.model_process import ServedProcess

CLASSES = ("Atomium", "Petra")


class Knows:
    """A served model of some landmarks, by the names it answers with."""

    def __init__(self, *names: str) -> None:
        self._candidates = [{"landmark": name} for name in names]

    def predict(self, data: pd.DataFrame, params: object = None) -> pd.DataFrame:  # noqa: ARG002
        return pd.DataFrame({"candidates": [self._candidates] * len(data)})


@pytest.mark.parametrize("labels", [(1, 1), (1, -1), (-1,)])
def test_photos_that_show_nothing_the_model_knows_are_refused(
    labels: tuple[int, ...], tmp_path: Path
) -> None:
    photos = []
    for number, label in enumerate(labels):
        path = tmp_path / f"{number}.png"
        write_colour(path, 0, number)
        photos.append(Photo(path, label, f"{number:064x}", 8, 8))
    model = cast("ServedProcess", Knows("Atomium"))
    with pytest.raises(ValueError, match=r"none of the \d photos shows a landmark .* Atomium"):
        judge(model, photos, CLASSES, Gazetteer.load(None))


BOTH = ("Tour_Eiffel", "Eiffel_Tower")
PLACE = ("Eiffel Tower",)


@pytest.mark.parametrize(
    ("learned", "shown", "names"),
    [
        (PLACE, BOTH[:1], PLACE),
        (PLACE, BOTH, PLACE),
        (BOTH, BOTH, BOTH),
        (BOTH, BOTH[:1], BOTH),
    ],
)
def test_a_landmark_is_known_by_its_place_or_by_its_label(
    learned: tuple[str, ...], shown: tuple[str, ...], names: tuple[str, ...], tmp_path: Path
) -> None:
    """Of two landmarks at one place the model answers with the labels."""
    write_colour(tmp_path / "0.png", 0, 0)
    photos = [Photo(tmp_path / "0.png", label, "0" * 64, 8, 8) for label in range(len(shown))]
    model = cast("ServedProcess", Knows(*learned))
    sides = _match_names(model, photos, shown, Gazetteer.load(None))
    assert (len(sides.known), sides.unseen, sides.names) == (len(shown), (), names)
    assert {photo.label for photo in sides.known} == set(range(min(len(shown), len(names))))

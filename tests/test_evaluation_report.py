"""Photos a model cannot be judged on are refused before it is asked about all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pandas as pd
import pytest

from landmark_ml.datasets import Photo
from landmark_ml.evaluation_report import judge
from landmark_ml.gazetteer import Gazetteer
from tests.colour_photos import write_colour

if TYPE_CHECKING:
    from pathlib import Path

    from landmark_ml.served_process import ServedProcess

CLASSES = ("Atomium", "Petra")


class KnowsTheAtomium:
    """A served model of one landmark."""

    def predict(self, data: pd.DataFrame, params: object = None) -> pd.DataFrame:  # noqa: ARG002
        return pd.DataFrame({"candidates": [[{"landmark": "Atomium"}]] * len(data)})


@pytest.mark.parametrize("labels", [(1, 1), (1, -1), (-1,)])
def test_photos_that_show_nothing_the_model_knows_are_refused(
    labels: tuple[int, ...], tmp_path: Path
) -> None:
    photos = []
    for number, label in enumerate(labels):
        path = tmp_path / f"{number}.png"
        write_colour(path, 0, number)
        photos.append(Photo(path, label, f"{number:064x}", 8, 8))
    model = cast("ServedProcess", KnowsTheAtomium())
    with pytest.raises(ValueError, match=r"none of the \d photos shows a landmark .* Atomium"):
        judge(model, photos, CLASSES, Gazetteer.load(None))

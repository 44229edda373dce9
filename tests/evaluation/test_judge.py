"""Which photos a model can be judged on, which it knows by which name, and its latency."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from landmark_ml.data import Photo
from landmark_ml.evaluation.judge import JudgeOptions, judge, match_names, measure_latency
from landmark_ml.geo.gazetteer import Gazetteer
from tests.colour_photos import write_colour

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("Atomium", "Petra")


class Knows:
    """A served model of some landmarks, by the names it answers with."""

    def __init__(self, *names: str) -> None:
        self._candidates = [{"landmark": name} for name in names]
        self.asked: list[list[bytes]] = []

    def predict(self, data: pd.DataFrame, params: object = None) -> pd.DataFrame:  # noqa: ARG002
        self.asked.append(data["image"].tolist())
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
    model = Knows("Atomium")
    with pytest.raises(ValueError, match=r"none of the \d photos shows a landmark .* Atomium"):
        judge(model, photos, CLASSES, Gazetteer.load(None), JudgeOptions(unseen_apart=True))


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
    known, unseen, _, matched = match_names(Knows(*learned), photos, shown, Gazetteer.load(None))
    assert (len(known), unseen, tuple(matched)) == (len(shown), [], names)
    assert {photo.label for photo in known} == set(range(min(len(shown), len(names))))


def test_latency_is_the_median_of_single_photos_spread_over_all(tmp_path: Path) -> None:
    photos = []
    for number in range(40):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(bytes([number]))
        photos.append(Photo(path, 0, str(number), 8, 8))
    model = Knows("Atomium")
    found = measure_latency(model, photos, 5)
    single = [asked for asked in model.asked if len(asked) == 1]
    assert single == [[b"\0"], [b"\0"], [b"\x0a"], [b"\x14"], [b"\x1d"], [b"\x27"]]
    assert 0 < found["ms_per_photo"] == found["p50_ms"] <= found["p99_ms"]
    assert found["photos_per_second"] > 0
    # Only a process of its own has a memory of its own.
    assert "peak_mb" not in found

"""A served model's answers, compared with what the photos show and where that stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from landmark_ml.data import NOT_A_LANDMARK, Photo
from landmark_ml.evaluation.judge import Predictions, predict
from landmark_ml.evaluation.metrics import measure
from landmark_ml.geo.gazetteer import Gazetteer, Place
from tests.evaluation.made_up_predictions import predictions

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = ("Tour Eiffel", "Stonehenge", "Atomium", "Matterhorn")
NAMES = ("Eiffel Tower", "Stonehenge", "Atomium", "Matterhorn")
REFUSAL = {"code": "truncated", "reason": "the photo ends too early"}


@dataclass
class FakeModel:
    """Answers a photo whose bytes spell probabilities in class order, best candidate first."""

    asked: list[int] = field(default_factory=list)
    names: tuple[str, ...] = NAMES
    score: float = 0.8

    def predict(self, data: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        self.asked.append(len(data))
        top_k = (params or {}).get("top_k", 1)
        return pd.DataFrame([self._answer(image, top_k) for image in data["image"]], dtype=object)

    def _answer(self, image: bytes, top_k: int) -> dict[str, Any]:
        if image == b"damaged":
            return {
                "candidates": None,
                "landmark_score": None,
                "is_landmark": None,
                "error": REFUSAL,
            }
        chances = [float(chance) for chance in image.decode().split()]
        ranked = sorted(zip(chances, self.names, strict=True), reverse=True)[:top_k]
        return {
            "candidates": [{"landmark": name, "confidence": chance} for chance, name in ranked],
            "landmark_score": ranked[0][0] * self.score,
            "is_landmark": ranked[0][0] >= 0.5,
            "error": None,
        }


def answered(path: Path, chances: str, label: int) -> Photo:
    path.write_text(chances)
    return Photo(path, label, sha256=path.stem, width=8, height=8)


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Photo, ...]:
    rows = [
        ("0.7 0.1 0.1 0.1", 0),
        ("0.2 0.6 0.1 0.1", 2),
        ("0.05 0.9 0.03 0.02", 0),
        ("0.3 0.1 0.2 0.4", 3),
        ("0.28 0.24 0.26 0.22", NOT_A_LANDMARK),
    ]
    return tuple(answered(tmp_path / f"{i}.jpg", *row) for i, row in enumerate(rows))


def answers(photos: tuple[Photo, ...], model: FakeModel | None = None) -> Predictions:
    return predict(model or FakeModel(), photos, CLASSES, NAMES, Gazetteer({}))


def test_probabilities_are_put_in_their_places(photos: tuple[Photo, ...]) -> None:
    found = answers(photos)
    assert found.best.tolist() == [0, 1, 1, 3, 0]
    assert found.confidence.tolist() == [0.7, 0.6, 0.9, 0.4, 0.28]
    assert found.rank.tolist() == [0, 2, 1, 0, 4]
    assert found.correct.tolist() == [True, False, False, True, False]
    assert found.accepted.tolist() == [True, True, True, False, False]
    assert found.shows_landmark.tolist() == [True] * 4 + [False]
    assert found.landmark_scores == pytest.approx(found.confidence * 0.8)


def test_many_photos_are_asked_about_in_batches(photos: tuple[Photo, ...]) -> None:
    model = FakeModel()
    found = answers(photos * 30, model)
    assert len(found.photos) == 150
    assert 1 < max(model.asked) < 150
    assert found.best.tolist() == [0, 1, 1, 3, 0] * 30


def test_a_refused_photo_is_named_with_the_reason(
    photos: tuple[Photo, ...], tmp_path: Path
) -> None:
    damaged = answered(tmp_path / "broken.jpg", "damaged", 1)
    with pytest.raises(ValueError, match=r"refused .*broken\.jpg: the photo ends too early"):
        answers((*photos, damaged))


def test_an_unknown_landmark_is_named(photos: tuple[Photo, ...]) -> None:
    model = FakeModel(names=("Big Ben", *NAMES[1:]))
    with pytest.raises(ValueError, match=r"0\.jpg with 'Big Ben', which is none of the 4"):
        answers(photos, model)


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 photos to evaluate on"):
        answers(())


def test_classes_are_counted_over_landmark_photos_only(photos: tuple[Photo, ...]) -> None:
    table = answers(photos).per_class().set_index("landmark")
    assert table["photos"].to_dict() == dict(zip(CLASSES, (2, 0, 1, 1), strict=True))
    # The distractor, answered with the tower, does not count against it.
    assert table["precision"].tolist() == [1.0, 0.0, 0.0, 1.0]
    assert table["recall"].tolist() == [0.5, 0.0, 0.0, 1.0]
    assert table["f1"].tolist() == pytest.approx([2 / 3, 0.0, 0.0, 1.0])


def test_the_table_of_answers_has_a_row_a_photo(photos: tuple[Photo, ...]) -> None:
    table = answers(photos).table()
    assert table["sha256"].tolist() == ["0", "1", "2", "3", "4"]
    assert table["label"].tolist() == ["Tour Eiffel", "Atomium", "Tour Eiffel", "Matterhorn", ""]
    assert table["prediction"].tolist() == [CLASSES[best] for best in (0, 1, 1, 3, 0)]
    assert table["correct"].tolist() == [True, False, False, True, False]
    assert np.allclose(table["confidence"].astype(float), [0.7, 0.6, 0.9, 0.4, 0.28])


TOWER = Place("Tower", "Paris", "France", "FR", 48.8584, 2.2945)
ARCH = Place("Arch", "Paris", "France", "FR", 48.8738, 2.2950)
PORT = Place("Port", "Nice", "France", "FR", 43.695, 7.285)


def said(level: str | None, place: Place | None, **changes: Any) -> dict[str, Any]:
    """An answer at a level, whose candidates are the arch and the port."""
    shown = place if place and level != "country" else None
    answer = {
        "level": level,
        "is_landmark": level is not None,
        "landmark_score": 1.0,
        "city": shown.city if shown else None,
        "country": place.country if place else None,
        "latitude": shown.latitude if shown else None,
        "longitude": shown.longitude if shown else None,
        "location_source": level,
        "candidates": [
            {"city": found.city, "latitude": found.latitude, "longitude": found.longitude}
            for found in (ARCH, PORT)
        ],
    }
    return answer | changes


EQUATOR = {"location_source": "exif", "latitude": 0.0, "longitude": 0.0}
ROWS: list[tuple[int, int, dict[str, Any]]] = [
    (0, 0, said("landmark", TOWER)),
    (0, 1, said("city", ARCH)),
    (0, 2, said("landmark", PORT)),
    (2, 0, said("country", TOWER)),
    (2, 0, said("city", TOWER)),
    (1, 1, said(None, None)),
    (1, 1, said("landmark", ARCH, **EQUATOR)),
    (NOT_A_LANDMARK, 0, said("landmark", TOWER)),
]


def located(
    rows: list[tuple[int, int, dict[str, Any]]], places: tuple[Place | None, ...]
) -> Predictions:
    labels, best, found = zip(*rows, strict=True)
    return predictions(labels, np.eye(3)[list(best)].tolist(), found, ("t", "a", "p"), places)


def test_kilometres_are_those_between_answer_and_landmark() -> None:
    found = located(ROWS, (TOWER, ARCH, PORT)).kilometres
    assert found[[0, 1]].tolist() == pytest.approx([0, 1.71], abs=0.01)
    assert found[2] == pytest.approx(690, rel=0.02)
    # A country and a rejected photo are nowhere; one of no landmark has nowhere to be.
    assert np.isinf(found[[3, 5]]).all()
    assert np.isnan(found[7])
    # The camera's own position says nothing of the model.
    assert found[6] == 0
    assert np.isnan(located(ROWS, (None, ARCH, PORT)).kilometres[0])


@pytest.mark.parametrize(
    ("answer", "kilometres"),
    [
        (said("landmark", ARCH, **EQUATOR), 690),
        (said("city", PORT, **EQUATOR), 0),
        (said("country", PORT, **EQUATOR), np.inf),
        (said(None, None, **EQUATOR), np.inf),
    ],
)
def test_the_position_in_a_photo_does_not_answer_for_the_model(
    answer: dict[str, Any], kilometres: float
) -> None:
    found = located([(2, 0, answer)], (TOWER, ARCH, PORT)).kilometres
    assert found.tolist() == pytest.approx([kilometres], rel=0.02)


def test_each_level_is_right_in_its_own_way() -> None:
    found = located(ROWS, (TOWER, ARCH, PORT))
    assert found.level_right.tolist() == [True, True, False, True, False, True, True, False]
    shares = {name: value for name, value in measure(found).items() if "level" in name}
    assert shares == pytest.approx(
        {
            "landmark_level": 3 / 7,
            "landmark_level_precision": 2 / 3,
            "city_level": 2 / 7,
            "city_level_precision": 1 / 2,
            "country_level": 1 / 7,
            "country_level_precision": 1,
        }
    )


def test_a_model_from_before_levels_has_none() -> None:
    old = [
        (label, best, {key: value for key, value in answer.items() if key != "level"})
        for label, best, answer in ROWS
    ]
    found = located(old, (TOWER, ARCH, PORT))
    assert not any("level" in name for name in measure(found))
    assert found.kilometres[0] == 0

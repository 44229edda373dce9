"""Kilometres off and the level of an answer are judged against where the landmarks stand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landmark_ml.data import NOT_A_LANDMARK, Photo
from landmark_ml.evaluation.location import kilometres_off, level_metrics
from landmark_ml.evaluation.predictions import Evaluation
from landmark_ml.geo.gazetteer import Gazetteer
from landmark_ml.geo.place import Place

TOWER = Place("Tower", "Paris", "France", "FR", 48.8584, 2.2945)
ARCH = Place("Arch", "Paris", "France", "FR", 48.8738, 2.2950)
PORT = Place("Port", "Nice", "France", "FR", 43.695, 7.285)
PLACES = Gazetteer({"tower": TOWER, "arch": ARCH, "port": PORT})


def candidate(place: Place) -> dict[str, Any]:
    return {"city": place.city, "latitude": place.latitude, "longitude": place.longitude}


def said(level: str | None, place: Place | None, **changes: Any) -> dict[str, Any]:
    answer = {
        "level": level,
        "is_landmark": level is not None,
        "city": place.city if place and level != "country" else None,
        "country": place.country if place else None,
        "latitude": place.latitude if place and level != "country" else None,
        "longitude": place.longitude if place and level != "country" else None,
        "location_source": level,
        "candidates": [candidate(ARCH), candidate(PORT)],
    }
    return answer | changes


ROWS: list[tuple[int, int, dict[str, Any]]] = [
    (0, 0, said("landmark", TOWER)),
    (0, 1, said("city", ARCH)),
    (0, 2, said("landmark", PORT)),
    (2, 0, said("country", TOWER)),
    (2, 0, said("city", TOWER)),
    (1, 1, said(None, None)),
    (1, 1, said("landmark", ARCH, location_source="exif", latitude=0.0, longitude=0.0)),
    (NOT_A_LANDMARK, 0, said("landmark", TOWER)),
]


@pytest.fixture
def evaluation() -> Evaluation:
    probabilities = np.eye(3)[[best for _, best, _ in ROWS]]
    return Evaluation(
        photos=tuple(
            Photo(Path(f"{i}.jpg"), label, str(i), 8, 8) for i, (label, _, _) in enumerate(ROWS)
        ),
        classes=("tower", "arch", "port"),
        probabilities=probabilities,
        landmark_scores=np.ones(len(ROWS)),
        accepted=np.array([answer["is_landmark"] for _, _, answer in ROWS]),
        ms_per_photo=1.0,
        answers=tuple(answer for _, _, answer in ROWS),
    )


def test_kilometres_are_those_between_answer_and_landmark(evaluation: Evaluation) -> None:
    found = kilometres_off(evaluation, PLACES)
    assert found[[0, 1]].tolist() == pytest.approx([0, 1.71], abs=0.01)
    assert found[2] == pytest.approx(690, rel=0.02)
    # A country and a rejected photo are nowhere; one of no landmark has nowhere to be.
    assert np.isinf(found[[3, 5]]).all()
    assert np.isnan(found[7])
    # The camera's own position says nothing of the model.
    assert found[6] == 0


EQUATOR = {"location_source": "exif", "latitude": 0.0, "longitude": 0.0}


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
    answer: dict[str, Any], kilometres: float, evaluation: Evaluation
) -> None:
    of_port = replace(evaluation, photos=evaluation.photos[3:4], answers=(answer,))
    found = kilometres_off(of_port, PLACES).tolist()
    assert found == pytest.approx([kilometres], rel=0.02)


def test_a_landmark_whose_place_nobody_knows_has_no_error(evaluation: Evaluation) -> None:
    (found,) = kilometres_off(
        replace(
            evaluation,
            photos=evaluation.photos[:1],
            classes=("somewhere", "arch", "port"),
            answers=evaluation.answers[:1],
        ),
        PLACES,
    )
    assert np.isnan(found)


def test_each_level_is_right_in_its_own_way(evaluation: Evaluation) -> None:
    assert level_metrics(evaluation, PLACES) == pytest.approx(
        {
            "landmark_level": 3 / 7,
            "landmark_level_precision": 2 / 3,
            "city_level": 2 / 7,
            "city_level_precision": 1 / 2,
            "country_level": 1 / 7,
            "country_level_precision": 1,
        }
    )


def test_a_model_of_before_levels_has_none(evaluation: Evaluation) -> None:
    for answer in evaluation.answers:
        del answer["level"]  # type: ignore[attr-defined]
    assert level_metrics(evaluation, PLACES) == {}
    assert kilometres_off(evaluation, PLACES)[0] == 0

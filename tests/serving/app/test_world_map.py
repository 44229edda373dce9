"""The map of the page: land and sea are where they belong."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from matplotlib.path import Path as Outline

if TYPE_CHECKING:
    from tests.serving.app.conftest import App


@pytest.fixture
def polygons(app: App) -> list[Outline]:
    answer = app.client.get("/static/world.txt")
    assert answer.headers["content-type"].startswith("text/plain")
    assert re.fullmatch(r"(M[\d. L]+Z\n)+", answer.text)
    return [
        Outline(np.array([pair.split() for pair in line[1:-1].split("L")], dtype=float))
        for line in answer.text.splitlines()
    ]


@pytest.mark.parametrize(
    ("place", "latitude", "longitude", "is_land"),
    [
        ("Paris", 48.9, 2.4, True),
        ("Sydney", -33.0, 150.0, True),
        ("Denver", 39.7, -105.0, True),
        ("Atlantic", 30.0, -40.0, False),
        ("Pacific", 0.0, -140.0, False),
        ("Mediterranean", 35.0, 18.0, False),
    ],
)
def test_land_is_outlined_where_it_lies(
    place: str, latitude: float, longitude: float, is_land: bool, polygons: list[Outline]
) -> None:
    point = (longitude + 180, 90 - latitude)
    outlines_around = sum(bool(polygon.contains_point(point)) for polygon in polygons)
    assert outlines_around % 2 == is_land, place

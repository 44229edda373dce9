"""Titles of the gallery's cards: what a photo shows, as finely as is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from landmark_ml.inference.areas import Area
from landmark_ml.inference.prediction import answer
from serving.tagging.gallery.index import Shown
from serving.tagging.gallery.pages import make_card
from serving.tagging.journal import Tagged
from tests.serving.tagging.areas import CITY, TOWER

if TYPE_CHECKING:
    from serving.tagging.gallery.pages import Card

COUNTRY = Area("country", 0.7, None, "France", latitude=None, longitude=None, tags=("old",))


def card_of(
    area: Area, own: tuple[float, float] | None, *, score: float = 0.9, min_confidence: float = 0.5
) -> Card:
    found = Tagged(Path("a.jpg"), answer([TOWER], score, 0.5, own, area))
    return make_card(Shown(found, None), "../photos", min_confidence)


@pytest.mark.parametrize(("area", "title"), [(CITY, "Paris"), (COUNTRY, "France")])
def test_a_photo_of_one_of_several_landmarks_is_called_so(area: Area, title: str) -> None:
    assert card_of(area, None).title == title
    # Where its own position tells city and country, those are not what the model means.
    found = card_of(area, (52.5, 13.4))
    assert (found.title, found.confidence) == ("One of several landmarks", area.confidence)
    assert found.tags == area.tags
    unsure = card_of(area, (52.5, 13.4), min_confidence=0.8)
    assert (unsure.title, unsure.tags) == ("Perhaps one of several landmarks", ())


def test_a_photo_of_none_is_called_so_wherever_it_is() -> None:
    found = card_of(CITY, (52.5, 13.4), score=0.1)
    assert (found.title, found.confidence) == ("No known landmark", None)

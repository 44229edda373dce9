"""A landmark that a model is unsure of, and the city it is sure of."""

from __future__ import annotations

from dataclasses import asdict

from landmark_ml.inference.prediction import Area, candidate
from tests.colour_artifact import TOWER as PLACE

TOWER = candidate("Eiffel Tower", 0.4, asdict(PLACE) | {"tags": ["tower", "iron"]})
CITY = Area("city", 0.75, "Paris", "France", latitude=48.86, longitude=2.3, tags=("monument",))

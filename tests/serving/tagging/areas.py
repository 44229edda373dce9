"""A landmark that a model is unsure of, and the city it is sure of."""

from __future__ import annotations

from landmark_ml.inference.prediction import Area, Candidate

TOWER = Candidate(
    landmark="Eiffel Tower",
    confidence=0.4,
    latitude=48.8584,
    longitude=2.2945,
    city="Paris",
    country="France",
    tags=["tower", "iron"],
)
CITY = Area("city", 0.75, "Paris", "France", latitude=48.86, longitude=2.3, tags=("monument",))

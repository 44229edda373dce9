"""Where the landmarks of a dataset stand: the gazetteer, and else where their photos were taken."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from landmark_ml.config import user_path
from landmark_ml.console import counted, listed
from landmark_ml.data.dataset import Dataset, Photo
from landmark_ml.data.folders import ListedFile
from landmark_ml.geo.gazetteer import OWN_PLACES, Gazetteer, Place, chord_to_km
from landmark_ml.geo.reverse_geocode import Towns
from landmark_ml.inference.prediction import unit_vectors

logger = logging.getLogger(__name__)


def open_gazetteer(dataset: Dataset, places: str = "") -> Gazetteer:
    """The places of a dataset's classes, as `place_landmarks` finds them."""
    return place_landmarks(dataset.root, dataset.classes, dataset.photos, places)


def place_landmarks(
    root: Path,
    classes: Sequence[str],
    photos: Iterable[Photo | ListedFile],
    places: str = "",
    *,
    quiet: bool = False,
) -> Gazetteer:
    """The places of classes: a CSV's, else the built-in ones, else those of the photos.

    places: the CSV; empty: `places.csv` in root, if there is one. A class that neither knows stands
    at the median of its photos' positions. How far these spread and which landmarks have no place
    is logged, unless quiet. Raises `GazetteerError` for a CSV that is no gazetteer, OSError for one
    that cannot be read.
    """
    own = root / OWN_PLACES
    gazetteer = Gazetteer.load(user_path(places) if places else own if own.is_file() else None)
    unknown = {label: name for label, name in enumerate(classes) if not gazetteer.find(name)}
    positions: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for photo in photos:
        if photo.position and photo.label in unknown:
            positions[photo.label].append(photo.position)
    spreads: dict[str, float] = {}
    if positions:
        towns = Towns(gazetteer.places())
        for label, taken in positions.items():
            points = unit_vectors(taken)
            # Of the vectors, because the median of longitudes fails at 180 degrees.
            middle = np.median(points, axis=0)
            x, y, z = middle = middle / np.linalg.norm(middle)
            spread = chord_to_km(float(np.median(np.linalg.norm(points - middle, axis=1))))
            position = np.degrees([np.arcsin(z), np.arctan2(y, x)]).tolist()
            name = unknown.pop(label)
            gazetteer.add(name, Place(name, *towns.find(*position), *position))
            spreads[f"{name} ({counted(len(taken), 'photo')}, {spread:.2g} km)"] = spread
    if spreads and not quiet:
        logger.info(
            "%s not in the gazetteer: placed at the median of the photos' positions, with half of"
            " the photos within so many km: %s",
            counted(len(spreads), "landmark"),
            listed([text for text, _ in sorted(spreads.items(), key=lambda item: -item[1])]),
        )
    if unknown and not quiet:
        logger.warning(
            "No place is known for %s: their photos get no location and no tags. Add rows to the"
            " dataset's places.csv: %s",
            counted(len(unknown), "landmark"),
            listed(list(unknown.values())),
        )
    return gazetteer

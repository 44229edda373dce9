"""The gazetteer: the place that the label of a class stands for."""

from __future__ import annotations

import logging
import re
from importlib import resources
from typing import TYPE_CHECKING

from landmark_ml.config import user_path
from landmark_ml.geo.gazetteer_file import parse_gazetteer, spelling_key

if TYPE_CHECKING:
    from pathlib import Path

    from landmark_ml.geo.place import Place

OWN_PLACES = "places.csv"
"""Name of a dataset's own gazetteer."""

logger = logging.getLogger(__name__)

_SPACED_CLASS_NUMBER = re.compile(r"\s*\d+\s")


class Gazetteer:
    """Landmark labels, under all their known spellings, and the places they stand for."""

    def __init__(self, places: dict[str, Place]) -> None:
        self._places = {spelling_key(label): place for label, place in places.items()}
        self._missing: set[str] = set()

    @classmethod
    def load(cls, extra: Path | None = None) -> Gazetteer:
        """Read the built-in gazetteer and lay a dataset's own places.csv over it.

        A row of `extra` replaces the built-in place of the labels it names; its columns are those
        of gazetteer.csv, of which landmark, latitude and longitude are required. Raises
        `GazetteerError` for a file that cannot be understood, OSError for one that cannot be read.
        """
        built_in = resources.files("landmark_ml.geo") / "gazetteer.csv"
        places = parse_gazetteer(built_in.read_bytes(), built_in.name)
        if extra is not None:
            places |= parse_gazetteer(extra.read_bytes(), str(extra))
        return cls(places)

    @classmethod
    def of_dataset(cls, root: Path, given: str = "") -> Gazetteer:
        """Built-in places under those of a given CSV, or else of `places.csv` in the dataset."""
        own = root / OWN_PLACES
        return cls.load(user_path(given) if given else own if own.is_file() else None)

    def places(self) -> list[Place]:
        """Every place once, whatever spellings its landmark has."""
        return list(dict.fromkeys(self._places.values()))

    def find(self, landmark: str) -> Place | None:
        """Return the place of a class label or folder name; None, warned of once, if unknown.

        Case, accents, punctuation, underscores and a leading class number make no difference.
        """
        key = spelling_key(landmark)
        place = self._places.get(key)
        if place is None and (number := _SPACED_CLASS_NUMBER.match(landmark)):
            place = self._places.get(spelling_key(landmark[number.end() :]))
        if place is None and key not in self._missing:
            self._missing.add(key)
            logger.warning(
                "No place is known for the landmark %r: its photos get no location and no tags. "
                "Add a row for it to the dataset's places.csv.",
                landmark,
            )
        return place

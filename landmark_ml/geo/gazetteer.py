"""The gazetteer: a CSV of landmarks, all their spellings, and the places where they stand."""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from landmark_ml.inference.prediction import unit_vectors

EARTH_RADIUS_KM = 6371.0088
"""Mean radius of the Earth (IUGG R1)."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a landmark stands, in WGS84 decimal degrees, and its tags, general ones first.

    `city`, `country` and `country_code` (ISO 3166-1 alpha-2) are None where none is known.
    """

    name: str
    city: str | None
    country: str | None
    country_code: str | None
    latitude: float
    longitude: float
    tags: tuple[str, ...] = ()


def great_circle_km(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Distance in km between two (latitude, longitude) points in degrees."""
    start, end = unit_vectors([a, b])
    return chord_to_km(float(np.linalg.norm(start - end)))


def chord_to_km(chord: float) -> float:
    """Convert the straight distance between two points of the unit sphere to km on the Earth."""
    # Rounding can make the chord of antipodes slightly longer than 2.
    return 2 * EARTH_RADIUS_KM * math.asin(min(1.0, chord / 2))


def km_to_chord(km: float) -> float:
    """Convert km on the Earth to the straight distance between two points of the unit sphere."""
    return 2 * math.sin(km / (2 * EARTH_RADIUS_KM))


OWN_PLACES = "places.csv"
"""Name of a dataset's own gazetteer."""
REQUIRED_COLUMNS = ("landmark", "latitude", "longitude")
OPTIONAL_COLUMNS = ("name", "aliases", "city", "country", "country_code", "tags")

_CLASS_NUMBER = re.compile(r"\s*\d+\s*[._-]")
_SPACED_CLASS_NUMBER = re.compile(r"\s*\d+\s")
# Letters that Unicode does not decompose into a base letter and an accent (0131: dotless i).
_BASE_LETTERS = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "\u0131": "i"}
)


class GazetteerError(ValueError):
    """A gazetteer file that cannot be read; the message names the file, line and column."""


class Gazetteer:
    """Looks up the place of a landmark under any spelling of its label."""

    def __init__(self, places: dict[str, Place]) -> None:
        self._places = {spelling_key(label): place for label, place in places.items()}

    @classmethod
    def load(cls, extra: Path | None = None) -> Gazetteer:
        """Read the built-in gazetteer, and a dataset's own `places.csv` over it.

        A row of `extra` replaces the built-in place of the labels it names. It has the columns of
        gazetteer.csv, of which landmark, latitude and longitude are required. Raises
        `GazetteerError` for a file that is not a gazetteer, OSError for one that cannot be read.
        """
        built_in = resources.files("landmark_ml.geo") / "gazetteer.csv"
        places = parse_gazetteer(built_in.read_bytes(), built_in.name)
        if extra is not None:
            places |= parse_gazetteer(extra.read_bytes(), str(extra))
        return cls(places)

    def add(self, label: str, place: Place) -> None:
        """Give a label a place of its own."""
        self._places[spelling_key(label)] = place

    def places(self) -> list[Place]:
        """Every place once, however many spellings its landmark has."""
        return list(dict.fromkeys(self._places.values()))

    def find(self, landmark: str) -> Place | None:
        """Find the place of a class label or folder name; None if unknown.

        Case, accents, punctuation, underscores and a leading class number make no difference.
        """
        place = self._places.get(spelling_key(landmark))
        if place is None and (number := _SPACED_CLASS_NUMBER.match(landmark)):
            place = self._places.get(spelling_key(landmark[number.end() :]))
        return place

    def shown_names(self, classes: Sequence[str]) -> list[str]:
        """Name of each class in answers: its place's name, or its label if two share the name."""
        places = {label: self.find(label) for label in classes}
        names = {label: place.name if place else label for label, place in places.items()}
        count = Counter(names.values())
        return [label if count[names[label]] > 1 else names[label] for label in classes]


def spelling_key(label: str) -> str:
    """What all spellings of a label have in common."""
    number = _CLASS_NUMBER.match(label)
    unnumbered = label[number.end() :] if number else label
    letters = unicodedata.normalize("NFKD", unnumbered.casefold().translate(_BASE_LETTERS))
    # Accents are dropped. Indic vowel signs, marks too but of class 0, tell words apart and stay.
    return "".join(
        letter
        for letter in letters
        if letter.isalnum()
        or (unicodedata.category(letter)[0] == "M" and not unicodedata.combining(letter))
    )


def parse_gazetteer(content: bytes, file: str) -> dict[str, Place]:
    """Places of a CSV by the `spelling_key` of their labels.

    file: its name in errors. Raises `GazetteerError` for a file that is not a gazetteer.
    """
    places: dict[str, Place] = {}
    first_seen: dict[str, int] = {}

    def listed(values: str) -> tuple[str, ...]:
        return tuple(value.strip() for value in values.split(";") if value.strip())

    for line, row in _rows(content, file):
        if not spelling_key(row["landmark"]):
            reason = f"{row['landmark']!r} holds no letter; give the class label"
            raise _file_error(file, line, "landmark", reason)
        if not re.fullmatch("([A-Z]{2})?", row["country_code"]):
            reason = f"{row['country_code']!r} is not two capital letters; give ISO 3166-1 alpha-2"
            raise _file_error(file, line, "country_code", reason)
        position: list[float] = []
        for column, limit in (("latitude", 90), ("longitude", 180)):
            try:
                position.append(float(row[column]))
            except ValueError as error:
                reason = f"{row[column]!r} is not a number; give decimal degrees with a point"
                raise _file_error(file, line, column, reason) from error
            if not -limit <= position[-1] <= limit:
                reason = f"{row[column]} is outside -{limit} to {limit}; give WGS84 decimal degrees"
                raise _file_error(file, line, column, reason)
        name, city, country = row["name"] or row["landmark"], row["city"], row["country"]
        tags = tuple(dict.fromkeys(listed(row["tags"].lower())))
        latitude, longitude = position
        code = row["country_code"] or None
        place = Place(name, city or None, country or None, code, latitude, longitude, tags)
        labels = [("landmark", row["landmark"])]
        labels += [("aliases", alias) for alias in listed(row["aliases"])]
        for column, label in labels:
            key = spelling_key(label)
            if first_seen.setdefault(key, line) != line:
                reason = f"{row[column]!r} names the landmark of line {first_seen[key]} again"
                raise _file_error(file, line, column, f"{reason}; keep one of the two rows")
            places[key] = place
    return places


def _rows(content: bytes, file: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and fields by column of every row; missing columns are empty."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise GazetteerError(f"{file}, line {line}: not UTF-8; save it as UTF-8") from error
    known = (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = [column.strip().lower() for column in next(reader, [])]
        for column in REQUIRED_COLUMNS:
            if column not in columns:
                reason = f"is missing (found: {', '.join(columns) or 'none'})"
                fix = "add it, with commas between the columns"
                raise _file_error(file, 1, column, f"{reason}; {fix}")
        for column in columns:
            if column not in known or columns.count(column) > 1:
                reason = f"is unknown or doubled; name each of {', '.join(known)} once"
                raise _file_error(file, 1, column, reason)
        for fields in reader:
            if not any(field.strip() for field in fields):
                continue
            if len(fields) != len(columns):
                column = columns[min(len(fields), len(columns) - 1)]
                reason = f"the row has {len(fields)} fields for {len(columns)} columns"
                fix = "put values that hold a comma in double quotes"
                raise _file_error(file, reader.line_num, column, f"{reason}; {fix}")
            row = zip(columns, (field.strip() for field in fields), strict=True)
            yield reader.line_num, dict.fromkeys(OPTIONAL_COLUMNS, "") | dict(row)
    except csv.Error as error:
        raise GazetteerError(f"{file}, line {reader.line_num}: {error}; fix the quotes") from error


def _file_error(file: str, line: int, column: str, reason: str) -> GazetteerError:
    return GazetteerError(f"{file}, line {line}, column {column}: {reason}")

"""Reads a gazetteer: a CSV of landmarks, all their spellings, and the places they stand for."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from typing import TYPE_CHECKING

from landmark_ml.geo.place import Place, PlaceError

if TYPE_CHECKING:
    from collections.abc import Iterator

REQUIRED_COLUMNS = ("landmark", "latitude", "longitude")
OPTIONAL_COLUMNS = ("name", "aliases", "city", "country", "country_code", "tags")

_CLASS_NUMBER = re.compile(r"\s*\d+\s*[._-]")
# Letters that Unicode does not decompose into a base letter and an accent (0131: dotless i).
_BASE_LETTERS = str.maketrans(
    {"ł": "l", "ø": "o", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "\u0131": "i"}
)


class GazetteerError(ValueError):
    """A gazetteer file that cannot be read; the message names the file, line and column."""


def spelling_key(label: str) -> str:
    """What all spellings of a label have in common."""
    number = _CLASS_NUMBER.match(label)
    unnumbered = label[number.end() :] if number else label
    letters = unicodedata.normalize("NFKD", unnumbered.casefold().translate(_BASE_LETTERS))
    return "".join(letter for letter in letters if _distinguishes(letter))


def _distinguishes(letter: str) -> bool:
    # Indic vowel signs are marks too, but unlike accents they tell words apart (class 0).
    is_vowel_sign = unicodedata.category(letter)[0] == "M" and not unicodedata.combining(letter)
    return letter.isalnum() or is_vowel_sign


def parse_gazetteer(content: bytes, file: str) -> dict[str, Place]:
    """Places of a CSV by the key of their spelling.

    file: what errors call it. Raises `GazetteerError` for one that cannot be understood.
    """
    places: dict[str, Place] = {}
    first_seen: dict[str, int] = {}
    for line, row in _rows(content, file):
        try:
            labels, place = _entry(row)
        except PlaceError as error:
            raise _file_error(file, line, error.column, error.reason) from error
        for column, key in labels:
            if first_seen.setdefault(key, line) != line:
                reason = f"{row[column]!r} names the landmark of line {first_seen[key]} again"
                raise _file_error(file, line, column, f"{reason}; keep one of the two rows")
            places[key] = place
    return places


def _rows(content: bytes, file: str) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise GazetteerError(f"{file}, line {line}: not UTF-8; save it as UTF-8") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        columns = _columns(next(reader, []), file)
        for fields in reader:
            if any(field.strip() for field in fields):
                yield reader.line_num, _row(columns, fields, file, reader.line_num)
    except csv.Error as error:
        raise GazetteerError(f"{file}, line {reader.line_num}: {error}; fix the quotes") from error


def _columns(header: list[str], file: str) -> list[str]:
    columns = [column.strip().lower() for column in header]
    for column in REQUIRED_COLUMNS:
        if column not in columns:
            found = ", ".join(columns) or "none"
            reason = f"is missing (found: {found}); add it, with commas between the columns"
            raise _file_error(file, 1, column, reason)
    for column in columns:
        if column not in REQUIRED_COLUMNS + OPTIONAL_COLUMNS or columns.count(column) > 1:
            known = ", ".join(REQUIRED_COLUMNS + OPTIONAL_COLUMNS)
            raise _file_error(file, 1, column, f"is unknown or doubled; name each of {known} once")
    return columns


def _row(columns: list[str], fields: list[str], file: str, line: int) -> dict[str, str]:
    if len(fields) != len(columns):
        column = columns[min(len(fields), len(columns) - 1)]
        reason = f"the row has {len(fields)} fields for {len(columns)} columns"
        fix = "put values that hold a comma in double quotes"
        raise _file_error(file, line, column, f"{reason}; {fix}")
    blank = dict.fromkeys(OPTIONAL_COLUMNS, "")
    return blank | {column: field.strip() for column, field in zip(columns, fields, strict=True)}


def _entry(row: dict[str, str]) -> tuple[list[tuple[str, str]], Place]:
    if not spelling_key(row["landmark"]):
        raise PlaceError("landmark", f"{row['landmark']!r} holds no letter; give the class label")
    place = Place(
        name=row["name"] or row["landmark"],
        city=row["city"] or None,
        country=row["country"] or None,
        country_code=row["country_code"] or None,
        latitude=_degrees(row, "latitude"),
        longitude=_degrees(row, "longitude"),
        tags=tuple(_listed(row["tags"])),
    )
    labels = [("landmark", spelling_key(row["landmark"]))]
    return labels + [("aliases", spelling_key(alias)) for alias in _listed(row["aliases"])], place


def _degrees(row: dict[str, str], column: str) -> float:
    try:
        return float(row[column])
    except ValueError as error:
        reason = f"{row[column]!r} is not a number; give decimal degrees with a decimal point"
        raise PlaceError(column, reason) from error


def _listed(values: str) -> list[str]:
    return [value.strip() for value in values.split(";") if value.strip()]


def _file_error(file: str, line: int, column: str, reason: str) -> GazetteerError:
    return GazetteerError(f"{file}, line {line}, column {column}: {reason}")

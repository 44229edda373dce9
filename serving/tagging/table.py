"""The table of a library's answers: one row a photo, as Parquet and as CSV."""

from __future__ import annotations

import csv
import os
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from landmark_ml.files import whole_file
from landmark_ml.inference.prediction import Prediction, answer_fields

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from serving.tagging.journal import Tagged

PARQUET, CSV = "tags.parquet", "tags.csv"
_TYPES = {str: pa.string(), float: pa.float64(), bool: pa.bool_(), list[str]: pa.list_(pa.string())}
# A table keeps the order of its columns for those who read it by position.
_FIRST = (
    "is_landmark",
    "level",
    "landmark",
    "confidence",
    "landmark_score",
    "latitude",
    "longitude",
    "location_source",
)
_ANSWER = {
    item.name: _TYPES[item.type] for item in answer_fields(Prediction) if item.type in _TYPES
}
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        *((name, _ANSWER[name]) for name in _FIRST),
        *((name, kind) for name, kind in _ANSWER.items() if name not in _FIRST),
        ("runners_up", pa.list_(pa.string())),
        ("error_code", pa.string()),
        ("error_reason", pa.string()),
        ("model", pa.string()),
    ]
)
_ROWS_AT_ONCE = 1024


def table_row(photo: Tagged, model: str) -> dict[str, Any]:
    """One photo's answer under the names of `SCHEMA`."""
    answer: Mapping[str, Any] = photo.answer
    error = answer["error"] or {}
    fields = {name: answer[name] for name in SCHEMA.names if name in answer}
    return fields | {
        "path": printable(photo.path),
        "runners_up": [item["landmark"] for item in (answer["candidates"] or [])[1:]],
        "error_code": error.get("code"),
        "error_reason": error.get("reason"),
        "model": model,
    }


def printable(path: Path) -> str:
    """Path as text; the odd bytes of a name that is not UTF-8 are escaped."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def write_tables(rows: Iterable[Mapping[str, Any]], folder: Path) -> None:
    """Write both files, each whole or not at all, holding few rows in memory."""
    with (
        whole_file(folder / PARQUET) as parquet,
        whole_file(folder / CSV) as plain,
        pq.ParquetWriter(parquet, SCHEMA) as writer,
        plain.open("w", encoding="utf-8", newline="") as file,
    ):
        lines = csv.DictWriter(file, SCHEMA.names)
        lines.writeheader()
        for some in _in_parts(rows):
            writer.write_table(pa.Table.from_pylist(some, schema=SCHEMA))
            lines.writerows(_plain(row) for row in some)


def _in_parts(rows: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    remaining = iter(rows)
    while some := list(islice(remaining, _ROWS_AT_ONCE)):
        yield some


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """Row of a CSV: lists joined as in places.csv."""
    return {name: ";".join(v) if isinstance(v, list) else v for name, v in row.items()}

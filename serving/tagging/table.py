"""The table of all answers and its counts; albums as a list or as links."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import BaseFileLock, FileLock, Timeout

from landmark_ml.files import is_of_the_system, whole_file
from landmark_ml.inference.prediction import Prediction, answer_fields
from landmark_ml.tracking.run import Run
from serving.tagging.library import PHOTO_SUFFIXES, Tagged, printable

PARQUET, CSV = "tags.parquet", "tags.csv"
_TYPES = {str: pa.string(), float: pa.float64(), bool: pa.bool_(), list[str]: pa.list_(pa.string())}
SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        *(
            (item.name, _TYPES[item.type])
            for item in answer_fields(Prediction)
            if item.type in _TYPES
        ),
        ("neighbour", pa.string()),
        ("neighbour_minutes", pa.float64()),
        ("vetoed", pa.string()),
        ("runners_up", pa.list_(pa.string())),
        ("same_as", pa.string()),
        ("correction", pa.string()),
        ("error_code", pa.string()),
        ("error_reason", pa.string()),
        ("model", pa.string()),
        ("sha256", pa.string()),
    ]
)
MAX_EXAMPLES = 20
_ROWS_AT_ONCE = 1024


def table_row(photo: Tagged, model: str) -> dict[str, Any]:
    """Turn a photo's answer into a row with the columns of `SCHEMA`."""
    answer: Mapping[str, Any] = photo.answer
    error = answer["error"] or {}
    fields = {name: answer[name] for name in SCHEMA.names if name in answer}
    return fields | {
        "path": printable(photo.path),
        "neighbour": printable(photo.neighbour.path) if photo.neighbour else None,
        "neighbour_minutes": round(photo.neighbour.minutes, 2) if photo.neighbour else None,
        "vetoed": photo.vetoed,
        "runners_up": [item["landmark"] for item in (answer["candidates"] or [])[1:]],
        "same_as": photo.same_as,
        "correction": photo.correction,
        "error_code": error.get("code"),
        "error_reason": error.get("reason"),
        "model": model,
        "sha256": photo.sha256,
    }


def file_of_out(path: Path, *, flush: bool = True) -> AbstractContextManager[Path]:
    """Path to write a file of `out` to; see `whole_file`.

    One tagger at a time holds `out`, so what a killed one left is written over.
    """
    return whole_file(path, f".{path.name}.tmp", flush=flush)


def hold(out: Path) -> AbstractContextManager[BaseFileLock]:
    """Make the folder, and keep other taggers out of it. Raises ValueError while one is in it."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(out / ".lock", timeout=0).acquire()
    except Timeout:
        reason = "another run writes there; wait until it has ended"
        raise ValueError(f"out={out}: {reason}") from None


@contextlib.contextmanager
def list_of_out(
    path: Path, columns: Iterable[str]
) -> Iterator[Callable[[Iterable[object]], object]]:
    """Write a CSV of `out` whole or not at all; gives what adds a row.

    Half letters, which a server's JSON may hold, are escaped.
    """
    with (
        file_of_out(path) as scratch,
        scratch.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        add = csv.writer(file).writerow
        add(columns)
        yield add


def write_tables(rows: Iterable[Mapping[str, Any]], folder: Path) -> None:
    """Write Parquet and CSV, each whole or not at all, with few rows in memory."""
    with (
        file_of_out(folder / PARQUET) as parquet,
        file_of_out(folder / CSV) as plain,
        pq.ParquetWriter(parquet, SCHEMA) as writer,
        plain.open("w", encoding="utf-8", newline="") as file,
    ):
        lines = csv.DictWriter(file, SCHEMA.names)
        lines.writeheader()
        rows = iter(rows)
        while some := list(islice(rows, _ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist(some, schema=SCHEMA))
            for row in some:
                # Lists are joined as in places.csv.
                plain_row = {n: ";".join(v) if isinstance(v, list) else v for n, v in row.items()}
                lines.writerow(plain_row)


@dataclass(kw_only=True)
class Counts:
    """What the rows of a table add up to.

    recognised: photos that this run recognised; landmarks: photos of each landmark; areas: photos
    placed in a `city` or `country` only; refused: photos without an answer by error code, with a
    few of them in `examples` as (path, code, reason).
    """

    photos: int = 0
    recognised: int = 0
    landmarks: Counter[str] = field(default_factory=Counter)
    areas: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str, str]] = field(default_factory=list)

    def counted(self, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Pass rows on and count each one."""
        for row in rows:
            self.count(row)
            yield row

    def count(self, row: Mapping[str, Any]) -> None:
        """Count what one row says."""
        if row["landmark"]:
            self.landmarks[row["landmark"]] += 1
        elif row["level"]:
            self.areas[row["level"]] += 1
        if row["error_code"]:
            self.refused[row["error_code"]] += 1
            if len(self.examples) < MAX_EXAMPLES:
                self.examples.append((row["path"], row["error_code"], row["error_reason"]))

    def add(self, other: Counts) -> None:
        """Add other counts; the examples are the first by path, whatever the order of adding."""
        self.photos += other.photos
        self.recognised += other.recognised
        self.landmarks += other.landmarks
        self.areas += other.areas
        self.refused += other.refused
        self.examples = sorted(self.examples + other.examples)[:MAX_EXAMPLES]

    def most_photographed(self) -> list[tuple[str, int]]:
        """Landmarks and their number of photos, most first, ties by name."""
        return sorted(self.landmarks.items(), key=lambda item: (-item[1], item[0]))


@dataclass(kw_only=True)
class RunCounts(Counts):
    """What a whole run counted, for the user and for MLflow.

    model: the version that answered, such as `landmarks/3`; seconds: time spent on recognition;
    other_pictures: files by suffix that we cannot read; unreadable: why a folder could not be
    opened; location: where to see the MLflow run.
    """

    model: str
    seconds: float = 0.0
    other_pictures: Counter[str] = field(default_factory=Counter)
    unreadable: dict[Path, str] = field(default_factory=dict)
    location: str = ""

    def metrics(self) -> dict[str, float]:
        """Counts for the MLflow run."""
        return {
            "tag/photos": self.photos,
            "tag/recognised": self.recognised,
            "tag/showing_a_landmark": self.landmarks.total(),
            "tag/placed_in_an_area": self.areas.total(),
            "tag/refused": self.refused.total(),
            "tag/seconds": self.seconds,
        }

    def failure(self) -> str:
        """Why the run is no success, and what to do; empty when it is one."""
        if not self.refused or self.photos > self.refused.total():
            return ""
        codes = ", ".join(f"{code} {count:,}" for code, count in self.refused.most_common())
        return f"no photo could be read ({codes}); the reasons stand above and in the table"

    def record(self, run: Run, table: str) -> None:
        """Log the counts to an MLflow run. table: a clause that says where the table is."""
        run.log_metrics(self.metrics())
        run.set_tags({"model": self.model})
        landmarks = pd.DataFrame(self.most_photographed(), columns=["landmark", "photos"])
        run.log_table(landmarks, "landmarks")
        run.describe(
            f"{self.photos} photos, {self.landmarks.total()} of them of {len(self.landmarks)}"
            f" landmarks; {table}."
        )
        self.location = run.location


ALBUMS_CSV, ALBUMS = "albums.csv", "albums"
MAX_NAME_BYTES = 120
"""File systems take 255 bytes or fewer, and a link's name gets a suffix."""

_LINK_STEM = re.compile(r".*-[0-9a-f]{8}", re.DOTALL)


def is_confident(answer: Prediction, min_confidence: float) -> bool:
    """Whether sidecars, albums and gallery may say what the photo shows."""
    return bool(answer["is_landmark"]) and (answer["confidence"] or 0.0) >= min_confidence


def has_place(answer: Prediction, min_confidence: float) -> bool:
    """Whether they may name city and country: by the answer, its own position or a neighbour's."""
    known = answer["location_source"] in ("exif", "neighbour")
    return known or is_confident(answer, min_confidence)


class Album(NamedTuple):
    """Country, city and landmark as far as they are known; at least one is."""

    country: str | None
    city: str | None
    landmark: str | None

    @property
    def names(self) -> tuple[str, ...]:
        """The known names, country first."""
        return tuple(name for name in self if name)

    @property
    def folder(self) -> Path:
        """`France/Paris/Eiffel Tower`, in names that every file system takes."""
        return Path(*map(_folder_name, self.names))


def album_of(answer: Prediction, min_confidence: float) -> Album | None:
    """Album of an answer; None when it belongs to none."""
    placed = has_place(answer, min_confidence)
    landmark = answer["landmark"] if is_confident(answer, min_confidence) else None
    # A landmark has one album, where it stands, wherever the photographer stood. A user's own may
    # have no place; then its photos say where they were taken.
    found = answer["candidates"] if landmark else None
    place = found[0] if found and found[0]["country"] else answer
    album = Album(
        country=place["country"] if placed else None,
        city=place["city"] if placed else None,
        landmark=landmark,
    )
    return album if album.names else None


def write_albums(
    answers: Iterable[Tagged], root: Path, out: Path, *, min_confidence: float, links: bool
) -> int:
    """Write `albums.csv` and, if wanted, links under `albums/`; return the photos in albums.

    Replaces the links of earlier runs. Raises ValueError when `albums/` holds anything else.
    """
    folder, count = out / ALBUMS, 0
    if links:
        remove_links(folder)
    with list_of_out(out / ALBUMS_CSV, ("path", "album")) as add:
        for photo in answers:
            album = album_of(photo.answer, min_confidence)
            if album is None:
                continue
            count += 1
            add([printable(photo.path), album.folder.as_posix()])
            if links:
                link = folder / album.folder / link_name(photo.path)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to((root / photo.path).resolve())
    return count


def refuse_foreign_files(folder: Path) -> None:
    """Raise ValueError when a folder of links holds anything but our links and hidden files."""
    found = (path for path in _visible(folder) if path.is_symlink() or not path.is_dir())
    foreign = next((path for path in found if not _is_ours(path)), None)
    if folder.exists() and not folder.is_dir():
        foreign = folder
    if foreign:
        raise ValueError(
            f"{foreign} is no link that the tagger made, and {folder} may hold nothing else;"
            " move it elsewhere or give another out"
        )


def remove_links(folder: Path) -> None:
    """Remove our links from a folder, and the subfolders that are then empty.

    Raises ValueError and removes nothing when something else is there.
    """
    refuse_foreign_files(folder)
    for path in _visible(folder):
        if _is_ours(path):
            path.unlink()
        else:
            # A folder with a hidden file in it stays.
            with contextlib.suppress(OSError):
                path.rmdir()


def _visible(folder: Path) -> Iterator[Path]:
    """Files and folders at any depth, the innermost first; what is hidden is left out."""
    for parent, folders, files in os.walk(folder, topdown=False):
        if not any(map(is_of_the_system, Path(parent).relative_to(folder).parts)):
            names = (name for name in (*folders, *files) if not is_of_the_system(name))
            yield from (Path(parent, name) for name in names)


def link_name(path: Path) -> str:
    """Name of a photo's link, unique in the library."""
    digest = hashlib.sha256(str(path).encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{_cut(path.stem)}-{digest}{path.suffix}"


def _is_ours(path: Path) -> bool:
    named = path.suffix.lower() in PHOTO_SUFFIXES and _LINK_STEM.fullmatch(path.stem)
    return bool(named) and path.is_symlink()


def _folder_name(name: str) -> str:
    kept = "".join("-" if letter in '/\\:*?"<>|\0' else letter for letter in name)
    return _cut(kept.strip(". ")).strip(". ") or "-"


def _cut(name: str) -> str:
    """Shorten a name to what file systems take, without splitting a letter."""
    content = os.fsencode(name)
    if len(content) <= MAX_NAME_BYTES:
        # As it is: it may hold bytes that are not UTF-8.
        return name
    return content[:MAX_NAME_BYTES].decode(errors="ignore")

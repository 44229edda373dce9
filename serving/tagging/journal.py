"""What is known of each photo of a library so far, kept on the disk: a killed run loses seconds."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from serving.named_database import open_database

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from landmark_ml.inference.prediction import Prediction
    from serving.tagging.walk import Found

logger = logging.getLogger(__name__)

_VERSION = 1
"""Of what is recorded, kept as the file's `user_version`; 0 did not count it.

Raise it with a change of the answers' fields, and say in `_bring_up_to_date` which are outdated.
"""

_TABLES = """
CREATE TABLE IF NOT EXISTS photos (
    path BLOB PRIMARY KEY,   -- as the file system spells it, which need not be UTF-8
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    scan INTEGER NOT NULL,   -- the last scan that met it
    asked TEXT,              -- who answered and how it was asked; NULL: ask again
    answer TEXT
) WITHOUT ROWID
"""
_LIBRARY = "CREATE TABLE IF NOT EXISTS library (root BLOB NOT NULL)"
# A photo that was changed since it was answered is a new photo.
_MEET = """
INSERT INTO photos (path, size, mtime_ns, scan) VALUES (?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET
    asked = CASE WHEN size = excluded.size AND mtime_ns = excluded.mtime_ns THEN asked END,
    size = excluded.size, mtime_ns = excluded.mtime_ns, scan = excluded.scan
"""
# Answers of the time before there were levels.
_FORGET_OUTDATED = """
UPDATE photos SET asked = NULL, answer = NULL
WHERE answer IS NOT NULL AND json_type(answer, '$.level') IS NULL
"""
_KEEP = """
UPDATE photos SET scan = :scan WHERE scan = :scan - 1 AND asked IS :asked AND answer IS NOT NULL
AND (path = :path OR path > :below AND path < :beyond)
"""
_COUNT_WAITING = "SELECT count(*) FROM photos WHERE scan = :scan AND asked IS NOT :asked"
_NEXT_WAITING = """
SELECT path FROM photos WHERE scan = :scan AND asked IS NOT :asked AND path > :last
ORDER BY path LIMIT 1000
"""
_NEXT_ANSWERED = """
SELECT path, answer FROM photos WHERE scan = :scan AND answer IS NOT NULL AND path > :last
ORDER BY path LIMIT 1000
"""


class Tagged(NamedTuple):
    """A photo by its path within the library, and what was answered."""

    path: Path
    answer: Prediction


class Journal:
    """The photos of one library in an SQLite file, for one process at a time.

    A process that is killed leaves all that was recorded; only a power cut may take the last
    moments with it. No more than a few rows are held in memory. Answers that an older version
    recorded and that lack something of today's are forgotten, so that they are asked for again.

    Raises ValueError for a file that is no journal, or that of a newer version; OSError, also
    later, where the disk is full or does not let it be written.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._folder = path.parent
        self._db = open_database(path)
        try:
            self._open(path)
        except BaseException:
            self._db.close()
            raise
        self._scan = 1 + (self._one("SELECT max(scan) FROM photos") or 0)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    @property
    def is_new(self) -> bool:
        """Whether no photo was ever met before this scan."""
        return self._scan == 1

    def bind(self, root: Path) -> None:
        """Take these photos for those under a folder, which may have moved here.

        Raises ValueError when they are those of another folder that is still there: the table would
        lose its photos, and the same path may stand for another photo.
        """
        known = self._db.execute("SELECT root FROM library").fetchone()
        if known is not None:
            before = Path(os.fsdecode(known[0]))
            if before == root:
                return
            if before.is_dir():
                raise ValueError(
                    f"photos={root}, and what is written in {self._folder} is of the photos in"
                    f" {before}; give out a folder of its own, such as {root / 'tags'}"
                )
            logger.warning("%s is taken for the library that stood in %s", root, before)
        self._db.execute("BEGIN")
        self._db.execute("DELETE FROM library")
        self._db.execute("INSERT INTO library VALUES (?)", [os.fsencode(root)])
        self._db.execute("COMMIT")

    def meet(self, photos: Iterable[Found]) -> int:
        """Take in what the library holds now, and return how many photos that is.

        What was recorded of photos that are gone stays, for the day they come back.
        """
        rows = ((os.fsencode(p.path), p.size, p.mtime_ns, self._scan) for p in photos)
        self._db.execute("BEGIN")
        count = self._db.executemany(_MEET, rows).rowcount
        self._db.execute("COMMIT")
        return count

    def keep(self, paths: Iterable[Path], asked: str) -> int:
        """Count as here what cannot be looked for, and return how many photos that is.

        paths: of photos and of folders that cannot be opened; kept is what was here in the last
        scan and answers this question.
        """
        kept = 0
        for path in paths:
            name, separator = os.fsencode(path), os.fsencode(os.sep)
            values = {"scan": self._scan, "asked": asked, "path": name, "below": name + separator}
            # What begins with the name and a separator stands before the letter that follows it.
            values["beyond"] = name + bytes([separator[0] + 1])
            kept += self._db.execute(_KEEP, values).rowcount
        return kept

    def count_waiting(self, asked: str) -> int:
        """How many photos of the library have no answer to this question."""
        return self._one(_COUNT_WAITING, scan=self._scan, asked=asked) or 0

    def waiting(self, asked: str) -> Iterator[Path]:
        """Photos of the library without an answer to this question, in order of path."""
        for (path,) in self._pages(_NEXT_WAITING, asked=asked):
            yield Path(os.fsdecode(path))

    def record(self, answered: Iterable[Tagged], asked: str | None) -> None:
        """Keep answers; asked None: show them, and ask again next time."""
        self._db.execute("BEGIN")
        self._db.executemany(
            "UPDATE photos SET answer = ?, asked = ? WHERE path = ?",
            [
                (json.dumps(answer, ensure_ascii=False), asked, os.fsencode(path))
                for path, answer in answered
            ],
        )
        self._db.execute("COMMIT")

    def answers(self) -> Iterator[Tagged]:
        """All photos of the library that were answered, in order of path."""
        for path, answer in self._pages(_NEXT_ANSWERED):
            yield Tagged(Path(os.fsdecode(path)), cast("Prediction", json.loads(answer)))

    def _open(self, path: Path) -> None:
        try:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.execute(_TABLES)
            self._db.execute(_LIBRARY)
            self._bring_up_to_date(path)
        except sqlite3.DatabaseError as error:
            if error.sqlite_errorcode not in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
                raise
            raise ValueError(
                f"{path} is no journal, or a damaged one ({error}); remove it to recognise all"
                " photos again, or give another out"
            ) from None

    def _bring_up_to_date(self, path: Path) -> None:
        version = self._one("PRAGMA user_version") or 0
        if version > _VERSION:
            raise ValueError(
                f"{path} is of a newer version of the tagger ({version}, this one writes"
                f" {_VERSION}); update landmark-ml or give another out"
            )
        if version == _VERSION:
            return
        self._db.execute("BEGIN")
        outdated = self._db.execute(_FORGET_OUTDATED).rowcount
        self._db.execute(f"PRAGMA user_version = {_VERSION}")
        self._db.execute("COMMIT")
        if outdated:
            logger.warning(
                "%s is of an older version: %d photos are recognised again", path, outdated
            )

    def _pages(self, query: str, **values: object) -> Iterator[tuple[Any, ...]]:
        """Rows that start with their path, page by page: rows may be written in between."""
        last = b""
        while rows := self._db.execute(
            query, {"scan": self._scan, "last": last, **values}
        ).fetchall():
            yield from rows
            last = rows[-1][0]

    def _one(self, query: str, **values: object) -> int | None:
        (value,) = self._db.execute(query, values).fetchone()
        return cast("int | None", value)

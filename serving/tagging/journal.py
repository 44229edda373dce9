"""What is known of each photo so far, kept in SQLite: a killed run loses seconds of work."""

from __future__ import annotations

import json
import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, Self, cast

from landmark_ml.inference.prediction import Prediction
from serving.tagging.library import Found, Tagged

logger = logging.getLogger(__name__)


_TABLES = (
    """
    CREATE TABLE IF NOT EXISTS photos (
        path BLOB PRIMARY KEY,   -- as the file system spells it, which need not be UTF-8
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        scan INTEGER NOT NULL,   -- the last scan that found it
        asked TEXT,              -- model version and threshold; NULL: ask again
        answer TEXT
    ) WITHOUT ROWID
    """,
    "CREATE TABLE IF NOT EXISTS library (root BLOB NOT NULL)",
)
# A photo that was changed since it was answered counts as new.
_FOUND = """
INSERT INTO photos (path, size, mtime_ns, scan) VALUES (?, ?, ?, ?)
ON CONFLICT (path) DO UPDATE SET
    asked = CASE WHEN size = excluded.size AND mtime_ns = excluded.mtime_ns THEN asked END,
    size = excluded.size, mtime_ns = excluded.mtime_ns, scan = excluded.scan
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


class Database:
    """An SQLite file, opened or created, without implicit transactions.

    path: None keeps what does not fit into memory in a temporary file that nobody else sees and
    that goes with the process. SQLite's errors name no file. At the end of a block they become an
    OSError, or for a damaged file a ValueError, that does.
    """

    _FIX = "remove it to recognise all photos again"

    def __init__(self, path: Path | None, *statements: str) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path or Path("a file in the temporary folder")
        try:
            self._db = sqlite3.connect(path or "", isolation_level=None)
            for statement in statements:
                self._db.execute(statement)
        except sqlite3.Error as error:
            raise self._named(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self._db.close()
        if isinstance(error, sqlite3.Error):
            raise self._named(error) from error

    def _named(self, error: sqlite3.Error) -> Exception:
        # Python's own, without a code, says that a text is no UTF-8.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return self._damaged(error)
        return OSError(
            f"{self._path} cannot be written or read ({error}); check the disk's space and the"
            " file's permissions"
        )

    def _damaged(self, reason: object) -> ValueError:
        return ValueError(
            f"{self._path} is not a journal, or is damaged ({reason}); {self._FIX}, or give"
            " another out"
        )


class Journal(Database):
    """The photos of one library in an SQLite file, for one process at a time.

    All that was recorded survives a killed process; a power cut may take the last moments. Only a
    few rows are in memory. again: whether the library is scanned anew; else the answers are those
    of the last scan, and others may write at the same time. Raises ValueError for a file that is
    not a journal or is damaged, OSError where the disk is full or cannot be written.
    """

    def __init__(self, path: Path, *, again: bool = True) -> None:
        super().__init__(path, "PRAGMA journal_mode = WAL", "PRAGMA synchronous = NORMAL", *_TABLES)
        try:
            last = self._one("SELECT max(CAST(scan AS INTEGER)) FROM photos") or 0
            self._scan = last + again
        except BaseException as error:
            self.__exit__(None, error, None)
            raise

    @property
    def is_new(self) -> bool:
        """Whether no photo was found before this scan."""
        return self._scan == 1

    @property
    def root(self) -> Path | None:
        """Folder of the library that this journal is of; None where none was tagged."""
        known = self._db.execute("SELECT root FROM library").fetchone()
        return known and Path(os.fsdecode(known[0]))

    def bind(self, root: Path) -> None:
        """Say which library this journal is of; it may have moved here.

        root: its folder, or the address of a server. Raises ValueError when the journal is of
        another folder that is still there: the table would lose its photos, and the same path may
        mean another photo.
        """
        root = root.resolve() if root.is_dir() else root
        if (before := self.root) is not None:
            if before == root:
                return
            if before.is_dir():
                raise ValueError(
                    f"photos={root}, but {self._path.parent} belongs to the photos in {before};"
                    f" give out a folder of its own, such as {root / 'tags'}"
                )
            logger.warning("%s is taken for the library that was in %s", root, before)
        self._db.execute("BEGIN")
        self._db.execute("DELETE FROM library")
        self._db.execute("INSERT INTO library VALUES (?)", [os.fsencode(root)])
        self._db.execute("COMMIT")

    def scan(self, photos: Iterable[Found]) -> int:
        """Record what the library holds now; return the number of photos.

        What is known of photos that are gone is kept, in case they come back.
        """
        rows = ((os.fsencode(p.path), p.size, p.mtime_ns, self._scan) for p in photos)
        self._db.execute("BEGIN")
        count = self._db.executemany(_FOUND, rows).rowcount
        self._db.execute("COMMIT")
        return count

    def keep(self, paths: Iterable[Path], asked: str) -> int:
        """Keep photos that cannot be looked for; return how many.

        paths: photos and folders that cannot be opened. Kept is what the last scan found there and
        what answers this question.
        """
        kept = 0
        for path in paths:
            name, separator = os.fsencode(path), os.fsencode(os.sep)
            values = {"scan": self._scan, "asked": asked, "path": name, "below": name + separator}
            # All that begins with the name and a separator sorts before the next letter.
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

    def record(self, photo: Tagged, asked: str | None) -> None:
        """Store an answer. asked: the question it answers; None to ask again next time."""
        taken = photo.taken and photo.taken.isoformat()
        known = {"sha256": photo.sha256, "same_as": photo.same_as, "taken": taken, **photo.answer}
        answer = json.dumps(known, ensure_ascii=False)
        self._db.execute(
            "UPDATE photos SET answer = ?, asked = ? WHERE path = ?",
            [answer, asked, os.fsencode(photo.path)],
        )

    def answers(self) -> Iterator[Tagged]:
        """All answered photos of the library, in order of path."""
        for name, recorded in self._pages(_NEXT_ANSWERED):
            path = Path(os.fsdecode(name))
            try:
                found = json.loads(recorded)
                answer = {field: found[field] for field in Prediction.__annotations__}
                sha256, same_as = found["sha256"], found["same_as"]
                taken = found["taken"] and datetime.fromisoformat(found["taken"])
            except KeyError as error:
                raise ValueError(
                    f"{self._path} holds answers of another version, which lack {error}; tag again:"
                    " only those are recognised again"
                ) from None
            except (ValueError, TypeError) as error:
                raise self._damaged(f"the answer for {path}: {error!r}") from None
            said = cast("Prediction", answer)
            yield Tagged(path, said, sha256, taken=taken, same_as=same_as)

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

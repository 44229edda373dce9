"""A database on the disk for one process, so that millions of rows need not fit into memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from serving.named_database import open_database

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self


class ScratchDatabase:
    """SQLite file that is made anew, is worth nothing after a crash, and is removed at the end."""

    def __init__(self, path: Path, schema: str) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._db = open_database(path)
        # Nobody reads it after a crash.
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(schema)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()
        self._path.unlink(missing_ok=True)

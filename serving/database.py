"""SQLite files whose errors name the file, and one that lives no longer than its process."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Self


class NamedDatabase(sqlite3.Connection):
    """An SQLite file, opened or created, without implicit transactions.

    Raises OSError with the file's name, now or at a later statement, when the file cannot be read
    or written.
    """

    def __init__(self, path: Path) -> None:
        self._name = str(path)
        with _named(self._name):
            super().__init__(path, isolation_level=None)

    def execute(self, *args: Any) -> sqlite3.Cursor:
        with _named(self._name):
            return super().execute(*args)

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        with _named(self._name):
            return super().executemany(*args)


class ScratchDatabase:
    """SQLite file for data of one process that does not fit into memory; removed at the end."""

    def __init__(self, path: Path, schema: str) -> None:
        path.unlink(missing_ok=True)
        self._path = path
        self._db = NamedDatabase(path)
        # Nobody reads it after a crash, so it need not survive one.
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("PRAGMA synchronous = OFF")
        for statement in schema.split(";"):
            self._db.execute(statement)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()
        self._path.unlink(missing_ok=True)


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(
            f"{name} cannot be written or read ({error}); check the disk's space and the file's"
            " permissions"
        ) from error

"""SQLite files whose errors say which file they are of."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def open_database(path: Path) -> NamedDatabase:
    """Open or make an SQLite file, without implicit transactions.

    Raises OSError, also later, where the system does not let it be read or written.
    """
    with _named(str(path)):
        return sqlite3.connect(path, isolation_level=None, factory=NamedDatabase)


class NamedDatabase(sqlite3.Connection):
    """A connection whose statements raise OSError with the file's name on a full or broken disk."""

    def __init__(self, database: Path, *args: Any, **options: Any) -> None:
        super().__init__(database, *args, **options)
        self._name = str(database)

    def execute(self, *args: Any) -> sqlite3.Cursor:
        with _named(self._name):
            return super().execute(*args)

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        with _named(self._name):
            return super().executemany(*args)

    def executescript(self, *args: Any) -> sqlite3.Cursor:
        with _named(self._name):
            return super().executescript(*args)


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise OSError(
            f"{name} cannot be written or read ({error}); look for space and permission there"
        ) from error

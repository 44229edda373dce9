"""A PostgreSQL server for tests; they are skipped where PostgreSQL is not installed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pytest

from benchmarks import databases

PostgresServer = databases.PostgresServer


@contextlib.contextmanager
def run_postgres() -> Iterator[PostgresServer]:
    """Start a new, empty server and end it with the block."""
    with contextlib.ExitStack() as ends:
        try:
            # Test data need not survive a power cut.
            server = ends.enter_context(databases.run_postgres(durable=False))
        except databases.PostgresMissingError as missing:
            pytest.skip(str(missing))
        yield server

"""A PostgreSQL server for tests, which skip where there is none."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest

from benchmarks.servers import postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

PostgresServer = postgres.PostgresServer


@contextlib.contextmanager
def run_postgres() -> Iterator[PostgresServer]:
    """Start a new, empty server and end it; skips the test where PostgreSQL is not installed."""
    try:
        installation = postgres.find_installation()
    except postgres.PostgresMissingError as missing:
        pytest.skip(str(missing))
    # Nothing of a test has to outlive the machine.
    with postgres.run_postgres(installation, durable=False) as server:
        yield server

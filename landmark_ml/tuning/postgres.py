"""PostgreSQL shared by many workers: few connections each, and patience when there is none left.

A server takes a hundred connections unless told otherwise, and MLflow keeps some for itself.
"""

from __future__ import annotations

import contextlib
import logging
import random
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import sqlalchemy

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

_PATIENCE = 120.0
_FULL = ("too many clients", "connection slots", "too many connections")


def engine_options(url: str) -> dict[str, Any]:
    """For `sqlalchemy.create_engine`: one connection is kept, and waited for where none is free.

    Not none: Optuna asks dozens of times a trial, and a new connection costs more than the answer.
    """
    return {"creator": partial(_connect, url), "pool_size": 1, "pool_pre_ping": True}


@contextlib.contextmanager
def advisory_lock(url: str, key: int) -> Iterator[None]:
    """Hold a lock of the database server; a process that dies lets go.

    key: 64 bits, signed.
    """
    connect = partial(_connect, url)
    engine = sqlalchemy.create_engine(url, creator=connect, poolclass=sqlalchemy.NullPool)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": key})
        try:
            yield
        finally:
            try:
                connection.execute(sqlalchemy.text("SELECT pg_advisory_unlock(:key)"), {"key": key})
            except sqlalchemy.exc.SQLAlchemyError as error:
                # A server that restarted let go itself; what was done under the lock is done.
                logger.warning("the lock of the study was lost meanwhile: %s", error)


def _connect(url: str) -> Any:
    """A connection of the driver; when the server has none left, the next one that is free."""
    address = sqlalchemy.engine.make_url(url)
    dialect = address.get_dialect()()
    driver = dialect.import_dbapi()
    positional, named = dialect.create_connect_args(address)
    end, wait = time.monotonic() + _PATIENCE, 0.1
    while True:
        try:
            return driver.connect(*positional, **named)
        except driver.OperationalError as error:
            if not any(sign in str(error) for sign in _FULL) or time.monotonic() > end:
                raise
            logger.debug("the database takes no more connections; waiting for one")
        time.sleep(_about(wait))
        wait = min(2 * wait, 5.0)


def _about(seconds: float) -> float:
    """Give or take a half, so that those who failed together do not try again together."""
    return seconds * random.uniform(0.5, 1.5)  # noqa: S311 - no secret

"""Where a study lives, and the lock that its workers share.

Workers on one host share a SQLite file, workers on many hosts a PostgreSQL database.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage

from landmark_ml.tuning.postgres import advisory_lock, engine_options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

logger = logging.getLogger(__name__)

_FILE = "studies.db"
_LOCK_WAIT = 60.0
_POSTGRESQL_PORT = 5432
_THIS_HOST = ("localhost", "127.0.0.1", "::1")
# A claim holds the lock for some 20 ms. Dozens of workers that ask for it more often than this
# take more of the processor than the one who has it.
_ASK_EVERY = 0.25


def storage_url(storage: str, tracking_uri: str) -> str:
    """Address of the database of studies; empty: a file beside the MLflow database.

    Raises ValueError for a kind of database that has no lock here, and for MLflow's own.
    """
    if not storage:
        prefix = "sqlite:///"
        beside = tracking_uri.removeprefix(prefix) if tracking_uri.startswith(prefix) else ""
        return f"{prefix}{Path(beside).parent / _FILE}"
    if _database(storage) == _database(tracking_uri):
        raise ValueError(
            f"storage is the database of MLflow, {_shown(storage)}; both keep a table of"
            " versions under one name: give the study a database of its own on the same server"
        )
    if storage.startswith("postgresql://"):
        # The driver that the extra `postgres` installs, whatever SQLAlchemy would pick.
        return storage.replace("postgresql://", "postgresql+psycopg://", 1)
    if storage.startswith(("postgresql+", "sqlite:///")):
        return storage
    raise ValueError(
        f"storage {_shown(storage)} is none of postgresql://… and sqlite:///…; workers on several"
        " hosts need PostgreSQL"
    )


def open_storage(
    url: str, heartbeat: int, on_silent: Callable[[Study, FrozenTrial], None]
) -> BaseStorage:
    """Storage whose trials are failed, and handed to on_silent, once their process is silent.

    heartbeat: seconds between signs of life. Raises ValueError when the database cannot be reached.
    """
    sqlite = url.startswith("sqlite")
    if sqlite:
        Path(url.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    options = {"connect_args": {"timeout": _LOCK_WAIT}} if sqlite else engine_options(url)
    try:
        # Workers that start at once would lay the tables twice.
        with _exclusive(url, "tables"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return RDBStorage(
                url,
                engine_kwargs=options,
                heartbeat_interval=heartbeat,
                heartbeat_stale_trial_callback=on_silent,
            )
    except ImportError:
        raise ValueError(
            f"storage {_shown(url)} needs a driver: pip install -e '.[postgres]'"
        ) from None
    except (sqlalchemy.exc.SQLAlchemyError, StorageInternalError) as error:
        reason = str(error.__cause__ or error).strip().splitlines()[0]
        raise ValueError(f"storage {_shown(url)} cannot be used: {reason}") from error


@contextlib.contextmanager
def study_lock(url: str, study: str) -> Iterator[None]:
    """Hold a study against all its workers, wherever they run; a process that dies lets go."""
    with _exclusive(url, study):
        yield


@contextlib.contextmanager
def _exclusive(url: str, name: str) -> Iterator[None]:
    digest = hashlib.sha256(name.encode()).digest()
    if url.startswith("sqlite"):
        file = Path(url.removeprefix("sqlite:///"))
        with FileLock(f"{file}.{digest.hex()[:12]}.lock", poll_interval=_ASK_EVERY):
            yield
        return
    with advisory_lock(url, int.from_bytes(digest[:8], signed=True)):
        yield


def _database(url: str) -> tuple[str, ...]:
    """What an address leads to, however it is spelled: a file, or server, port and name."""
    try:
        parsed = sqlalchemy.engine.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        return (url,)
    kind = parsed.get_backend_name()
    if kind == "sqlite":
        return kind, str(Path(parsed.database or "").resolve())
    host = (parsed.host or "localhost").lower()
    name = parsed.database or parsed.username or ""
    port = parsed.port or _POSTGRESQL_PORT
    return kind, "localhost" if host in _THIS_HOST else host, str(port), name


def _shown(url: str) -> str:
    """Address without its password."""
    try:
        return sqlalchemy.engine.make_url(url).render_as_string(hide_password=True)
    except sqlalchemy.exc.ArgumentError:
        return repr(url)

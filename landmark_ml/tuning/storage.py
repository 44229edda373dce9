"""The database of a study, and the lock that its workers share.

Workers on one host share a SQLite file; workers on many hosts share a PostgreSQL database. Optuna's
storage has heartbeats but no lock, and only with a lock does a study start exactly the trials it
was asked for and test its winner once.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import threading
import warnings
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy
from filelock import FileLock
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage

from landmark_ml.config import without_user
from landmark_ml.tracking.errors import retry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

logger = logging.getLogger(__name__)

OUTAGES = (StorageInternalError, sqlalchemy.exc.SQLAlchemyError)
"""What is raised when the database of a study fails: by Optuna's storage, and by the lock."""
PATIENCE_SECONDS = 120.0
_SQLITE = "sqlite:///"
_SQLITE_LOCK_SECONDS = 60.0
_POSTGRESQL_PORT = 5432
_THIS_HOST = ("localhost", "127.0.0.1", "::1")
_SERVER_FULL = ("too many clients", "connection slots", "too many connections")
# A worker holds the lock for about 20 ms to claim a trial. If dozens of workers ask for the lock
# more often than this, they slow down the one that has it.
_LOCK_POLL_SECONDS = 0.25


def storage_url(storage: str, tracking_uri: str) -> str:
    """Address of the database of studies; empty: `studies.db` beside the MLflow database.

    Raises ValueError for a database that is neither SQLite nor PostgreSQL, and for MLflow's own.
    """
    if not storage:
        is_file = tracking_uri.startswith(_SQLITE)
        beside = Path(tracking_uri.removeprefix(_SQLITE)) if is_file else Path()
        return f"{_SQLITE}{beside.parent / 'studies.db'}"
    if _database(storage) == _database(tracking_uri):
        raise ValueError(
            f"storage is the database of MLflow, {without_user(storage)}; both need a table of the"
            " same name: give the study a database of its own on the same server"
        )
    if storage.startswith("postgresql://"):
        # The driver that the extra `postgres` installs, whatever SQLAlchemy would choose.
        return storage.replace("postgresql://", "postgresql+psycopg://", 1)
    if storage.startswith(("postgresql+", _SQLITE)):
        return storage
    raise ValueError(
        f"storage {without_user(storage)!r} is neither postgresql://… nor sqlite:///…; workers on"
        " several hosts need PostgreSQL"
    )


def open_storage(
    url: str, heartbeat: int, on_dead: Callable[[Study, FrozenTrial], None]
) -> RDBStorage:
    """Open the storage; on_dead gets each trial that is failed because its heartbeat stopped.

    heartbeat: seconds between heartbeats. Raises ValueError when the database cannot be reached.
    """
    if url.startswith("sqlite"):
        Path(url.removeprefix(_SQLITE)).parent.mkdir(parents=True, exist_ok=True)
        options: dict[str, Any] = {"connect_args": {"timeout": _SQLITE_LOCK_SECONDS}}
    else:
        # Keep one connection: Optuna asks dozens of times per trial, and connecting is slow.
        options = {"creator": partial(connect, url), "pool_size": 1, "pool_pre_ping": True}
    try:
        # Workers that start at the same time must not create the tables twice.
        with study_lock(url, "tables"), warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return RDBStorage(
                url,
                engine_kwargs=options,
                heartbeat_interval=heartbeat,
                heartbeat_stale_trial_callback=on_dead,
            )
    except ImportError:
        raise ValueError(
            f"storage {without_user(url)} needs a driver: pip install -e '.[postgres]'"
        ) from None
    except OUTAGES as error:
        raise ValueError(f"storage {without_user(url)} cannot be used: {reason(error)}") from error


@contextlib.contextmanager
def study_lock(url: str, study: str) -> Iterator[None]:
    """Hold the lock of a study, shared by all its workers; a process that dies releases it."""
    digest = hashlib.sha256(study.encode()).digest()
    if url.startswith("sqlite"):
        file = f"{url.removeprefix(_SQLITE)}.{digest.hex()[:12]}.lock"
        with FileLock(file, poll_interval=_LOCK_POLL_SECONDS):
            yield
        return
    engine = sqlalchemy.create_engine(
        url,
        creator=partial(connect, url),
        poolclass=sqlalchemy.NullPool,
        isolation_level="AUTOCOMMIT",
    )
    # The server releases the lock when the connection closes.
    with engine.connect() as connection:
        key = int.from_bytes(digest[:8], signed=True)
        connection.execute(sqlalchemy.text("SELECT pg_advisory_lock(:key)"), {"key": key})
        yield


@contextlib.contextmanager
def heartbeats(storage: RDBStorage, trial: Trial) -> Iterator[None]:
    """Send the heartbeats of a trial while the block runs, through outages of the database."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(storage.heartbeat_interval):
            try:
                storage.record_heartbeat(trial._trial_id)
            except OUTAGES as error:
                logger.warning("trial %d sent no heartbeat: %s", trial.number, reason(error))

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def connect(url: str) -> Any:
    """Connect to PostgreSQL with its driver; when the server is full, wait for a connection."""
    address = sqlalchemy.engine.make_url(url)
    dialect = address.get_dialect()()
    driver = dialect.import_dbapi()
    positional, named = dialect.create_connect_args(address)
    return retry(
        lambda: driver.connect(*positional, **named),
        lambda error: any(sign in str(error) for sign in _SERVER_FULL),
        first=0.1,
        longest=5.0,
        patience=PATIENCE_SECONDS,
    )


def reason(outage: Exception) -> str:
    """What the database said; Optuna's own message speaks of invalid data, whatever happened."""
    return str(outage.__cause__ or outage).strip().splitlines()[0]


def _database(url: str) -> tuple[str, ...]:
    """The database behind an address, however it is spelled: a file, or server, port and name."""
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

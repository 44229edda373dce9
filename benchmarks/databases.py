"""Empty databases for MLflow and Optuna: SQLite files, or a PostgreSQL server of our own.

The PostgreSQL server runs in a temporary folder, on loopback only, and ends with its block.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.servers.running import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KINDS = ("sqlite", "postgresql")
_USER = "landmarks"
# PostgreSQL refuses to run as root; Debian's package creates this user.
_SERVER_USER = "postgres"
_START_SECONDS = 30.0
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # Dozens of workers, with up to five connections each (docs/tuning.md).
    "max_connections": "400",
}
_INSTEAD = "or give --databases sqlite"
_NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresMissingError(ValueError):
    """No PostgreSQL server can be started here; the message says what to install."""


@dataclass(frozen=True)
class PostgresServer:
    """A running server; it trusts every connection from this machine."""

    port: int

    def create_database(self, name: str) -> str:
        """Create an empty database; returns its address, with the driver of the extra."""
        import psycopg  # noqa: PLC0415 - an extra
        from psycopg import sql  # noqa: PLC0415

        with psycopg.connect(_address(self.port), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return f"postgresql+psycopg://{_USER}@127.0.0.1:{self.port}/{name}"


def open_databases(kind: str, ends: contextlib.ExitStack) -> Callable[[str, Path], str]:
    """Function from name and folder of a new database to its address; a server ends with `ends`.

    PostgreSQL runs with its default settings, durable writes included. Raises PostgresMissingError
    where it is not installed.
    """
    if kind == "sqlite":
        return lambda name, folder: f"sqlite:///{folder}/{name}.db"
    server = ends.enter_context(run_postgres(durable=True))
    return lambda name, _folder: server.create_database(name)


@contextlib.contextmanager
def run_postgres(*, durable: bool) -> Iterator[PostgresServer]:
    """Start a new, empty server and end it with the block.

    durable: committed data survives a power cut, as on a server in production. Raises
    PostgresMissingError where PostgreSQL is not installed.
    """
    programs, user = _find_programs()
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    data = folder / "data"
    port = free_port()
    settings = _SETTINGS | ({} if durable else _NOT_DURABLE)
    flags = [f"--{name}={value}" for name, value in settings.items()]
    try:
        if user:
            shutil.chown(folder, user, user)
        subprocess.run(  # noqa: S603 - our own command
            [programs / "initdb", "-D", data, "-U", _USER, "--auth=trust", "-E", "UTF8"],
            cwd=folder,
            check=True,
            capture_output=True,
            user=user,
            group=user,
        )
        with (folder / "log").open("w") as log:
            server = subprocess.Popen(  # noqa: S603 - our own command
                [programs / "postgres", "-D", data, "-p", str(port), *flags],
                cwd=folder,
                stdout=log,
                stderr=log,
                user=user,
                group=user,
            )
        try:
            _wait_for(server, port, folder / "log")
            yield PostgresServer(port)
        finally:
            # A fast shutdown: it closes connections that are still open.
            server.send_signal(signal.SIGINT)
            server.wait(30)
    finally:
        shutil.rmtree(folder)


def _find_programs() -> tuple[Path, str | None]:
    """Folder of `initdb` and `postgres`, and the user to run them as; None: the present one."""
    if importlib.util.find_spec("psycopg") is None:
        raise PostgresMissingError(f"postgresql needs pip install -e '.[postgres]'; {_INSTEAD}")
    # Debian keeps these programs out of the PATH.
    debian = Path("/usr/lib/postgresql").glob("*/bin/initdb")
    newest = max(debian, key=lambda program: float(program.parts[-3]), default=None)
    found = newest or shutil.which("initdb")
    if found is None:
        raise PostgresMissingError(
            f"postgresql is not installed: apt-get install postgresql; {_INSTEAD}"
        )
    if os.geteuid():
        return Path(found).parent, None
    try:
        pwd.getpwnam(_SERVER_USER)
    except KeyError:
        raise PostgresMissingError(
            f"root may not run PostgreSQL, and there is no user {_SERVER_USER!r}; {_INSTEAD}"
        ) from None
    return Path(found).parent, _SERVER_USER


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Wait until the server accepts connections; its port opens a moment earlier."""
    import psycopg  # noqa: PLC0415 - an extra

    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(_address(port)):
            return
        time.sleep(0.05)
    raise OSError(f"PostgreSQL did not answer within {_START_SECONDS:.0f} s: {log.read_text()}")


def _address(port: int) -> str:
    return f"postgresql://{_USER}@127.0.0.1:{port}/postgres"

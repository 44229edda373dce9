"""A PostgreSQL server of one's own: on loopback, in a temporary folder, ended with its user."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

USER = "landmarks"
STARTS_WITHIN = 30.0
# Root may not run PostgreSQL; Debian's package brings this user.
SERVER_USER = "postgres"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    # Dozens of workers, MLflow's connections among them; docs/tuning.md says how many each.
    "max_connections": "400",
}
_FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class PostgresMissingError(ValueError):
    """No PostgreSQL can be started here; the message says what to install."""


@dataclass(frozen=True)
class Installation:
    """Folder of `initdb` and `postgres`, and the user who may run them; None: whoever we are."""

    programs: Path
    user: str | None


@dataclass(frozen=True)
class PostgresServer:
    """A running server that trusts whoever asks from this machine."""

    port: int

    def create_database(self, name: str) -> str:
        """Make an empty database; its address, with the driver that the extra installs."""
        import psycopg  # noqa: PLC0415 - an extra
        from psycopg import sql  # noqa: PLC0415

        with psycopg.connect(_address(self.port), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return f"postgresql+psycopg://{USER}@127.0.0.1:{self.port}/{name}"


def find_installation() -> Installation:
    """Where PostgreSQL is; raises PostgresMissingError when a part of it is not."""
    if importlib.util.find_spec("psycopg") is None:
        raise PostgresMissingError("needs pip install -e '.[postgres]'")
    # Debian keeps the programs out of the PATH.
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    found = str(debian[-1]) if debian else shutil.which("initdb")
    if found is None:
        raise PostgresMissingError("needs PostgreSQL: apt-get install postgresql")
    return Installation(Path(found).parent, _other_than_root())


@contextlib.contextmanager
def run_postgres(installation: Installation, *, durable: bool) -> Iterator[PostgresServer]:
    """Start a new, empty server and end it.

    durable: keep what was committed even when the machine dies, as servers in use do.
    """
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    settings = _SETTINGS | ({} if durable else _FORGETFUL)
    try:
        if installation.user:
            shutil.chown(folder, installation.user, installation.user)
        with _running(installation, folder, settings) as port:
            yield PostgresServer(port)
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _running(
    installation: Installation, folder: Path, settings: Mapping[str, str]
) -> Iterator[int]:
    data, port, programs = folder / "data", _free_port(), installation.programs
    subprocess.run(  # noqa: S603 - our own command
        [programs / "initdb", "-D", data, "-U", USER, "--auth=trust", "-E", "UTF8", "--no-sync"],
        cwd=folder,
        check=True,
        capture_output=True,
        user=installation.user,
        group=installation.user,
    )
    flags = [f"--{name}={value}" for name, value in settings.items()]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(  # noqa: S603 - our own command
            [programs / "postgres", "-D", data, "-p", str(port), *flags],
            cwd=folder,
            stdout=log,
            stderr=log,
            user=installation.user,
            group=installation.user,
        )
    try:
        _wait_for(server, port, folder / "log")
        yield port
    finally:
        # PostgreSQL's fast shutdown: whoever is still connected is cut off.
        server.send_signal(signal.SIGINT)
        server.wait(30)


def _version(program: Path) -> float:
    return float(program.parts[-3])


def _other_than_root() -> str | None:
    """Name of a user who may run the server; None when we may."""
    if os.geteuid():
        return None
    try:
        pwd.getpwnam(SERVER_USER)
    except KeyError:
        raise PostgresMissingError(
            f"root may not run PostgreSQL, and there is no user {SERVER_USER!r}"
        ) from None
    return SERVER_USER


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return once it takes connections: its port is open a moment earlier."""
    import psycopg  # noqa: PLC0415 - an extra

    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(_address(port)):
            return
        time.sleep(0.05)
    raise OSError(f"PostgreSQL did not answer within {STARTS_WITHIN:.0f} s: {log.read_text()}")


def _address(port: int) -> str:
    return f"postgresql://{USER}@127.0.0.1:{port}/postgres"

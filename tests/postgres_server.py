"""A PostgreSQL server of a test's own: on loopback, in a temporary folder, ended with the tests."""

from __future__ import annotations

import contextlib
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

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "landmarks"
STARTS_WITHIN = 30.0
# Root may not run PostgreSQL; Debian's package brings this user.
SERVER_USER = "postgres"
# Nothing of a test has to outlive the machine.
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


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


@contextlib.contextmanager
def run_postgres() -> Iterator[PostgresServer]:
    """Start a new, empty server and end it; skips the test where PostgreSQL is not installed."""
    pytest.importorskip("psycopg", reason="needs pip install 'landmark-ml[postgres]'")
    programs = _find_programs()
    as_user = _other_than_root()
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    try:
        if as_user:
            shutil.chown(folder, as_user, as_user)
        with _running(programs, folder, as_user) as port:
            yield PostgresServer(port)
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _running(programs: Path, folder: Path, as_user: str | None) -> Iterator[int]:
    data, port = folder / "data", _free_port()
    subprocess.run(  # noqa: S603 - our own command
        [programs / "initdb", "-D", data, "-U", USER, "--auth=trust", "-E", "UTF8", "--no-sync"],
        cwd=folder,
        check=True,
        capture_output=True,
        user=as_user,
        group=as_user,
    )
    settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(  # noqa: S603 - our own command
            [programs / "postgres", "-D", data, "-p", str(port), *settings],
            cwd=folder,
            stdout=log,
            stderr=log,
            user=as_user,
            group=as_user,
        )
    try:
        _wait_for(server, port, folder / "log")
        yield port
    finally:
        # PostgreSQL's fast shutdown: whoever is still connected is cut off.
        server.send_signal(signal.SIGINT)
        server.wait(30)


def _find_programs() -> Path:
    """Folder of `initdb` and `postgres`; Debian keeps them out of the PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version)
    found = str(debian[-1]) if debian else shutil.which("initdb")
    if found is None:
        pytest.skip("needs PostgreSQL: apt-get install postgresql")
    return Path(found).parent


def _version(program: Path) -> float:
    return float(program.parts[-3])


def _other_than_root() -> str | None:
    """Name of a user who may run the server; None when we may."""
    if os.geteuid():
        return None
    try:
        pwd.getpwnam(SERVER_USER)
    except KeyError:
        pytest.skip(f"root may not run PostgreSQL, and there is no user {SERVER_USER!r}")
    return SERVER_USER


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    """Return once it takes connections: its port is open a moment earlier."""
    import psycopg  # noqa: PLC0415 - an extra

    deadline = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < deadline:
        assert server.poll() is None, log.read_text()
        with contextlib.suppress(psycopg.OperationalError), psycopg.connect(_address(port)):
            return
        time.sleep(0.05)
    pytest.fail(f"PostgreSQL did not answer within {STARTS_WITHIN:.0f} s: {log.read_text()}")


def _address(port: int) -> str:
    return f"postgresql://{USER}@127.0.0.1:{port}/postgres"

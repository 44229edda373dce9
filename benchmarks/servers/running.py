"""Start a server that is measured, ask it, and end it with all its processes."""

from __future__ import annotations

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

_START_SECONDS = 300


class ServerError(ValueError):
    """A server did not start, or did not answer as it should."""


@dataclass(frozen=True)
class Server:
    """How a server is started and asked; MODEL and PORT in its command are filled in.

    body: what is sent for the bytes of a photo.
    """

    command: tuple[str, ...]
    path: str
    health: str
    content_type: str
    body: Callable[[bytes], bytes]


def _litserve(photo: bytes) -> bytes:
    return json.dumps({"image": base64.b64encode(photo).decode()}).encode()


def _mlflow(photo: bytes) -> bytes:
    return json.dumps({"inputs": [base64.b64encode(photo).decode()]}).encode()


_SCORING = "/invocations", "/ping", "application/json", _mlflow
_MLFLOW = "mlflow models serve -m models:/MODEL@champion --env-manager local -h 127.0.0.1 -p PORT"
SERVERS = {
    "our app": Server(
        ("-m", "experiments", "app", "--model", "MODEL", "--port", "PORT"),
        "/api/tag",
        "/readyz",
        "image/jpeg",
        bytes,
    ),
    "mlflow models serve, our model": Server(("-m", *_MLFLOW.split()), *_SCORING),
    "mlflow models serve, no work": Server(
        ("-m", "benchmarks.servers.idle_mlflow", "MODEL", "PORT"), *_SCORING
    ),
    "FastAPI, eager PyTorch": Server(
        ("-m", "benchmarks.servers.fastapi_server", "PORT"),
        "/predict",
        "/health",
        "image/jpeg",
        bytes,
    ),
    "LitServe, eager PyTorch": Server(
        ("-m", "benchmarks.servers.litserve_server", "PORT"),
        "/predict",
        "/health",
        "application/json",
        _litserve,
    ),
}


@dataclass
class Running:
    """A server that answers; each thread that asks keeps one connection."""

    name: str
    server: Server
    port: int
    pid: int = 0
    _local: threading.local = field(default_factory=threading.local)

    def send(self, body: bytes) -> bytes:
        """Send what `server.body` made of a photo and give the answer.

        Raises ServerError unless its status is 200.
        """
        headers = {"Content-Type": self.server.content_type}
        if not hasattr(self._local, "connection"):
            self._local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection: http.client.HTTPConnection = self._local.connection
        connection.request("POST", self.server.path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        if response.status != http.client.OK:
            raise ServerError(f"{self.name} answered {response.status}: {answer[:300]!r}")
        return answer

    def is_up(self) -> bool:
        """Whether it says that it can answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", self.server.health)
            return connection.getresponse().status == http.client.OK
        except OSError:
            return False


def start(name: str, model: str, ends: ExitStack) -> Running:
    """Start a server by name and wait until it answers; it ends with `ends`.

    Raises ServerError when it ends or is silent for too long.
    """
    server, port = SERVERS[name], free_port()
    words = [word.replace("MODEL", model).replace("PORT", str(port)) for word in server.command]
    command = [sys.executable, *words]
    # MLflow starts uvicorn by its name.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    process = subprocess.Popen(  # noqa: S603 - our own command
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=os.environ | {"PATH": path},
    )
    ends.callback(_end, process)
    running = Running(name, server, port, process.pid)
    deadline = time.monotonic() + _START_SECONDS
    while not running.is_up():
        if process.poll() is not None or time.monotonic() > deadline:
            raise ServerError(f"{name} does not start; try it alone: {' '.join(command)}")
        time.sleep(0.2)
    return running


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a server and the processes it started, which are a group of their own."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

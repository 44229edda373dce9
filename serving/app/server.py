"""Start the app on a port and serve until it is stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from landmark_ml.config import AppConfig, PageConfig, shown_host
from serving.app.application import create_app
from serving.champion import Champion, load_version

logger = logging.getLogger(__name__)

TOKEN_VARIABLE = "LANDMARKS_TOKEN"  # noqa: S105 - the name of a variable
# Characters that every client sends in a header as the same bytes.
_SENDABLE = re.compile(r"[!-~]+")

MAX_HEAD_BYTES = 65_536
IDLE_SECONDS = 30
MAX_CONNECTIONS = 512
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(config: AppConfig, started: Callable[[str], None]) -> None:
    """Answer on the port until SIGINT or SIGTERM, then finish the requests that have begun.

    started: called with the address once a model answers. Raises ValueError when there is no
    champion or the token cannot be sent, OSError when the port is taken.
    """
    load = partial(load_version, threads=config.threads, ui=config.mlflow_ui)
    with listening(config) as (run, token), Champion(config.model, config.poll, load) as champion:
        run(create_app(champion, config, token=token), started, round(config.timeout))


@contextlib.contextmanager
def listening(config: PageConfig) -> Iterator[tuple[Callable[..., None], str]]:
    """Hold the port; gives what serves an application on it, and the token that it must ask for.

    The first takes the application, `started` as for `serve`, and the seconds that requests get to
    end. Raises ValueError for a token that cannot be sent, OSError when the port is taken.
    """
    token = configured_token()
    if config.host not in _LOOPBACK and not token:
        logger.warning("anyone who reaches %s may ask; set %s", config.host, TOKEN_VARIABLE)
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        listener = socket.create_server((config.host, config.port), family=family)
    except OSError as error:
        # `create_server` adds the address to the system's words.
        reason, _, _ = str(error.strerror).partition(" (while")
        raise OSError(
            f"cannot listen on {config.host} port {config.port} ({reason}); give another with"
            " --port"
        ) from error

    def run(app: FastAPI, started: Callable[[str], None], seconds_to_end: int) -> None:
        started(f"http://{shown_host(config.host, config.hosts)}:{listener.getsockname()[1]}")
        options = server_config(app, timeout_graceful_shutdown=seconds_to_end)
        uvicorn.Server(options).run(sockets=[listener])

    with listener:
        yield run, token


def configured_token() -> str:
    """Read the token that clients must send from the environment; empty where none is set.

    Raises ValueError when it is blank or no client could send it. The message does not hold it.
    """
    given = os.environ.get(TOKEN_VARIABLE)
    if given is None:
        return ""
    token = given.strip()
    if not token:
        # It was set to protect the app, so do not start unprotected.
        raise ValueError(f"{TOKEN_VARIABLE} is set but blank; give it a token, or unset it")
    if not _SENDABLE.fullmatch(token):
        raise ValueError(
            f"{TOKEN_VARIABLE} holds a blank or a character outside of printable ASCII, which no"
            " client can send; use only ASCII letters, digits and signs"
        )
    return token


def server_config(app: Any, **options: Any) -> uvicorn.Config:
    """Settings of uvicorn that bound what a client may send before the app is asked."""
    connections = MAX_CONNECTIONS
    with contextlib.suppress(ImportError):
        import resource  # noqa: PLC0415 - not on Windows

        # The other half is for photos and the registry.
        if (files := resource.getrlimit(resource.RLIMIT_NOFILE)[0]) > 0:
            connections = min(connections, files // 2)
    return uvicorn.Config(
        app,
        http=BoundedHttp,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_keep_alive=IDLE_SECONDS,
        limit_concurrency=connections,
        ws="none",
        # Guard writes our own lines; uvicorn's would show whatever a stranger puts in a path.
        log_config=None,
        access_log=False,
        server_header=False,
        **options,
    )


class BoundedHttp(H11Protocol):
    """uvicorn's protocol, with a limit on the time without a request.

    After IDLE_SECONDS without a complete request head, or without the end of a body that came
    after its answer, the connection is closed. uvicorn itself limits only the time between
    requests.
    """

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: no request has come yet."""
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock."""
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and stop the clock when it completes a request head."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Start the clock again, unless the next request is here already."""
        super().on_response_complete()
        self._watch()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be parsed, or hang up where the refusal would be a second answer."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            super().send_400_response(msg)
        else:
            self.transport.close()

    def _watch(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._stop()
        elif self._timer is None and not self.transport.is_closing():
            self._timer = self.loop.call_later(IDLE_SECONDS, self.transport.close)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

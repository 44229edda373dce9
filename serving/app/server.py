"""The app on a port: champion, map and token found, then served until it is told to end."""

from __future__ import annotations

import logging
import socket
from functools import partial
from typing import TYPE_CHECKING

import uvicorn

from serving.app.access_token import TOKEN_VARIABLE, configured_token
from serving.app.application import create_app
from serving.app.bounded_http import LONGEST_SECONDS, BoundedHttp
from serving.app.run_link import run_link
from serving.champion import Champion, load_predictor

if TYPE_CHECKING:
    from collections.abc import Callable

    from landmark_ml.config import AppConfig

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_EVERY_ADDRESS = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound to

logger = logging.getLogger(__name__)


def serve(config: AppConfig, started: Callable[[str], None]) -> None:
    """Answer on the port until SIGINT or SIGTERM; then finish what was begun.

    started: called with the address once a model answers. Raises ValueError when there is no
    champion or the token cannot be sent, OSError when the port is taken.
    """
    token = configured_token()
    if config.host not in _LOOPBACK and not token:
        logger.warning("anyone who reaches %s may ask; set %s", config.host, TOKEN_VARIABLE)
    load = partial(load_predictor, threads=config.threads)
    watched = Champion(config.model, None, config.poll, load=load)
    with _listen(config) as listener, watched as champion:
        app = create_app(
            champion,
            config,
            run_url=partial(run_link, ui=config.mlflow_ui),
            token=token,
        )
        # Our own log has a line a request; uvicorn's would name what strangers type.
        options = uvicorn.Config(
            app,
            http=BoundedHttp,
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=LONGEST_SECONDS,
            timeout_graceful_shutdown=round(config.timeout),
        )
        started(f"http://{_shown_host(config)}:{listener.getsockname()[1]}")
        uvicorn.Server(options).run(sockets=[listener])


def _shown_host(config: AppConfig) -> str:
    """Name to ask under: of every address of the machine the first that is not refused."""
    if config.host in _EVERY_ADDRESS:
        return config.hosts.split(",")[0].strip()
    return f"[{config.host}]" if ":" in config.host else config.host


def _listen(config: AppConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    try:
        return socket.create_server((config.host, config.port), family=family)
    except OSError as error:
        # `create_server` adds the address to what the system said.
        reason, _, _ = str(error.strerror).partition(" (while")
        raise OSError(
            f"cannot listen on {config.host} port {config.port} ({reason}); give another with"
            " --port"
        ) from error

"""One JSON line a request: what was asked, how it ended, how long it took; nothing of a photo."""

from __future__ import annotations

import json
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from serving.app.metrics import Metrics

logger = logging.getLogger(__name__)

OTHER_PATH = "other"


class AccessLog:
    """ASGI middleware: logs and counts every request under the path of its route.

    What a route put into `scope["state"]["log"]` goes into the line. Other paths than `paths` are
    logged as `other`, so that what a stranger types fills neither log nor metrics.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request and write its line."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status, received = time.perf_counter(), 500, 0
        facts: dict[str, Any] = {}
        scope.setdefault("state", {})["log"] = facts

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            return message

        async def send_seen(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", name.encode())]
            await send(message)

        name = uuid.uuid4().hex[:12]
        try:
            await self._app(scope, receive_counted, send_seen)
        finally:
            seconds = time.perf_counter() - started
            self._record(scope, status, seconds, {"id": name, "bytes_in": received, **facts})

    def _record(self, scope: Scope, status: int, seconds: float, facts: dict[str, Any]) -> None:
        path = scope["path"] if scope["path"] in self._paths else OTHER_PATH
        method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else OTHER_PATH
        self._metrics.requests.labels(method, path, str(status)).inc()
        self._metrics.seconds.labels(path).observe(seconds)
        line = {"method": method, "path": path, "status": status, "seconds": round(seconds, 4)}
        logger.info("%s", json.dumps({**line, **facts}))

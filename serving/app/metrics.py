"""What operators see: counters for Prometheus and one log line per request."""

from __future__ import annotations

import json
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger = logging.getLogger(__name__)

OTHER = "other"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counters of one app. They are not global, so two apps in a process do not mix theirs."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "landmarks_requests",
            "Requests answered.",
            ("method", "path", "status"),
            registry=self._registry,
        )
        self.seconds = Histogram(
            "landmarks_request_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.photos = Counter(
            "landmarks_photos",
            "Photos by what they showed: a level of the answer, none, or the code of a refusal.",
            ("outcome",),
            registry=self._registry,
        )
        self.batch_photos = Histogram(
            "landmarks_batch_photos",
            "Photos answered in one batch.",
            buckets=(1, 2, 3, 4),
            registry=self._registry,
        )

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read whenever Prometheus asks."""
        Gauge(name, meaning, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class AccessLog:
    """ASGI middleware: writes one JSON line per request and counts it, under its route's path.

    The line has the status and the time, and nothing about a photo. A route adds facts to the line
    in `scope["state"]["log"]`. Any path but `paths` counts as `other`, so that requests for random
    paths cannot fill the log or the metrics.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Collection[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request and log it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = uuid.uuid4().hex[:12]
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
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive_counted, send_seen)
        finally:
            seconds = time.perf_counter() - started
            path = scope["path"] if scope["path"] in self._paths else OTHER
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST") else OTHER
            self._metrics.requests.labels(method, path, str(status)).inc()
            self._metrics.seconds.labels(path).observe(seconds)
            line = {
                "method": method,
                "path": path,
                "status": status,
                "seconds": round(seconds, 4),
                "id": request_id,
                "bytes_in": received,
                **facts,
            }
            logger.info("%s", json.dumps(line))

"""The application: its routes, who may ask, and what operators see."""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from landmark_ml.config import AppConfig, PageConfig
from landmark_ml.corrections import MAX_NAME, Choice
from landmark_ml.inference.predictor import DEFAULT_TOP_K
from serving.app.answering import Answering
from serving.app.answers import (
    SAMPLES,
    Answers,
    Health,
    Landmarks,
    Model,
    Problem,
    Readiness,
    document,
    draw_sample,
)
from serving.app.photoprism import (
    LABELS_PATH,
    LabelsAnswer,
    LabelsProblem,
    LabelsRequest,
    label_photo,
    read_images,
)
from serving.champion import Champion

logger = logging.getLogger(__name__)

_STATIC = Path(__file__).resolve().parents[1] / "static"
_MAX_CANDIDATES = 50
_BINARY = {"type": "string", "format": "binary"}
_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "one photo as the body, or several as files of a form; the type is read"
        " from the photo itself",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"photos": {"type": "array", "items": _BINARY, "minItems": 1}},
                    "required": ["photos"],
                }
            },
            "application/octet-stream": {"schema": _BINARY},
            "image/*": {"schema": _BINARY},
        },
    }
}


def _problems(shape: Any) -> dict[int | str, dict[str, Any]]:
    return {
        status: {"model": document(shape), "description": meaning}
        for status, meaning in {
            400: "The request cannot be read.",
            408: "The upload took too long.",
            413: "Too many bytes or photos in one request.",
            503: "Busy; the header Retry-After says when to try again.",
        }.items()
    }


_OUT_OF_RANGE: dict[int | str, dict[str, Any]] = {
    422: {"description": "A parameter is out of its range."}
}
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""On every response. Pages hold no inline script or style and load nothing from elsewhere."""
_WITH_TOKEN = ("/api/", "/metrics")
OTHER = "other"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


def create_app(champion: Champion, config: AppConfig, *, token: str = "") -> FastAPI:
    """Build the ASGI application that answers with a champion that was started.

    token: what /api and /metrics require; empty: none.
    """
    metrics = Metrics()
    answering = Answering(champion, config, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        answering.close()

    app = FastAPI(
        title="landmark-ml",
        description="Recognises the landmark in a photo.",
        version="1",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )

    @app.post(
        "/api/tag",
        response_model=document(Answers),
        responses=_problems(Problem) | _OUT_OF_RANGE,
        openapi_extra=_UPLOAD,
        summary="Answer for one photo or several",
    )
    async def tag(
        request: Request,
        top_k: Annotated[
            int, Query(ge=1, le=_MAX_CANDIDATES, description="candidates for each photo")
        ] = DEFAULT_TOP_K,
        threshold: Annotated[
            float | None,
            Query(ge=0, le=1, description="lowest landmark_score; if left out, the model's"),
        ] = None,
    ) -> Response:
        return JSONResponse(await answering.answer(request, top_k, threshold))

    @app.post(
        LABELS_PATH,
        response_model=document(LabelsAnswer),
        responses=_problems(LabelsProblem),
        openapi_extra={
            "requestBody": {
                "required": True,
                "description": "JSON; several images show one photo",
                "content": {"application/json": {"schema": LabelsRequest.model_json_schema()}},
            }
        },
        summary="Labels of a photo, as PhotoPrism asks for them",
    )
    async def labels(request: Request) -> Response:
        unpack = partial(read_images, max_images=config.max_photos)
        return JSONResponse(label_photo(await answering.answer(request, 1, None, unpack)))

    if config.corrections:

        @app.post(
            "/api/corrections",
            responses=_OUT_OF_RANGE,
            openapi_extra=_UPLOAD,
            summary="Say what a photo shows; the server keeps both",
        )
        async def correct(
            request: Request,
            decision: Annotated[
                Choice,
                Query(description="it shows `right`; none; what was said is wrong; nothing"),
            ],
            said: Annotated[str, Query(max_length=MAX_NAME, description="what was said")] = "",
            right: Annotated[str, Query(max_length=MAX_NAME, description="what is right")] = "",
        ) -> Response:
            await answering.correct(request, said, decision, right)
            return JSONResponse({"status": "ok"})

    @app.get("/api/model", response_model=document(Model), summary="Which version answers")
    async def model() -> Response:
        return JSONResponse(answering.model())

    @app.get(
        "/api/landmarks", response_model=document(Landmarks), summary="Which landmarks it knows"
    )
    async def landmarks(request: Request) -> Response:
        return JSONResponse(answering.landmarks(request))

    @app.get(
        "/api/sample",
        response_class=_Jpeg,
        responses=_OUT_OF_RANGE,
        summary="A drawn postcard to try",
    )
    async def sample(
        number: Annotated[int, Query(ge=1, le=len(SAMPLES), description="which one")] = 1,
    ) -> Response:
        return _Jpeg(draw_sample(number))

    @app.get("/healthz", response_model=document(Health), summary="Whether the process runs")
    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get(
        "/readyz",
        response_model=document(Readiness),
        summary="Which version answers; whether the next one can",
    )
    async def readyz() -> Response:
        # Anyone may ask here, and MLflow's messages may hold addresses with passwords.
        problem = "the next champion cannot be loaded; the log says why"
        answer = {"status": "ok", "version": champion.current.version}
        return JSONResponse({**answer, "problem": problem if champion.problem else None})

    @app.get("/metrics", response_class=PlainTextResponse, summary="Counters for Prometheus")
    async def counters() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)

    for endpoint in (model, landmarks, healthz, readyz, counters):
        # A route of its own, so that the description of the API lists GET alone.
        where = app.url_path_for(endpoint.__name__)
        app.add_api_route(where, endpoint, methods=["HEAD"], include_in_schema=False)
    return guarded(app, {"/": "index.html", "/docs": "docs.html"}, config, token, metrics)


def guarded(
    app: FastAPI, pages: Mapping[str, str], config: PageConfig, token: str, metrics: Metrics
) -> FastAPI:
    """Give an application its pages, files by path, and check who asks; see `Guard`."""
    app.add_exception_handler(HTTPException, _refuse)
    app.add_exception_handler(Exception, _fail)
    for path, name in pages.items():

        async def page(_: Request, file: Path = _STATIC / name) -> Response:
            return FileResponse(file, headers={"Cache-Control": "no-cache"})

        app.add_route(path, page, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    paths = {route.path for route in app.routes if hasattr(route, "path")}
    app.add_middleware(Guard, hosts=config.hosts, token=token, metrics=metrics, paths=paths)
    return app


class _Jpeg(Response):
    media_type = "image/jpeg"


async def _refuse(request: Request, error: Any) -> Response:
    told = {"detail": error.detail}
    if request.scope["path"] == LABELS_PATH:
        told = {"code": error.status_code, "error": error.detail}
    return JSONResponse(told, error.status_code, error.headers)


async def _fail(request: Request, _: Exception) -> Response:
    # Starlette calls this outside all middleware, so the guard does not add its headers.
    headers = {**SECURITY_HEADERS, "Cache-Control": "no-store"}
    told = "the server failed; what happened is in the log"
    return await _refuse(request, HTTPException(500, told, headers))


class Metrics:
    """Counters of one app. They are not global, so two apps in a process do not mix theirs."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        labels = ("method", "path", "status")
        self.requests = counter("landmarks_requests", "Requests answered.", labels)
        self.seconds = Histogram(
            "landmarks_request_seconds",
            "Time from the first byte of a request to the last of its answer.",
            ("path",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.photos = counter(
            "landmarks_photos",
            "Photos by what they showed: a level of the answer, none, or the code of a refusal.",
            ("outcome",),
        )

    def watch(self, name: str, meaning: str, value: Callable[[], float]) -> None:
        """Add a gauge that is read whenever Prometheus asks."""
        Gauge(name, meaning, registry=self._registry).set_function(value)

    def text(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class Guard:
    """ASGI middleware: checks host, origin and token, sets security headers, logs and counts.

    hosts: names of this server; token: what /api and /metrics require; empty: none. One JSON line
    per request has the status and the time, and nothing about a photo. A route adds facts to it in
    `scope["state"]["log"]`. Any path but `paths` counts as `other`, so that requests for random
    paths cannot fill the log or the metrics.
    """

    def __init__(
        self, app: ASGIApp, hosts: str, token: str, metrics: Metrics, paths: Collection[str]
    ) -> None:
        self._app = app
        self._hosts = {name.strip().lower() for name in hosts.split(",") if name.strip()}
        self._token = token.encode()
        self._metrics = metrics
        self._paths = frozenset(paths)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
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

        async def send_guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS | {"X-Request-Id": request_id})
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        app = self._app
        try:
            self._check(scope["path"], Headers(scope=scope))
        except HTTPException as refused:
            app = await _refuse(Request(scope), refused)
        try:
            await app(scope, receive_counted, send_guarded)
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

    def _check(self, path: str, headers: Headers) -> None:
        # Any site can point its own host name at this machine (DNS rebinding), but its pages
        # cannot change this header. Of two, a proxy may check one and we the other.
        hosts = headers.getlist("host")
        host = ", ".join(hosts)
        if len(hosts) != 1 or not self._is_ours(host):
            raise HTTPException(
                400, f"this server is not called {host[:100]!r}; start it with --hosts naming it"
            )
        if not path.startswith(_WITH_TOKEN):
            return
        site = headers.get("sec-fetch-site")
        # Over plain HTTP, browsers say where a page is from by `Origin` alone.
        scheme, _, origin = headers.get("origin", "").partition("://")
        # Another port of this host is the same site, and not our page.
        foreign = site in ("cross-site", "same-site")
        if foreign or (site is None and scheme and not self._is_ours(origin)):
            raise HTTPException(403, "pages of other sites may not ask this server")
        scheme, _, given = headers.get("authorization", "").partition(" ")
        is_right = hmac.compare_digest(given.strip().encode(), self._token)
        if self._token and not (scheme.lower() == "bearer" and is_right):
            reason = "a token is needed; send it as `Authorization: Bearer <token>`"
            raise HTTPException(401, reason, {"WWW-Authenticate": "Bearer"})

    def _is_ours(self, host: str) -> bool:
        name, colon, port = host.lower().rpartition(":")
        return (name if colon and port.isdecimal() else host.lower()) in self._hosts

"""The app put together: routes, page and what stands around every request."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Query
from fastapi.routing import APIRoute

# FastAPI resolves the annotations of routes, so this is imported for real.
from starlette.requests import Request  # noqa: TC002
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from landmark_ml.inference.predictor import DEFAULT_TOP_K
from serving.app.access_log import AccessLog
from serving.app.answering import Answering
from serving.app.answers import Answers, Model, Problem, document
from serving.app.guard import SECURITY_HEADERS, Guard
from serving.app.metrics import CONTENT_TYPE_LATEST, Metrics
from serving.app.refusals import RequestRefusedError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from landmark_ml.config import AppConfig
    from serving.app.answering import Source

_STATIC = Path(__file__).resolve().parents[1] / "static"
_PAGES = {"/": "index.html", "/docs": "docs.html"}
_MOST_CANDIDATES = 50
_NOT_FOLLOWED = "the next champion cannot be loaded; the log says why"
_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "one photo as it is, or several as files of a form; the type is looked up"
        " in the photo itself",
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "photos": {"type": "array", "items": {"type": "string", "format": "binary"}}
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "image/*": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


def create_app(
    champion: Source,
    config: AppConfig,
    *,
    run_url: Callable[[str], str | None],
    token: str = "",
) -> FastAPI:
    """ASGI application that answers with a champion that was started.

    run_url: link to a run by its id; token: what /api and
    /metrics ask for, empty for nothing.
    """
    metrics = Metrics()
    answering = Answering(champion, config, metrics, run_url)

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
    app.add_exception_handler(RequestRefusedError, _refuse)
    app.add_exception_handler(Exception, _fail)
    _add_api(app, answering)
    _add_operations(app, champion, metrics)
    _add_page(app)
    _answer_head(app)
    _stand_before(app, config, metrics, token)
    return app


def _stand_before(app: FastAPI, config: AppConfig, metrics: Metrics, token: str) -> None:
    """Put the guard and the access log before all routes."""
    hosts = [name.strip() for name in config.hosts.split(",") if name.strip()]
    paths = {route.path for route in app.routes if hasattr(route, "path")}
    # The last one added stands outermost: the log sees what the guard refuses.
    app.add_middleware(Guard, hosts=hosts, token=token)
    app.add_middleware(AccessLog, metrics=metrics, paths=paths)


def _add_api(app: FastAPI, answering: Answering) -> None:
    problems: dict[int | str, dict[str, Any]] = {
        status: {"model": document(Problem), "description": meaning}
        for status, meaning in (
            (400, "The request cannot be read."),
            (408, "The upload took too long."),
            (413, "Too many bytes or photos in one request."),
            (503, "Busy; the header Retry-After says when to try again."),
        )
    }

    @app.post(
        "/api/tag",
        response_model=document(Answers),
        responses=problems,
        openapi_extra=_UPLOAD,
        summary="Answer for one photo or several",
    )
    async def tag(
        request: Request,
        top_k: Annotated[
            int, Query(ge=1, le=_MOST_CANDIDATES, description="candidates a photo")
        ] = DEFAULT_TOP_K,
        threshold: Annotated[
            float | None,
            Query(ge=0, le=1, description="least landmark_score; left out, it is the model's"),
        ] = None,
    ) -> Response:
        return JSONResponse(await answering.answer(request, top_k, threshold))

    @app.get("/api/model", response_model=document(Model), summary="Which version answers")
    async def model() -> Response:
        return JSONResponse(answering.model())


def _add_operations(app: FastAPI, champion: Source, metrics: Metrics) -> None:
    @app.get("/healthz", summary="Whether the process runs")
    async def healthz() -> Response:
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", summary="Whether a model answers, and whether the next one can")
    async def readyz() -> Response:
        version = champion.current.version
        # Anyone may ask here, and MLflow's messages hold addresses, even with their passwords.
        problem = _NOT_FOLLOWED if champion.problem else None
        return JSONResponse({"status": "ok", "version": version, "problem": problem})

    @app.get("/metrics", summary="Counters for Prometheus")
    async def counters() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_LATEST)


def _add_page(app: FastAPI) -> None:
    for path, file in _PAGES.items():
        app.add_api_route(path, _page(_STATIC / file), include_in_schema=False)
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")


def _page(file: Path) -> Callable[[], Any]:
    async def page() -> Response:
        return FileResponse(file, headers={"Cache-Control": "no-cache"})

    return page


def _answer_head(app: FastAPI) -> None:
    """Let HEAD ask for whatever GET gives; the server leaves the body out."""
    for route in list(app.routes):
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
            # A route of its own, so that the description of the API tells of GET alone.
            app.add_api_route(route.path, route.endpoint, methods=["HEAD"], include_in_schema=False)


async def _refuse(_: Request, error: Exception) -> Response:
    if not isinstance(error, RequestRefusedError):
        raise error
    return error.response()


async def _fail(_: Request, __: Exception) -> Response:
    # Starlette answers for what nobody expected around all middleware, the guard among them.
    headers = {**SECURITY_HEADERS, "Cache-Control": "no-store"}
    return JSONResponse({"detail": "the server failed; what happened is in the log"}, 500, headers)

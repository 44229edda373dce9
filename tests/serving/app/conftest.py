"""The app in this process, answering with the artifact that knows colours."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import mlflow
import pytest
import uvicorn
from PIL import Image
from starlette.testclient import TestClient

from landmark_ml.config import AppConfig
from landmark_ml.inference.predictor import Predictor
from serving.app import create_app
from serving.app.server import server_config
from serving.champion import ALIAS, Champion, Loaded
from tests.colour_artifact import GREEN, RED, WHITE, colour_photo, gps_exif, log_artifact
from tests.serving.app.visit import Visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@dataclass
class Versions:
    """A champion that tests move by hand."""

    current: Loaded
    problem: str | None = None


@dataclass
class App:
    """A running app and what it answers with."""

    client: TestClient
    versions: Versions


class StartApp(Protocol):
    """Start an app whose configuration differs in some fields."""

    def __call__(self, *, token: str = "", **changes: Any) -> App: ...


@pytest.fixture
def start_app(predictor: Predictor) -> Iterator[StartApp]:
    def start(*, token: str = "", **changes: Any) -> App:
        versions = Versions(Loaded(predictor, "landmarks", 7, "abc", "http://mlflow.test/abc"))
        config = AppConfig(threads=2, **changes)
        made = create_app(cast("Champion", versions), config, token=token)
        client = ends.enter_context(TestClient(made, base_url="http://localhost:8000"))
        return App(client, versions)

    with contextlib.ExitStack() as ends:
        yield start


@pytest.fixture
def app(start_app: StartApp) -> App:
    return start_app()


@pytest.fixture(scope="module")
def serve(predictor: Predictor) -> Iterator[Callable[..., str]]:
    """Start an app on a port, for a browser; gives its address."""
    servers = []

    def start(token: str = "", versions: Versions | None = None, **changes: Any) -> str:
        loaded = Loaded(predictor, "landmarks", 7, "abc", "http://localhost/run")
        followed = cast("Champion", versions or Versions(loaded))
        app = create_app(followed, AppConfig(**changes), token=token)
        server = uvicorn.Server(server_config(app, port=0))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        servers.append((server, thread))
        while not server.started:
            assert thread.is_alive(), "the app ended before it listened"
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    yield start
    for server, thread in servers:
        server.should_exit = True
        thread.join(30)


@pytest.fixture(scope="module")
def address(serve: Callable[..., str]) -> str:
    """Where an app answers that asks for no token; one for all tests of a module."""
    return serve()


@pytest.fixture(scope="session")
def registered(tracking_uri: str) -> str:
    """Name of a registered model whose champion knows colours."""
    name, model = "colours", log_artifact(tracking_uri)
    client = mlflow.MlflowClient()
    client.create_registered_model(name)
    client.create_model_version(name, f"models:/{model.model_id}", model.run_id)
    client.set_registered_model_alias(name, ALIAS, "1")
    return name


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for name, data in {
        "red.jpg": colour_photo(RED, (400, 300)),
        "there.jpg": colour_photo(RED, (400, 300), exif=gps_exif(48, 3)),
        "green.jpg": colour_photo(GREEN, (300, 400)),
        "white.jpg": colour_photo(WHITE, (400, 300)),
        "notes.jpg": b"these are notes",
    }.items():
        (folder / name).write_bytes(data)
    Image.new("RGB", (400, 300), RED).save(folder / "red.tiff")
    return folder


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    made = Visit(browser, address)
    yield made
    made.context.close()
    assert made.complaints == []
    assert made.foreign == []

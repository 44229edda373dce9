"""The app in this process, answering with the artifact that knows colours."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from starlette.testclient import TestClient

from landmark_ml.config import AppConfig
from serving.app import create_app
from serving.champion import Loaded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving.predictor import Predictor

WORLD = "M0 0L10 0L10 10Z"


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
    asked_runs: list[str] = field(default_factory=list)


class StartApp(Protocol):
    """Start an app whose configuration differs in some fields."""

    def __call__(self, *, token: str = "", **changes: Any) -> App: ...


@pytest.fixture
def start_app(predictor: Predictor) -> Iterator[StartApp]:
    running = []

    def start(*, token: str = "", **changes: Any) -> App:
        versions = Versions(Loaded(predictor, version=7, run_id="abc"))
        asked: list[str] = []

        def run_url(run_id: str) -> str:
            asked.append(run_id)
            return f"http://mlflow.test/{run_id}"

        made = create_app(
            versions, AppConfig(threads=2, **changes), world=WORLD, run_url=run_url, token=token
        )
        client = TestClient(made, base_url="http://localhost:8000")
        client.__enter__()
        running.append(client)
        return App(client, versions, asked)

    yield start
    for client in running:
        client.__exit__(None, None, None)


@pytest.fixture
def app(start_app: StartApp) -> App:
    return start_app()

"""The app as it is started on a port: what it is told reaches those who do the work."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.testclient import TestClient

from landmark_ml.config import AppConfig
from serving.app import serve
from serving.app.server import BoundedHttp
from tests.colour_artifact import RED, colour_photo
from tests.serving.predict_threads import predicting

if TYPE_CHECKING:
    import pytest


def test_photos_are_worked_on_by_so_many_threads(
    registered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, at_work = predicting(), set[Thread]()

    def run(running: uvicorn.Server, **_: Any) -> None:
        files = [("photos", (f"{number}.jpg", colour_photo(RED))) for number in range(16)]
        assert running.config.http is BoundedHttp
        app: Any = running.config.app
        with TestClient(app, base_url="http://localhost") as asked:
            assert asked.post("/api/tag", files=files).status_code == 200
        at_work.update(predicting() - before)

    monkeypatch.setattr(uvicorn.Server, "run", run)
    serve(AppConfig(model=registered, port=0, threads=1), lambda _: None)
    assert len(at_work) == 1

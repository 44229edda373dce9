"""What those who run the app see: health, counters, a log that tells nothing of the photos."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

import pytest

from tests.colour_artifact import RED, WHITE, colour_photo
from tests.serving.app.raw_requests import ask

if TYPE_CHECKING:
    from tests.serving.app.conftest import App


def test_health_and_readiness(app: App) -> None:
    assert app.client.get("/healthz").json() == {"status": "ok"}
    assert app.client.get("/readyz").json() == {"status": "ok", "version": 7, "problem": None}


@pytest.mark.parametrize("path", ["/", "/docs", "/healthz", "/readyz", "/metrics", "/api/model"])
def test_head_is_answered_like_get_without_a_body(path: str, app: App) -> None:
    given, head = app.client.get(path), app.client.head(path)
    assert (given.status_code, head.status_code) == (200, 200)
    assert head.content == b""
    assert head.headers["content-type"] == given.headers["content-type"]


def test_head_stands_in_no_description_and_asks_no_photo(app: App) -> None:
    calls = app.client.get("/openapi.json").json()["paths"].values()
    assert {method for call in calls for method in call} == {"get", "post"}
    assert app.client.head("/api/tag").status_code == 405


def test_readiness_tells_strangers_no_address(app: App) -> None:
    app.versions.problem = "API request to http://me:sesame@mlflow.example/api failed"
    ready = app.client.get("/readyz").json()
    assert (ready["status"], ready["version"]) == ("ok", 7)
    assert ready["problem"] == "the next champion cannot be loaded; the log says why"


def test_metrics_count_requests_and_what_photos_showed(app: App) -> None:
    files = [("photos", ("a.jpg", data)) for data in (colour_photo(RED), colour_photo(WHITE), b"x")]
    app.client.post("/api/tag", files=files)
    app.client.get("/secret/holiday.jpg")
    lines = app.client.get("/metrics").text.splitlines()
    assert 'landmarks_requests_total{method="POST",path="/api/tag",status="200"} 1.0' in lines
    for outcome in ("landmark", "none", "not_an_image"):
        assert f'landmarks_photos_total{{outcome="{outcome}"}} 1.0' in lines
    assert "landmarks_waiting_photos 0.0" in lines
    assert "landmarks_upload_bytes 0.0" in lines
    assert "landmarks_model_version 7.0" in lines
    assert 'landmarks_requests_total{method="GET",path="other",status="404"} 1.0' in lines
    assert not [line for line in lines if "holiday" in line]


def test_a_log_line_is_json_and_names_no_photo(app: App, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "serving.app")
    files = {"photos": ("my holiday.jpg", colour_photo(RED))}
    response = app.client.post("/api/tag?top_k=2", files=files)
    (line,) = [json.loads(record.message) for record in caplog.records]
    assert line["id"] == response.headers["x-request-id"]
    assert (line["method"], line["path"], line["status"]) == ("POST", "/api/tag", 200)
    assert (line["photos"], line["outcomes"], line["version"]) == (1, {"landmark": 1}, 7)
    assert line["bytes_in"] > len(files["photos"][1])
    assert line["seconds"] > 0
    assert "holiday" not in caplog.text


def test_a_client_that_goes_away_is_no_fault_of_the_server(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "serving.app")
    assert ask(app.client.app, [colour_photo(RED)[:100]], ends=False) == (499, 1)
    lines = app.client.get("/metrics").text.splitlines()
    assert 'landmarks_requests_total{method="POST",path="/api/tag",status="499"} 1.0' in lines
    assert "landmarks_upload_bytes 0.0" in lines
    line = json.loads(caplog.records[0].message)
    assert (line["status"], line["bytes_in"]) == (499, 100)

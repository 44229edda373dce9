"""Links to runs: no password in them, found in the background, and again after a failure."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace
from typing import NoReturn

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from serving.app.answers import RunLinks, run_link
from tests.colour_artifact import RED, colour_photo
from tests.serving.app.conftest import StartApp

RUN = SimpleNamespace(info=SimpleNamespace(experiment_id="3"))


@pytest.fixture(autouse=True)
def _known_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MlflowClient, "get_run", lambda *_: RUN)


@pytest.mark.parametrize(
    ("tracking", "ui", "base"),
    [
        ("https://me:sesame@mlflow.example:8443/ml/", "", "https://mlflow.example:8443/ml"),
        ("https://mlflow.example", "", "https://mlflow.example"),
        ("https://mlflow.example", "https://me:ses@me@ui.example", "https://ui.example"),
        ("sqlite:////tmp/mlflow.db", "", "http://127.0.0.1:5000"),
    ],
)
def test_it_leads_to_the_page_without_a_password(
    tracking: str, ui: str, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow, "get_tracking_uri", lambda: tracking)
    assert run_link("abc", ui) == f"{base}/#/experiments/3/runs/abc"


LONGEST = 10.0


def found(links: RunLinks, run_id: str) -> str | None:
    """The link once it is there, None when it does not come."""
    end = time.monotonic() + LONGEST
    while (link := links.get(run_id)) is None and time.monotonic() < end:
        time.sleep(0.005)
    return link


def test_a_link_is_looked_up_once() -> None:
    asked: list[str] = []

    def find(run_id: str) -> str:
        asked.append(run_id)
        return f"http://ui/{run_id}"

    links = RunLinks(find)
    assert found(links, "abc") == "http://ui/abc"
    assert found(links, "def") == "http://ui/def"
    assert links.get("abc") == "http://ui/abc"
    assert asked == ["abc", "def"]


def test_nobody_waits_for_a_server_that_is_away() -> None:
    asked, away = [], threading.Event()

    def find(run_id: str) -> str:
        asked.append(run_id)
        assert away.wait(LONGEST)
        return "http://ui"

    links = RunLinks(find, retry_seconds=0)
    started = time.monotonic()
    assert [links.get("abc") for _ in range(20)] == [None] * 20
    assert time.monotonic() - started < LONGEST / 2
    away.set()
    assert found(links, "abc") == "http://ui"
    assert asked == ["abc"]


def test_an_unknown_run_has_no_link(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(*_: object) -> NoReturn:
        raise MlflowException("away")

    monkeypatch.setattr(MlflowClient, "get_run", away)
    links = RunLinks(run_link)
    assert links.get("abc") is None
    end = time.monotonic() + LONGEST
    while "no link to run abc" not in caplog.text and time.monotonic() < end:
        time.sleep(0.005)
    assert "away" in caplog.text
    assert links.get("abc") is None


def test_a_failure_is_not_for_ever() -> None:
    answers: list[Exception | str] = [
        MlflowException("away"),
        ConnectionError("away"),
        "http://ui",
    ]

    def find(_: str) -> str:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert found(RunLinks(find, retry_seconds=0), "abc") == "http://ui"


def test_after_a_failure_there_is_a_pause() -> None:
    asked: list[str] = []

    def find(run_id: str) -> NoReturn:
        asked.append(run_id)
        raise ConnectionError("away")

    links = RunLinks(find, retry_seconds=LONGEST)
    for _ in range(20):
        assert links.get("abc") is None
        time.sleep(0.005)
    assert asked == ["abc"]


def test_photos_are_answered_while_the_tracking_server_hangs(start_app: StartApp) -> None:
    back = threading.Event()

    def hang(run_id: str) -> str:
        back.wait(LONGEST)
        return f"http://mlflow.test/{run_id}"

    app = start_app(run_url=hang)
    started = time.monotonic()
    answers = app.client.post("/api/tag", content=colour_photo(RED)).json()
    assert app.client.get("/api/model").json()["run_url"] is None
    assert time.monotonic() - started < LONGEST / 2
    assert answers["photos"][0]["landmark"] == "Eiffel Tower"
    assert answers["model"]["run_url"] is None
    back.set()
    assert app.linked_model()["run_url"] == "http://mlflow.test/abc"

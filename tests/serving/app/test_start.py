"""Starting the app: the token of the environment, the word about strangers, a port in use."""

from __future__ import annotations

import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from starlette.testclient import TestClient

from landmark_ml.config import AppConfig
from serving.app import serve, server

if TYPE_CHECKING:
    from collections.abc import Iterator

ELSEWHERE = "192.0.2.1"
"""An address for documentation: no machine has it, so nothing listens there."""


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def set_token(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    """Token of the environment, empty for none."""
    if token:
        monkeypatch.setenv("LANDMARKS_TOKEN", token)
    else:
        monkeypatch.delenv("LANDMARKS_TOKEN", raising=False)


@pytest.mark.parametrize(
    ("token", "statuses"), [("sesame", [401, 401, 200]), ("", [200, 200, 200])]
)
def test_the_token_of_the_environment_is_asked_for(
    token: str, statuses: list[int], registered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[int] = []

    def run(running: uvicorn.Server, **_: Any) -> None:
        app: Any = running.config.app
        with TestClient(app, base_url="http://localhost") as client:
            found.append(client.get("/api/model").status_code)
            for given in ("Bearer other", "Bearer sesame"):
                answer = client.get("/api/model", headers={"Authorization": given})
                found.append(answer.status_code)

    set_token(monkeypatch, token)
    monkeypatch.setattr(uvicorn.Server, "run", run)
    serve(AppConfig(model=registered, port=0), lambda _: None)
    assert found == statuses


@pytest.mark.parametrize(
    ("host", "token", "warned"),
    [
        (ELSEWHERE, "", True),
        (ELSEWHERE, "sesame", False),
        ("127.0.0.1", "", False),
        ("localhost", "", False),
    ],
)
def test_who_lets_strangers_ask_is_told(
    host: str,
    token: str,
    warned: bool,
    taken_port: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "serving.app")
    set_token(monkeypatch, token)
    with pytest.raises(OSError, match=f"cannot listen on {host} port"):
        serve(AppConfig(host=host, port=taken_port), lambda _: None)
    warnings = [f"anyone who reaches {host} may ask; set LANDMARKS_TOKEN"] if warned else []
    assert [record.message for record in caplog.records] == warnings


def test_a_port_in_use_is_named_with_the_way_out(taken_port: int) -> None:
    started: list[str] = []
    words = rf"127\.0\.0\.1 port {taken_port} \([^(]*in use[^(]*\); give another with --port"
    with pytest.raises(OSError, match=words) as raised:
        serve(AppConfig(port=taken_port), started.append)
    assert isinstance(raised.value.__cause__, OSError)
    assert started == []


@pytest.mark.parametrize(
    ("host", "hosts", "shown"),
    [
        ("127.0.0.1", "localhost", "127.0.0.1"),
        ("::1", "localhost", "[::1]"),
        ("0.0.0.0", "my.name, other.name", "my.name"),  # noqa: S104 - it is only shown
        ("::", "my.name", "my.name"),
    ],
)
def test_the_address_that_is_shown_is_one_that_answers(host: str, hosts: str, shown: str) -> None:
    assert server.shown_host(AppConfig(host=host, hosts=hosts)) == shown

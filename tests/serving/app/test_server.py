"""Starting the app, and what a client may send before the app is asked."""

from __future__ import annotations

import contextlib
import http.client
import logging
import socket
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from starlette.testclient import TestClient

from landmark_ml.config import AppConfig, shown_host
from serving.app import serve, server
from serving.app.server import MAX_HEAD_BYTES, BoundedHttp
from tests.colour_artifact import RED, colour_photo

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
def test_listening_to_strangers_without_a_token_is_warned_about(
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
    assert shown_host(host, hosts) == shown


@pytest.mark.parametrize(("files", "connections"), [(100, 50), (100_000, 512), (-1, 512)])
def test_connections_take_half_of_the_files_that_may_be_open(
    files: int, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert server.server_config(None).limit_concurrency == connections


def test_one_thread_more_than_the_cores_asked_for_answers_the_photos(
    registered: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work: list[str] = []

    def run(running: uvicorn.Server, **_: Any) -> None:
        files = [("photos", (f"{number}.jpg", colour_photo(RED))) for number in range(16)]
        assert running.config.http is BoundedHttp
        app: Any = running.config.app
        with TestClient(app, base_url="http://localhost") as asked:
            assert asked.post("/api/tag", files=files).status_code == 200
            at_work.extend(thread.name for thread in threading.enumerate())

    monkeypatch.setattr(uvicorn.Server, "run", run)
    serve(AppConfig(model=registered, port=0, threads=1), lambda _: None)
    answering = [name for name in at_work if name.startswith("answer_")]
    assert sorted(answering) == ["answer_0", "answer_1"]


LONGEST = 30.0
PART = b"a" * 8192
CHUNKED = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
def connection(address: str) -> Iterator[socket.socket]:
    url = urlsplit(address)
    with socket.create_connection((url.hostname, url.port), timeout=LONGEST) as opened:
        yield opened


def answer(connection: socket.socket) -> bytes:
    """All that comes before the app hangs up."""
    parts = []
    # What was still on its way to it when it did resets the connection.
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("begin", "part"),
    [
        (b"GET /", PART),
        (b"GET / HTTP/1.1\r\nX: ", PART),
        (b"GET / HTTP/1.1\r\n", b"X: a\r\n" * 1000),
        (CHUNKED + b"0\r\n", b"X: a\r\n" * 1000),
        (CHUNKED + b"1;", PART),
    ],
    ids=["address", "header", "headers", "trailers", "size of a chunk"],
)
def test_a_head_without_end_is_refused(
    connection: socket.socket, begin: bytes, part: bytes
) -> None:
    connection.sendall(begin)
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 100 * MAX_HEAD_BYTES:
            connection.sendall(part)
            sent += len(part)
    assert sent < 100 * MAX_HEAD_BYTES
    said = answer(connection)
    # Of a body nobody reads the request is answered first.
    assert not said or said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 200 "))


def test_large_headers_are_answered_one_request_after_the_other(address: str) -> None:
    url = urlsplit(address)
    assert url.hostname
    with contextlib.closing(http.client.HTTPConnection(url.hostname, url.port, LONGEST)) as asked:
        for _ in range(3):
            asked.request("GET", "/healthz", headers={"X": "a" * (MAX_HEAD_BYTES // 2)})
            response = asked.getresponse()
            response.read()
            assert response.status == 200


def test_a_body_of_small_chunks_is_no_head(address: str) -> None:
    url = urlsplit(address)
    assert url.hostname
    chunks = (b"a" for _ in range(20_000))
    with contextlib.closing(http.client.HTTPConnection(url.hostname, url.port, LONGEST)) as asked:
        asked.request("POST", "/api/tag", chunks, encode_chunked=True)
        assert asked.getresponse().status == 200


@pytest.mark.parametrize(
    "begin", [b"", b"GET / HTTP/1.1\r\nHost: "], ids=["nothing", "half a head"]
)
def test_a_silent_client_is_disconnected(
    begin: bytes, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.2)
    url = urlsplit(address)
    with socket.create_connection((url.hostname, url.port), timeout=LONGEST) as connection:
        connection.sendall(begin)
        assert answer(connection) == b""


def test_a_body_that_comes_after_the_answer_does_not_keep_the_connection(
    connection: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "IDLE_SECONDS", 0.2)
    connection.sendall(CHUNKED)
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    connection.sendall(b"5\r\nab")
    assert not answer(connection).startswith(b"HTTP/1.1")

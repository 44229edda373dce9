"""What a client may send before the app is asked: so many bytes, for so long."""

from __future__ import annotations

import contextlib
import http.client
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from serving.app import server
from serving.app.server import MAX_HEAD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

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
def test_who_says_nothing_is_hung_up_on(
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

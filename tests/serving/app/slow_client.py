"""A client of the app that sends as slowly as it likes: HTTP by hand, on a socket."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from urllib.parse import urlsplit

LONGEST = 30.0


class SlowUpload:
    """A photo of `size` bytes on its way to the app."""

    def __init__(self, connection: socket.socket, host: str, size: int) -> None:
        self._connection = connection
        head = f"POST /api/tag HTTP/1.1\r\nHost: {host}\r\nContent-Length: {size}\r\n"
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        # The app says this when it begins to read.
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")

    def send(self, part: bytes) -> None:
        self._connection.sendall(part)

    def answer(self) -> tuple[HTTPResponse, bytes]:
        """What the app says, and its body."""
        response = HTTPResponse(self._connection, method="POST")
        response.begin()
        return response, response.read()

    def is_hung_up(self) -> bool:
        """Whether the app has closed the connection, once its answer is read."""
        return self._connection.recv(1) == b""


@contextlib.contextmanager
def slow_upload(address: str, size: int) -> Iterator[SlowUpload]:
    """An upload that the app has begun to read."""
    host = urlsplit(address)
    with socket.create_connection((host.hostname, host.port), timeout=LONGEST) as connection:
        yield SlowUpload(connection, host.netloc, size)

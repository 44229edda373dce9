"""A client of the web app that takes as little as it can of the cores it shares with it."""

from __future__ import annotations

import random
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

GARBAGE = 0.05
_KINDS_OF_GARBAGE = 20


@dataclass(frozen=True)
class Requests:
    """What all clients send to a server: photos and garbage of their sizes, as on the wire."""

    server: tuple[str, int]
    photos: tuple[bytes, ...]
    garbage: tuple[bytes, ...]

    @classmethod
    def write(cls, address: str, photos: Sequence[bytes]) -> Requests:
        """Requests to `host:port`."""
        host, port = address.split(":")
        noise = random.Random(0)  # noqa: S311 - no secret
        garbage = [noise.randbytes(len(photo)) for photo in photos[:_KINDS_OF_GARBAGE]]
        return cls(
            (host, int(port)),
            tuple(_post(address, photo) for photo in photos),
            tuple(_post(address, body) for body in garbage),
        )


@dataclass(frozen=True)
class Exchange:
    """One request and its answer, judged once the clock stands still."""

    garbage: bool
    seconds: float
    status: int
    body: bytes


class Client:
    """One kept connection that sends one photo a request.

    Plain sockets and requests written beforehand: what a client computes, the app cannot.
    """

    def __init__(self, requests: Requests, seed: int) -> None:
        self._socket = socket.create_connection(requests.server, timeout=60)
        self._random = random.Random(seed)  # noqa: S311 - which photo comes next is no secret
        self._requests = requests

    def ask(self) -> Exchange:
        """Send a photo or garbage. Raises OSError when the connection ends."""
        bad = self._random.random() < GARBAGE
        sent = self._random.choice(self._requests.garbage if bad else self._requests.photos)
        started = time.perf_counter()
        self._socket.sendall(sent)
        status, body = self._receive()
        return Exchange(bad, time.perf_counter() - started, status, body)

    def close(self) -> None:
        """End the connection."""
        self._socket.close()

    def _receive(self) -> tuple[int, bytes]:
        received = b""
        while (end := received.find(b"\r\n\r\n")) < 0:
            received += self._more()
        head = received[:end].lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        while len(received) < end + 4 + length:
            received += self._more()
        return int(head.split(b" ", 2)[1]), received[end + 4 :]

    def _more(self) -> bytes:
        data = self._socket.recv(1 << 16)
        if not data:
            raise ConnectionResetError("the app closed the connection")
        return data


def _post(address: str, photo: bytes) -> bytes:
    """A POST of one photo, as it goes over the wire."""
    head = (
        f"POST /api/tag HTTP/1.1\r\nHost: {address}\r\nContent-Type: image/jpeg\r\n"
        f"Content-Length: {len(photo)}\r\n\r\n"
    )
    return head.encode() + photo

"""The serving benchmark asks everybody the same, and starts and ends real servers."""

from __future__ import annotations

import base64
import json
import socket
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.servers import running
from benchmarks.servers.running import Running, Server, ServerError, start
from benchmarks.serving import BARE, CLIENTS, Peer, bare_work, encoded_for, measure, rows_of

ECHO = """
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.answer(200)
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(200 if self.path == "/tag" else 500)
    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *args):
        pass
ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class RecordingGraph:
    """Counts the photos that it is run on."""

    photos = 0

    def run(self, pixels: NDArray[np.uint8]) -> None:
        self.photos += len(pixels)


def echo(path: str) -> Server:
    return Server(("-c", ECHO, "PORT"), path, "/", "image/jpeg", lambda photo: photo)


def test_everybody_is_asked_as_often_and_the_first_round_does_not_count() -> None:
    asked: dict[str, list[bytes]] = {"ours": [], BARE: []}
    findings = measure(
        {
            name: Peer([b"a", b"b"], dict.fromkeys(CLIENTS, photos.append))
            for name, photos in asked.items()
        },
        requests=5,
        rounds=2,
    )
    assert {name: len(photos) for name, photos in asked.items()} == {"ours": 30, BARE: 30}
    assert [len(seconds) for seconds in findings["ours", 8]] == [6, 6]
    assert [row[0] for row in rows_of(findings)] == ["ours", BARE]


def test_mlflow_is_sent_its_cheapest_form() -> None:
    body = running.SERVERS["mlflow models serve, our model"].body(b"photo")
    (sent,) = json.loads(body)["inputs"]
    assert base64.b64decode(sent) == b"photo"


def test_photos_are_encoded_before_anybody_is_asked() -> None:
    server = Server((), "/", "/", "image/jpeg", lambda photo: photo[::-1])
    peer = encoded_for(Running("echo", server, 0), [b"ab", b"cd"])
    assert peer.bodies == [b"ba", b"dc"]


def test_the_bare_work_of_many_runs_on_the_graph_of_many_streams() -> None:
    one, many = RecordingGraph(), RecordingGraph()
    preprocessing = SimpleNamespace(read=lambda _: np.zeros((8, 8, 3), np.uint8))
    metadata = SimpleNamespace(preprocessing=preprocessing)
    predictor: Any = SimpleNamespace(runtime=one, batch_runtime=many, metadata=metadata)
    asks = bare_work(predictor, [b"photo"]).asks
    asks[1](b"photo")
    assert (one.photos, many.photos) == (1, 0)
    asks[8](b"photo")
    assert (one.photos, many.photos) == (1, 1)


def test_a_server_is_started_asked_and_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(running.SERVERS, "echo", echo("/tag"))
    with ExitStack() as ends:
        server = start("echo", "landmarks", ends)
        server.send(b"photo")
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0


def test_a_refusal_names_the_server_and_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(running.SERVERS, "echo", echo("/elsewhere"))
    with ExitStack() as ends, pytest.raises(ServerError, match="echo answered 500"):
        start("echo", "landmarks", ends).send(b"photo")


def test_a_server_that_ends_at_once_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = Server(("-c", "raise SystemExit(3)"), "/", "/", "image/jpeg", lambda photo: photo)
    monkeypatch.setitem(running.SERVERS, "broken", broken)
    with ExitStack() as ends, pytest.raises(ServerError, match="broken does not start"):
        start("broken", "landmarks", ends)

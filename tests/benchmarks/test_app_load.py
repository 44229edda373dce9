"""The load on the app: requests as they go over the wire, and what counts as a failure."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from benchmarks.app_load import (
    Client,
    Exchange,
    Load,
    Requests,
    Speed,
    failures_of,
    judge,
    report,
)

PHOTOS = [bytes([number]) * 5000 for number in range(3)]


class _Echo(BaseHTTPRequestHandler):
    """Answers with how long the photo was, in two pieces, and keeps the connection."""

    protocol_version = "HTTP/1.1"
    # Else the second piece of an answer waits 40 ms for the first to be acknowledged.
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = json.dumps({"length": len(body), "known": body in PHOTOS}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer[:5])
        self.wfile.flush()
        self.wfile.write(answer[5:])

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_photos_and_now_and_then_garbage_go_over_one_connection(address: str) -> None:
    client = Client(Requests.write(address, PHOTOS), seed=0)
    exchanges = [client.ask() for _ in range(200)]
    client.close()
    assert {exchange.status for exchange in exchanges} == {200}
    assert 1 <= sum(exchange.garbage for exchange in exchanges) <= 30
    for exchange in exchanges:
        assert json.loads(exchange.body) == {"length": 5000, "known": not exchange.garbage}


def _answered(error: object, version: int = 1) -> bytes:
    return json.dumps({"model": {"version": version}, "photos": [{"error": error}]}).encode()


def test_an_error_for_a_photo_and_an_answer_to_garbage_are_failures() -> None:
    load = Load(clients=1)
    judge(Exchange(False, 0.01, 200, _answered(None, 2)), load)
    judge(Exchange(True, 0.01, 200, _answered({"code": "not_a_photo"})), load)
    assert (load.seconds, load.garbage, load.versions, load.failures) == ([0.01], 1, {2}, [])
    judge(Exchange(False, 0.01, 200, _answered({"code": "not_a_photo"})), load)
    judge(Exchange(True, 0.01, 200, _answered(None)), load)
    judge(Exchange(False, 0.01, 503, b"busy"), load)
    assert len(load.failures) == 3
    assert len(load.seconds) == 1


def test_a_row_sets_the_app_beside_the_bare_network() -> None:
    load = Load(clients=8, seconds=[0.01] * 100, garbage=5, elapsed=1.0, cpu=0.8)
    row = report([load], [Speed(rate=200, cpu=0.004)]).splitlines()[-1]
    assert row == "| 8 | 100.0 | 50% | 8.00 | 50% | 10.0 | 10.0 | 5 | 0 |"


def test_a_promotion_that_no_client_saw_is_a_failure() -> None:
    quiet = Load(clients=8, versions={1, 2})
    assert failures_of([Load(clients=1, failures=["503"])], quiet) == ["503"]
    assert failures_of([quiet], quiet) == []
    (failure,) = failures_of([quiet], Load(clients=8, versions={1}))
    assert "no promotion was seen" in failure

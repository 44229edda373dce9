"""A file server for tests that cuts transfers short, refuses them or lies, as scripted."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler

BODY = bytes(range(256)) * 4096
CUT = 4 * 65_536


@dataclass
class Script:
    """How the server behaves; statuses and cuts are used up one a request."""

    body: bytes = BODY
    etag: str = '"v1"'
    ranges: bool = True
    content_length: bool = True
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    asked: list[str | None] = field(default_factory=list)


def make_handler(script: Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers["Range"]
            script.asked.append(wanted)
            status = script.statuses.pop(0) if script.statuses else 200
            if status != 200:
                self.send_error(status)
                return
            same = self.headers.get("If-Range", script.etag) == script.etag
            start = int(wanted[6:-1]) if wanted and same and script.ranges else 0
            if start >= len(script.body):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(script.body)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_head(start)
            end = script.cuts.pop(0) if script.cuts else len(script.body)
            with contextlib.suppress(ConnectionError):
                self.wfile.write(script.body[start : start + end])

        def send_head(self, start: int) -> None:
            self.send_response(206 if start else 200)
            self.send_header("ETag", script.etag)
            if script.content_length:
                self.send_header("Content-Length", str(len(script.body) - start))
            if start:
                last, size = len(script.body) - 1, len(script.body)
                self.send_header("Content-Range", f"bytes {start}-{last}/{size}")
            self.end_headers()

    return Handler

"""Requests as the server hands them to the app: bytes as they come, or a client that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message


def ask(app: ASGIApp, chunks: Iterable[bytes], *, ends: bool = True) -> tuple[int, int]:
    """Send a photo piece by piece; ends: or else the client goes away after the last one.

    Gives the status and how many pieces the app took.
    """
    return asyncio.run(_ask(app, chunks, ends))


async def _ask(app: ASGIApp, chunks: Iterable[bytes], ends: bool) -> tuple[int, int]:
    last: Message = {"type": "http.request"} if ends else {"type": "http.disconnect"}
    left, taken, answers = iter(chunks), 0, list[Any]()

    async def receive() -> Message:
        nonlocal taken
        for chunk in left:
            taken += 1
            return {"type": "http.request", "body": chunk, "more_body": True}
        return last

    async def send(message: Message) -> None:
        answers.append(message)

    await app(_scope(), receive, send)
    return answers[0]["status"], taken


def _scope() -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/api/tag",
        "raw_path": b"/api/tag",
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"localhost:8000")],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8000),
    }

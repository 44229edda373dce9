"""HTTP/1.1 whose request line and headers are bounded in bytes and in time.

The application bounds what comes after them: it is asked when they are complete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

MOST_BYTES = 65_536
LONGEST_SECONDS = 30.0


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol, which alone collects whatever a client sends before the first blank line.

    Too many bytes end in status 400, too much time in the end of the connection.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._received = 0
        self._is_in_head = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._begin_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._end_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head; the end of the chunk may be the beginning of a body."""
        self._received += len(data) if self._is_in_head else 0
        super().data_received(data)
        if self._is_in_head and self._received > MOST_BYTES and not self.transport.is_closing():
            self.send_400_response(f"Request line and headers are over {MOST_BYTES} bytes.")

    def on_message_begin(self) -> None:
        """The first byte of a request came, on this connection perhaps not the first one."""
        super().on_message_begin()
        self._begin_head()

    def on_headers_complete(self) -> None:
        """The application takes over."""
        self._end_head()
        super().on_headers_complete()

    def _begin_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(LONGEST_SECONDS, self._give_up)
        self._is_in_head, self._received = True, 0

    def _end_head(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_in_head = False

    def _give_up(self) -> None:
        self._timer = None
        self.transport.close()

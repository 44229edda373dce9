"""HTTP/1.1 whose request line and headers are bounded in bytes and in time.

The application bounds what comes after them: it is asked when they are complete.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio

MOST_BYTES = 65_536
LONGEST_SECONDS = 30


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol, which alone collects whatever a client sends that is no body.

    So many bytes without a byte of a body among them, in a head or in trailers, end in status 400.
    So many seconds in which the application has nothing to answer end the connection.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._collected = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, and hang up on who sends no end of it."""
        self._collected += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._collected > MOST_BYTES:
            self._refuse()
        elif not self._is_answering:
            self._wait()

    def on_message_begin(self) -> None:
        """Count anew: the first byte of a request came."""
        super().on_message_begin()
        self._collected = 0

    def on_headers_complete(self) -> None:
        """The application takes over."""
        self._stop_waiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count anew: the application counts the bytes of bodies."""
        self._collected = 0
        super().on_body(body)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self) -> None:
        if self._is_answering:
            # Whatever is said now would be taken for the answer to the request before.
            self.transport.close()
        else:
            self.send_400_response(f"No end of the headers after {MOST_BYTES} bytes.")

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(LONGEST_SECONDS, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

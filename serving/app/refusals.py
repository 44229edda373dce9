"""Why a request gets no answer: the status, a sentence and a fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import JSONResponse

if TYPE_CHECKING:
    from collections.abc import Mapping

RETRY_SECONDS = 2


class RequestRefusedError(Exception):
    """A request that is not answered; `status` is that of HTTP, `reason` says what to do."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})

    def response(self) -> JSONResponse:
        """The refusal as an HTTP response, `{"detail": reason}`."""
        return JSONResponse({"detail": self.reason}, self.status, self.headers)


class TooBusyError(RequestRefusedError):
    """More work than the queue or the memory holds: to be tried again."""

    def __init__(self, reason: str) -> None:
        super().__init__(503, f"{reason}; try again", {"Retry-After": str(RETRY_SECONDS)})
